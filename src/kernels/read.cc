#include "kernels/read.h"

namespace fovea::kernels {
namespace {

// One cache line: one load with AVX-512, two with AVX2, four without.
using Line = std::uint64_t __attribute__((vector_size(64)));

// A macro, since a template that is inlined into a function for another instruction set has been cut
// into narrow loads before that. Width is worth a third here (Zen 4, one thread: 22 GB/s in loads of
// 16 bytes, 30 in loads of 64), so a limit measured with narrow loads would be none.
#define FOVEA_READ(name, target)                                                              \
  target std::uint64_t name(const Line* const from[4], std::int64_t end, std::int64_t step) { \
    Line sum[4] = {};                                                                         \
    for (std::int64_t i = 0; i < end; i += step) {                                            \
      sum[0] += from[0][i];                                                                   \
      sum[1] += from[1][i];                                                                   \
      sum[2] += from[2][i];                                                                   \
      sum[3] += from[3][i];                                                                   \
    }                                                                                         \
    sum[0] += sum[1] + sum[2] + sum[3];                                                       \
    std::uint64_t total = 0;                                                                  \
    for (int lane = 0; lane < 8; ++lane) total += sum[0][lane];                               \
    return total;                                                                             \
  }

FOVEA_READ(read_any, )
#if defined(__x86_64__)
FOVEA_READ(read_avx2, __attribute__((target("avx2"))))
FOVEA_READ(read_avx512, __attribute__((target("avx512f"))))
#endif
#undef FOVEA_READ

}  // namespace

std::uint64_t read_memory(Isa isa, const void* data, std::int64_t bytes, int streams) {
  const auto* lines = static_cast<const Line*>(data);
  const std::int64_t end = bytes / static_cast<std::int64_t>(sizeof(Line)) / streams;
  const std::int64_t step = 4 / streams;  // lines taken one after the other from each place
  const Line* from[4];
  for (int n = 0; n < 4; ++n) from[n] = lines + n / step * end + n % step;
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAmxBf16:
    case Isa::kAvx512Bf16:
    case Isa::kAvx512: return read_avx512(from, end, step);
    case Isa::kAvx2: return read_avx2(from, end, step);
#endif
    default: return read_any(from, end, step);
  }
}

}  // namespace fovea::kernels
