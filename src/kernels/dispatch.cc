#include "kernels/peak.h"
#include "kernels/sweep.h"
#include "kernels/sweep_isa.h"
#include "kernels/workspace.h"

namespace fovea::kernels {

std::int64_t scratch_size(const Sweep& sweep, int rows, std::int64_t first, std::int64_t end) {
  return workspace(sweep, rows, first, end, nullptr).floats;
}

std::int64_t partial_size(const Sweep& sweep, int rows, std::int64_t end) {
  return parts_of(end) * rows * partial_step(sweep);
}

std::int64_t part_count(std::int64_t end) { return parts_of(end); }

std::int64_t packed_keys(const Sweep& sweep, std::int64_t keys) {
  constexpr std::int64_t kMostPacked = std::int64_t{1} << 22;  // floats
  return keys * (sweep.width + sweep.value_width) <= kMostPacked ? rounded_up(keys, kKeys) : 0;
}

int rows_that_fit(std::int64_t keys, std::int64_t most) {
  const std::int64_t whole = rounded_up(larger(keys, 1), kKeys);
  const std::int64_t rows = smaller(most, kKeptWeights / whole);
  return static_cast<int>(larger(2, rows / kMostTileRows) * kMostTileRows);
}

bool lines_in_pairs() {
#if defined(__x86_64__)
  return __builtin_cpu_is("amd") != 0;
#else
  return false;
#endif
}

void run(const Sweep& sweep, Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAmxBf16: return sweep_amx_bf16(sweep);
    case Isa::kAvx512Bf16: return sweep_avx512_bf16(sweep);
    case Isa::kAvx512: return sweep_avx512(sweep);
    case Isa::kAvx2: return sweep_avx2(sweep);
#elif defined(__aarch64__)
    case Isa::kNeon: return sweep_neon(sweep);
#endif
    default: return sweep_scalar(sweep);
  }
}

std::int64_t run_multiply_adds(Isa isa, std::int64_t rounds, Number type) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAmxBf16: return multiply_adds_amx_bf16(rounds, type);
    case Isa::kAvx512Bf16: return multiply_adds_avx512_bf16(rounds, type);
    case Isa::kAvx512: return multiply_adds_avx512(rounds, type);
    case Isa::kAvx2: return multiply_adds_avx2(rounds, type);
#elif defined(__aarch64__)
    case Isa::kNeon: return multiply_adds_neon(rounds, type);
#endif
    default: return multiply_adds_scalar(rounds, type);
  }
}

}  // namespace fovea::kernels
