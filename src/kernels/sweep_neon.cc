// The kernels for neon: see sweep-inl.h.
// The lanes come first, the kernels are written in them:
// clang-format off
#include "kernels/lanes_neon.h"
#include "kernels/sweep-inl.h"
#include "kernels/peak-inl.h"
#include "kernels/sweep_isa.h"
// clang-format on

namespace fovea::kernels {

void sweep_neon(const Sweep& a) { sweep_widened(a); }
std::int64_t multiply_adds_neon(std::int64_t rounds, Number) {
  return multiply_adds<Single<float>>(rounds);
}

}  // namespace fovea::kernels
