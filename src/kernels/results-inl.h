// From the state of rows to what the caller asked for.
#pragma once

#include <math.h>

#include <cstdint>
#include <cstring>

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
    if (s.a.columns) row.received[j] += factor;
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
    if (s.a.columns) {
      float* to = row.received + s.block.begin + j;
      store_first(to, fma(x, all(factor * row.weight), load_first(to, n)), n);
    }
  }
}

// The same for a tile of rows that see the whole block, into the column sums that they share: each sum passes
// through registers, in the order of rows.
template <int R>
inline void take_tile(const State& s, int begin, const float* kept, const float* factors) {
  float* to = s.a.rows[begin].received + s.block.begin;
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
        plain = plain && s.a.rows[begin + r].received == s.a.rows[begin].received;
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

inline void finish_out(const State& s, int r, float inverse) {
  inverse *= s.a.dropout.scale;
  const float* sums = s.w.sums + r * s.w.value_step;
  for (std::int64_t e = 0; e < s.a.value_width; e += kLanes) {
    const std::int64_t n = smaller(kLanes, s.a.value_width - e);
    store_out(s.a.out_type, s.a.rows[r].out, e, load(sums + e) * all(inverse), n);
  }
}

// Not 0, denormal, infinite or NaN, for l >= 0.
inline bool is_normal(float l) { return l >= 1.17549435e-38f && l < -kHidden; }

// ln l of a normal l > 0, to 1e-13 of it (and so 0 for 1): for loops over rows, where log() of the C library, called
// for each, took a tenth of the time of a batch of sentences. Without a branch, so that the compiler makes
// vectors of it.
//
// l = 2^e m with m in [sqrt(1/2), sqrt(2)), ln m = 2 artanh(t), t = (m - 1) / (m + 1), |t| < 0.172:
// the series up to t^15.
[[gnu::always_inline]] inline double ln_of_normal(float l) {
  std::uint32_t bits;
  std::memcpy(&bits, &l, 4);
  const std::uint32_t shifted = bits - 0x3f3504f3u;  // from sqrt(1/2)
  const auto e = static_cast<std::int32_t>(shifted) >> 23;
  const std::uint32_t of_m = (shifted & 0x007fffffu) + 0x3f3504f3u;
  float m;
  std::memcpy(&m, &of_m, 4);
  const double t = (double{m} - 1) / (double{m} + 1);
  const double tt = t * t;
  double sum = 1.0 / 15;
#pragma GCC unroll 8
  for (int n = 13; n > 1; n -= 2) sum = sum * tt + 1.0 / n;
  return e * kLn2 + 2 * t * (1 + sum * tt);
}

inline double ln_of(float l) { return is_normal(l) ? ln_of_normal(l) : log(double{l}); }

// lse and entropy, from the base b, the sums l and u, and ln l.
inline void finish_logs(const State& s, const Row& row, float base, float l, float spread,
                        double log_total) {
  if (row.lse != nullptr) {
    *row.lse = l == 0 ? kHidden : static_cast<float>(base * s.scale + log_total);
  }
  if (row.entropy != nullptr) {
    const double h = log_total - kLn2 * spread / l;
    *row.entropy = l == 0 || h < 0 ? 0.0f : static_cast<float>(h);
  }
}

inline void finish_logs(const State& s, const Row& row, float base, float l, float spread) {
  if (row.lse == nullptr && row.entropy == nullptr) return;
  finish_logs(s, row, base, l, spread, ln_of(l));
}

// In a loop that is not unrolled, or the compiler would not make vectors of it.
[[gnu::noinline]] void ln_of_normals(const float* l, std::int64_t count, double* to) {
  for (std::int64_t r = 0; r < count; ++r) to[r] = ln_of_normal(l[r]);
}

// The same of the first rows, whose sums lie side by side: ln of some rows at a time.
inline void finish_short_logs(const State& s, int rows) {
  constexpr int kSome = 64;
  for (int begin = 0; begin < rows; begin += kSome) {
    const int end = static_cast<int>(smaller(rows, begin + kSome));
    double logs[kSome];
    // Whole vectors: there is room for them behind the last row.
    ln_of_normals(s.w.total + begin, rounded_up(end - begin, 8), logs);
    for (int r = begin; r < end; ++r) {
      const float l = s.w.total[r];
      finish_logs(s, s.a.rows[r], s.w.base[r], l, s.a.entropy ? s.w.spread[r] : 0,
                  is_normal(l) ? logs[r - begin] : log(double{l}));
    }
  }
}

inline void finish(const State& s) {
  for (int r = 0; r < s.a.row_count; ++r) {
    const Row& row = s.a.rows[r];
    const float l = total_of(s, r);
    const float inverse = inverse_of(l);
    if (row.out != nullptr) finish_out(s, r, inverse);
    const float spread = s.a.entropy ? sum_of(load(s.w.spread + r * kLanes)) : 0;
    finish_logs(s, row, s.w.base[r], l, spread);
    if (s.a.top > 0) finish_top(s, r, inverse);
  }
}

}  // namespace
}  // namespace fovea::kernels
