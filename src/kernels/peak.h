// The limit that kernels are measured against: multiply-adds of registers alone.
#pragma once

#include <cstdint>

#include "fovea/isa.h"
#include "kernels/sweep.h"

namespace fovea::kernels {

// Runs `rounds` rounds of independent multiply-adds that touch no memory; returns how many
// floating-point operations they were (a multiply-add is two). With `type` kBFloat16 the dot products
// that the set multiplies them with; where it has none, and for kFloat16, those of float32.
std::int64_t run_multiply_adds(Isa isa, std::int64_t rounds, Number type = Number::kFloat32);

}  // namespace fovea::kernels
