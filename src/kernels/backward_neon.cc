// The gradients for neon: see backward-inl.h.
// The lanes come first, the kernels are written in them:
// clang-format off
#include "kernels/lanes_neon.h"
#include "kernels/backward-inl.h"
#include "kernels/backward_isa.h"
// clang-format on

namespace fovea::kernels {

void backward_neon(Backward& a) { backward_widened(a); }

}  // namespace fovea::kernels
