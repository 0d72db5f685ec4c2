#include "kernels/backward_isa.h"
#include "kernels/backward_workspace.h"

namespace fovea::kernels {

std::int64_t backward_scratch_size(const Backward& backward) {
  return backward_workspace(backward, nullptr).floats;
}

std::int64_t gradient_step(std::int64_t width) { return rounded_up(width, kWidest); }

void run(Backward& backward, Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAmxBf16: return backward_amx_bf16(backward);
    case Isa::kAvx512Bf16: return backward_avx512_bf16(backward);
    case Isa::kAvx512: return backward_avx512(backward);
    case Isa::kAvx2: return backward_avx2(backward);
#elif defined(__aarch64__)
    case Isa::kNeon: return backward_neon(backward);
#endif
    default: return backward_scalar(backward);
  }
}

}  // namespace fovea::kernels
