// AVX-512 with tile registers: lanes_avx512_bf16.h, and products of bfloat16 pairs that run in tiles.
//
// A tile is 16 rows of 16 words. One instruction does
//   c[i, j] += sum_k a[i, k] b[k, j]     for 16 x 16 sums and 16 words (32 numbers) k
// in 16 cycles: 1,024 operations a cycle, where dot products of vectors reach 64 or 32. What kernels pack already
// is what tiles are loaded from: queries and weights are rows of words, keys and values are words x lanes.
//
// The instructions are written out: gcc's intrinsics do not say that they read memory, so that stores could be moved
// behind them.
#pragma once

#include <cstring>

#include "kernels/lanes_avx512_bf16.h"
#include "kernels/workspace.h"

namespace fovea::kernels {
namespace {

// The tile registers are the thread's while this lives. Afterwards they are as at first, so that the system has
// nothing to save for the thread. Both together take 220 cycles.
class TileRegisters {
 public:
  TileRegisters() {
    struct alignas(64) Shape {
      std::uint8_t palette = 1;
      std::uint8_t start_row = 0;
      std::uint8_t reserved[14] = {};
      std::uint16_t row_bytes[16] = {};
      std::uint8_t rows[16] = {};
    } shape;
    for (int t = 0; t < 8; ++t) {
      shape.row_bytes[t] = kTileSide * 4;
      shape.rows[t] = kTileSide;
    }
    asm volatile("ldtilecfg %0" : : "m"(shape));
  }
  ~TileRegisters() { asm volatile("tilerelease"); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

// `step`: floats from row to row.
template <int T>
[[gnu::always_inline]] inline void load_tile(const float* from, std::int64_t step) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(T), "r"(from), "r"(step * 4) : "memory");
}
template <int T>
[[gnu::always_inline]] inline void store_tile(float* to, std::int64_t step) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(T), "r"(to), "r"(step * 4) : "memory");
}
template <int T>
[[gnu::always_inline]] inline void clear_tile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(T));
}
template <int C, int A, int B>
[[gnu::always_inline]] inline void multiply_tiles() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
}

// c[i, j] = sum_k a[i, k] b[k, j], or c += that: 32 rows i (or 16), `columns` tiles of lanes j, `depth` tiles of words k.
struct Product {
  const float* a;
  std::int64_t a_step;  // floats from row to row
  const float* b;
  std::int64_t b_step;
  float* c;
  std::int64_t c_step;
  std::int64_t depth, columns;
  bool tall;     // more than 16 rows
  bool goes_on;  // c +=
};

// Products that wait, and run a step at a time between other work: tiles multiply beside what vectors do, as far as
// the processor looks ahead, some 500 instructions. A step is 2 x 2 tiles of sums, in registers 0 to 3, and
// one tile of words of each of the two sides: 4 loads for 4 multiplications.
class Products {
 public:
  void add(const Product& product) { waiting_[count_++] = product; }

  std::int64_t steps_left() const {
    std::int64_t steps = -(column_ / 2 * depth_of(at_) + k_);
    for (int i = at_; i < count_; ++i) steps += (waiting_[i].columns + 1) / 2 * depth_of(i);
    return steps;
  }

  void step() {
    if (at_ == count_) return;
    const Product& p = waiting_[at_];
    if (p.tall) {
      p.columns - column_ > 1 ? step_of<true, true>(p) : step_of<true, false>(p);
    } else {
      p.columns - column_ > 1 ? step_of<false, true>(p) : step_of<false, false>(p);
    }
  }

  void finish() {
    while (at_ < count_) step();
    at_ = count_ = 0;
  }

 private:
  std::int64_t depth_of(int i) const { return i < count_ ? waiting_[i].depth : 0; }

  template <bool kTall, bool kWide>
  [[gnu::always_inline]] void step_of(const Product& p) {
    float* c = p.c + column_ * kTileSide;
    float* c_below = c + kTileSide * p.c_step;
    if (k_ == 0 && p.goes_on) {
      load_tile<0>(c, p.c_step);
      if (kWide) load_tile<1>(c + kTileSide, p.c_step);
      if (kTall) load_tile<2>(c_below, p.c_step);
      if (kTall && kWide) load_tile<3>(c_below + kTileSide, p.c_step);
    } else if (k_ == 0) {
      clear_tile<0>();
      clear_tile<1>();
      clear_tile<2>();
      clear_tile<3>();
    }
    const float* a = p.a + k_ * kTileSide;
    const float* b = p.b + k_ * kTileSide * p.b_step + column_ * kTileSide;
    load_tile<4>(a, p.a_step);
    load_tile<6>(b, p.b_step);
    multiply_tiles<0, 4, 6>();
    if (kWide) load_tile<7>(b + kTileSide, p.b_step);
    if (kWide) multiply_tiles<1, 4, 7>();
    if (kTall) load_tile<5>(a + kTileSide * p.a_step, p.a_step);
    if (kTall) multiply_tiles<2, 5, 6>();
    if (kTall && kWide) multiply_tiles<3, 5, 7>();
    if (++k_ < p.depth) return;
    store_tile<0>(c, p.c_step);
    if (kWide) store_tile<1>(c + kTileSide, p.c_step);
    if (kTall) store_tile<2>(c_below, p.c_step);
    if (kTall && kWide) store_tile<3>(c_below + kTileSide, p.c_step);
    k_ = 0;
    column_ += 2;
    if (column_ < p.columns) return;
    column_ = 0;
    ++at_;
  }

  Product waiting_[2];
  int count_ = 0;
  int at_ = 0;                       // which runs,
  std::int64_t column_ = 0, k_ = 0;  // and its next step
};

// Pairs of bfloat16 whose products run in tiles. What is single, a value that is not finite, is done as for Pair.
struct TilePair : Pair {
  using Queue = Products;
  static constexpr bool kInTiles = true;
  static constexpr std::int64_t kWordStep = kTileSide;
  static constexpr std::int64_t kKeyStep = kTiledKeys;

  // Numbers that are NaN or infinite, the others 0; and the other way.
  static Floats unbounded_part(Floats words) {
    return _mm512_castsi512_ps(
        _mm512_maskz_mov_epi16(unbounded(words), _mm512_castps_si512(words)));
  }
  static Floats finite_part(Floats words) {
    return _mm512_castsi512_ps(
        _mm512_maskz_mov_epi16(_knot_mask32(unbounded(words)), _mm512_castps_si512(words)));
  }
};

}  // namespace
}  // namespace fovea::kernels
