// 16 floats of AVX-512. See lanes_scalar.h for what each function means.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "fovea/half.h"

namespace fovea::kernels {
namespace {

using Floats = __m512;
constexpr int kLanes = 16;

// Register tile: 24 sums, 4 loads and a broadcast of 32 registers; 10 loads for 24 multiply-adds.
constexpr int kTileRows = 6;
constexpr int kTileVectors = 4;
// Keys whose products are summed over the lanes together (sums_of); divides a tile's keys.
constexpr int kFewKeys = 4;

inline __mmask16 first(std::int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }

inline Floats load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Floats x) { _mm512_storeu_ps(p, x); }
inline Floats load_first(const float* p, std::int64_t n) {
  return _mm512_maskz_loadu_ps(first(n), p);
}
inline void store_first(float* p, Floats x, std::int64_t n) {
  _mm512_mask_storeu_ps(p, first(n), x);
}
inline Floats all(float x) { return _mm512_set1_ps(x); }
inline Floats ramp() {
  return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

inline Floats widened(__m256i halves) {  // bfloat16
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
inline Floats load(const BFloat16* p) {
  return widened(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Floats load_first(const BFloat16* p, std::int64_t n) {
  return widened(_mm256_maskz_loadu_epi16(first(n), p));
}
inline void store_first(BFloat16* p, Floats x, std::int64_t n) {
  const __m512i u = _mm512_castps_si512(x);
  const __m512i high = _mm512_srli_epi32(u, 16);
  const __m512i even = _mm512_and_si512(high, _mm512_set1_epi32(1));
  const __m512i half = _mm512_add_epi32(even, _mm512_set1_epi32(0x7fff));
  const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(u, half), 16);
  const __m512i bits = _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), high,
                                            _mm512_set1_epi32(0x40));
  _mm256_mask_storeu_epi16(p, first(n), _mm512_cvtepi32_epi16(bits));
}
inline Floats load(const Float16* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Floats load_first(const Float16* p, std::int64_t n) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p));
}
inline void store_first(Float16* p, Floats x, std::int64_t n) {
  _mm256_mask_storeu_epi16(p, first(n), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

inline Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
inline Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
inline Floats power_of_bits(Floats x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(x), 23));
}
inline Floats zero_where_less(Floats a, Floats b, Floats x) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ), x);
}
inline Floats fma_unless_less(Floats a, Floats b, Floats x, Floats y, Floats sum) {
  return _mm512_mask3_fmadd_ps(x, y, sum, _mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ));
}
inline Floats pick_where_equal(Floats a, Floats b, Floats y, Floats x) {
  return _mm512_mask_mov_ps(x, _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ), y);
}
inline Floats pick_first(std::int64_t n, Floats x, Floats y) {
  return _mm512_mask_mov_ps(y, first(n), x);
}
inline std::uint32_t greater(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
inline std::uint64_t greater_bits(const Floats (&x)[kTileVectors], Floats bar) {
  const auto mask = [&](int c) { return _mm512_cmp_ps_mask(x[c], bar, _CMP_GT_OQ); };
  const __mmask32 low = _mm512_kunpackw(mask(1), mask(0));
  return _mm512_kunpackd(_mm512_kunpackw(mask(3), mask(2)), low);
}
inline void put_places(std::uint64_t bits, std::uint8_t begin, std::uint8_t* to) {
#ifdef __AVX512VBMI2__
  alignas(64) static constexpr std::uint8_t kRamp[64] = {
      0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
      22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
      44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
  const __m512i places =
      _mm512_add_epi8(_mm512_load_si512(kRamp), _mm512_set1_epi8(static_cast<char>(begin)));
  _mm512_storeu_si512(to, _mm512_maskz_compress_epi8(bits, places));
#else
  for (; bits != 0; bits &= bits - 1) {
    *to++ = static_cast<std::uint8_t>(begin + __builtin_ctzll(bits));
  }
#endif
}
inline Floats pick_where_greater(Floats a, Floats b, Floats y, Floats x) {
  return _mm512_mask_mov_ps(x, _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y);
}
inline Floats shifted_in(Floats x, float first_lane) {
  return _mm512_castsi512_ps(_mm512_alignr_epi32(
      _mm512_castps_si512(x), _mm512_castps_si512(_mm512_set1_ps(first_lane)), 15));
}

inline float sum_of(Floats x) { return _mm512_reduce_add_ps(x); }
// Within the quarters of the registers by a 4 x 4 transpose, then the quarters.
inline void sums_of(const Floats (&x)[kFewKeys], float* to) {
  const __m512 ab = _mm512_unpacklo_ps(x[0], x[1]) + _mm512_unpackhi_ps(x[0], x[1]);
  const __m512 cd = _mm512_unpacklo_ps(x[2], x[3]) + _mm512_unpackhi_ps(x[2], x[3]);
  const __m512 abcd = _mm512_shuffle_ps(ab, cd, 0x44) + _mm512_shuffle_ps(ab, cd, 0xee);
  const __m256 half = _mm512_castps512_ps256(abcd) + _mm512_extractf32x8_ps(abcd, 1);
  _mm_storeu_ps(to, _mm256_castps256_ps128(half) + _mm256_extractf128_ps(half, 1));
}
inline float max_of(Floats x) { return _mm512_reduce_max_ps(x); }

// to[r]: the sum (the largest) of the lanes of x[r], in all lanes. Halves meet, then quarters, and so on, as in
// sum_of; four vectors side by side, from kFrom on.
template <int kFrom, int R, class Op>
[[gnu::always_inline]] inline void reduce_each(const Floats (&x)[R], Floats (&to)[R],
                                               const Op& op) {
  constexpr int kLast = R - 1;
  const auto at = [&](int i) { return x[kFrom + i < R ? kFrom + i : kLast]; };
  const auto halves = [&](__m512 a, __m512 b) {
    return op(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  };
  const __m512 ab = halves(at(0), at(1));
  const __m512 cd = halves(at(2), at(3));
  const __m512 abcd = op(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
  const __m512 pairs = op(abcd, _mm512_permute_ps(abcd, 0x4e));
  const __m512 ones = op(pairs, _mm512_permute_ps(pairs, 0xb1));
  to[kFrom] = _mm512_shuffle_f32x4(ones, ones, 0x00);
  if constexpr (kFrom + 1 < R) to[kFrom + 1] = _mm512_shuffle_f32x4(ones, ones, 0x55);
  if constexpr (kFrom + 2 < R) to[kFrom + 2] = _mm512_shuffle_f32x4(ones, ones, 0xaa);
  if constexpr (kFrom + 3 < R) to[kFrom + 3] = _mm512_shuffle_f32x4(ones, ones, 0xff);
  if constexpr (kFrom + 4 < R) reduce_each<kFrom + 4>(x, to, op);
}
template <int R>
[[gnu::always_inline]] inline void sum_of_each(const Floats (&x)[R], Floats (&to)[R]) {
  reduce_each<0>(x, to, [](__m512 a, __m512 b) { return a + b; });
}
template <int R>
[[gnu::always_inline]] inline void max_of_each(const Floats (&x)[R], Floats (&to)[R]) {
  reduce_each<0>(x, to, [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); });
}
inline float first_of(Floats x) { return _mm512_cvtss_f32(x); }

inline void prefetch_to_write(const void* p) { __builtin_prefetch(p, 1, 3); }

// 4 x 4 blocks within the quarters of the registers, then the quarters themselves.
[[gnu::always_inline]] inline void transpose(Floats (&rows)[kLanes]) {
  __m512 t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 4) {
    const __m512 a = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    const __m512 b = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    const __m512 c = _mm512_unpacklo_ps(rows[i + 2], rows[i + 3]);
    const __m512 d = _mm512_unpackhi_ps(rows[i + 2], rows[i + 3]);
    t[i] = _mm512_shuffle_ps(a, c, 0x44);
    t[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
    t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
    t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 4; ++i) {
    const __m512 a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88);
    const __m512 b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
    const __m512 c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
    const __m512 d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
    rows[i] = _mm512_shuffle_f32x4(a, c, 0x88);
    rows[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
    rows[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
    rows[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}

using Integers [[gnu::vector_size(64)]] = std::uint64_t;
constexpr int kIntegers = 8;
inline Integers low_times(Integers x, std::uint32_t m) {
  return (Integers)_mm512_mul_epu32((__m512i)x, _mm512_set1_epi64(m));
}

}  // namespace
}  // namespace fovea::kernels
