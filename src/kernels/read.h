// The limit of what lives in memory: reading it, and doing nothing with it.
#pragma once

#include <cstdint>

#include "fovea/isa.h"

namespace fovea::kernels {

// Reads `bytes` bytes from `data` once, in the widest loads of `isa`, in `streams` places (1, 2 or 4) at
// a time. `data` lies on a cache line, `bytes` is a multiple of 1024. The sum makes the reading needed.
std::uint64_t read_memory(Isa isa, const void* data, std::int64_t bytes, int streams);

}  // namespace fovea::kernels
