// The gradients for avx2: see backward-inl.h.
// The lanes come first, the kernels are written in them:
// clang-format off
#include "kernels/lanes_avx2.h"
#include "kernels/backward-inl.h"
#include "kernels/backward_isa.h"
// clang-format on

namespace fovea::kernels {

void backward_avx2(Backward& a) { backward_widened(a); }

}  // namespace fovea::kernels
