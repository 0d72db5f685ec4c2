// The lanes come first, what is written in them after:
// clang-format off
#include "kernels/lanes_avx512.h"
#include "kernels/exp2-inl.h"
#include "numerics/exp2.h"
// clang-format on

namespace fovea::numerics {

void exp2_avx512(const float* x, float* y, std::int64_t n) {
  using namespace kernels;
  for (std::int64_t i = 0; i < n; i += kLanes) store(y + i, kernels::exp2(load(x + i)));
}

}  // namespace fovea::numerics
