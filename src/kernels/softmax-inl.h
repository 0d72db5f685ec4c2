// One tile of rows and one panel of keys: scores become weights; at the end of a block weights meet
// values.
//
// A row counts its scores from a base b that moves rarely: x = unit (s - b) may rise to kReach before
// b becomes the largest score, and the sums so far shrink. So most panels need one compare a vector and
// nothing else. When a base moves depends on that row's scores alone.
#pragma once

#include <cstdint>

namespace fovea::kernels {
namespace {

inline std::int64_t vectors_of(std::int64_t keys) { return (keys + kLanes - 1) / kLanes; }

// Where the weights of the tile's rows lie: words, from row to row p_step. Kept weights that are words
// already are used where they are kept.
struct Weights {
  float* words;
  float* kept;  // [R, kKeys] floats; null: not kept, or the words themselves
};

template <class Operands>
inline Weights weights_of(const State& s, const TileRows& t) {
  if (!s.keeps) return {s.w.weights, nullptr};
  float* kept = s.w.kept + (s.block_at * s.a.row_count + t.begin) * kKeys;
  if (Operands::kDepth == 1) return {kept, nullptr};
  return {s.w.weights, kept};
}

// x = unit (s - b), p = 2^x, and the sums of both.
template <bool kEntropy>
struct Weigh {
  Floats unit, base, total, spread;

  Weigh(Floats unit_, Floats base_, Floats total_, Floats spread_)
      : unit(unit_), base(base_), total(total_), spread(spread_) {}

  Weigh(const State& s, int r)
      : unit(all(s.unit)),
        base(all(s.w.base[r])),
        total(load(s.w.total + r * kLanes)),
        spread(kEntropy ? load(s.w.spread + r * kLanes) : all(0)) {}

  [[gnu::always_inline]] Floats operator()(Floats score) {
    const Floats x = (score - base) * unit;
    const Floats p = exp2(x);
    total = total + p;
    // Where p is 0, x may be -inf.
    if constexpr (kEntropy) spread = fma_unless_less(x, all(kLeast), p, x, spread);
    return p;
  }

  void store_sums(const State& s, int r) {
    store(s.w.total + r * kLanes, total);
    if constexpr (kEntropy) store(s.w.spread + r * kLanes, spread);
  }
};

// --- a full tile that sees all of its panel -----------------------------------------------------------

// Products, weights and sums of kTileRows rows and kTileVectors vectors of keys, in registers. Where top
// keys are looked for, scores are stored too, and which are above the bars. Returns false if some score is
// above a limit: nothing was done then but to store the scores.
template <class Operands, bool kEntropy, bool kTop>
bool weigh_full_tile(const State& s, const Weights& weights, int begin, std::int64_t from,
                     float* scores, Better* better) {
  // Kept weights are stored where no cache has them: their lines are asked for before the products.
  if (s.keeps) {
    const float* kept = Operands::kDepth == 1 ? weights.words : weights.kept;
#pragma GCC unroll 16
    for (int r = 0; r < kTileRows; ++r) {
#pragma GCC unroll 16
      for (int c = 0; c < kTileVectors; ++c) {
        prefetch_to_write(kept + r * kKeys + from + c * kLanes);
      }
    }
  }
  Floats sum[kTileRows][kTileVectors];
  multiply<Operands>(s.w.q + begin * s.words, s.words, s.words, s.packed_keys + from * s.words,
                     sum);
  std::uint32_t over = 0;
#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r) {
    Floats most = sum[r][0];
#pragma GCC unroll 16
    for (int c = 1; c < kTileVectors; ++c) most = max(sum[r][c], most);
    over |= greater(most, all(s.w.limit[begin + r]));
  }
  if (over != 0) {
#pragma GCC unroll 16
    for (int r = 0; r < kTileRows; ++r) store_vectors(scores + r * kKeys, sum[r]);
    return false;
  }
#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r) {
    if constexpr (kTop) {
      better[r][from / kPanel] = greater_bits(sum[r], all(s.w.bar[begin + r]));
      store_vectors(scores + r * kKeys, sum[r]);
    }
    Weigh<kEntropy> weigh(s, begin + r);
#pragma GCC unroll 16
    for (int c = 0; c < kTileVectors; ++c) sum[r][c] = weigh(sum[r][c]);
    weigh.store_sums(s, begin + r);
    Operands::store_weights(weights.words + (r * kKeys + from) / Operands::kDepth, sum[r]);
    if (Operands::kDepth > 1 && weights.kept != nullptr) {
      store_vectors(weights.kept + r * kKeys + from, sum[r]);
    }
  }
  return true;
}

// --- any other: scores are stored, then looked at row by row ------------------------------------------

// of[l]: key j + l of the block, or another that is seen where no row sees it. Returns false when none is seen.
template <class T>
inline bool find_keys(const State& s, std::int64_t j, std::int64_t count, const T** of) {
  const T* keys = static_cast<const T*>(s.a.k) + (s.block.begin + j) * s.a.k_step;
  if (s.block.all_seen && j + count <= s.block.keys) {
    for (std::int64_t l = 0; l < count; ++l) of[l] = keys + l * s.a.k_step;
    return true;
  }
  const T* some = nullptr;
  for (std::int64_t l = 0; l < count; ++l) {
    const bool seen = j + l < s.block.keys && s.seen[j + l];
    of[l] = seen ? keys + l * s.a.k_step : nullptr;
    if (seen) some = of[l];
  }
  for (std::int64_t l = 0; l < count; ++l) {
    if (of[l] == nullptr) of[l] = some;
  }
  return some != nullptr;
}

// Rows [begin, begin + kKeys) of the keys or values, as far as this sweep goes.
inline Prefetch prefetch_of(const State& s, const void* rows, std::int64_t step, std::int64_t width,
                            std::int64_t begin) {
  const std::uintptr_t size = s.a.type == Number::kFloat32 ? 4 : 2;
  const std::int64_t end =
      s.a.stage == Sweep::Stage::kPart ? smaller(s.keys, (s.a.part + 1) * kPartKeys) : s.keys;
  const std::int64_t count = larger(0, smaller(kKeys, end - begin));
  const auto bytes = static_cast<std::uintptr_t>(step) * size;
  return {reinterpret_cast<std::uintptr_t>(rows) + static_cast<std::uintptr_t>(begin) * bytes,
          count,
          (count + kPlaces - 1) / kPlaces,
          bytes,
          static_cast<std::uintptr_t>(width) * size,
          s.a.lines_in_pairs};
}

// The next block's; at the end of a sweep those of the next one, where that is known.
inline Prefetch next_keys(const State& s) {
  const Prefetch p = prefetch_of(s, s.a.k, s.a.k_step, s.a.width, s.block.begin + kKeys);
  const Sweep::Ahead& next = s.a.ahead[0];
  if (p.count > 0 || next.begin == nullptr || p.width == 0) return p;
  const auto keys = (next.end - next.begin) / static_cast<std::int64_t>(p.width);
  const std::int64_t count = smaller(kKeys, keys);
  return {reinterpret_cast<std::uintptr_t>(next.begin),
          count,
          (count + kPlaces - 1) / kPlaces,
          p.width,
          p.width,
          p.in_pairs};
}

// Of the block that begins with key `begin`.
inline Prefetch values_at(const State& s, std::int64_t begin) {
  return prefetch_of(s, s.a.v, s.a.v_step, s.a.value_width, begin);
}

// Where keys are not packed: some keys at a time, and for those all rows, a few at a time, from L1.
template <class Operands>
inline void score_few_rows(const State& s, const TileRows& t, std::int64_t from,
                           std::int64_t vectors, float* scores) {
  const std::int64_t end = smaller(from + vectors * kLanes, rounded_up(t.keys, kFewKeys));
  const bool of_values = s.a.v != nullptr && s.values_in_place;
  const Prefetch prefetch = of_values ? values_at(s, s.block.begin) : next_keys(s);
  const std::int64_t of_query = vectors_of(s.words) <= kFewVectors ? vectors_of(s.words) : 0;
  for (std::int64_t j = larger(from, t.first / kNearKeys * kNearKeys); j < end; j += kNearKeys) {
    const std::int64_t count = rounded_up(smaller(kNearKeys, end - j), kFewKeys);
    const typename Operands::Number* of[kNearKeys];
    if (!find_keys(s, j, count, of)) continue;
    for (int r = 0; r < t.count; r += kFewRows) {
      const auto rows = smaller(kFewRows, t.count - r);
      kTiles<Operands>.few[rows - 1][of_query](
          s.w.q + (t.begin + r) * s.words, s.a.width, of, count / kFewKeys,
          t.begin + r == 0 ? &prefetch : nullptr, j, scores + r * kKeys + (j - from));
    }
  }
}

// Products of `vectors` vectors of keys of the block, from key `from`.
template <class Operands>
inline void score_panel(const State& s, const TileRows& t, std::int64_t from, std::int64_t vectors,
                        float* scores) {
  const float* q = s.w.q + t.begin * s.words;
  if (s.a.few) return score_few_rows<Operands>(s, t, from, vectors, scores);
  kTiles<Operands>.scores[t.count - 1][vectors - 1](q, s.words, s.packed_keys + from * s.words,
                                                    scores);
}

// Keys that row r does not see by its range score -inf.
inline void hide(const State& s, int r, std::int64_t from, std::int64_t vectors, float* scores) {
  const std::int64_t seen = seen_by(s, r) - from;
  const std::int64_t unseen = unseen_by(s, r) - from;
  for (std::int64_t j = larger(0, seen) / kLanes * kLanes; j < vectors * kLanes; j += kLanes) {
    store(scores + j, pick_first(larger(0, seen - j), load(scores + j), all(kHidden)));
  }
  for (std::int64_t j = 0; j < smaller(unseen, vectors * kLanes); j += kLanes) {
    store(scores + j, pick_first(smaller(kLanes, unseen - j), all(kHidden), load(scores + j)));
  }
}

// Products become scores: scaled, with what is added, -inf where mask or bias hides the key.
inline void add(const State& s, int r, std::int64_t from, std::int64_t vectors, float* scores) {
  const Row& row = s.a.rows[r];
  const Floats scale = all(s.a.scale < 0 ? -s.a.scale : s.a.scale);
  for (std::int64_t i = 0; i < vectors; ++i) {
    const std::int64_t j = from + i * kLanes;
    Floats x = load(scores + i * kLanes);
    Floats added = all(0);
    if (s.added != nullptr) {
      added = load_first(s.added + r * kKeys + j, larger(0, smaller(kLanes, s.block.keys - j)));
    }
    if (s.scaled) {
      x = s.a.biased ? fma(x, scale, added) : x * scale;
      if (s.a.sloped) {  // the places of both are exact up to 2^24 apart
        const Floats far = all(static_cast<float>(row.place - s.block.begin - j)) - ramp();
        x = fma(all(-row.slope), max(far, all(0) - far), x);
      }
    }
    if (s.added != nullptr) x = pick_where_equal(added, all(kHidden), all(kHidden), x);
    store(scores + i * kLanes, x);
  }
}

// The base of row r becomes its largest score so far, and what was counted from the old one shrinks:
// the sums, and the weights of this block, from its key `first` on, that have not met their values.
// The first base of a row: nothing was counted yet.
inline void set_base(const State& s, int row, float most) {
  s.w.base[row] = most;
  s.w.limit[row] = most + s.reach;
  s.w.anchor[row] = most;
}

template <class Operands>
[[gnu::noinline]] void move_base(const State& s, const Weights& weights, const TileRows& t, int r,
                                 std::int64_t first, std::int64_t from, float most) {
  const int row = t.begin + r;
  const float step = (s.w.base[row] - most) * s.unit;
  s.w.base[row] = most;
  s.w.limit[row] = most + s.reach;
  float lanes[kLanes];
  store(lanes, exp2(all(step)));
  const float grow = lanes[0];
  float* total = s.w.total + row * kLanes;
  if (s.a.entropy) {  // sum of g p (x + step) = g (u + step l); -126: -inf times 0 would be NaN
    float* spread = s.w.spread + row * kLanes;
    const Floats moved = fma(all(step < -126.0f ? -126.0f : step), load(total), load(spread));
    store(spread, moved * all(grow));
  }
  store(total, load(total) * all(grow));
  float* sums = s.w.sums + row * s.w.value_step;
  for (std::int64_t e = 0; e < s.w.value_step; e += kLanes) {
    store(sums + e, load(sums + e) * all(grow));
  }
  const std::int64_t vectors = vectors_of(from - first);
  if constexpr (!Operands::kInTiles) {  // where they have met their values
    Operands::shrink_weights(weights.words + (r * kKeys + first) / Operands::kDepth, vectors, grow);
  }
  if (weights.kept == nullptr) return;
  for (std::int64_t i = 0; i < vectors * kLanes; i += kLanes) {
    float* kept = weights.kept + r * kKeys + first + i;
    store(kept, load(kept) * all(grow));
  }
}

// Scores of row r for the keys of the block from `from` on: the K best are kept.
inline void offer_row(const State& s, const TileRows& t, int r, std::int64_t from,
                      std::int64_t vectors, const float* scores) {
  const float* factors = s.a.factor == nullptr ? nullptr : s.w.factors + from;
  const Offer offered{scores, factors, s.w.anchor[t.begin + r], s.unit, s.block.begin + from,
                      vectors};
  offer(kept_of(s, t.begin + r), offered);
}

// The keys of a panel that are above the bar.
inline std::uint64_t better_of_panel(const float* scores, std::int64_t vectors, float bar) {
  if (vectors == kTileVectors) {
    Floats x[kTileVectors];
#pragma GCC unroll 16
    for (int c = 0; c < kTileVectors; ++c) x[c] = load(scores + c * kLanes);
    return greater_bits(x, all(bar));
  }
  std::uint64_t better = 0;
  for (std::int64_t i = 0; i < vectors; ++i) {
    better |= std::uint64_t{greater(load(scores + i * kLanes), all(bar))} << (i * kLanes);
  }
  return better;
}

// What is above the bars of the rows, over the block from its key `first` on. The bar is the K-th best so
// far; a row that has not K keys yet takes a floor of this block. At most kTileRows rows; `scores` are theirs
// for the whole block.
inline void offer_tile(const State& s, const TileRows& t, const float* scores, Better* better,
                       std::int64_t first) {
  const std::int64_t vectors = vectors_of(t.keys - first);
  const auto scores_of = [&](int r) { return scores + r * kKeys; };
  if (s.a.factor != nullptr || s.a.top > kLanes) {
    for (int r = 0; r < t.count; ++r) {
      offer_row(s, t, r, first, vectors, scores_of(r) + first);
      set_bar(s, t.begin + r);
    }
    return;
  }
  // Rows that a smaller tile lacks have no candidates, and keep none.
  float none[2 * kWidest] = {};
  Kept kept[kTileRows];
  Candidates candidates[kTileRows];
  const std::int64_t end = (t.keys + kPanel - 1) / kPanel;
  for (int r = 0; r < kTileRows; ++r) {
    candidates[r].count = 0;
    kept[r] = {none, none, none + kWidest, s.a.top};
    if (r >= t.count) continue;
    kept[r] = kept_of(s, t.begin + r);
    candidates[r].scores = scores_of(r);
    if (s.w.bar[t.begin + r] == kHidden) {
      const float floor = floor_of({scores_of(r) + first, nullptr, 0, 0, 0, vectors}, s.a.top);
      for (std::int64_t p = first / kPanel; p < end; ++p) {
        const std::int64_t n =
            smaller(kTileVectors, (first + vectors * kLanes - p * kPanel) / kLanes);
        better[r][p] = better_of_panel(scores_of(r) + p * kPanel, n, floor);
      }
    }
    collect(candidates[r], better[r], first / kPanel, end);
  }
  merge(kept, candidates, s.index);
  for (int r = 0; r < t.count; ++r) set_bar(s, t.begin + r);
}

// Bases move to where the scores of a panel need them.
template <class Operands>
inline void settle_bases(const State& s, const Weights& weights, const TileRows& t,
                         std::int64_t first, std::int64_t from, std::int64_t vectors,
                         const float* of_panel) {
  for (int r = 0; r < t.count; ++r) {
    const int row = t.begin + r;
    const float* scores = of_panel + r * kKeys;
    Floats most = load(scores);
    for (std::int64_t i = 1; i < vectors; ++i) most = max(load(scores + i * kLanes), most);
    if (greater(most, all(s.w.limit[row])) == 0) continue;
    if (s.w.limit[row] == kHidden) {
      set_base(s, row, max_of(most));
    } else {
      move_base<Operands>(s, weights, t, r, first, from, max_of(most));
    }
  }
}

template <class Operands, bool kEntropy>
inline void weigh_panel(const State& s, const Weights& weights, const TileRows& t,
                        std::int64_t first, std::int64_t from, std::int64_t vectors,
                        const float* of_panel, Better* better) {
  for (int r = 0; s.a.top > 0 && r < t.count; ++r) {
    better[r][from / kPanel] = better_of_panel(of_panel + r * kKeys, vectors, s.w.bar[t.begin + r]);
  }
  settle_bases<Operands>(s, weights, t, first, from, vectors, of_panel);
  for (int r = 0; r < t.count; ++r) {
    const float* scores = of_panel + r * kKeys;
    Weigh<kEntropy> weigh(s, t.begin + r);
    float* words = weights.words + (r * kKeys + from) / Operands::kDepth;
    float* kept = weights.kept == nullptr ? nullptr : weights.kept + r * kKeys + from;
    for (std::int64_t i = 0; i < vectors; ++i) {
      const Floats p = weigh(load(scores + i * kLanes));
      Operands::store_weights(words + i * kLanes / Operands::kDepth, p);
      if (kept != nullptr) store(kept + i * kLanes, p);
    }
    weigh.store_sums(s, t.begin + r);
  }
}

// --- values -------------------------------------------------------------------------------------------

// o += p v where some value is not finite: row by row, with the values hidden from the row made 0
// (their weight is 0, and 0 times NaN is NaN). The same chain of multiply-adds otherwise.
template <class Operands>
inline void blend_careful(const State& s, const Weights& weights, const TileRows& t) {
  constexpr int kDepth = Operands::kDepth;
  for (int r = 0; r < t.count; ++r) {
    const float* added = s.added == nullptr ? nullptr : s.added + (t.begin + r) * kKeys;
    const std::int64_t seen = seen_by(s, t.begin + r);
    const std::int64_t unseen = unseen_by(s, t.begin + r);
    const auto sees = [&](std::int64_t j) {
      return j >= unseen && j < seen && (added == nullptr || added[j] != kHidden);
    };
    float* sums = s.w.sums + (t.begin + r) * s.w.value_step;
    const float* p = weights.words + r * kKeys / kDepth;
    for (std::int64_t j = unseen / kDepth * kDepth; j < seen; j += kDepth) {
      const bool next = kDepth > 1 && sees(j + 1);
      if (!sees(j) && !next) continue;
      const float* v = s.packed_values + j / kDepth * s.w.value_step;
      for (std::int64_t e = 0; e < s.w.value_step; e += kLanes) {
        const Floats x = Operands::seen_part(load(v + e), sees(j), next);
        store(sums + e, Operands::multiply_add(all(p[j / kDepth]), x, load(sums + e)));
      }
    }
  }
}

// o += p v for keys [from, end) of the block.
template <class Operands>
inline void blend_rows(const State& s, const Weights& weights, const TileRows& t, std::int64_t from,
                       std::int64_t end) {
  constexpr int kDepth = Operands::kDepth;
  const std::int64_t vectors = vectors_of(s.a.value_width);
  const std::int64_t first = from / kDepth * kDepth;
  const bool wide = s.values_in_place && vectors > kTileVectors;
  const int rows_at_once = wide ? kWideRows : kTileRows;
  const int vectors_at_once = wide ? kWideVectors : kTileVectors;
  const auto& table = kTiles<Operands>;
  // Packed keys are read all at once, when their block is.
  const Prefetch prefetch = s.a.few ? next_keys(s) : values_at(s, s.block.begin + kKeys);
  Blend b{};
  b.begin = first;
  b.p_step = kKeys / kDepth;
  b.keys = end - first;
  b.starts_late = first < from;
  b.step = s.w.value_step;
  b.v_step = s.values_in_place ? s.a.v_step : s.w.value_step;
  for (int r = 0; r < t.count; r += rows_at_once) {
    const auto rows = smaller(rows_at_once, t.count - r);
    b.p = weights.words + (r * kKeys + first) / kDepth;
    b.prefetch = s.values_in_place && t.begin + r == 0 ? &prefetch : nullptr;
    for (std::int64_t p = 0; p < vectors; p += vectors_at_once) {
      const std::int64_t c = smaller(vectors_at_once, vectors - p);
      b.sums = s.w.sums + (t.begin + r) * s.w.value_step + p * kLanes;
      if (p > 0) b.prefetch = nullptr;
      if (s.values_in_place) {
        b.v = static_cast<const typename Operands::Number*>(s.a.v) +
              (s.block.begin + first) * s.a.v_step + p * kLanes;
        (wide ? table.wide_blends_in_place[rows - 1][c - 1]
              : table.blends_in_place[rows - 1][c - 1])(b);
      } else {
        b.v = s.packed_values + first / kDepth * s.w.value_step + p * kLanes;
        table.blends[rows - 1][c - 1](b);
      }
    }
  }
}

// The values of the whole block where they lie. A few keys at a time: their values are passed over once
// for each few rows, from L1.
constexpr std::int64_t kNearValues = 16;

template <class Operands>
inline void blend_in_place(const State& s, const Weights& weights, const TileRows& t) {
  for (std::int64_t from = t.first; from < t.keys;) {
    const std::int64_t end = smaller(t.keys, (from / kNearValues + 1) * kNearValues);
    blend_rows<Operands>(s, weights, t, from, end);
    from = end;
  }
}

}  // namespace
}  // namespace fovea::kernels
