// 8 floats of AVX2 and FMA. See lanes_scalar.h for what each function means.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace fovea::kernels {
namespace {

using Floats = __m256;
constexpr int kLanes = 8;

// Register tile: 12 sums, 2 loads and a broadcast of 16 registers; 8 loads for 12 multiply-adds.
constexpr int kTileRows = 6;
constexpr int kTileVectors = 2;

// All bits set in the lanes below n.
inline __m256i first(std::int64_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
}

inline Floats load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, Floats x) { _mm256_storeu_ps(p, x); }
inline Floats load_first(const float* p, std::int64_t n) { return _mm256_maskload_ps(p, first(n)); }
inline void store_first(float* p, Floats x, std::int64_t n) { _mm256_maskstore_ps(p, first(n), x); }
inline Floats all(float x) { return _mm256_set1_ps(x); }

inline Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
inline Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }
inline Floats power_of_bits(Floats x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x), 23));
}
inline Floats zero_where_less(Floats a, Floats b, Floats x) {
  return _mm256_and_ps(_mm256_cmp_ps(a, b, _CMP_NLT_UQ), x);
}
inline Floats pick_where_equal(Floats a, Floats b, Floats y, Floats x) {
  return _mm256_blendv_ps(x, y, _mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}
inline Floats pick_first(std::int64_t n, Floats x, Floats y) {
  return _mm256_blendv_ps(y, x, _mm256_castsi256_ps(first(n)));
}
inline std::uint32_t greater(Floats a, Floats b) {
  return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)));
}

inline Floats pick_where_greater(Floats a, Floats b, Floats y, Floats x) {
  return _mm256_blendv_ps(x, y, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
inline Floats shifted_in(Floats x, float first_lane) {
  const __m256 up = _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(0, 0, 1, 2, 3, 4, 5, 6));
  return _mm256_blend_ps(up, _mm256_set1_ps(first_lane), 1);
}

inline float sum_of(Floats x) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
inline float max_of(Floats x) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}

// 4 x 4 blocks within the halves of the registers, then the halves themselves.
[[gnu::always_inline]] inline void transpose(Floats (&rows)[kLanes]) {
  __m256 t[8];
#pragma GCC unroll 16
  for (int i = 0; i < 8; i += 4) {
    const __m256 a = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    const __m256 b = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    const __m256 c = _mm256_unpacklo_ps(rows[i + 2], rows[i + 3]);
    const __m256 d = _mm256_unpackhi_ps(rows[i + 2], rows[i + 3]);
    t[i] = _mm256_shuffle_ps(a, c, 0x44);
    t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
    t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
    t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 4; ++i) {
    rows[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
    rows[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
  }
}

}  // namespace
}  // namespace fovea::kernels
