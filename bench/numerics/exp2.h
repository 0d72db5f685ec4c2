// The kernels' 2^x, one function for each instruction set: its own error is measured, not that of what uses it.
#pragma once

#include <cstdint>

#include "fovea/isa.h"

namespace fovea::numerics {

// y[i] = 2^x[i] for n numbers, a multiple of 16. Null: this build has no such set, or the set adds nothing to
// this function (avx512_bf16).
using Exp2 = void (*)(const float* x, float* y, std::int64_t n);
Exp2 exp2_of(Isa isa);

void exp2_scalar(const float* x, float* y, std::int64_t n);
void exp2_avx2(const float* x, float* y, std::int64_t n);
void exp2_avx512(const float* x, float* y, std::int64_t n);

}  // namespace fovea::numerics
