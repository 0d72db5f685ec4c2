// What the two products are made of. Tiles see 32-bit words and a way to multiply and add them; what a
// word holds is said here, and in lanes_avx512_bf16.h for pairs of bfloat16.
//
//   Number        what memory holds
//   kDepth        numbers in a word: a score takes width / kDepth steps, a sum of values keys / kDepth
//   multiply_add  a lane of words times a lane of words, added to float32 sums
//   kInTiles      products run in tile registers, which take kWordStep words and kKeyStep keys at a time: what is
//                 packed is filled up with zeros to whole steps
#pragma once

#include <cstdint>

namespace fovea::kernels {
namespace {

// One float32 a word. 16-bit numbers are widened when they are packed: that is exact.
template <class T>
struct Single {
  using Number = T;
  static constexpr int kDepth = 1;
  static constexpr bool kInTiles = false;
  static constexpr std::int64_t kWordStep = 1;
  static constexpr std::int64_t kKeyStep = 1;
  static constexpr bool kAsTheyLie = sizeof(T) == 4;  // numbers in memory are words already
  static Floats multiply_add(Floats a, Floats b, Floats sum) { return fma(a, b, sum); }

  // The words of numbers [0, n) of a row, n at most kLanes; those past n are 0.
  static Floats words(const T* row, std::int64_t n) { return load_first(row, n); }
  static Floats words(const T* row) { return load(row); }
  // The word at place j of a row of values, E ones side by side: that of key j itself.
  static Floats value_words(const T* key, const T*, std::int64_t n) { return load_first(key, n); }
  template <int C>
  static void value_words(const T* key, const T*, Floats (&v)[C]) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) v[c] = load(key + c * kLanes);
  }

  static Floats with_sign(Floats words, float sign) { return words * all(sign); }

  // Weights p of a panel, as words at to.
  template <int C>
  static void store_weights(float* to, const Floats (&p)[C]) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) store(to + c * kLanes, p[c]);
  }
  static void store_weights(float* to, Floats p) { store(to, p); }
  // p *= grow, for `vectors` vectors of keys.
  static void shrink_weights(float* words, std::int64_t vectors, float grow) {
    for (std::int64_t i = 0; i < vectors * kLanes; i += kLanes) {
      store(words + i, load(words + i) * all(grow));
    }
  }
  // The words of queries side by side: lane j holds x[0][j], ...
  static Floats stacked(const Floats (&x)[kDepth]) { return x[0]; }
  // The word of values with what this row may not see made 0.
  static Floats seen_part(Floats value, bool seen, bool) { return seen ? value : all(0); }
};

}  // namespace
}  // namespace fovea::kernels
