#include "kernels/peak.h"
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

std::int64_t run_multiply_adds(Isa isa, std::int64_t rounds) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx512: return multiply_adds_avx512(rounds);
    case Isa::kAvx2: return multiply_adds_avx2(rounds);
#endif
    default: return multiply_adds_scalar(rounds);
  }
}

}  // namespace fovea::kernels
