// What a sweep knows while it runs, and how rows start.
#pragma once

#include <math.h>

#include <cstdint>

namespace fovea::kernels {
namespace {

constexpr double kLn2 = 0.6931471805599453;
constexpr double kLog2e = 1.4426950408889634;

// How far x = unit (s - base) may rise above 0 before the base moves: weights up to 2^8. Without it
// nearly every block would move the bases of some rows, and all sums with them.
constexpr float kReach = 8.0f;

struct State {
  const Sweep& a;
  Workspace w;
  std::int64_t words;     // of a query: words_of(D)
  double scale;           // of the scores that tiles hold: 1 where they are scaled already
  float unit;             // log2(e) scale
  float reach;            // kReach in units of scores
  std::int64_t first;     // the first key that any row sees
  std::int64_t keys;      // the last, plus 1
  std::int64_t blocks;    // of keys, from the one that has `first`
  Block block;            // the one that is ready now
  std::int64_t block_at;  // its number, from 0
  bool* seen;             // [kKeys] of that block, by some row
  float* packed_keys;     // of that block
  float* packed_values;
  const float* q;  // of short rows: words, from row to row q_step
  std::int64_t q_step;
  int ahead = 0;                   // which piece of what the next sweep needs is asked for,
  const char* ahead_at = nullptr;  // from where on,
  std::int64_t ahead_step = 0;  // and the bytes from line to line; 0: nothing is, yet or any more
  float* index;                 // [kKeys] of its keys: int32 in the memory of floats; with top only
  const float* added;           // null without mask and bias
  bool scaled;                  // scores are scaled before something is added to them
  bool keeps;                   // weights are kept, for column sums or whole rows
  bool values_in_place;         // read where they are, not packed
};

// Words of `width` numbers: as many, or half, in whole steps.
template <class Operands>
inline std::int64_t words_of(std::int64_t width) {
  return rounded_up((width + Operands::kDepth - 1) / Operands::kDepth, Operands::kWordStep);
}

struct TileRows {
  int begin;
  int count;           // 1 to kTileRows, or what else a tile was said to have at most
  std::int64_t first;  // some row of the tile sees keys [first, keys) of the block by its range
  std::int64_t keys;   // 0: no row sees any
  std::int64_t first_of_all;  // every row sees keys [first_of_all, keys_of_all), if any
  std::int64_t keys_of_all;
};

inline Kept kept_of(const State& s, int r) {
  const std::int64_t at = r * s.w.top_step;
  return {s.w.top_rank + at, (s.a.factor == nullptr ? s.w.top_rank : s.w.top_score) + at,
          s.w.top_index + at, s.a.top};
}

// Keys [unseen_by, seen_by) of the block are those that row r sees by its range.
inline std::int64_t seen_by(const State& s, int r) {
  return larger(0, smaller(s.block.keys, s.a.rows[r].visible - s.block.begin));
}
inline std::int64_t unseen_by(const State& s, int r) {
  return larger(0, smaller(s.block.keys, s.a.rows[r].first - s.block.begin));
}

inline TileRows tile_at(const State& s, int begin, int most = kTileRows) {
  TileRows t{begin, static_cast<int>(smaller(most, s.a.row_count - begin)), kKeys, 0, 0, kKeys};
  for (int r = 0; r < t.count; ++r) {
    const std::int64_t first = unseen_by(s, begin + r);
    const std::int64_t keys = seen_by(s, begin + r);
    t.first_of_all = larger(t.first_of_all, first);
    t.keys_of_all = smaller(t.keys_of_all, keys);
    if (first >= keys) continue;
    t.first = smaller(t.first, first);
    t.keys = larger(t.keys, keys);
  }
  return t;
}

// The bar of a row is the K-th best score so far. With factors ranks are not in the order of scores: no
// score is too low.
inline void set_bar(const State& s, int r) {
  if (s.a.factor == nullptr) s.w.bar[r] = s.w.top_rank[r * s.w.top_step + s.a.top - 1];
}

// Queries copied row by row, so that tiles find them at fixed steps. A negative scale changes their
// sign, so that the largest product is always the largest score.
template <class Operands>
inline void copy_queries(const State& s) {
  using Number = typename Operands::Number;
  const Sweep& a = s.a;
  constexpr std::int64_t kStep = kLanes * Operands::kDepth;
  const float sign = a.scale > 0 ? 1.0f : a.scale < 0 ? -1.0f : 0.0f;
  for (int r = 0; r < a.row_count; ++r) {
    const auto* q = static_cast<const Number*>(a.rows[r].q);
    float* to = s.w.q + r * s.words;
    std::int64_t d = 0;
    for (; d + kStep <= a.width; d += kStep) {
      store(to + d / Operands::kDepth, Operands::with_sign(Operands::words(q + d), sign));
    }
    if (d < a.width) {
      const std::int64_t at = d / Operands::kDepth;
      store_first(to + at,
                  Operands::with_sign(Operands::words(q + d, smaller(kStep, a.width - d)), sign),
                  smaller(kLanes, s.words - at));
    }
  }
}

template <class Operands>
inline void start(const State& s) {
  const Sweep& a = s.a;
  copy_queries<Operands>(s);
  for (int r = 0; r < a.row_count; ++r) {
    float* sums = s.w.sums + r * s.w.value_step;
    for (std::int64_t e = 0; e < s.w.value_step; e += kLanes) store(sums + e, all(0));
    store(s.w.total + r * kLanes, all(0));
    if (a.entropy) store(s.w.spread + r * kLanes, all(0));
    s.w.base[r] = 0;
    s.w.limit[r] = kHidden;
    s.w.anchor[r] = 0;
    if (a.known) {  // p = 2^(unit (s - base)) at once
      s.w.base[r] = static_cast<float>(a.rows[r].known_lse / s.scale);
      s.w.limit[r] = -kHidden;
      s.w.anchor[r] = s.w.base[r];
    }
    if (a.top == 0) continue;
    clear(kept_of(s, r));
    s.w.bar[r] = kHidden;
  }
}

}  // namespace
}  // namespace fovea::kernels
