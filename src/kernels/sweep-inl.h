// Attention of a few rows in one sweep over the keys. This file is compiled once for each
// instruction set, after a lanes_*.h that says what a vector is.
//
// State of a row over the keys so far, with x = unit (s - m) and unit = scale log2(e): base 2
// makes the exponential cheap, and the largest weight is 1 exactly.
//   m  largest s      l  sum of 2^x      o[E]  sum of 2^x v      u  sum of 2^x x
//
// For each block of keys
//   prepare         keys, values, mask and bias are made ready, once for all rows
//   for each tile of rows
//     score_rows    s = q k^T; hidden keys become -inf
//     raise_peaks   m grows to m', and l, u shrink by g = 2^(unit (m - m'))
//     offer         the K best scores are kept
//     weigh         p = 2^x; l += sum p, u += sum p x
//     blend_rows    o = g o + p v
// At the end
//   finish          out = o / l, lse = scale m + ln l, entropy = ln l - ln 2 u / l
//   weights_again   column sums and whole rows need the final m and l: scores computed anew
#pragma once

#include <cstdint>

#include "kernels/sweep.h"
#include "kernels/workspace.h"
// These build on each other:
// clang-format off
#include "kernels/exp2-inl.h"
#include "kernels/tiles-inl.h"
#include "kernels/pack-inl.h"
#include "kernels/top-inl.h"
#include "kernels/state-inl.h"
#include "kernels/softmax-inl.h"
#include "kernels/results-inl.h"
// clang-format on

namespace fovea::kernels {
namespace {

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
    if (a.rows[r].first != a.rows[0].first) return false;
    if (a.rows[r].visible != a.rows[0].visible) return false;
  }
  return true;
}

void sweep(const Sweep& a) {
  State s{
      .a = a, .wants_weights = a.received != nullptr || a.wholes, .unpacked = reads_in_place(a)};
  s.first = INT64_MAX;
  for (int r = 0; r < a.row_count; ++r) {
    if (a.rows[r].visible == 0) continue;
    s.first = smaller(s.first, a.rows[r].first);
    s.keys = larger(s.keys, a.rows[r].visible);
  }
  const std::int64_t first_block = s.keys == 0 ? 0 : s.first / kKeys * kKeys;
  s.w = workspace(a, a.row_count, s.keys, a.scratch);
  s.added = a.masked || a.biased ? s.w.added : nullptr;
  // With a bias the scores are scaled before it is added. A scale of 0 is in the queries already
  // (start): 0 times the -inf of hidden keys would be NaN.
  s.scale = a.biased || a.scale == 0 ? 1 : a.scale < 0 ? -a.scale : a.scale;
  s.unit = static_cast<float>(s.scale * kLog2e);
  start(s);
  for (std::int64_t begin = first_block; begin < s.keys; begin += kKeys) {
    prepare(s, begin, true);
    for_each_tile(s, sweep_tile);
  }
  finish(s);
  if (!s.wants_weights || s.keys <= kKeys) return;
  for (std::int64_t begin = first_block; begin < s.keys; begin += kKeys) {
    prepare(s, begin, false);
    for_each_tile(s, weights_again);
  }
}

}  // namespace
}  // namespace fovea::kernels
