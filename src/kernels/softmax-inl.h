// One tile of rows: scores, peaks, weights, and the weighted sums of values.
#pragma once

#include <cstdint>

namespace fovea::kernels {
namespace {

// scores[r, j] for whole vectors of keys, -inf where row r does not see key j.
inline void score_rows(const State& s, const TileRows& t) {
  const Sweep& a = s.a;
  const std::int64_t of_block = (s.block.keys + kLanes - 1) / kLanes;
  const std::int64_t vectors = (t.keys + kLanes - 1) / kLanes;
  const float* q = s.w.q + t.begin * a.width;
  const std::int64_t first_panel = t.first / kLanes / kTileVectors * kTileVectors;
  if (s.unpacked) {
    for (std::int64_t i = t.first / kLanes; i < vectors; ++i) {
      const float* from[kLanes];
      find_lanes(a, s.block, s.seen, i * kLanes, from);
      kTiles.unpacked[t.count - 1](q, a.width, from, s.w.scores + i * kLanes);
    }
  } else {
    for (std::int64_t p = first_panel; p < vectors; p += kTileVectors) {
      const std::int64_t c = smaller(kTileVectors, of_block - p);
      kTiles.scores[t.count - 1][c - 1](q, a.width, s.w.keys + p * kLanes * a.width,
                                        s.w.scores + p * kLanes);
    }
  }
  for (int r = 0; r < t.count; ++r) {
    float* score = s.w.scores + r * kKeys;
    const std::int64_t seen = seen_by(s, t.begin + r);
    const std::int64_t unseen = unseen_by(s, t.begin + r);
    if (s.added != nullptr) {
      const float* added = s.added + (t.begin + r) * kKeys;
      for (std::int64_t j = unseen / kLanes * kLanes; j < seen; j += kLanes) {
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
    for (std::int64_t j = 0; j < unseen; j += kLanes) {
      store(score + j, pick_first(smaller(kLanes, unseen - j), all(kHidden), load(score + j)));
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
    const std::int64_t unseen = unseen_by(s, t.begin + r);
    float* sums = s.w.sums + (t.begin + r) * s.w.value_step;
    for (std::int64_t e = 0; e < s.w.value_step; e += kLanes) {
      Floats sum = all(grow[r]) * load(sums + e);
      for (std::int64_t j = unseen; j < seen; ++j) {
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
  b.p = s.w.scores + t.first;
  b.keys = t.keys - t.first;
  b.grow = grow;
  b.step = s.w.value_step;
  b.v_step = s.unpacked ? s.a.v_step : s.w.value_step;
  const float* values =
      (s.unpacked ? s.a.v + s.block.begin * s.a.v_step : s.w.values) + t.first * b.v_step;
  for (std::int64_t p = 0; p < vectors; p += kTileVectors) {
    const std::int64_t c = smaller(kTileVectors, vectors - p);
    b.v = values + p * kLanes;
    b.sums = s.w.sums + t.begin * s.w.value_step + p * kLanes;
    kTiles.blends[t.count - 1][c - 1](b);
  }
}

}  // namespace
}  // namespace fovea::kernels
