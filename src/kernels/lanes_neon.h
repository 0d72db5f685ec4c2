// 4 floats of AArch64's NEON, which every such CPU has. See lanes_scalar.h for what each function means.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "fovea/half.h"

namespace fovea::kernels {
namespace {

using Floats = float32x4_t;
constexpr int kLanes = 4;

// Register tile: 24 sums, 4 loads and a broadcast of 32 registers; 10 loads for 24 multiply-adds.
constexpr int kTileRows = 6;
constexpr int kTileVectors = 4;
// Keys whose products are summed over the lanes together (sums_of); divides a tile's keys.
constexpr int kFewKeys = 4;

// All bits set in the lanes below n.
inline uint32x4_t first(std::int64_t n) {
  const int32x4_t lane = {0, 1, 2, 3};
  return vcltq_s32(lane, vdupq_n_s32(static_cast<std::int32_t>(n)));
}

// There are no masked loads and stores: a few lanes move one by one.
inline Floats load(const float* p) { return vld1q_f32(p); }
inline void store(float* p, Floats x) { vst1q_f32(p, x); }
inline Floats load_first(const float* p, std::int64_t n) {
  if (n == kLanes) return load(p);
  Floats x = vdupq_n_f32(0);
  if (n > 0) x = vld1q_lane_f32(p, x, 0);
  if (n > 1) x = vld1q_lane_f32(p + 1, x, 1);
  if (n > 2) x = vld1q_lane_f32(p + 2, x, 2);
  return x;
}
inline void store_first(float* p, Floats x, std::int64_t n) {
  if (n == kLanes) return store(p, x);
  if (n > 0) vst1q_lane_f32(p, x, 0);
  if (n > 1) vst1q_lane_f32(p + 1, x, 1);
  if (n > 2) vst1q_lane_f32(p + 2, x, 2);
}
inline Floats all(float x) { return vdupq_n_f32(x); }
inline Floats ramp() { return Floats{0, 1, 2, 3}; }

inline uint16x4_t first_halves(const std::uint16_t* p, std::int64_t n) {
  if (n == kLanes) return vld1_u16(p);
  uint16x4_t halves = vdup_n_u16(0);
  if (n > 0) halves = vld1_lane_u16(p, halves, 0);
  if (n > 1) halves = vld1_lane_u16(p + 1, halves, 1);
  if (n > 2) halves = vld1_lane_u16(p + 2, halves, 2);
  return halves;
}
inline void store_first_halves(std::uint16_t* p, uint16x4_t halves, std::int64_t n) {
  if (n == kLanes) return vst1_u16(p, halves);
  if (n > 0) vst1_lane_u16(p, halves, 0);
  if (n > 1) vst1_lane_u16(p + 1, halves, 1);
  if (n > 2) vst1_lane_u16(p + 2, halves, 2);
}
inline Floats widened(const BFloat16*, uint16x4_t halves) {
  return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(halves), 16));
}
inline Floats widened(const Float16*, uint16x4_t halves) {
  return vcvt_f32_f16(vreinterpret_f16_u16(halves));
}
template <class Half>
inline Floats load(const Half* p) {
  return widened(p, vld1_u16(&p->bits));
}
template <class Half>
inline Floats load_first(const Half* p, std::int64_t n) {
  return widened(p, first_halves(&p->bits, n));
}
inline void store_first(BFloat16* p, Floats x, std::int64_t n) {
  const uint32x4_t u = vreinterpretq_u32_f32(x);
  const uint32x4_t high = vshrq_n_u32(u, 16);
  const uint32x4_t even = vandq_u32(high, vdupq_n_u32(1));
  const uint32x4_t half = vaddq_u32(even, vdupq_n_u32(0x7fff));
  const uint32x4_t rounded = vshrq_n_u32(vaddq_u32(u, half), 16);
  const uint32x4_t nan = vorrq_u32(high, vdupq_n_u32(0x40));
  store_first_halves(&p->bits, vmovn_u32(vbslq_u32(vceqq_f32(x, x), rounded, nan)), n);
}
inline void store_first(Float16* p, Floats x, std::int64_t n) {
  store_first_halves(&p->bits, vreinterpret_u16_f16(vcvt_f16_f32(x)), n);
}

inline Floats fma(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
// By compare and select: the instructions vmax and vmaxnm have other rules for NaN.
inline Floats max(Floats a, Floats b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
inline Floats min(Floats a, Floats b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
inline Floats power_of_bits(Floats x) {
  return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(x), 23));
}
inline Floats zero_where_less(Floats a, Floats b, Floats x) {
  return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x), vcltq_f32(a, b)));
}
inline Floats fma_unless_less(Floats a, Floats b, Floats x, Floats y, Floats sum) {
  return vbslq_f32(vcltq_f32(a, b), sum, vfmaq_f32(sum, x, y));
}
inline Floats pick_where_equal(Floats a, Floats b, Floats y, Floats x) {
  return vbslq_f32(vceqq_f32(a, b), y, x);
}
inline Floats pick_first(std::int64_t n, Floats x, Floats y) { return vbslq_f32(first(n), x, y); }
inline std::uint32_t greater(Floats a, Floats b) {
  const uint32x4_t bit = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vcgtq_f32(a, b), bit));
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
  return vbslq_f32(vcgtq_f32(a, b), y, x);
}
inline Floats shifted_in(Floats x, float first_lane) {
  return vextq_f32(vdupq_n_f32(first_lane), x, 3);
}

inline float sum_of(Floats x) { return vaddvq_f32(x); }
// Pairs of lanes, then pairs of pairs.
inline void sums_of(const Floats (&x)[kFewKeys], float* to) {
  store(to, vpaddq_f32(vpaddq_f32(x[0], x[1]), vpaddq_f32(x[2], x[3])));
}
inline float max_of(Floats x) { return vmaxvq_f32(x); }
template <int R>
inline void sum_of_each(const Floats (&x)[R], Floats (&to)[R]) {
  for (int r = 0; r < R; ++r) to[r] = all(sum_of(x[r]));
}
template <int R>
inline void max_of_each(const Floats (&x)[R], Floats (&to)[R]) {
  for (int r = 0; r < R; ++r) to[r] = all(max_of(x[r]));
}
inline float first_of(Floats x) { return vgetq_lane_f32(x, 0); }

inline void prefetch_to_write(const void* p) { __builtin_prefetch(p, 1, 3); }

// Pairs of floats, then pairs of pairs.
[[gnu::always_inline]] inline void transpose(Floats (&rows)[kLanes]) {
  const float64x2_t a = vreinterpretq_f64_f32(vtrn1q_f32(rows[0], rows[1]));
  const float64x2_t b = vreinterpretq_f64_f32(vtrn2q_f32(rows[0], rows[1]));
  const float64x2_t c = vreinterpretq_f64_f32(vtrn1q_f32(rows[2], rows[3]));
  const float64x2_t d = vreinterpretq_f64_f32(vtrn2q_f32(rows[2], rows[3]));
  rows[0] = vreinterpretq_f32_f64(vtrn1q_f64(a, c));
  rows[1] = vreinterpretq_f32_f64(vtrn1q_f64(b, d));
  rows[2] = vreinterpretq_f32_f64(vtrn2q_f64(a, c));
  rows[3] = vreinterpretq_f32_f64(vtrn2q_f64(b, d));
}

using Integers = uint64x2_t;
constexpr int kIntegers = 2;
inline Integers low_times(Integers x, std::uint32_t m) {
  return vmull_u32(vmovn_u64(x), vdup_n_u32(m));
}

}  // namespace
}  // namespace fovea::kernels
