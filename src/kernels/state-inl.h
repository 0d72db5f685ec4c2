// What a sweep knows while it runs, and how it starts and gets a block of keys ready.
#pragma once

#include <math.h>

#include <cstdint>

namespace fovea::kernels {
namespace {

constexpr double kLn2 = 0.6931471805599453;
constexpr double kLog2e = 1.4426950408889634;

struct State {
  const Sweep& a;
  Workspace w;
  double scale;        // of the scores that tiles hold: 1 when a bias is in them
  float unit;          // log2(e) scale
  std::int64_t first;  // the first key that any row sees
  std::int64_t keys;   // the last, plus 1
  Block block;         // the one that is ready now
  bool seen[kKeys];    // of that block, by some row
  const float* added;  // null without mask and bias
  bool wants_weights;  // column sums or whole rows
  bool unpacked;       // keys and values are read where they are
};

struct TileRows {
  int begin;
  int count;           // 1 to kTileRows
  std::int64_t first;  // some row of the tile sees keys [first, keys) of the block by its range
  std::int64_t keys;   // 0: no row sees any
};

inline Kept kept_of(const State& s, int r) {
  const std::int64_t at = r * s.w.top_step;
  return {s.w.top_rank + at, (s.a.factor == nullptr ? s.w.top_rank : s.w.top_score) + at,
          s.w.top_index + at, s.a.top};
}

// Queries copied row by row, so that tiles find them at fixed steps. A negative scale changes their
// sign, so that the largest product is always the largest score.
inline void start(State& s) {
  const Sweep& a = s.a;
  const float sign = a.scale > 0 ? 1.0f : a.scale < 0 ? -1.0f : 0.0f;
  for (int r = 0; r < a.row_count; ++r) {
    for (std::int64_t d = 0; d < a.width; d += kLanes) {
      const std::int64_t n = smaller(kLanes, a.width - d);
      store_first(s.w.q + r * a.width + d, load_first(a.rows[r].q + d, n) * all(sign), n);
    }
    for (std::int64_t e = 0; e < s.w.value_step; e += kLanes) {
      store(s.w.sums + r * s.w.value_step + e, all(0));
    }
    s.w.peak[r] = kHidden;
    s.w.total[r] = 0;
    s.w.spread[r] = 0;
    s.w.anchor[r] = 0;
    if (a.top > 0) clear(kept_of(s, r));
  }
}

inline void prepare(State& s, std::int64_t begin, bool values) {
  const Sweep& a = s.a;
  s.block = Block{begin, smaller(kKeys, s.keys - begin), true};
  if (s.added != nullptr) {
    add_rows(a, s.block, s.w.added, s.seen);
  } else {
    for (std::int64_t j = 0; j < s.block.keys; ++j) s.seen[j] = begin + j >= s.first;
  }
  if (!s.unpacked) pack_keys(a, s.block, s.seen, s.w.keys);
  if (!values) return;
  if (a.v != nullptr && !s.unpacked) {
    s.block.finite = pack_values(a, s.block, s.seen, s.w.values, s.w.value_step);
  }
  if (a.top > 0 && a.factor != nullptr) {
    for (std::int64_t j = 0; j < s.block.keys; ++j) {
      // A factor of 0 ranks last, but it ranks.
      const float factor = a.factor[(begin + j) * a.factor_step];
      s.w.factors[j] = factor > 0 ? log2f(factor) : -1e30f;
    }
    for (std::int64_t j = s.block.keys; j < kKeys; ++j) s.w.factors[j] = 0;
  }
}

// Keys [unseen_by, seen_by) of the block are those that row r sees by its range.
inline std::int64_t seen_by(const State& s, int r) {
  return larger(0, smaller(s.block.keys, s.a.rows[r].visible - s.block.begin));
}
inline std::int64_t unseen_by(const State& s, int r) {
  return larger(0, smaller(s.block.keys, s.a.rows[r].first - s.block.begin));
}

inline TileRows tile_at(const State& s, int begin) {
  TileRows t{begin, static_cast<int>(smaller(kTileRows, s.a.row_count - begin)), kKeys, 0};
  for (int r = 0; r < t.count; ++r) {
    const std::int64_t first = unseen_by(s, begin + r);
    const std::int64_t keys = seen_by(s, begin + r);
    if (first >= keys) continue;
    t.first = smaller(t.first, first);
    t.keys = larger(t.keys, keys);
  }
  return t;
}

}  // namespace
}  // namespace fovea::kernels
