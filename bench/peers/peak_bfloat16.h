// The limit of bfloat16: products of pairs, added to float32, in registers alone.
#pragma once

#include <cstdint>

namespace peers {

bool has_bfloat16_products();  // AVX512-BF16

// Returns how many floating-point operations were done.
std::int64_t run_bfloat16_products(std::int64_t rounds);

}  // namespace peers
