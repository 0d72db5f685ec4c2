// The kernels for avx512_bf16: those of avx512, and bfloat16 in pairs. See sweep-inl.h.
// The lanes come first, the kernels are written in them:
// clang-format off
#include "kernels/lanes_avx512_bf16.h"
#include "kernels/sweep-inl.h"
#include "kernels/peak-inl.h"
#include "kernels/sweep_isa.h"
// clang-format on

namespace fovea::kernels {

void sweep_avx512_bf16(const Sweep& a) {
  if (a.type == Number::kBFloat16) return sweep<Pair>(a);
  sweep_widened(a);
}
std::int64_t multiply_adds_avx512_bf16(std::int64_t rounds, Number type) {
  return type == Number::kBFloat16 ? multiply_adds<Pair>(rounds)
                                   : multiply_adds<Single<float>>(rounds);
}

}  // namespace fovea::kernels
