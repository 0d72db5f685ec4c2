// One entry for each instruction set, as in sweep_isa.h. Called by run() only.
#pragma once

#include "kernels/backward.h"

namespace fovea::kernels {

void backward_scalar(Backward& a);
void backward_avx2(Backward& a);
void backward_avx512(Backward& a);
void backward_avx512_bf16(Backward& a);
void backward_amx_bf16(Backward& a);
void backward_neon(Backward& a);

}  // namespace fovea::kernels
