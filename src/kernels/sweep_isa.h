// One entry for each instruction set, each in a file of its own compiler flags. Called by run()
// only.
#pragma once

#include "kernels/sweep.h"

namespace fovea::kernels {

void sweep_scalar(const Sweep& a);
void sweep_avx2(const Sweep& a);
void sweep_avx512(const Sweep& a);

}  // namespace fovea::kernels
