// AVX-512 with its dot product of bfloat16 pairs: lanes_avx512.h, and operands of two numbers a word.
#pragma once

#include "kernels/lanes_avx512.h"

namespace fovea::kernels {
namespace {

inline std::uint32_t first_of_32(std::int64_t n) { return n >= 32 ? 0xffffffffu : (1u << n) - 1u; }

// Two bfloat16 a word, that of the lower index in the lower half. See operands-inl.h.
//   score   word (d, d + 1) of a query times that of a key
//   values  word (p_j, p_{j+1}) of a row times (v_j, v_{j+1})
struct Pair {
  using Number = BFloat16;
  static constexpr int kDepth = 2;
  static constexpr bool kInTiles = false;
  static constexpr std::int64_t kWordStep = 1;
  static constexpr std::int64_t kKeyStep = 2;
  static constexpr bool kAsTheyLie = true;

  static Floats multiply_add(Floats a, Floats b, Floats sum) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
  }

  static Floats words(const BFloat16* row, std::int64_t n) {
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(first_of_32(n), row));
  }
  static Floats words(const BFloat16* row) { return _mm512_loadu_ps(row); }
  // (key[e], next[e]); where there is no next key it is key again, and weighs 0.
  static Floats value_words(const BFloat16* key, const BFloat16* next, std::int64_t n) {
    const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first(n), key));
    const __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first(n), next));
    return _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
  }

  template <int C>
  static void value_words(const BFloat16* key, const BFloat16* next, Floats (&v)[C]) {
#pragma GCC unroll 8
    for (int c = 0; c + 1 < C; c += 2) {
      const __m512i a = _mm512_loadu_si512(key + c * kLanes);
      const __m512i b = _mm512_loadu_si512(next + c * kLanes);
      v[c] = _mm512_castsi512_ps(_mm512_permutex2var_epi16(a, interleaved(0), b));
      v[c + 1] = _mm512_castsi512_ps(_mm512_permutex2var_epi16(a, interleaved(16), b));
    }
    if (C % 2 == 1) v[C - 1] = value_words(key + (C - 1) * kLanes, next + (C - 1) * kLanes, kLanes);
  }

  // Which of the 32 numbers are NaN or infinite.
  static __mmask32 unbounded(Floats words) {
    const __m512i exponent = _mm512_set1_epi16(0x7f80);
    return _mm512_cmpeq_epi16_mask(_mm512_and_si512(_mm512_castps_si512(words), exponent),
                                   exponent);
  }

  static Floats with_sign(Floats words, float sign) {
    if (sign == 0) {  // 0, and NaN where 0 x is
      return _mm512_castsi512_ps(
          _mm512_maskz_mov_epi16(unbounded(words), _mm512_set1_epi16(0x7fc0)));
    }
    const __m512i flip = _mm512_set1_epi32(sign < 0 ? static_cast<int>(0x80008000u) : 0);
    return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(words), flip));
  }

  // Places (i, 32 + i), (i + 1, 32 + i + 1) ... for i from `from` on.
  static __m512i interleaved(int from) {
    const __m512i ramp = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i low = _mm512_add_epi32(ramp, _mm512_set1_epi32(from));
    return _mm512_or_si512(low,
                           _mm512_slli_epi32(_mm512_add_epi32(low, _mm512_set1_epi32(32)), 16));
  }

  template <int C>
  static void store_weights(float* to, const Floats (&p)[C]) {
    if constexpr (C % 2 == 0) {
#pragma GCC unroll 4
      for (int c = 0; c < C; c += 2) {
        _mm512_storeu_ps(to + c / 2 * kLanes, (__m512)_mm512_cvtne2ps_pbh(p[c + 1], p[c]));
      }
    } else {
      for (int c = 0; c < C; ++c) store_weights(to + c * kLanes / 2, p[c]);
    }
  }
  static void store_weights(float* to, Floats p) {
    _mm256_storeu_ps(to, (__m256)_mm512_cvtneps_pbh(p));
  }
  static void shrink_weights(float* words, std::int64_t vectors, float grow) {
    for (std::int64_t i = 0; i < vectors; ++i) {
      float* at = words + i * kLanes / 2;
      store_weights(at, load(reinterpret_cast<const BFloat16*>(at)) * all(grow));
    }
  }
  static Floats stacked(const Floats (&x)[2]) {
    constexpr int kPair = 0x10001;  // word j: halves j and 16 + j of the two vectors, rounded
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i from = _mm512_add_epi32(_mm512_mullo_epi32(lane, _mm512_set1_epi32(kPair)),
                                          _mm512_set1_epi32(16 << 16));
    const auto halves = (__m512i)_mm512_cvtne2ps_pbh(x[1], x[0]);
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(from, halves));
  }
  static Floats seen_part(Floats value, bool seen, bool next_seen) {
    const std::uint32_t bits = (seen ? 0x0000ffffu : 0u) | (next_seen ? 0xffff0000u : 0u);
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_castps_si512(value), _mm512_set1_epi32(static_cast<int>(bits))));
  }
};

}  // namespace
}  // namespace fovea::kernels
