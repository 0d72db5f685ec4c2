// The kernels for avx2: see sweep-inl.h.
// The lanes come first, the kernels are written in them:
// clang-format off
#include "kernels/lanes_avx2.h"
#include "kernels/sweep-inl.h"
#include "kernels/peak-inl.h"
#include "kernels/sweep_isa.h"
// clang-format on

namespace fovea::kernels {

void sweep_avx2(const Sweep& a) { sweep_widened(a); }
std::int64_t multiply_adds_avx2(std::int64_t rounds, Number) {
  return multiply_adds<Single<float>>(rounds);
}

}  // namespace fovea::kernels
