// One entry for each instruction set, each in a file of its own compiler flags. Called by run()
// only.
#pragma once

#include "kernels/sweep.h"

namespace fovea::kernels {

void sweep_scalar(const Sweep& a);
std::int64_t multiply_adds_scalar(std::int64_t rounds);
void sweep_avx2(const Sweep& a);
std::int64_t multiply_adds_avx2(std::int64_t rounds);
void sweep_avx512(const Sweep& a);
std::int64_t multiply_adds_avx512(std::int64_t rounds);

}  // namespace fovea::kernels
