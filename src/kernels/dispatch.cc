#include "kernels/sweep.h"
#include "kernels/sweep_isa.h"
#include "kernels/workspace.h"

namespace fovea::kernels {

std::int64_t scratch_size(const Sweep& sweep, int rows, std::int64_t keys) {
  return workspace(sweep, rows, keys, nullptr).floats;
}

void run(const Sweep& sweep, Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx512: return sweep_avx512(sweep);
    case Isa::kAvx2: return sweep_avx2(sweep);
#endif
    default: return sweep_scalar(sweep);
  }
}

}  // namespace fovea::kernels
