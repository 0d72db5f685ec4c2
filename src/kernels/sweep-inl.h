// Attention of a few rows in one sweep over the keys. This file is compiled once for each
// instruction set, after a lanes_*.h that says what a vector is.
//
// State of a row over the keys so far, with x = unit (s - b) and unit = scale log2(e): base 2
// makes the exponential cheap.
//   b  a score not far below the largest      l  sum of 2^x      o[E]  sum of 2^x v      u  sum of 2^x x
//
// For each block of keys
//   prepare            keys, values, mask and bias are made ready, once for all rows
//   for each tile of rows
//     for each panel of keys
//       weigh_full_tile  s = q k^T, p = 2^x; l += sum p, u += sum p x: all in registers, unless
//       weigh_panel      something is hidden, added, or above what the rows were ready for
//     offer_tile         the K best scores are kept
//     blend_rows       o += p v
// At the end
//   finish             out = o / l, lse = scale b + ln l, entropy = ln l - ln 2 u / l
//   take_weights       column sums and whole rows, from the 2^x of all keys, which were kept for them
#pragma once

#include <cstdint>

#include "kernels/sweep.h"
#include "kernels/workspace.h"
// These build on each other:
// clang-format off
#include "kernels/exp2-inl.h"
#include "kernels/operands-inl.h"
#include "kernels/tiles-inl.h"
#include "kernels/pack-inl.h"
#include "kernels/top-inl.h"
#include "kernels/state-inl.h"
#include "kernels/prepare-inl.h"
#include "kernels/dropout-inl.h"
#include "kernels/softmax-inl.h"
#include "kernels/parts-inl.h"
#include "kernels/results-inl.h"
#include "kernels/short-inl.h"
#include "kernels/tiled-inl.h"
// clang-format on

namespace fovea::kernels {
namespace {

// The weights as they meet the values: less what is dropped. Highlights keep what they were.
template <class Operands>
[[gnu::noinline]] Weights dropped(const State& s, const Weights& weights, const TileRows& t) {
  constexpr int kDepth = Operands::kDepth;
  const std::int64_t first = t.first / 4 * 4;
  for (int r = 0; r < t.count; ++r) {
    const std::int64_t at = (r * kKeys + first) / kDepth;
    drop<4 / kDepth>(s.a.dropout, s.a.rows[t.begin + r], s.block.begin + first,
                     s.block.begin + rounded_up(t.keys, 4), weights.words + at, s.w.dropped + at);
  }
  return {s.w.dropped, nullptr};
}

template <class Operands, bool kEntropy, bool kTop>
inline void sweep_tile(const State& s, const TileRows& t) {
  const Weights weights = weights_of<Operands>(s, t);
  const bool full = t.count == kTileRows && s.added == nullptr && !s.scaled && !s.a.few;
  const std::int64_t of_block = rounded_up(s.block.keys, kLanes);
  const std::int64_t first = t.first / kPanel * kPanel;
  Better better[kTileRows];  // with kTop
  for (std::int64_t from = first; from < t.keys; from += kPanel) {
    // Scores of a panel lie where those of the last lay (in L1), unless they are needed once more.
    float* scores = s.w.scores + (kTop ? from : 0);
    const std::int64_t vectors = smaller(kPanel, of_block - from) / kLanes;
    if (full && from >= t.first_of_all && from + kPanel <= t.keys_of_all) {
      if (weigh_full_tile<Operands, kEntropy, kTop>(s, weights, t.begin, from, scores, better)) {
        continue;
      }
    } else {
      score_panel<Operands>(s, t, from, vectors, scores);
      const bool hides = from < t.first_of_all || from + vectors * kLanes > t.keys_of_all;
      for (int r = 0; r < t.count; ++r) {
        float* row = scores + r * kKeys;
        if (s.added != nullptr || s.scaled) add(s, t.begin + r, from, vectors, row);
        if (hides) hide(s, t.begin + r, from, vectors, row);
      }
    }
    weigh_panel<Operands, kEntropy>(s, weights, t, first, from, vectors, scores, better);
  }
  const bool drops = s.a.v != nullptr && s.a.dropout.threshold > 0;
  const Weights met = drops ? dropped<Operands>(s, weights, t) : weights;
  if (s.a.v != nullptr && s.values_in_place) blend_in_place<Operands>(s, met, t);
  if constexpr (kTop) offer_tile(s, t, s.w.scores, better, first);
  if (s.keeps) {
    for (int r = t.begin; r < t.begin + t.count; ++r) {  // a row that saw nothing yet kept nothing
      s.w.kept_base[s.block_at * s.a.row_count + r] =
          s.w.limit[r] == kHidden ? kHidden : s.w.base[r];
    }
  }
  if (s.a.v == nullptr || s.values_in_place) return;
  if (s.block.finite) {
    blend_rows<Operands>(s, met, t, t.first, t.keys);
  } else {
    blend_careful<Operands>(s, met, t);
  }
}

// The first `rows` rows see the same keys: nothing is hidden from one and seen by another.
inline bool sees_alike(const Sweep& a, int rows) {
  if (a.masked || a.biased) return false;
  for (int r = 1; r < rows; ++r) {
    if (a.rows[r].first != a.rows[0].first) return false;
    if (a.rows[r].visible != a.rows[0].visible) return false;
  }
  return true;
}

// Blocks [begin, end), counted from that of the first key.
template <class Operands>
inline void sweep_blocks(State& s, std::int64_t begin, std::int64_t end) {
  const Sweep& a = s.a;
  for (s.block_at = begin; s.block_at < end; ++s.block_at) {
    prepare<Operands>(s, (s.first / kKeys + s.block_at) * kKeys);
    for (int r = 0; r < a.row_count; r += kTileRows) {
      const TileRows t = tile_at(s, r);
      if (t.keys == 0) continue;
      if (a.top > 0) {
        a.entropy ? sweep_tile<Operands, true, true>(s, t)
                  : sweep_tile<Operands, false, true>(s, t);
      } else {
        a.entropy ? sweep_tile<Operands, true, false>(s, t)
                  : sweep_tile<Operands, false, false>(s, t);
      }
    }
  }
}

// Rows of few queries: part by part, each from nothing; then all together.
template <class Operands>
inline void sweep_parts(State& s) {
  const Sweep& a = s.a;
  float* partials = a.stage == Sweep::Stage::kWhole ? s.w.partials : a.partials;
  for (std::int64_t part = 0; part < parts_of(s.keys); ++part) {
    if (a.stage == Sweep::Stage::kMerge) break;
    if (a.stage == Sweep::Stage::kPart && part != a.part) continue;
    const std::int64_t first = s.first / kKeys;
    const auto block = [&](std::int64_t at) {
      return larger(0, smaller(s.blocks, at * (kPartKeys / kKeys) - first));
    };
    start<Operands>(s);
    sweep_blocks<Operands>(s, block(part), block(part + 1));
    put_partials(s, partials, part);
  }
  if (a.stage != Sweep::Stage::kPart) absorb_partials<Operands>(s, partials);
}

template <class Operands>
void sweep(const Sweep& a) {
  bool seen[kKeys];  // not within State: that would set them to 0 first
  float index[kKeys];
  State s{.a = a, .words = words_of<Operands>(a.width), .seen = seen, .index = index};
  s.first = INT64_MAX;
  for (int r = 0; r < a.row_count; ++r) {
    if (a.rows[r].visible == 0) continue;
    s.first = smaller(s.first, a.rows[r].first);
    s.keys = larger(s.keys, a.rows[r].visible);
  }
  if (s.keys == 0) s.first = 0;
  s.blocks = (s.keys + kKeys - 1) / kKeys - s.first / kKeys;
  s.w = workspace(a, a.row_count, s.first, s.keys, a.scratch);
  for (std::int64_t i = 0; !a.again && i < a.packed / kKeys; ++i) s.w.ready[i] = kNotPacked;
  s.added = a.masked || a.biased ? s.w.added : nullptr;
  s.keeps = a.columns || a.wholes;
  // With something to add the scores are scaled before. A scale of 0 is in the queries already
  // (start): 0 times the -inf of hidden keys would be NaN.
  s.scaled = a.biased || a.sloped;
  s.scale = s.scaled || a.scale == 0 ? 1 : a.scale < 0 ? -a.scale : a.scale;
  s.unit = static_cast<float>(s.scale * kLog2e);
  s.reach = kReach / s.unit;
  // Copies cost more than they save where each value is used once (decoding), or few times. Those that stay packed
  // are for all sweeps.
  const bool few_rows =
      a.row_count <= kTileRows || (a.type == Number::kFloat32 && a.row_count <= 8 * kTileRows);
  const bool in_place = few_rows && a.packed == 0 && a.value_width % kLanes == 0;
  if constexpr (Operands::kInTiles) {
    start<Operands>(s);
    sweep_in_tiles<Operands>(s);
  } else {
    if (is_short(s)) {
      const int rows = rows_that_see(a);
      s.values_in_place = in_place && sees_alike(a, rows);
      if (sweep_short<Operands>(s, rows)) return;
    }
    s.values_in_place = in_place && sees_alike(a, a.row_count);
    if (a.few && (a.stage != Sweep::Stage::kWhole || s.keys > kPartKeys)) {
      sweep_parts<Operands>(s);
    } else {
      start<Operands>(s);
      sweep_blocks<Operands>(s, 0, s.blocks);
    }
  }
  if (a.stage == Sweep::Stage::kPart) return;
  finish(s);
  if (s.keeps) take_weights(s);
}

// 16-bit numbers by way of float32.
inline void sweep_widened(const Sweep& a) {
  switch (a.type) {
    case Number::kFloat32: return sweep<Single<float>>(a);
    case Number::kBFloat16: return sweep<Single<BFloat16>>(a);
    case Number::kFloat16: return sweep<Single<Float16>>(a);
  }
}

}  // namespace
}  // namespace fovea::kernels
