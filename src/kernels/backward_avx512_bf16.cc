// The gradients for avx512_bf16: those of avx512, and bfloat16 in pairs. See backward-inl.h.
// The lanes come first, the kernels are written in them:
// clang-format off
#include "kernels/lanes_avx512_bf16.h"
#include "kernels/backward-inl.h"
#include "kernels/backward_isa.h"
// clang-format on

namespace fovea::kernels {

void backward_avx512_bf16(Backward& a) {
  if (a.keys.type == Number::kBFloat16) return backward<Pair>(a);
  backward_widened(a);
}

}  // namespace fovea::kernels
