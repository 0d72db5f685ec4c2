// 8 floats of AVX2 and FMA. See lanes_scalar.h for what each function means.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "fovea/half.h"

namespace fovea::kernels {
namespace {

using Floats = __m256;
constexpr int kLanes = 8;

// Register tile: 12 sums, 2 loads and a broadcast of 16 registers; 8 loads for 12 multiply-adds.
constexpr int kTileRows = 6;
constexpr int kTileVectors = 2;
// Keys whose products are summed over the lanes together (sums_of); divides a tile's keys.
constexpr int kFewKeys = 4;

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
inline Floats ramp() { return _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7); }

// There is no masked load of 16-bit numbers: a few are copied.
template <class Half>
inline __m128i first_halves(const Half* p, std::int64_t n) {
  __m128i halves = _mm_setzero_si128();
  if (n == kLanes) {
    halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  } else if (n > 0) {
    std::memcpy(&halves, &p->bits, static_cast<std::size_t>(n) * 2);
  }
  return halves;
}
template <class Half>
inline void store_first_halves(Half* p, __m128i halves, std::int64_t n) {
  if (n == kLanes) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), halves);
  } else if (n > 0) {
    std::memcpy(&p->bits, &halves, static_cast<std::size_t>(n) * 2);
  }
}
inline Floats widened(const BFloat16*, __m128i halves) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}
inline Floats widened(const Float16*, __m128i halves) { return _mm256_cvtph_ps(halves); }
template <class Half>
inline Floats load(const Half* p) {
  return widened(p, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
template <class Half>
inline Floats load_first(const Half* p, std::int64_t n) {
  return widened(p, first_halves(p, n));
}
inline void store_first(BFloat16* p, Floats x, std::int64_t n) {
  const __m256i u = _mm256_castps_si256(x);
  const __m256i high = _mm256_srli_epi32(u, 16);
  const __m256i even = _mm256_and_si256(high, _mm256_set1_epi32(1));
  const __m256i half = _mm256_add_epi32(even, _mm256_set1_epi32(0x7fff));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(u, half), 16);
  const __m256i nan = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i bits = _mm256_blendv_epi8(rounded, nan, is_nan);
  store_first_halves(
      p, _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1)), n);
}
inline void store_first(Float16* p, Floats x, std::int64_t n) {
  store_first_halves(p, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT), n);
}

inline Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
inline Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }
inline Floats power_of_bits(Floats x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x), 23));
}
inline Floats zero_where_less(Floats a, Floats b, Floats x) {
  return _mm256_and_ps(_mm256_cmp_ps(a, b, _CMP_NLT_UQ), x);
}
inline Floats fma_unless_less(Floats a, Floats b, Floats x, Floats y, Floats sum) {
  return _mm256_blendv_ps(_mm256_fmadd_ps(x, y, sum), sum, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
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

inline std::uint64_t greater_bits(const Floats (&x)[kTileVectors], Floats bar) {
  std::uint64_t bits = 0;
  for (int c = 0; c < kTileVectors; ++c) bits |= std::uint64_t{greater(x[c], bar)} << (c * kLanes);
  return bits;
}
inline void put_places(std::uint64_t bits, std::uint8_t begin, std::uint8_t* to) {
  for (; bits != 0; bits &= bits - 1) {
    *to++ = static_cast<std::uint8_t>(begin + __builtin_ctzll(bits));
  }
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
// Pairs of lanes, then pairs of pairs, then the two halves.
inline void sums_of(const Floats (&x)[kFewKeys], float* to) {
  const __m256 ab = _mm256_hadd_ps(x[0], x[1]);
  const __m256 cd = _mm256_hadd_ps(x[2], x[3]);
  const __m256 abcd = _mm256_hadd_ps(ab, cd);
  _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps(abcd, 1)));
}
inline float max_of(Floats x) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}
template <int R>
inline void sum_of_each(const Floats (&x)[R], Floats (&to)[R]) {
  for (int r = 0; r < R; ++r) to[r] = all(sum_of(x[r]));
}
template <int R>
inline void max_of_each(const Floats (&x)[R], Floats (&to)[R]) {
  for (int r = 0; r < R; ++r) to[r] = all(max_of(x[r]));
}
inline float first_of(Floats x) { return _mm256_cvtss_f32(x); }

inline void prefetch_to_write(const void* p) { __builtin_prefetch(p, 1, 3); }

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

using Integers [[gnu::vector_size(32)]] = std::uint64_t;
constexpr int kIntegers = 4;
inline Integers low_times(Integers x, std::uint32_t m) {
  return (Integers)_mm256_mul_epu32((__m256i)x, _mm256_set1_epi64x(m));
}

}  // namespace
}  // namespace fovea::kernels
