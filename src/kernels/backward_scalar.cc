// The gradients for scalar: see backward-inl.h.
// The lanes come first, the kernels are written in them:
// clang-format off
#include "kernels/lanes_scalar.h"
#include "kernels/backward-inl.h"
#include "kernels/backward_isa.h"
// clang-format on

namespace fovea::kernels {

void backward_scalar(Backward& a) { backward_widened(a); }

}  // namespace fovea::kernels
