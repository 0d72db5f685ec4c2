// Short rows: where all keys of a sweep are one panel (translations and their sentences), a row's scores and state
// never leave registers. The same operations in the same order as in the long way: the same bits.
#pragma once

#include <cstdint>

namespace fovea::kernels {
namespace {

// Nothing but out, lse, entropy and top keys are asked for, and nothing added or dropped.
inline bool is_short(const State& s) {
  const Sweep& a = s.a;
  return !a.few && !a.known && a.v != nullptr && s.added == nullptr && !s.scaled && !s.keeps &&
         s.first == 0 && s.keys <= kPanel && a.dropout.threshold == 0;
}

// Rows past the last that sees a key are padding.
inline int rows_that_see(const Sweep& a) {
  int rows = a.row_count;
  while (rows > 0 && a.rows[rows - 1].visible == 0) --rows;
  return rows;
}

// A step of a product asks for one cache line of the next sweep. Batches of sentences do not stay in near caches,
// and a sweep is over before the processor itself has seen where it reads.
inline void look_ahead(State& s) {
  s.ahead_at += s.words * s.ahead_step;
  while (s.ahead < Sweep::kAheads && (s.ahead_step == 0 || s.ahead_at >= s.a.ahead[s.ahead].end)) {
    if (s.ahead_step != 0) ++s.ahead;
    if (s.ahead == Sweep::kAheads) break;
    s.ahead_at = s.a.ahead[s.ahead].begin;
    s.ahead_step = kLine;
  }
  if (s.ahead < Sweep::kAheads) return;
  s.ahead_at = reinterpret_cast<const char*>(s.w.scores);  // nothing is left: what is here already
  s.ahead_step = 0;
}

// Scores of keys that the row does not see by its range become -inf.
template <int C>
[[gnu::always_inline]] inline void hide_vectors(const Row& row, Floats (&scores)[C]) {
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c) {
    const auto lanes_until = [&](std::int64_t key) {
      return larger(0, smaller(kLanes, key - c * kLanes));
    };
    scores[c] = pick_first(lanes_until(row.visible), scores[c], all(kHidden));
    if (row.first > 0) scores[c] = pick_first(lanes_until(row.first), all(kHidden), scores[c]);
  }
}

// Weights of R rows on the C vectors of keys that there are. Each step is done for all rows before the next: one
// row's chain from scores to l is long, and theirs do not wait for each other.
template <class Operands, bool kEntropy, int R, int C>
void weigh_short(const State& s, int begin) {
  Floats sum[R][C];
  multiply<Operands>(s.q + begin * s.q_step, s.q_step, s.words, s.packed_keys, sum,
                     [&](std::int64_t d) { __builtin_prefetch(s.ahead_at + d * s.ahead_step); });
  Floats most[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    const Row& row = s.a.rows[begin + r];
    if (row.first > 0 || row.visible < C * kLanes) hide_vectors(row, sum[r]);
    if (s.a.top > 0) store_vectors(s.w.scores + r * kKeys, sum[r]);
    most[r] = sum[r][0];
#pragma GCC unroll 16
    for (int c = 1; c < C; ++c) most[r] = max(sum[r][c], most[r]);
  }
  Floats base[R];
  max_of_each(most, base);
  Floats total[R];
  Floats spread[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    base[r] = pick_where_greater(base[r], all(kHidden), base[r], all(0));  // 0: sees nothing
    Weigh<kEntropy> weigh{all(s.unit), base[r], all(0), all(0)};
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) sum[r][c] = weigh(sum[r][c]);
    Operands::store_weights(s.w.weights + r * kKeys / Operands::kDepth, sum[r]);
    total[r] = weigh.total;
    spread[r] = weigh.spread;
  }
  Floats l[R];
  sum_of_each(total, l);
  if (kEntropy) sum_of_each(spread, spread);
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    s.w.base[begin + r] = first_of(base[r]);
    s.w.total[begin + r] = first_of(l[r]);
    if (kEntropy) s.w.spread[begin + r] = first_of(spread[r]);
  }
}

template <class Operands, bool kEntropy>
struct ShortTable {
  void (*weigh[kTileRows][kTileVectors])(const State&, int);
};

template <class Operands, bool kEntropy, int R, int C>
constexpr void fill_short(ShortTable<Operands, kEntropy>& table) {
  table.weigh[R - 1][C - 1] = weigh_short<Operands, kEntropy, R, C>;
  if constexpr (C > 1) {
    fill_short<Operands, kEntropy, R, C - 1>(table);
  } else if constexpr (R > 1) {
    fill_short<Operands, kEntropy, R - 1, kTileVectors>(table);
  }
}

template <class Operands, bool kEntropy>
constexpr ShortTable<Operands, kEntropy> filled_short_table() {
  ShortTable<Operands, kEntropy> table{};
  fill_short<Operands, kEntropy, kTileRows, kTileVectors>(table);
  return table;
}
template <class Operands, bool kEntropy>
constexpr ShortTable<Operands, kEntropy> kShort = filled_short_table<Operands, kEntropy>();

// The K best of the tile's scores, and their weights.
inline void take_short_top(const State& s, int begin, int rows, const Target* targets) {
  for (int r = begin; r < begin + rows; ++r) {
    clear(kept_of(s, r));
    s.w.bar[r] = kHidden;
    s.w.anchor[r] = s.w.base[r];
  }
  Better better[kTileRows];
  offer_tile(s, {begin, rows, 0, s.keys, 0, s.keys}, s.w.scores, better, 0);
  for (int r = 0; r < rows; ++r) finish_top(s, begin + r, targets[r].inverse);
}

template <class Operands>
inline void sweep_short_tile(const State& s, int begin, int rows) {
  const Sweep& a = s.a;
  const std::int64_t vectors = vectors_of(s.keys);
  (a.entropy ? kShort<Operands, true>.weigh[rows - 1][vectors - 1]
             : kShort<Operands, false>.weigh[rows - 1][vectors - 1])(s, begin);
  Target targets[kTileRows];
  for (int r = 0; r < rows; ++r) {
    targets[r] = {a.rows[begin + r].out, inverse_of(s.w.total[begin + r])};
  }
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
  if (a.top > 0) take_short_top(s, begin, rows, targets);
}

// Rows of the caller's that are words as they lie, at equal steps, are read where they are.
template <class Operands>
inline void find_queries(State& s, int rows) {
  const Sweep& a = s.a;
  s.q = s.w.q;
  s.q_step = s.words;
  bool in_place = Operands::kAsTheyLie && a.scale > 0 && a.width % Operands::kDepth == 0;
  const auto at = [&](int r) { return reinterpret_cast<std::intptr_t>(a.rows[r].q); };
  const std::intptr_t step = rows > 1 ? at(1) - at(0) : 0;
  in_place = in_place && at(0) % 4 == 0 && step % 4 == 0;
  for (int r = 2; in_place && r < rows; ++r) in_place = at(r) - at(r - 1) == step;
  if (!in_place) return copy_queries<Operands>(s);
  s.q = static_cast<const float*>(a.rows[0].q);
  s.q_step = step / 4;
}

inline void see_nothing(const State& s, int r) {
  const Row& row = s.a.rows[r];
  for (std::int64_t e = 0; e < s.a.value_width; e += kLanes) {
    store_out(s.a.out_type, row.out, e, all(0), smaller(kLanes, s.a.value_width - e));
  }
  finish_logs(s, row, 0, 0, 0);
  if (s.a.top == 0) return;
  clear(kept_of(s, r));
  s.w.base[r] = 0;
  finish_top(s, r, 0);
}

// Returns false, with nothing done, where some value is not finite: hidden ones need care then.
template <class Operands>
inline bool sweep_short(State& s, int rows) {
  prepare<Operands>(s, 0);
  if (!s.block.finite) return false;
  if (rows > 0) find_queries<Operands>(s, rows);
  // Tiles of about as many rows: one row alone would take as long as two or three.
  for (int left = (rows + kTileRows - 1) / kTileRows, r = 0; left > 0; --left) {
    const int count = (rows - r + left - 1) / left;
    look_ahead(s);
    sweep_short_tile<Operands>(s, r, count);
    r += count;
  }
  finish_short_logs(s, rows);
  for (int r = rows; r < s.a.row_count; ++r) see_nothing(s, r);
  return true;
}

}  // namespace
}  // namespace fovea::kernels
