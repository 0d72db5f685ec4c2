// Short rows: where all keys of a sweep are one panel (translations and their sentences), a row's state never
// leaves registers. The same operations in the same order as in the long way: the same bits.
#pragma once

#include <cstdint>

namespace fovea::kernels {
namespace {

// Nothing but out, lse and entropy is asked for, and nothing added or dropped.
inline bool is_short(const State& s) {
  const Sweep& a = s.a;
  return !a.few && !a.known && a.v != nullptr && s.added == nullptr && !s.scaled && !s.keeps &&
         a.top == 0 && s.first == 0 && s.keys <= kPanel && a.dropout.threshold == 0;
}

// What is known of the rows of a tile. Each step is done for all of them before the next: one row's chain from
// scores to 1 / l is long, and theirs do not wait for each other.
struct ShortRow {
  float base, l, spread;
};

template <class Operands, bool kEntropy>
inline void weigh_short(const State& s, int begin, int rows, ShortRow* to) {
  const std::int64_t vectors = vectors_of(s.keys);
  for (int r = 0; r < rows; ++r) {
    const Row& row = s.a.rows[begin + r];
    float* scores = s.w.scores + r * kKeys;
    if (row.first > 0 || row.visible < vectors * kLanes) hide(s, begin + r, 0, vectors, scores);
    Floats most = load(scores);
    for (std::int64_t i = 1; i < vectors; ++i) most = max(load(scores + i * kLanes), most);
    to[r].base = greater(most, all(kHidden)) != 0 ? max_of(most) : 0.0f;
  }
  for (int r = 0; r < rows; ++r) {
    const float* scores = s.w.scores + r * kKeys;
    float* words = s.w.weights + r * kKeys / Operands::kDepth;
    Weigh<kEntropy> weigh{all(s.unit), all(to[r].base), all(0), all(0)};
    for (std::int64_t i = 0; i < vectors; ++i) {
      const Floats p = weigh(load(scores + i * kLanes));
      Operands::store_weights(words + i * kLanes / Operands::kDepth, p);
    }
    to[r].l = sum_of(weigh.total);
    if (kEntropy) to[r].spread = sum_of(weigh.spread);
  }
}

template <class Operands, bool kEntropy>
inline void sweep_short_tile(const State& s, int begin, int end) {
  const Sweep& a = s.a;
  const int rows = static_cast<int>(smaller(kTileRows, end - begin));
  kTiles<Operands>.scores[rows - 1][vectors_of(s.keys) - 1](s.w.q + begin * s.words, s.words,
                                                            s.packed_keys, s.w.scores);
  ShortRow of[kTileRows];
  weigh_short<Operands, kEntropy>(s, begin, rows, of);
  Target targets[kTileRows];
  for (int r = 0; r < rows; ++r) targets[r] = {a.rows[begin + r].out, inverse_of(of[r].l)};
  Blend b{};
  b.p = s.w.weights;
  b.p_step = kKeys / Operands::kDepth;
  b.v_step = s.values_in_place ? a.v_step : s.w.value_step;
  b.keys = s.keys;
  b.targets = targets;
  b.out_type = a.out_type;
  b.width = a.value_width;
  const std::int64_t all = vectors_of(a.value_width);
  for (std::int64_t i = 0; i < all; i += kTileVectors) {
    b.first = i * kLanes;
    const std::int64_t c = smaller(kTileVectors, all - i);
    if (s.values_in_place) {
      b.v = static_cast<const typename Operands::Number*>(a.v) + b.first;
      kTiles<Operands>.whole_blends_in_place[rows - 1][c - 1](b);
    } else {
      b.v = s.packed_values + b.first;
      kTiles<Operands>.whole_blends[rows - 1][c - 1](b);
    }
  }
  for (int r = 0; r < rows; ++r) {
    finish_logs(s, a.rows[begin + r], of[r].base, of[r].l, kEntropy ? of[r].spread : 0);
  }
}

// Rows past the last that sees a key are padding.
inline int rows_that_see(const Sweep& a) {
  int rows = a.row_count;
  while (rows > 0 && a.rows[rows - 1].visible == 0) --rows;
  return rows;
}

inline void see_nothing(const State& s, int r) {
  const Row& row = s.a.rows[r];
  for (std::int64_t e = 0; e < s.a.value_width; e += kLanes) {
    store_out(s.a.out_type, row.out, e, all(0), smaller(kLanes, s.a.value_width - e));
  }
  finish_logs(s, row, 0, 0, 0);
}

// Returns false, with nothing done, where some value is not finite: hidden ones need care then.
template <class Operands>
inline bool sweep_short(State& s) {
  prepare<Operands>(s, 0);
  if (!s.block.finite) return false;
  copy_queries<Operands>(s);
  const int rows = rows_that_see(s.a);
  for (int r = 0; r < rows; r += kTileRows) {
    s.a.entropy ? sweep_short_tile<Operands, true>(s, r, rows)
                : sweep_short_tile<Operands, false>(s, r, rows);
  }
  for (int r = rows; r < s.a.row_count; ++r) see_nothing(s, r);
  return true;
}

}  // namespace
}  // namespace fovea::kernels
