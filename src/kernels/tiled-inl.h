// A sweep whose products run in tile registers (lanes_amx_bf16.h): the same state and the same softmax, in tiles of
// kTiledRows rows. Scores come from memory and weights go there, since tiles reach nothing else.
//
// While vectors weigh one panel, tiles multiply for others, a step every few rows:
//   s of the next panel, of the next rows where this one is the last
//   o += p v of the panel before
// so that both products are done when they are needed, and cost what vectors have to wait for them.
#pragma once

#include <cstdint>

namespace fovea::kernels {
namespace {

struct TiledPanel {
  TileRows t;
  std::int64_t from;     // its first key in the block
  std::int64_t vectors;  // of keys
  int turn;              // how many panels were before it,
  int tile_turn;         // and tiles of rows
};

// The first panel of rows from `begin` on that see some key of the block.
inline bool find_panel(const State& s, int begin, TiledPanel& panel) {
  for (; begin < s.a.row_count; begin += kTiledRows) {
    panel.t = tile_at(s, begin, kTiledRows);
    if (panel.t.keys == 0) continue;
    panel.from = panel.t.first / kPanel * kPanel;
    return true;
  }
  return false;
}

inline bool is_last(const TiledPanel& panel) { return panel.from + kPanel >= panel.t.keys; }

inline bool next_panel(const State& s, const TiledPanel& now, TiledPanel& next) {
  next = now;
  ++next.turn;
  next.from += kPanel;
  if (!is_last(now)) return true;
  ++next.tile_turn;
  return find_panel(s, now.t.begin + kTiledRows, next);
}

// Scores of two panels, in turn; where top keys are looked for, of two tiles of rows and their whole blocks.
template <bool kTop>
inline float* scores_of(const State& s, const TiledPanel& panel) {
  return s.w.scores +
         (kTop ? panel.tile_turn % 2 * kTiledRows * kKeys + panel.from : panel.turn % 2 * kPanel);
}

// Weights of two panels, in turn: those of one are read while the next are made. From row to row kKeys numbers.
template <class Operands>
inline Weights tiled_weights_of(const State& s, const TiledPanel& panel) {
  float* kept = s.w.kept + (s.block_at * s.a.row_count + panel.t.begin) * kKeys;
  return {s.w.weights + panel.turn % 2 * kPanel / Operands::kDepth, s.keeps ? kept : nullptr};
}

template <class Operands, bool kTop>
inline void ask_scores(const State& s, TiledPanel& panel, typename Operands::Queue& products) {
  const std::int64_t left = rounded_up(s.block.keys, kLanes) - panel.from;
  panel.vectors = smaller(kPanel, left) / kLanes;
  products.add({.a = s.w.q + panel.t.begin * s.words,
                .a_step = s.words,
                .b = s.packed_keys + panel.from * s.words,
                .b_step = panel.vectors * kLanes,
                .c = scores_of<kTop>(s, panel),
                .c_step = kKeys,
                .depth = s.words / Operands::kWordStep,
                .columns = panel.vectors,
                .tall = panel.t.count > kTileSide,
                .goes_on = false});
}

template <class Operands>
inline void ask_values(const State& s, const TiledPanel& panel, const float* weights,
                       typename Operands::Queue& products) {
  constexpr int kDepth = Operands::kDepth;
  products.add({.a = weights,
                .a_step = kKeys / kDepth,
                .b = s.packed_values + panel.from / kDepth * s.w.value_step,
                .b_step = s.w.value_step,
                .c = s.w.sums + panel.t.begin * s.w.value_step,
                .c_step = s.w.value_step,
                .depth = (panel.vectors * kLanes + Operands::kKeyStep - 1) / Operands::kKeyStep,
                .columns = s.w.value_step / kLanes,
                .tall = panel.t.count > kTileSide,
                .goes_on = true});
}

// What is above the rows' limits; and, for top keys, above their bars.
template <bool kTop>
inline bool over_limits(const State& s, const TiledPanel& panel, const float* scores,
                        Better* better) {
  std::uint32_t over = 0;
  for (int r = 0; r < panel.t.count; ++r) {
    const float* row = scores + r * kKeys;
    const Floats limit = all(s.w.limit[panel.t.begin + r]);
    const Floats bar = all(kTop ? s.w.bar[panel.t.begin + r] : 0);
    if (panel.vectors == kTileVectors) {
      Floats x[kTileVectors];
#pragma GCC unroll 4
      for (int c = 0; c < kTileVectors; ++c) x[c] = load(row + c * kLanes);
      if constexpr (kTop) better[r][panel.from / kPanel] = greater_bits(x, bar);
      Floats most = x[0];
#pragma GCC unroll 4
      for (int c = 1; c < kTileVectors; ++c) most = max(x[c], most);
      over |= greater(most, limit);
    } else {
      if (kTop) {
        better[r][panel.from / kPanel] =
            better_of_panel(row, panel.vectors, s.w.bar[panel.t.begin + r]);
      }
      for (std::int64_t i = 0; i < panel.vectors; ++i) {
        over |= greater(load(row + i * kLanes), limit);
      }
    }
  }
  return over != 0;
}

template <class Operands, bool kEntropy>
[[gnu::always_inline]] inline void weigh_row(const State& s, const Weights& weights,
                                             const TiledPanel& panel, int r, const float* scores) {
  Weigh<kEntropy> weigh(s, panel.t.begin + r);
  float* words = weights.words + r * kKeys / Operands::kDepth;
  float* kept = weights.kept == nullptr ? nullptr : weights.kept + r * kKeys + panel.from;
  if (panel.vectors == kTileVectors) {
    Floats p[kTileVectors];
#pragma GCC unroll 4
    for (int c = 0; c < kTileVectors; ++c) p[c] = weigh(load(scores + r * kKeys + c * kLanes));
    Operands::store_weights(words, p);
    if (kept != nullptr) store_vectors(kept, p);
  } else {
    for (std::int64_t i = 0; i < panel.vectors; ++i) {
      const Floats p = weigh(load(scores + r * kKeys + i * kLanes));
      Operands::store_weights(words + i * kLanes / Operands::kDepth, p);
      if (kept != nullptr) store(kept + i * kLanes, p);
    }
    // A step of the product with values takes kKeyStep keys.
    Operands::store_weights(words + panel.vectors * kLanes / Operands::kDepth, all(0));
  }
  weigh.store_sums(s, panel.t.begin + r);
}

template <class Operands, bool kEntropy, bool kTop>
inline void weigh_tiled(const State& s, const Weights& weights, const TiledPanel& panel,
                        Better* better, typename Operands::Queue& products) {
  const TileRows& t = panel.t;
  const std::int64_t from = panel.from;
  float* scores = scores_of<kTop>(s, panel);
  const bool hides = from < t.first_of_all || from + panel.vectors * kLanes > t.keys_of_all;
  for (int r = 0; r < t.count; ++r) {
    float* row = scores + r * kKeys;
    if (s.added != nullptr || s.scaled) add(s, t.begin + r, from, panel.vectors, row);
    if (hides) hide(s, t.begin + r, from, panel.vectors, row);
  }
  if (over_limits<kTop>(s, panel, scores, better)) {
    products.finish();  // sums that a base moves must not be under way
    settle_bases<Operands>(s, weights, t, t.first / kPanel * kPanel, from, panel.vectors, scores);
  }
  const std::int64_t steps = products.steps_left();
  for (std::int64_t r = 0, done = 0; r < t.count; ++r) {
    for (; done * t.count < steps * (r + 1); ++done) products.step();
    weigh_row<Operands, kEntropy>(s, weights, panel, static_cast<int>(r), scores);
  }
}

// o += p v for values that are NaN or infinite, which are 0 where they are packed: for the rows that see them
// only (0 times NaN is NaN).
template <class Operands>
[[gnu::noinline]] void add_unbounded(const State& s, const float* weights,
                                     const TiledPanel& panel) {
  constexpr int kDepth = Operands::kDepth;
  const auto* values =
      static_cast<const typename Operands::Number*>(s.a.v) + s.block.begin * s.a.v_step;
  for (int r = 0; r < panel.t.count; ++r) {
    const int row = panel.t.begin + r;
    const float* added = s.added == nullptr ? nullptr : s.added + row * kKeys;
    const std::int64_t seen = smaller(seen_by(s, row), panel.from + panel.vectors * kLanes);
    const std::int64_t unseen = larger(unseen_by(s, row), panel.from);
    const auto sees = [&](std::int64_t j) {
      return j >= unseen && j < seen && (added == nullptr || added[j] != kHidden);
    };
    for (std::int64_t j = unseen / kDepth * kDepth; j < seen; j += kDepth) {
      const bool here = sees(j);
      const bool next = sees(j + 1);
      if (!here && !next) continue;
      const auto* from = values + (here ? j : j + 1) * s.a.v_step;
      const auto* after = values + (next ? j + 1 : j) * s.a.v_step;
      const Floats p = all(weights[(r * kKeys + j - panel.from) / kDepth]);
      float* sums = s.w.sums + row * s.w.value_step;
      for (std::int64_t e = 0; e < s.a.value_width; e += kLanes) {
        const Floats x =
            Operands::value_words(from + e, after + e, smaller(kLanes, s.a.value_width - e));
        const Floats unbounded = Operands::unbounded_part(Operands::seen_part(x, here, next));
        store(sums + e, Operands::multiply_add(p, unbounded, load(sums + e)));
      }
    }
  }
}

// The weights of the panel as they meet the values: less what is dropped.
template <class Operands>
inline const float* met_weights(const State& s, const Weights& weights, const TiledPanel& panel) {
  if (s.a.dropout.threshold == 0) return weights.words;
  const std::int64_t keys = rounded_up(panel.vectors * kLanes, Operands::kKeyStep);
  const std::int64_t begin = s.block.begin + panel.from;
  float* left = s.w.dropped + (weights.words - s.w.weights);
  for (int r = 0; r < panel.t.count; ++r) {
    const std::int64_t at = r * kKeys / Operands::kDepth;
    drop<4 / Operands::kDepth>(s.a.dropout, s.a.rows[panel.t.begin + r], begin, begin + keys,
                               weights.words + at, left + at);
  }
  return left;
}

// The last panel of a tile of rows: what is done once a block.
template <bool kTop>
inline void end_tile(const State& s, const TiledPanel& panel, Better* better) {
  const TileRows& t = panel.t;
  if constexpr (kTop) {
    const float* scores = scores_of<true>(s, panel) - panel.from;
    const std::int64_t first = t.first / kPanel * kPanel;
    for (int r = 0; r < t.count; r += kTileRows) {
      TileRows some = t;
      some.begin += r;
      some.count = static_cast<int>(smaller(kTileRows, t.count - r));
      offer_tile(s, some, scores + r * kKeys, better + r, first);
    }
  }
  if (!s.keeps) return;
  for (int r = t.begin; r < t.begin + t.count; ++r) {  // a row that saw nothing yet kept nothing
    s.w.kept_base[s.block_at * s.a.row_count + r] = s.w.limit[r] == kHidden ? kHidden : s.w.base[r];
  }
}

template <class Operands, bool kEntropy, bool kTop>
inline void sweep_block_in_tiles(const State& s) {
  typename Operands::Queue products;
  TiledPanel now{};
  if (!find_panel(s, 0, now)) return;
  ask_scores<Operands, kTop>(s, now, products);
  products.finish();
  Better better[kTiledRows];  // with kTop
  TiledPanel before{};
  const float* met = nullptr;  // weights of the panel before
  for (bool more = true; more;) {
    TiledPanel next{};
    more = next_panel(s, now, next);
    if (more) ask_scores<Operands, kTop>(s, next, products);
    if (met != nullptr) ask_values<Operands>(s, before, met, products);
    const Weights weights = tiled_weights_of<Operands>(s, now);
    weigh_tiled<Operands, kEntropy, kTop>(s, weights, now, better, products);
    products.finish();
    if (s.a.v != nullptr) {
      met = met_weights<Operands>(s, weights, now);
      if (!s.block.finite) add_unbounded<Operands>(s, met, now);
    }
    if (is_last(now)) end_tile<kTop>(s, now, better);
    before = now;
    now = next;
  }
  if (met != nullptr) ask_values<Operands>(s, before, met, products);
  products.finish();
}

template <class Operands>
inline void sweep_in_tiles(State& s) {
  for (s.block_at = 0; s.block_at < s.blocks; ++s.block_at) {
    prepare<Operands>(s, (s.first / kKeys + s.block_at) * kKeys);
    if (s.a.top > 0) {
      s.a.entropy ? sweep_block_in_tiles<Operands, true, true>(s)
                  : sweep_block_in_tiles<Operands, false, true>(s);
    } else {
      s.a.entropy ? sweep_block_in_tiles<Operands, true, false>(s)
                  : sweep_block_in_tiles<Operands, false, false>(s);
    }
  }
}

}  // namespace
}  // namespace fovea::kernels
