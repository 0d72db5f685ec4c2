// Attention of a few rows in one sweep over the keys. This file is compiled once for each
// instruction set, after a lanes_*.h that says what a vector is.
//
// x_ij = log2(e) s_ij: base 2 makes the exponential cheap. State of a row over the keys so far:
//   m  largest x      l  sum of 2^(x - m)      o[E]  sum of 2^(x - m) v      u  sum of 2^(x - m) (x
//   - m)
// For each block of keys                                                                  done by
//   keys, values, mask and bias are made ready once for all rows                          prepare
//   for each tile of rows
//     s = q k^T; hidden keys become -inf score_rows the K best scores are kept offer m grows to m',
//     and l, u shrink by g = 2^(m - m')                                    raise_peaks p = 2^(x -
//     m'); l += sum p, u += sum p (x - m')                                     weigh o = g o + p v
//     blend_rows
// At the end out = o / l, lse = ln 2 m + ln l, entropy = ln l - ln 2 u / l                finish
// Column sums and whole rows need the final m and l: a second sweep weights_again
#pragma once

#include <math.h>

#include <cstdint>

#include "kernels/sweep.h"
#include "kernels/workspace.h"
// clang-format off: these build on each other
#include "kernels/exp2-inl.h"
#include "kernels/pack-inl.h"
#include "kernels/tiles-inl.h"
#include "kernels/top-inl.h"
// clang-format on

namespace fovea::kernels {
namespace {

constexpr double kLn2 = 0.6931471805599453;
constexpr double kLog2e = 1.4426950408889634;

struct State {
  const Sweep& a;
  Workspace w;
  double scale;        // of the scores that tiles hold: 1 when a bias is in them
  float unit;          // log2(e) scale
  std::int64_t keys;   // the last key that any row sees, plus 1
  Block block;         // the one that is ready now
  bool seen[kKeys];    // of that block, by some row
  const float* added;  // null without mask and bias
  bool wants_weights;  // column sums or whole rows
  bool unpacked;       // keys and values are read where they are
};

struct TileRows {
  int begin;
  int count;          // 1 to kTileRows
  std::int64_t keys;  // of the block, that some row of the tile sees by its length
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
    s.keys = larger(s.keys, a.rows[r].visible);
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
  if (s.added != nullptr) add_rows(a, s.block, s.w.added);
  mark_seen(a, s.block, s.added, s.seen);
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

// Which keys of the block row r sees by its length.
inline std::int64_t seen_by(const State& s, int r) {
  return larger(0, smaller(s.block.keys, s.a.rows[r].visible - s.block.begin));
}

inline TileRows tile_at(const State& s, int begin) {
  TileRows t{begin, static_cast<int>(smaller(kTileRows, s.a.row_count - begin)), 0};
  for (int r = 0; r < t.count; ++r) t.keys = larger(t.keys, seen_by(s, begin + r));
  return t;
}

// scores[r, j] for whole vectors of keys, -inf where row r does not see key j.
inline void score_rows(const State& s, const TileRows& t) {
  const Sweep& a = s.a;
  const std::int64_t of_block = (s.block.keys + kLanes - 1) / kLanes;
  const std::int64_t vectors = (t.keys + kLanes - 1) / kLanes;
  const float* q = s.w.q + t.begin * a.width;
  if (s.unpacked) {
    for (std::int64_t i = 0; i < vectors; ++i) {
      const float* from[kLanes];
      find_lanes(a, s.block, s.seen, i * kLanes, from);
      kTiles.unpacked[t.count - 1](q, a.width, from, s.w.scores + i * kLanes);
    }
  } else {
    for (std::int64_t p = 0; p < vectors; p += kTileVectors) {
      const std::int64_t c = smaller(kTileVectors, of_block - p);
      kTiles.scores[t.count - 1][c - 1](q, a.width, s.w.keys + p * kLanes * a.width,
                                        s.w.scores + p * kLanes);
    }
  }
  for (int r = 0; r < t.count; ++r) {
    float* score = s.w.scores + r * kKeys;
    const std::int64_t seen = seen_by(s, t.begin + r);
    if (s.added != nullptr) {
      const float* added = s.added + (t.begin + r) * kKeys;
      for (std::int64_t j = 0; j < seen; j += kLanes) {
        Floats x = load(score + j);
        const Floats y = load_first(added + j, smaller(kLanes, seen - j));
        const Floats z = a.biased ? fma(x, all(a.scale < 0 ? -a.scale : a.scale), y) : x;
        store(score + j, pick_where_equal(y, all(kHidden), all(kHidden), z));
      }
    }
    for (std::int64_t j = seen / kLanes * kLanes; j < vectors * kLanes; j += kLanes) {
      store(score + j,
            pick_first(larger(0, smaller(kLanes, seen - j)), load(score + j), all(kHidden)));
    }
  }
}

// What is subtracted from scores: the peak, or 0 while a row has seen nothing (-inf - -inf would be
// NaN).
inline Floats base_of(Floats peak) { return pick_where_equal(peak, all(kHidden), all(0), peak); }

// New peaks of the tile's rows, and what their old sums are multiplied with.
inline void raise_peaks(const State& s, const TileRows& t, float* base, float* grow) {
  const std::int64_t vectors = (t.keys + kLanes - 1) / kLanes;
  float most[kMostTileRows];
  for (int r = 0; r < t.count; ++r) {
    const float* score = s.w.scores + r * kKeys;
    Floats top = load(score);
    for (std::int64_t i = 1; i < vectors; ++i) top = max(load(score + i * kLanes), top);
    most[r] = max_of(top);
  }
  for (int r = 0; r < t.count; r += kLanes) {
    const std::int64_t n = smaller(kLanes, t.count - r);
    float* peak = s.w.peak + t.begin + r;
    const Floats old = load_first(peak, n);
    const Floats now = max(load_first(most + r, n), old);
    const Floats subtract = base_of(now);
    const Floats step = (old - subtract) * all(s.unit);
    const Floats shrink = exp2(step);
    if (s.a.factor != nullptr) {  // the first peak
      float* anchor = s.w.anchor + t.begin + r;
      store_first(anchor, pick_where_equal(old, all(kHidden), subtract, load_first(anchor, n)), n);
    }
    store_first(peak, now, n);
    store_first(base + r, subtract, n);
    store_first(grow + r, shrink, n);
    if (s.a.entropy) {  // sum of g p (x + step) = g (u + step l); -126: -inf times 0 would be NaN
      const Floats spread = fma(max(all(-126.0f), step), load_first(s.w.total + t.begin + r, n),
                                load_first(s.w.spread + t.begin + r, n));
      store_first(s.w.spread + t.begin + r, spread * shrink, n);
    }
    float* total = s.w.total + t.begin + r;
    store_first(total, load_first(total, n) * shrink, n);
  }
}

// Scores of one row become weights p = 2^(unit (score - base)); total and spread take them in.
template <bool kEntropy>
inline void weigh(const State& s, int r, float* scores, std::int64_t vectors, float base) {
  const Floats unit = all(s.unit);
  const Floats subtract = all(base);
  Floats total = all(0);
  Floats spread = all(0);
  for (std::int64_t i = 0; i < vectors; ++i) {
    const Floats x = (load(scores + i * kLanes) - subtract) * unit;
    const Floats p = exp2(x);
    store(scores + i * kLanes, p);
    total = total + p;
    if constexpr (kEntropy) spread = fma(p, max(all(-126.0f), x), spread);
  }
  s.w.total[r] += sum_of(total);
  if constexpr (kEntropy) s.w.spread[r] += sum_of(spread);
}

// o = g o + p v where some value is not finite: row by row, leaving out the keys hidden from the
// row (their weight is 0, and 0 times NaN is NaN). The same chain of multiply-adds otherwise.
inline void blend_careful(const State& s, const TileRows& t, const float* grow) {
  for (int r = 0; r < t.count; ++r) {
    const float* added = s.added == nullptr ? nullptr : s.added + (t.begin + r) * kKeys;
    const std::int64_t seen = seen_by(s, t.begin + r);
    float* sums = s.w.sums + (t.begin + r) * s.w.value_step;
    for (std::int64_t e = 0; e < s.w.value_step; e += kLanes) {
      Floats sum = all(grow[r]) * load(sums + e);
      for (std::int64_t j = 0; j < seen; ++j) {
        if (added != nullptr && added[j] == kHidden) continue;
        sum = fma(all(s.w.scores[r * kKeys + j]), load(s.w.values + j * s.w.value_step + e), sum);
      }
      store(sums + e, sum);
    }
  }
}

inline void blend_rows(const State& s, const TileRows& t, const float* grow) {
  if (!s.block.finite) return blend_careful(s, t, grow);
  const std::int64_t vectors = (s.a.value_width + kLanes - 1) / kLanes;
  Blend b{};
  b.p = s.w.scores;
  b.keys = t.keys;
  b.grow = grow;
  b.step = s.w.value_step;
  b.v_step = s.unpacked ? s.a.v_step : s.w.value_step;
  const float* values = s.unpacked ? s.a.v + s.block.begin * s.a.v_step : s.w.values;
  for (std::int64_t p = 0; p < vectors; p += kTileVectors) {
    const std::int64_t c = smaller(kTileVectors, vectors - p);
    b.v = values + p * kLanes;
    b.sums = s.w.sums + t.begin * s.w.value_step + p * kLanes;
    kTiles.blends[t.count - 1][c - 1](b);
  }
}

inline float inverse_total(const State& s, int r) {
  return s.w.total[r] == 0 ? 0.0f : 1.0f / s.w.total[r];  // 0: the row sees no key
}

inline float base_of_row(const State& s, int r) {
  return s.w.peak[r] == kHidden ? 0.0f : s.w.peak[r];
}

// p of a tile once m and l are final: to whole rows, and into the column sums in the order of rows.
// kWeighed: the tile holds 2^x, else scores. Hidden keys add nothing, also in a row of NaN.
template <bool kWeighed>
inline void take_weights(const State& s, const TileRows& t) {
  const Floats hidden = all(kWeighed ? 0 : kHidden);
  for (int r = 0; r < t.count; ++r) {
    const Row& row = s.a.rows[t.begin + r];
    const Floats inverse = all(inverse_total(s, t.begin + r));
    const Floats subtract = all(base_of_row(s, t.begin + r));
    const std::int64_t seen = seen_by(s, t.begin + r);
    for (std::int64_t j = 0; j < seen; j += kLanes) {
      const std::int64_t n = smaller(kLanes, seen - j);
      const Floats x = load(s.w.scores + r * kKeys + j);
      Floats p = (kWeighed ? x : exp2((x - subtract) * all(s.unit))) * inverse;
      p = pick_where_equal(x, hidden, all(0), p);
      if (row.whole != nullptr) store_first(row.whole + s.block.begin + j, p, n);
      if (s.a.received != nullptr) {
        float* to = s.a.received + s.block.begin + j;
        const Floats old = load_first(to, n);
        const Floats sum = fma(p, all(row.weight), old);
        store_first(to, pick_where_equal(x, hidden, old, sum), n);
      }
    }
  }
}

inline void weights_again(const State& s, const TileRows& t) {
  score_rows(s, t);
  take_weights<false>(s, t);
}

// The same straight after the first sweep, where one block holds all keys.
inline void weights_at_once(const State& s, const TileRows& t) {
  bool ordinary = true;
  for (int r = 0; r < t.count; ++r) ordinary = ordinary && s.w.total[t.begin + r] < -kHidden;
  if (!ordinary) return weights_again(s, t);  // NaN: 2^x does not tell what is hidden
  take_weights<true>(s, t);
}

inline void sweep_tile(const State& s, const TileRows& t) {
  float base[kMostTileRows];
  float grow[kMostTileRows];
  const std::int64_t vectors = (t.keys + kLanes - 1) / kLanes;
  score_rows(s, t);
  raise_peaks(s, t, base, grow);
  if (s.a.top > 0) {
    const float* factors = s.a.factor == nullptr ? nullptr : s.w.factors;
    for (int r = 0; r < t.count; ++r) {
      const Offer offered{s.w.scores + r * kKeys, factors, s.w.anchor[t.begin + r], s.unit,
                          s.block.begin,          vectors};
      offer(kept_of(s, t.begin + r), offered);
    }
  }
  for (int r = 0; r < t.count; ++r) {
    float* scores = s.w.scores + r * kKeys;
    if (s.a.entropy) {
      weigh<true>(s, t.begin + r, scores, vectors, base[r]);
    } else {
      weigh<false>(s, t.begin + r, scores, vectors, base[r]);
    }
  }
  if (s.a.v != nullptr) blend_rows(s, t, grow);
  if (s.wants_weights && s.keys <= kKeys) weights_at_once(s, t);
}

inline void finish_top(const State& s, int r) {
  const Kept kept = kept_of(s, r);
  const Row& row = s.a.rows[r];
  const Floats unit = all(s.unit);
  for (std::int64_t i = 0; i < kept.count; i += kLanes) {
    const std::int64_t n = smaller(kLanes, kept.count - i);
    const Floats p = exp2((load_first(kept.score + i, n) - all(base_of_row(s, r))) * unit);
    store_first(row.top_weight + i, p * all(inverse_total(s, r)), n);
  }
  for (std::int64_t i = 0; i < kept.count; ++i) {
    row.top_index[i] = index_at(kept, i);
    if (row.top_index[i] < 0) row.top_weight[i] = 0;
  }
}

inline void finish(const State& s) {
  for (int r = 0; r < s.a.row_count; ++r) {
    const Row& row = s.a.rows[r];
    const float l = s.w.total[r];
    const double log_total = row.lse != nullptr || row.entropy != nullptr ? log(double{l}) : 0;
    if (row.out != nullptr) {
      const Floats inverse = all(inverse_total(s, r));
      const float* sums = s.w.sums + r * s.w.value_step;
      for (std::int64_t e = 0; e < s.a.value_width; e += kLanes) {
        store_first(row.out + e, load(sums + e) * inverse, smaller(kLanes, s.a.value_width - e));
      }
    }
    if (row.lse != nullptr) {
      const double peak = s.w.peak[r] * s.scale;
      *row.lse = l == 0 ? kHidden : static_cast<float>(peak + log_total);
    }
    if (row.entropy != nullptr) {
      const double h = log_total - kLn2 * s.w.spread[r] / l;
      *row.entropy = l == 0 || h < 0 ? 0.0f : static_cast<float>(h);
    }
    if (s.a.top > 0) finish_top(s, r);
  }
}

inline void for_each_tile(const State& s, void (*f)(const State&, const TileRows&)) {
  for (int r = 0; r < s.a.row_count; r += kTileRows) {
    const TileRows t = tile_at(s, r);
    if (t.keys > 0) f(s, t);
  }
}

// Few rows that all see the same keys: nothing is hidden from one and seen by another, and each key
// is used once, so that copies would cost more than they save (decoding).
inline bool reads_in_place(const Sweep& a) {
  if (a.row_count > kTileRows || a.masked || a.biased) return false;
  if (a.v != nullptr && a.value_width % kLanes != 0) return false;
  for (int r = 1; r < a.row_count; ++r) {
    if (a.rows[r].visible != a.rows[0].visible) return false;
  }
  return true;
}

void sweep(const Sweep& a) {
  State s{a, {}, 0, 0, 0, {}, {}, nullptr, a.received != nullptr || a.wholes, reads_in_place(a)};
  for (int r = 0; r < a.row_count; ++r) s.keys = larger(s.keys, a.rows[r].visible);
  s.w = workspace(a, a.row_count, s.keys, a.scratch);
  s.added = a.masked || a.biased ? s.w.added : nullptr;
  // With a bias the scores are scaled before it is added. A scale of 0 is in the queries already
  // (start): 0 times the -inf of hidden keys would be NaN.
  s.scale = a.biased || a.scale == 0 ? 1 : a.scale < 0 ? -a.scale : a.scale;
  s.unit = static_cast<float>(s.scale * kLog2e);
  start(s);
  for (std::int64_t begin = 0; begin < s.keys; begin += kKeys) {
    prepare(s, begin, true);
    for_each_tile(s, sweep_tile);
  }
  finish(s);
  if (!s.wants_weights || s.keys <= kKeys) return;
  for (std::int64_t begin = 0; begin < s.keys; begin += kKeys) {
    prepare(s, begin, false);
    for_each_tile(s, weights_again);
  }
}

}  // namespace
}  // namespace fovea::kernels
