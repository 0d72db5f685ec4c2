// From the state of rows to what the caller asked for.
#pragma once

#include <math.h>

#include <cstdint>

namespace fovea::kernels {
namespace {

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
    const std::int64_t unseen = unseen_by(s, t.begin + r);
    for (std::int64_t j = unseen / kLanes * kLanes; j < seen; j += kLanes) {
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

}  // namespace
}  // namespace fovea::kernels
