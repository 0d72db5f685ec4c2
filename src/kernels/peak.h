// The limit that kernels are measured against: multiply-adds of registers alone.
#pragma once

#include <cstdint>

#include "fovea/isa.h"

namespace fovea::kernels {

// Runs `rounds` rounds of independent multiply-adds that touch no memory; returns how many
// floating-point operations they were (a multiply-add is two).
std::int64_t run_multiply_adds(Isa isa, std::int64_t rounds);

}  // namespace fovea::kernels
