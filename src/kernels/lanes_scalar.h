// A "vector" of one float: the same kernels without SIMD. The truth that the other sets are read
// against.
//
// What a lanes_*.h has to offer is this file: a type, its width, tile sizes and small functions.
#pragma once

#include <cstdint>
#include <cstring>

#include "fovea/half.h"

namespace fovea::kernels {
namespace {

using Floats = float;
constexpr int kLanes = 1;

// Register tile: 4 x 2 sums, 2 loads and a broadcast fit the 16 registers.
constexpr int kTileRows = 4;
constexpr int kTileVectors = 2;
// Keys whose products are summed over the lanes together (sums_of); divides a tile's keys.
constexpr int kFewKeys = 2;

inline Floats load(const float* p) { return *p; }
inline void store(float* p, Floats x) { *p = x; }
// The first n lanes, 0 <= n <= kLanes; the others read as 0 and are not touched in memory.
inline Floats load_first(const float* p, std::int64_t n) { return n > 0 ? *p : 0.0f; }
inline void store_first(float* p, Floats x, std::int64_t n) {
  if (n > 0) *p = x;
}
inline Floats all(float x) { return x; }
// 0, 1, 2, ... in the lanes.
inline Floats ramp() { return 0; }

// 16-bit numbers, widened: exact. Stored: to nearest, ties to even.
template <class Half>
inline Floats load(const Half* p) {
  return static_cast<float>(*p);
}
template <class Half>
inline Floats load_first(const Half* p, std::int64_t n) {
  return n > 0 ? static_cast<float>(*p) : 0.0f;
}
template <class Half>
inline void store_first(Half* p, Floats x, std::int64_t n) {
  if (n > 0) *p = Half(x);
}

// a * b + c. One rounding where the set has the instruction; here two.
inline Floats fma(Floats a, Floats b, Floats c) { return a * b + c; }
// b when either is NaN.
inline Floats max(Floats a, Floats b) { return a > b ? a : b; }
inline Floats min(Floats a, Floats b) { return a < b ? a : b; }
// 2^n, from the float whose last bits hold n + 127.
inline Floats power_of_bits(Floats x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  bits <<= 23;
  std::memcpy(&x, &bits, 4);
  return x;
}
// x, but 0 in lanes where a < b. (NaN is not less.)
inline Floats zero_where_less(Floats a, Floats b, Floats x) { return a < b ? 0.0f : x; }
// sum + x y, but sum in lanes where a < b, whatever x and y are there.
inline Floats fma_unless_less(Floats a, Floats b, Floats x, Floats y, Floats sum) {
  return a < b ? sum : fma(x, y, sum);
}
// x, but y in lanes where a == b.
inline Floats pick_where_equal(Floats a, Floats b, Floats y, Floats x) { return a == b ? y : x; }
// Lanes below n from x, the others from y.
inline Floats pick_first(std::int64_t n, Floats x, Floats y) { return n > 0 ? x : y; }
// Bit l: lane l of a is greater than lane l of b.
inline std::uint32_t greater(Floats a, Floats b) { return a > b ? 1u : 0u; }
// The same of all vectors of a tile, side by side.
inline std::uint64_t greater_bits(const Floats (&x)[kTileVectors], Floats bar) {
  std::uint64_t bits = 0;
  for (int c = 0; c < kTileVectors; ++c) bits |= std::uint64_t{greater(x[c], bar)} << (c * kLanes);
  return bits;
}
// The places of the bits set, counted from begin. Memory after them may be written too, up to 64 bytes.
inline void put_places(std::uint64_t bits, std::uint8_t begin, std::uint8_t* to) {
  for (; bits != 0; bits &= bits - 1) {
    *to++ = static_cast<std::uint8_t>(begin + __builtin_ctzll(bits));
  }
}
// x, but y in lanes where a > b.
inline Floats pick_where_greater(Floats a, Floats b, Floats y, Floats x) { return a > b ? y : x; }
// Lanes moved up by one, `first` in lane 0.
inline Floats shifted_in(Floats, float first) { return first; }

inline float sum_of(Floats x) { return x; }
// to[i] = the sum of the lanes of x[i], each in the same order, whatever the others are.
inline void sums_of(const Floats (&x)[kFewKeys], float* to) {
  for (int i = 0; i < kFewKeys; ++i) to[i] = x[i];
}
inline float max_of(Floats x) { return x; }
// to[r]: the sum (the largest) of the lanes of x[r], in all lanes; the sum as sum_of has it.
template <int R>
inline void sum_of_each(const Floats (&x)[R], Floats (&to)[R]) {
  for (int r = 0; r < R; ++r) to[r] = all(sum_of(x[r]));
}
template <int R>
inline void max_of_each(const Floats (&x)[R], Floats (&to)[R]) {
  for (int r = 0; r < R; ++r) to[r] = all(max_of(x[r]));
}
inline float first_of(Floats x) { return x; }
// Asks for the cache line of p, which will be written, if there is a means.
inline void prefetch_to_write(const void*) {}
// rows[r] lane c  <->  rows[c] lane r
inline void transpose(Floats (&)[kLanes]) {}

// Integers of 64 bits, as many as a vector has; + ^ & << >> are the language's own.
using Integers = std::uint64_t;
constexpr int kIntegers = 1;
// The lower halves times m, whole.
inline Integers low_times(Integers x, std::uint32_t m) { return (x & 0xffffffffu) * m; }

}  // namespace
}  // namespace fovea::kernels
