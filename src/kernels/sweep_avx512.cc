// The kernels for avx512: see sweep-inl.h.
// The lanes come first, the kernels are written in them:
// clang-format off
#include "kernels/lanes_avx512.h"
#include "kernels/sweep-inl.h"
#include "kernels/peak-inl.h"
#include "kernels/sweep_isa.h"
// clang-format on

namespace fovea::kernels {

void sweep_avx512(const Sweep& a) { sweep_widened(a); }
std::int64_t multiply_adds_avx512(std::int64_t rounds, Number) {
  return multiply_adds<Single<float>>(rounds);
}

}  // namespace fovea::kernels
