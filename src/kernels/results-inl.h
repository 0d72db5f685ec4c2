// From the state of rows to what the caller asked for.
#pragma once

#include <math.h>

#include <cstdint>

namespace fovea::kernels {
namespace {

inline float total_of(const State& s, int r) {
  return s.a.known ? 1.0f : sum_of(load(s.w.total + r * kLanes));
}

inline float inverse_of(float total) {
  return total == 0 ? 0.0f : 1.0f / total;  // 0: the row sees no key
}

// What the 2^x that row r kept of a block are multiplied with to become p: they were counted from the
// base that the row had at the end of the block.
inline float kept_factor(const State& s, int r, std::int64_t block) {
  float lanes[kLanes];
  const float base = s.w.kept_base[block * s.a.row_count + r];
  store(lanes, exp2(all((base - s.w.base[r]) * s.unit)));
  return lanes[0] * inverse_of(total_of(s, r));
}

inline bool sees_key(const Sweep& a, const Row& row, std::int64_t j) {
  if (a.masked && !row.mask[j * a.mask_step]) return false;
  return !a.biased || row.bias[j * a.bias_step] != kHidden;
}

// A row whose weights are NaN, key by key: it gives NaN to the keys that it sees, and to no others.
[[gnu::noinline]] void take_nan(const State& s, int r, float factor) {
  const Row& row = s.a.rows[r];
  for (std::int64_t j = s.block.begin + unseen_by(s, r); j < s.block.begin + seen_by(s, r); ++j) {
    if (!sees_key(s.a, row, j)) continue;
    if (row.whole != nullptr) row.whole[j] = factor;
    if (s.a.received != nullptr) s.a.received[j] += factor;
  }
}

// p of row r in the block: to its whole row, and into the column sums.
inline void take_row(const State& s, int r, const float* kept, float factor) {
  if (!(factor == factor)) return take_nan(s, r, factor);
  const Row& row = s.a.rows[r];
  const std::int64_t seen = seen_by(s, r);
  for (std::int64_t j = unseen_by(s, r) / kLanes * kLanes; j < seen; j += kLanes) {
    const std::int64_t n = smaller(kLanes, seen - j);
    const Floats x = load(kept + j);
    if (row.whole != nullptr) {
      store_first(row.whole + s.block.begin + j, x * all(factor), n);
    }
    if (s.a.received != nullptr) {
      float* to = s.a.received + s.block.begin + j;
      store_first(to, fma(x, all(factor * row.weight), load_first(to, n)), n);
    }
  }
}

// The same for a tile of rows that see the whole block, into the column sums: each sum passes through
// registers, in the order of rows.
template <int R>
inline void take_tile(const State& s, int begin, const float* kept, const float* factors) {
  float* to = s.a.received + s.block.begin;
  for (std::int64_t j = 0; j < kKeys; j += kLanes) {
    Floats sum = load(to + j);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      sum = fma(load(kept + r * kKeys + j), all(factors[r] * s.a.rows[begin + r].weight), sum);
    }
    store(to + j, sum);
  }
}

// Column sums and whole rows, from the weights that were kept.
inline void take_weights(State& s) {
  for (std::int64_t at = 0; at < s.blocks; ++at) {
    s.block.begin = (s.first / kKeys + at) * kKeys;
    s.block.keys = smaller(kKeys, s.keys - s.block.begin);
    for (int begin = 0; begin < s.a.row_count; begin += kTileRows) {
      const TileRows t = tile_at(s, begin);
      if (t.keys == 0) continue;
      const float* kept = s.w.kept + (at * s.a.row_count + begin) * kKeys;
      float factors[kTileRows];
      bool plain =
          !s.a.wholes && t.count == kTileRows && t.first_of_all == 0 && t.keys_of_all == kKeys;
      for (int r = 0; r < t.count; ++r) {
        factors[r] = kept_factor(s, begin + r, at);
        plain = plain && factors[r] == factors[r];
      }
      if (plain) {
        take_tile<kTileRows>(s, begin, kept, factors);
      } else {
        for (int r = 0; r < t.count; ++r) take_row(s, begin + r, kept + r * kKeys, factors[r]);
      }
    }
  }
}

inline void finish_top(const State& s, int r, float inverse) {
  const Kept kept = kept_of(s, r);
  const Row& row = s.a.rows[r];
  for (std::int64_t i = 0; i < kept.count; i += kLanes) {
    const std::int64_t n = smaller(kLanes, kept.count - i);
    const Floats p = exp2((load_first(kept.score + i, n) - all(s.w.base[r])) * all(s.unit));
    store_first(row.top_weight + i, p * all(inverse), n);
  }
  for (std::int64_t i = 0; i < kept.count; ++i) {
    row.top_index[i] = index_at(kept, i);
    if (row.top_index[i] < 0) row.top_weight[i] = 0;
  }
}

template <class Out>
inline void finish_out(const State& s, int r, float inverse) {
  inverse *= s.a.dropout.scale;
  auto* out = static_cast<Out*>(s.a.rows[r].out);
  const float* sums = s.w.sums + r * s.w.value_step;
  for (std::int64_t e = 0; e < s.a.value_width; e += kLanes) {
    store_first(out + e, load(sums + e) * all(inverse), smaller(kLanes, s.a.value_width - e));
  }
}

inline void finish(const State& s) {
  for (int r = 0; r < s.a.row_count; ++r) {
    const Row& row = s.a.rows[r];
    const float l = total_of(s, r);
    const float inverse = inverse_of(l);
    const double log_total = row.lse != nullptr || row.entropy != nullptr ? log(double{l}) : 0;
    if (row.out != nullptr) {
      switch (s.a.out_type) {
        case Number::kFloat32: finish_out<float>(s, r, inverse); break;
        case Number::kBFloat16: finish_out<BFloat16>(s, r, inverse); break;
        case Number::kFloat16: finish_out<Float16>(s, r, inverse); break;
      }
    }
    if (row.lse != nullptr) {
      const double base = s.w.base[r] * s.scale;
      *row.lse = l == 0 ? kHidden : static_cast<float>(base + log_total);
    }
    if (row.entropy != nullptr) {
      const double h = log_total - kLn2 * sum_of(load(s.w.spread + r * kLanes)) / l;
      *row.entropy = l == 0 || h < 0 ? 0.0f : static_cast<float>(h);
    }
    if (s.a.top > 0) finish_top(s, r, inverse);
  }
}

}  // namespace
}  // namespace fovea::kernels
