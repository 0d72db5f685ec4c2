// The gradients of attention with products in tile registers (lanes_amx_bf16.h): the same five as in backward-inl.h, for
// tiles of kTiledRows rows, and the same p and ds, which vectors make of scores in memory.
//
//   s, dp        of a panel are multiplied while vectors weigh the panel before
//   dv^T += g^T p, dk^T += q^T ds
//                p and ds lie as pairs of queries x keys, which is what the second side of a tile product is; so the
//                sums are kept transposed, and q and g, much smaller than p, are turned once for a run of rows
//   dq += ds k   ds across is rows of pairs of keys: a first side as it lies
//
// What is not finite is 0 in q, g and k for these last three, and is added for the pairs that see it: 0 times NaN is
// NaN in a tile as elsewhere.
#pragma once

#include <cstdint>

namespace fovea::kernels {
namespace {

static_assert(kGradientRows % kTiledRows == 0 && kKeys % kTiledKeys == 0,
              "scratch is laid out in whole tiles");

// Words of a turned row: those of a run.
constexpr std::int64_t kTurnedStep = kGradientRows / 2;

struct PairPanel {
  GradientTile t;
  std::int64_t at;       // tile of rows
  std::int64_t from;     // its first key in the block
  std::int64_t last;     // where the tile's panels end
  std::int64_t vectors;  // of keys
  int turn;              // how many panels were before it
};

inline std::int64_t tiles_of(const BackwardState& s) {
  return (s.a.row_count + kTiledRows - 1) / kTiledRows;
}
inline std::int64_t whole_keys(const BackwardState& s) { return rounded_up(s.block.keys, kLanes); }

inline void set_vectors(PairPanel& panel) {
  panel.vectors = smaller(kPanelKeys, panel.last - panel.from) / kLanes;
}

// The first panel of the tiles from `at` on whose rows see some key of the block.
inline bool find_pairs(const BackwardState& s, std::int64_t at, PairPanel& panel) {
  for (; at < tiles_of(s); ++at) {
    panel.at = at;
    panel.t = gradient_tile(s, at * kTiledRows, kTiledRows);
    if (panel.t.end == 0) continue;
    panel.from = panel.t.first / kPanelKeys * kPanelKeys;
    panel.last = smaller(whole_keys(s), rounded_up(panel.t.end, kPanelKeys));
    set_vectors(panel);
    return true;
  }
  return false;
}

inline bool next_pairs(const BackwardState& s, const PairPanel& now, PairPanel& next) {
  next = now;
  ++next.turn;
  next.from += kPanelKeys;
  if (next.from >= now.last) return find_pairs(s, now.at + 1, next);
  set_vectors(next);
  return true;
}

// Scores and dots of two panels, in turn.
inline std::int64_t place_of(const PairPanel& panel) { return panel.turn % 2 * kPanelKeys; }

template <class Operands>
inline void ask_pairs(const BackwardState& s, const PairPanel& panel,
                      typename Operands::Queue& products) {
  const auto ask = [&](const float* rows, const float* keys, std::int64_t words, float* to) {
    products.add({.a = rows + panel.t.begin * words,
                  .a_step = words,
                  .b = keys + panel.from * words,
                  .b_step = panel.vectors * kLanes,
                  .c = to + place_of(panel),
                  .c_step = kKeys,
                  .depth = words / Operands::kWordStep,
                  .columns = panel.vectors,
                  .tall = panel.t.count > kTileSide,
                  .goes_on = false});
  };
  ask(s.w.q, s.w.keys, s.d_words, s.w.scores);
  ask(s.w.g, s.w.values, s.e_words, s.w.dots);
}

template <class Operands>
inline void weigh_pairs_in_tiles(const BackwardState& s, const PairPanel& panel,
                                 typename Operands::Queue& products) {
  const GradientTile& t = panel.t;
  const bool plain = is_plain(s, t, panel.from, panel.vectors);
  const std::int64_t steps = products.steps_left();
  const std::int64_t at = place_of(panel);
  std::int64_t done = 0;
  for (int r = 0; r < t.count; r += Operands::kDepth) {
    for (; done * t.count < steps * (r + 2); ++done) products.step();
    if (plain && panel.vectors == kTileVectors) {
      weigh_word<Operands>(s, t, r, t.count, panel.from, kTileVectors, at, true);
    } else {
      weigh_word<Operands>(s, t, r, t.count, panel.from, static_cast<int>(panel.vectors), at,
                           plain);
    }
  }
}

// p and ds of the run are 0 where nothing is weighed: for rows that see none of a panel, for the rows that fill the
// last tile; ds across for the keys that fill its last step.
template <class Operands>
inline void clear_unweighed(const BackwardState& s) {
  constexpr int kDepth = Operands::kDepth;
  const std::int64_t whole = whole_keys(s);
  for (std::int64_t at = 0; at < tiles_of(s); ++at) {
    const GradientTile t = gradient_tile(s, at * kTiledRows, kTiledRows);
    const std::int64_t first = t.first / kPanelKeys * kPanelKeys;
    const std::int64_t last = smaller(whole, rounded_up(t.end, kPanelKeys));
    clear_pairs<Operands>(s, t, 0, first);
    clear_pairs<Operands>(s, t, last, whole);
    GradientTile filling = t;
    filling.begin += static_cast<int>(rounded_up(t.count, kDepth));
    filling.count = static_cast<int>((at + 1) * kTiledRows - filling.begin);
    clear_pairs<Operands>(s, filling, 0, whole);
    if (last % kTiledKeys == 0) continue;
    for (std::int64_t r = t.begin; r < t.begin + t.count; ++r) {
      Operands::store_weights(s.w.ds_across + r * kAcrossStep<Operands> + last / kDepth, all(0));
    }
  }
}

// columns[d, word of rows] = lanes[word of rows, d], filled up with zeros to whole tiles of rows; 0 for what is not
// finite.
template <class Operands>
inline void turn_rows(const BackwardState& s, const float* lanes, std::int64_t step,
                      float* columns) {
  const std::int64_t words = (s.a.row_count + Operands::kDepth - 1) / Operands::kDepth;
  for (std::int64_t i = 0; i < tiles_of(s) * kTileSide; i += kLanes) {
    for (std::int64_t d = 0; d < step; d += kLanes) {
      Floats x[kLanes];
#pragma GCC unroll 16
      for (int l = 0; l < kLanes; ++l) {
        x[l] = i + l < words ? load(lanes + (i + l) * step + d) : all(0);
        if (!s.a.notes.rows_finite) x[l] = Operands::finite_part(x[l]);
      }
      transpose(x);
#pragma GCC unroll 16
      for (int l = 0; l < kLanes; ++l) store(columns + (d + l) * kTurnedStep + i, x[l]);
    }
  }
}

// sums[d, j] += sum over the run's rows of columns[d, i] p[i, j], for all keys j of the block.
template <class Operands>
inline void gather_in_tiles(const BackwardState& s, const float* p, const float* columns,
                            std::int64_t step, float* sums) {
  const Backward::Notes& notes = s.a.notes;
  typename Operands::Queue products;
  for (std::int64_t j = 0; j < whole_keys(s); j += kPanelKeys) {
    std::int64_t first = 0;
    std::int64_t last = tiles_of(s) - 1;
    const auto misses = [&](std::int64_t t) {
      return notes.first[t] >= j + kPanelKeys || notes.end[t] <= j;
    };
    while (first <= last && misses(first)) ++first;
    while (first <= last && misses(last)) --last;
    if (first > last) continue;
    for (std::int64_t d = 0; d < step; d += kTiledRows) {
      products.add({.a = columns + d * kTurnedStep + first * kTileSide,
                    .a_step = kTurnedStep,
                    .b = p + first * kTileSide * kPairStep + j,
                    .b_step = kPairStep,
                    .c = sums + d * kPairStep + j,
                    .c_step = kPairStep,
                    .depth = last - first + 1,
                    .columns = smaller(kPanelKeys, whole_keys(s) - j) / kLanes,
                    .tall = step - d > kTileSide,
                    .goes_on = true});
      products.finish();
    }
  }
}

// The same for what is not finite, pair by pair.
template <class Operands>
[[gnu::noinline]] void gather_unbounded(const BackwardState& s, const float* p, const float* lanes,
                                        std::int64_t step, float* sums) {
  for (std::int64_t r = 0; r < s.a.row_count; r += Operands::kDepth) {
    for (std::int64_t d = 0; d < step; d += kLanes) {
      const Floats row = load(lanes + r / Operands::kDepth * step + d);
      if (Operands::unbounded(row) == 0) continue;
      for (std::int64_t j = 0; j < s.block.keys; ++j) {
        const bool here = sees(s, r, j);
        const bool next = sees(s, r + 1, j);
        if (!here && !next) continue;
        const Floats x = Operands::unbounded_part(Operands::seen_part(row, here, next));
        float products[kLanes];
        const Floats word = all(p[r / Operands::kDepth * kPairStep + j]);
        store(products, Operands::multiply_add(word, x, all(0)));
        for (int l = 0; l < kLanes; ++l) sums[(d + l) * kPairStep + j] += products[l];
      }
    }
  }
}

template <class Operands>
inline void take_queries_in_tiles(BackwardState& s) {
  Backward::Notes& notes = s.a.notes;
  std::int64_t end = 0;
  for (std::int64_t at = 0; at < tiles_of(s); ++at) {
    const GradientTile t = gradient_tile(s, at * kTiledRows, kTiledRows);
    notes.first[at] = static_cast<std::int16_t>(t.first);
    notes.end[at] = static_cast<std::int16_t>(t.end);
    end = larger(end, t.end);
  }
  if (end == 0) return;
  pack_rows<Operands>(s);
  clear_unweighed<Operands>(s);
  typename Operands::Queue products;
  PairPanel now{};
  find_pairs(s, 0, now);
  ask_pairs<Operands>(s, now, products);
  products.finish();
  for (bool more = true; more;) {
    PairPanel next{};
    more = next_pairs(s, now, next);
    if (more) ask_pairs<Operands>(s, next, products);
    if (now.from == now.t.first / kPanelKeys * kPanelKeys) find_kept(s, now.t);
    weigh_pairs_in_tiles<Operands>(s, now, products);
    products.finish();
    now = next;
  }
  const auto gather = [&](const float* p, const float* lanes, std::int64_t step, float* sums) {
    turn_rows<Operands>(s, lanes, step, s.w.turned);
    gather_in_tiles<Operands>(s, p, s.w.turned, step, sums);
    if (!notes.rows_finite) gather_unbounded<Operands>(s, p, lanes, step, sums);
  };
  if (s.a.dv != nullptr) gather(s.w.p, s.w.g_lanes, s.w.e_step, s.w.dv);
  if (s.a.dk != nullptr) gather(s.w.ds, s.w.q_lanes, s.w.d_step, s.w.dk);
}

// dq of row r from keys that are not finite.
template <class Operands>
[[gnu::noinline]] void spread_unbounded(const BackwardState& s, std::int64_t r) {
  constexpr int kDepth = Operands::kDepth;
  const Sweep& a = s.a.keys;
  const auto* keys = static_cast<const typename Operands::Number*>(a.k) + s.block.begin * a.k_step;
  const Reach reach = reach_of(s, s.a.rows[r].row);
  float* sums = s.a.rows[r].sums;
  for (std::int64_t j = reach.first / kDepth * kDepth; j < reach.end; j += kDepth) {
    const bool here = sees(s, r, j);
    const bool next = sees(s, r, j + 1);
    if (!here && !next) continue;
    const auto* from = keys + (here ? j : j + 1) * a.k_step;
    const auto* after = keys + (next ? j + 1 : j) * a.k_step;
    const Floats word = all(s.w.ds_across[r * kAcrossStep<Operands> + j / kDepth]);
    for (std::int64_t d = 0; d < a.width; d += kLanes) {
      const Floats k = Operands::value_words(from + d, after + d, smaller(kLanes, a.width - d));
      if (Operands::unbounded(k) == 0) continue;
      const Floats x = Operands::unbounded_part(Operands::seen_part(k, here, next));
      store(sums + d, Operands::multiply_add(word, x, load(sums + d)));
    }
  }
}

// dq of the rows of tile `at`, whose sums lie d_step apart. Where they do not fill a tile, it has sums of its own: those
// that follow in memory are other rows'.
template <class Operands>
inline void spread_in_tiles(const BackwardState& s, std::int64_t at) {
  const std::int64_t begin = at * kTiledRows;
  const std::int64_t rows = smaller(kTiledRows, s.a.row_count - begin);
  const std::int64_t first = s.a.notes.first[at] / kPanelKeys * kPanelKeys;
  const std::int64_t end = rounded_up(s.a.notes.end[at], Operands::kKeyStep);
  const std::int64_t step = s.w.d_step;
  const bool fills = rows % kTileSide == 0;
  float* sums = s.a.rows[begin].sums;
  float* to = fills ? sums : s.w.some_sums;
  const auto copy = [&](const float* from, float* into) {
    for (std::int64_t x = 0; !fills && x < rows * step; x += kLanes)
      store(into + x, load(from + x));
  };
  copy(sums, to);
  typename Operands::Queue products;
  products.add({.a = s.w.ds_across + begin * kAcrossStep<Operands> + first / Operands::kDepth,
                .a_step = kAcrossStep<Operands>,
                .b = s.w.key_lanes + first / Operands::kDepth * step,
                .b_step = step,
                .c = to,
                .c_step = step,
                .depth = (end - first) / Operands::kKeyStep,
                .columns = step / kLanes,
                .tall = rows > kTileSide,
                .goes_on = true});
  products.finish();
  copy(to, sums);
}

template <class Operands>
inline void spread_rows_in_tiles(const BackwardState& s) {
  for (std::int64_t at = 0; at < tiles_of(s); ++at) {
    if (s.a.notes.end[at] == 0) continue;
    if (s.a.spreads) spread_in_tiles<Operands>(s, at);
    const std::int64_t end = smaller(s.a.row_count, (at + 1) * kTiledRows);
    for (std::int64_t r = at * kTiledRows; r < end; ++r) {
      if (s.a.spreads && !s.a.notes.keys_finite) spread_unbounded<Operands>(s, r);
      if (s.a.bias_rows) spread_bias(s, r);
    }
  }
}

// dk and dv, turned back, kLanes keys at a time.
inline void store_block_in_tiles(const BackwardState& s) {
  const Backward& a = s.a;
  const auto put = [&](Number type, void* to, std::int64_t to_step, const float* sums,
                       std::int64_t width, std::int64_t step, float scale) {
    if (to == nullptr) return;
    for (std::int64_t j = 0; j < a.count; j += kLanes) {
      for (std::int64_t d = 0; d < step; d += kLanes) {
        Floats x[kLanes];
#pragma GCC unroll 16
        for (int l = 0; l < kLanes; ++l) x[l] = load(sums + (d + l) * kPairStep + j);
        transpose(x);
#pragma GCC unroll 16
        for (int l = 0; l < kLanes; ++l) store(s.w.some_sums + l * step + d, x[l]);
      }
      for (std::int64_t l = 0; l < smaller(kLanes, a.count - j); ++l) {
        store_gradient(type, static_cast<char*>(to) + (j + l) * to_step * bytes_of(type),
                       s.w.some_sums + l * step, width, scale);
      }
    }
  };
  put(a.dk_type, a.dk, a.dk_step, s.w.dk, a.keys.width, s.w.d_step, a.keys.scale);
  put(a.dv_type, a.dv, a.dv_step, s.w.dv, a.keys.value_width, s.w.e_step, 1);
}

// The stages of a block.
template <class Operands>
void backward_in_tiles(Backward& a) {
  using Stage = Backward::Stage;
  BackwardState s = state_of<Operands>(a);
  switch (a.stage) {
    case Stage::kPack:
      pack_block<Operands>(s);
      clear(s.w.dk, s.w.d_step * kPairStep);
      return clear(s.w.dv, s.w.e_step * kPairStep);
    case Stage::kGather: return take_queries_in_tiles<Operands>(s);
    case Stage::kSpread: return spread_rows_in_tiles<Operands>(s);
    default: return store_block_in_tiles(s);
  }
}

}  // namespace
}  // namespace fovea::kernels
