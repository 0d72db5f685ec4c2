// The gradients of attention for one block of keys and the rows that see it. Compiled once for each
// instruction set, as sweep-inl.h.
//
//   s = q k^T     p = 2^(unit (s - lse))     dp = g v^T     ds = p (dp - delta)
//   dv += p^T g     dk += ds^T q     dq += ds k
//
// Five products of the block and a run of rows, and every operand is packed once for two of them at
// least. p and ds lie in L2 between them. The sums of dk and dv stay with the block, which sees all
// rows pass; dq goes to the rows' own sums, block after block.
#pragma once

#include <cstdint>

#include "kernels/backward.h"
#include "kernels/backward_workspace.h"
// These build on each other:
// clang-format off
#include "kernels/exp2-inl.h"
#include "kernels/operands-inl.h"
#include "kernels/tiles-inl.h"
#include "kernels/pack-inl.h"
#include "kernels/dropout-inl.h"
// clang-format on

namespace fovea::kernels {
namespace {

constexpr double kLog2e = 1.4426950408889634;
constexpr std::int64_t kPanelKeys = kTileVectors * kLanes;

struct BackwardState {
  Backward& a;
  BackwardWorkspace w;
  Block block;
  std::int64_t d_words, e_words;  // of a key, of a value
  bool scaled;                    // scores are scaled before something is added to them
  bool adds;                      // rows have masks or biases: w.added
  double scale;                   // of the scores that tiles hold: 1 where they are scaled already
  float unit;                     // log2(e) scale
};

template <class Operands>
inline BackwardState state_of(Backward& a) {
  constexpr int kDepth = Operands::kDepth;
  BackwardState s{.a = a, .w = backward_workspace(a, a.scratch)};
  const Sweep& keys = a.keys;
  s.block = Block{.begin = a.begin, .keys = a.count};
  s.d_words = rounded_up((keys.width + kDepth - 1) / kDepth, Operands::kWordStep);
  s.e_words = rounded_up((keys.value_width + kDepth - 1) / kDepth, Operands::kWordStep);
  if (kDepth == 1) s.w.ds_across = s.w.ds_exact = s.w.ds;
  s.adds = keys.masked || keys.biased;
  s.scaled = keys.biased || keys.sloped || keys.scale == 0;
  s.scale = s.scaled ? 1 : keys.scale < 0 ? -keys.scale : keys.scale;
  s.unit = static_cast<float>(s.scale * kLog2e);
  return s;
}

// Keys [first, end) of the block are those that the row sees by its range; none: 0, 0.
struct Reach {
  std::int64_t first, end;
};
inline Reach reach_of(const BackwardState& s, const Row& row) {
  const std::int64_t first = larger(0, row.first - s.block.begin);
  const std::int64_t end = smaller(s.block.keys, row.visible - s.block.begin);
  return first < end ? Reach{first, end} : Reach{0, 0};
}

// --- kStartRows and kFinishRows ------------------------------------------------------------------

template <class A, class B>
inline float dot(const A* a, const B* b, std::int64_t n) {
  Floats sum = all(0);
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const std::int64_t count = smaller(kLanes, n - i);
    sum = fma(load_first(a + i, count), load_first(b + i, count), sum);
  }
  return sum_of(sum);
}

// A row that sees nothing is not read.
template <class T>
inline void start_rows(const Backward& a) {
  const std::int64_t step = gradient_step(a.keys.width);
  for (std::int64_t r = 0; r < a.row_count; ++r) {
    GradientRow& row = a.rows[r];
    for (std::int64_t d = 0; row.sums != nullptr && d < step; d += kLanes) {
      store(row.sums + d, all(0));
    }
    if (row.row.visible == 0) continue;
    const auto* g = static_cast<const T*>(row.out_gradient);
    const std::int64_t n = a.keys.value_width;
    row.delta = a.out_type == Number::kFloat32 ? dot(static_cast<const float*>(row.out), g, n)
                                               : dot(static_cast<const T*>(row.out), g, n);
  }
}

template <class T>
inline void store_scaled(void* to, const float* sums, std::int64_t width, float scale) {
  for (std::int64_t d = 0; d < width; d += kLanes) {
    store_first(static_cast<T*>(to) + d, load(sums + d) * all(scale), smaller(kLanes, width - d));
  }
}

inline void store_gradient(Number type, void* to, const float* sums, std::int64_t width,
                           float scale) {
  switch (type) {
    case Number::kFloat32: return store_scaled<float>(to, sums, width, scale);
    case Number::kBFloat16: return store_scaled<BFloat16>(to, sums, width, scale);
    case Number::kFloat16: return store_scaled<Float16>(to, sums, width, scale);
  }
}

inline void finish_rows(const Backward& a) {
  for (std::int64_t r = 0; r < a.row_count; ++r) {
    const GradientRow& row = a.rows[r];
    if (row.dq != nullptr) {
      store_gradient(a.dq_type, row.dq, row.sums, a.keys.width, a.keys.scale);
    }
  }
}

// --- kPack and kStoreKeys ------------------------------------------------------------------------

// seen[j]: some row sees key j of the block. Without masks and biases rows see a range, and all of
// them together one too, since places follow each other. Most often a few rows see all keys.
inline void find_seen(const BackwardState& s, bool* seen) {
  const Floats hidden = all(kHidden);
  Reach whole{kKeys, 0};
  float reach[kKeys];  // 0 where seen
  float added[kKeys];
  std::int64_t left = s.block.keys;  // keys that no row saw so far
  for (std::int64_t j = 0; j < kKeys; j += kLanes) store(reach + j, hidden);
  for (std::int64_t r = 0; r < s.a.row_count && left > 0; ++r) {
    const Row& row = s.a.rows[r].row;
    const Reach own = reach_of(s, row);
    if (own.first == own.end) continue;
    whole = {smaller(whole.first, own.first), larger(whole.end, own.end)};
    if (!s.adds) {
      left = s.block.keys - (whole.end - whole.first);
      continue;
    }
    add_row(s.a.keys, s.block, row, added);
    left = 0;
    for (std::int64_t j = 0; j < s.block.keys; ++j) {
      reach[j] = added[j] == kHidden ? reach[j] : 0.0f;
      left += reach[j] == 0 ? 0 : 1;
    }
  }
  for (std::int64_t j = 0; j < kKeys; ++j) {
    seen[j] = s.adds ? reach[j] == 0 : j >= whole.first && j < whole.end;
  }
}

inline void clear(float* sums, std::int64_t count) {
  for (std::int64_t x = 0; x < count; x += kLanes) store(sums + x, all(0));
}

template <class Operands>
inline void pack_block(BackwardState& s) {
  bool seen[kKeys];
  find_seen(s, seen);
  const Sweep& keys = s.a.keys;
  Sweep values = keys;  // v as if it were k, and k as if it were v
  values.k = keys.v;
  values.k_step = keys.v_step;
  values.width = keys.value_width;
  values.v = keys.k;
  values.v_step = keys.k_step;
  values.value_width = keys.width;
  pack_keys<Operands>(keys, s.block, seen, s.d_words, s.w.keys);
  pack_keys<Operands>(values, s.block, seen, s.e_words, s.w.values);
  s.a.notes.keys_finite = pack_values<Operands>(values, s.block, seen, s.w.key_lanes, s.w.d_step);
}

inline std::int64_t bytes_of(Number type) { return type == Number::kFloat32 ? 4 : 2; }

inline void store_block(const BackwardState& s) {
  const Backward& a = s.a;
  for (std::int64_t j = 0; j < a.count; ++j) {
    if (a.dk != nullptr) {
      store_gradient(a.dk_type, static_cast<char*>(a.dk) + j * a.dk_step * bytes_of(a.dk_type),
                     s.w.dk + j * s.w.d_step, a.keys.width, a.keys.scale);
    }
    if (a.dv != nullptr) {
      store_gradient(a.dv_type, static_cast<char*>(a.dv) + j * a.dv_step * bytes_of(a.dv_type),
                     s.w.dv + j * s.w.e_step, a.keys.value_width, 1);
    }
  }
}

// --- kGather: rows are packed --------------------------------------------------------------------

// Words of a row, as the scores' products take them; those of a row that sees nothing are 0.
template <class Operands>
inline void pack_words(const void* from, std::int64_t width, std::int64_t words, float sign,
                       float* to) {
  constexpr std::int64_t kStep = kLanes * Operands::kDepth;
  const auto* numbers = static_cast<const typename Operands::Number*>(from);
  for (std::int64_t d = 0; d < width; d += kStep) {
    const std::int64_t at = d / Operands::kDepth;
    Floats x = all(0);
    if (numbers != nullptr) {
      x = Operands::with_sign(Operands::words(numbers + d, smaller(kStep, width - d)), sign);
    }
    store_first(to + at, x, smaller(kLanes, words - at));
  }
}

// Words of rows r and, in pairs, r + 1 side by side, for the sums over queries. Returns whether all
// are finite.
template <class Operands>
inline bool pack_lanes(const void* const* rows, std::int64_t count, std::int64_t width,
                       std::int64_t step, float* to) {
  using Number = typename Operands::Number;
  constexpr int kDepth = Operands::kDepth;
  Floats zero = all(0);
  for (std::int64_t r = 0; r < count; r += kDepth) {
    const auto* here = static_cast<const Number*>(rows[r]);
    const auto* next =
        static_cast<const Number*>(kDepth > 1 && r + 1 < count ? rows[r + 1] : nullptr);
    const Number* low = here != nullptr ? here : next;
    const Number* high = next != nullptr ? next : here;
    for (std::int64_t d = 0; d < step; d += kLanes) {
      const std::int64_t n = smaller(kLanes, larger(0, width - d));
      Floats x = all(0);
      if (low != nullptr) {
        x = Operands::seen_part(Operands::value_words(low + d, high + d, n), here != nullptr,
                                next != nullptr);
      }
      zero = Operands::multiply_add(x, all(0), zero);
      store(to + r / kDepth * step + d, x);
    }
  }
  return sum_of(zero) == 0;
}

template <class Operands>
inline void pack_rows(BackwardState& s) {
  const Sweep& keys = s.a.keys;
  const float sign = keys.scale > 0 ? 1.0f : keys.scale < 0 ? -1.0f : 0.0f;
  const void* q[kGradientRows];
  const void* g[kGradientRows];
  for (std::int64_t r = 0; r < s.a.row_count; ++r) {
    const GradientRow& row = s.a.rows[r];
    const Reach reach = reach_of(s, row.row);
    const bool sees = reach.first < reach.end;
    q[r] = sees ? row.row.q : nullptr;
    g[r] = sees ? row.out_gradient : nullptr;
    // A second rounding of lse would put as much error into every weight of the row as the first.
    const double base = row.row.known_lse / s.scale;
    s.w.base[r] = static_cast<float>(base);
    s.w.rest[r] = static_cast<float>((s.w.base[r] - base) * s.unit);
    s.w.delta[r] = row.delta;
    pack_words<Operands>(q[r], keys.width, s.d_words, sign, s.w.q + r * s.d_words);
    pack_words<Operands>(g[r], keys.value_width, s.e_words, 1, s.w.g + r * s.e_words);
    if (s.adds) add_row(keys, s.block, row.row, s.w.added + r * kKeys);
  }
  const bool q_finite = pack_lanes<Operands>(q, s.a.row_count, keys.width, s.w.d_step, s.w.q_lanes);
  const bool g_finite =
      pack_lanes<Operands>(g, s.a.row_count, keys.value_width, s.w.e_step, s.w.g_lanes);
  s.a.notes.rows_finite = q_finite && g_finite;
}

// --- kGather: p and ds ---------------------------------------------------------------------------

struct GradientTile {
  int begin, count;                       // rows
  std::int64_t first, end;                // keys that some of them see by range
  std::int64_t first_of_all, end_of_all;  // that all of them see
};

inline GradientTile gradient_tile(const BackwardState& s, std::int64_t begin,
                                  std::int64_t rows = kTileRows) {
  GradientTile t{static_cast<int>(begin),
                 static_cast<int>(smaller(rows, s.a.row_count - begin)),
                 kKeys,
                 0,
                 0,
                 kKeys};
  for (std::int64_t r = begin; r < begin + t.count; ++r) {
    const Reach reach = reach_of(s, s.a.rows[r].row);
    t.first_of_all = larger(t.first_of_all, reach.first);
    t.end_of_all = smaller(t.end_of_all, reach.end);
    if (reach.first == reach.end) continue;
    t.first = smaller(t.first, reach.first);
    t.end = larger(t.end, reach.end);
  }
  if (t.end == 0) t.first = 0;
  return t;
}

// The products of a panel become scores of row r, -inf where hidden: as add() and hide() of a
// sweep.
inline Floats finished_score(const BackwardState& s, std::int64_t r, const Reach& reach,
                             std::int64_t j, Floats x) {
  const Row& row = s.a.rows[r].row;
  const Sweep& keys = s.a.keys;
  Floats added = all(0);
  if (s.adds) {
    const std::int64_t n = larger(0, smaller(kLanes, s.block.keys - j));
    added = load_first(s.w.added + r * kKeys + j, n);
  }
  if (s.scaled) {
    const Floats scale = all(keys.scale < 0 ? -keys.scale : keys.scale);
    x = keys.biased ? fma(x, scale, added) : x * scale;
    if (keys.sloped) {
      const Floats far = all(static_cast<float>(row.place - s.block.begin - j)) - ramp();
      x = fma(all(-row.slope), max(far, all(0) - far), x);
    }
  }
  if (s.adds) x = pick_where_equal(added, all(kHidden), all(kHidden), x);
  const std::int64_t seen = larger(0, smaller(kLanes, reach.end - j));
  const std::int64_t unseen = larger(0, smaller(kLanes, reach.first - j));
  if (seen < kLanes) x = pick_first(seen, x, all(kHidden));
  if (unseen > 0) x = pick_first(unseen, all(kHidden), x);
  return x;
}

inline void add_to(float* sums, Floats x) { store(sums, load(sums) + x); }

// What the weights of a row are counted from.
struct RowNumbers {
  Floats base, rest, delta;
};
inline RowNumbers numbers_of(const BackwardState& s, std::int64_t row) {
  return {all(s.w.base[row]), all(s.w.rest[row]), all(s.w.delta[row])};
}

// p and ds of some pairs of a row, from their products.
struct Pairs {
  Floats p, ds;
};
inline Pairs plain_pairs(const RowNumbers& row, Floats unit, Floats x, Floats dp) {
  const Floats p = exp2(fma(x - row.base, unit, row.rest));
  return {p, p * (dp - row.delta)};
}

// The same under any rule, for row r of the tile and keys [j, j + kLanes). p as it meets out_gradient.
inline Pairs ruled_pairs(const BackwardState& s, const GradientTile& t, int r, const Reach& reach,
                         const RowNumbers& row, std::int64_t j, Floats x, Floats dp) {
  x = finished_score(s, t.begin + r, reach, j, x);
  // 0 where hidden, also in a row whose lse is NaN.
  const Floats hidden = all(kHidden);
  const Floats p =
      pick_where_equal(x, hidden, all(0), exp2(fma(x - row.base, all(s.unit), row.rest)));
  Floats met = p;
  if (s.w.kept != nullptr) {
    const Floats z = load(s.w.kept + r * kKeys + j);
    met = p * z;
    dp = dp * z;
  }
  const Floats ds = pick_where_equal(x, hidden, all(0), p * (dp - row.delta));
  if (s.a.product_sums != nullptr) {
    add_to(s.a.product_sums + j, pick_where_equal(x, hidden, all(0), p * dp));
  }
  if (s.a.bias_sums != nullptr) add_to(s.a.bias_sums + j, ds);
  return {met, ds};
}

// z of the rows of the tile, for keys [0, end) of the block.
inline void find_kept(const BackwardState& s, const GradientTile& t) {
  const Dropping& dropout = s.a.keys.dropout;
  if (s.w.kept == nullptr) return;
  for (int r = 0; r < t.count; ++r) {
    const Row& row = s.a.rows[t.begin + r].row;
    float* to = s.w.kept + r * kKeys;
    each_kept(dropout, row, s.block.begin, s.block.begin + kKeys,
              [&](std::int64_t j, bool kept) { to[j] = kept ? dropout.scale : 0.0f; });
  }
}

template <class Operands>
inline void clear_pairs(const BackwardState& s, const GradientTile& t, std::int64_t from,
                        std::int64_t end) {
  constexpr int kDepth = Operands::kDepth;
  for (std::int64_t r = t.begin; r < t.begin + t.count; r += kDepth) {
    for (std::int64_t j = from; j < end; j += kLanes) {
      store(s.w.p + r / kDepth * kPairStep + j, all(0));
      store(s.w.ds + r / kDepth * kPairStep + j, all(0));
    }
  }
}

// The panel's pairs are all seen, and p and ds are wanted for the products only.
inline bool is_plain(const BackwardState& s, const GradientTile& t, std::int64_t from,
                     std::int64_t vectors) {
  return from >= t.first_of_all && from + vectors * kLanes <= t.end_of_all && !s.adds &&
         !s.scaled && s.a.keys.dropout.threshold == 0 && s.a.product_sums == nullptr &&
         s.a.bias_sums == nullptr;
}

// Floats from row to row of ds_across. A tile register's rows are loaded fastest from whole cache lines.
template <class Operands>
constexpr std::int64_t kAcrossStep = Operands::kInTiles ? kPairStep : kPairStep / Operands::kDepth;

// p and ds of the rows of a word, r and in pairs r + 1, and one panel of keys, whose products begin at `at` of a row
// of scores.
template <class Operands>
[[gnu::always_inline]] inline void weigh_word(const BackwardState& s, const GradientTile& t, int r,
                                              int rows, std::int64_t from, int vectors,
                                              std::int64_t at, bool plain) {
  constexpr int kDepth = Operands::kDepth;
  const Floats unit = all(s.unit);
  Reach reach[kDepth];
  RowNumbers numbers[kDepth];
  const float* scores[kDepth];
  const float* dots[kDepth];
  float* across[kDepth];
  for (int x = 0; x < kDepth; ++x) {
    const int row = r + x < rows ? r + x : r;
    reach[x] = reach_of(s, s.a.rows[t.begin + row].row);
    numbers[x] = numbers_of(s, t.begin + row);
    scores[x] = s.w.scores + row * kKeys + at;
    dots[x] = s.w.dots + row * kKeys + at;
    across[x] = s.w.ds_across + (t.begin + row) * kAcrossStep<Operands> + from / kDepth;
  }
  const std::int64_t word = (t.begin + r) / kDepth * kPairStep + from;
  float* p_to = s.w.p + word;
  float* ds_to = s.w.ds + word;
  float* exact =
      s.w.ds_exact == nullptr ? nullptr : s.w.ds_exact + (t.begin + r) * kPairStep + from;
  for (std::int64_t c = 0; c < vectors * kLanes; c += kLanes) {
    Floats p[kDepth], ds[kDepth];
    for (int x = 0; x < kDepth; ++x) {
      p[x] = ds[x] = all(0);
      if (r + x >= rows) continue;
      const Floats score = load(scores[x] + c), dp = load(dots[x] + c);
      const Pairs pairs = plain
                              ? plain_pairs(numbers[x], unit, score, dp)
                              : ruled_pairs(s, t, r + x, reach[x], numbers[x], from + c, score, dp);
      p[x] = pairs.p;
      ds[x] = pairs.ds;
      if (kDepth == 1) continue;
      Operands::store_weights(across[x] + c / kDepth, ds[x]);
      if (exact != nullptr) store(exact + x * kPairStep + c, ds[x]);
    }
    store(p_to + c, Operands::stacked(p));
    store(ds_to + c, Operands::stacked(ds));
  }
}

// One tile of rows and one panel of keys.
template <class Operands, int R, int C>
void weigh_pairs(const BackwardState& s, const GradientTile& t, std::int64_t from) {
  score_tile<Operands, R, C>(s.w.q + t.begin * s.d_words, s.d_words, s.w.keys + from * s.d_words,
                             s.w.scores);
  score_tile<Operands, R, C>(s.w.g + t.begin * s.e_words, s.e_words, s.w.values + from * s.e_words,
                             s.w.dots);
  const bool plain = is_plain(s, t, from, C);
  for (int r = 0; r < R; r += Operands::kDepth) {
    weigh_word<Operands>(s, t, r, R, from, C, 0, plain);
  }
}

// --- the products over queries -------------------------------------------------------------------

struct Gather {
  const float* p;      // [steps, kPairStep]  words of queries; column r is that of key r
  const float* lanes;  // [steps, step]
  std::int64_t steps;
  float* sums;  // [R, step]
  std::int64_t step;
};

// sums[r, d] += sum_i p[i, r] lanes[i, d]  for R keys and C vectors of d.
template <class Operands, int R, int C>
void gather_tile(const Gather& g) {
  Floats sum[R][C];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) sum[r][c] = load(g.sums + r * g.step + c * kLanes);
  }
  for (std::int64_t i = 0; i < g.steps; ++i) {
    Floats x[C];
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) x[c] = load(g.lanes + i * g.step + c * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Floats p = all(g.p[i * kPairStep + r]);
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) sum[r][c] = Operands::multiply_add(p, x[c], sum[r][c]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) store(g.sums + r * g.step + c * kLanes, sum[r][c]);
  }
}

template <class Operands>
struct BackwardTable {
  void (*weigh[kTileRows][kTileVectors])(const BackwardState&, const GradientTile&, std::int64_t);
  void (*gather[kTileRows][kTileVectors])(const Gather&);
  void (*blend[kTileRows][kTileVectors])(const Blend&);
};

template <class Operands, int R, int C>
constexpr void fill(BackwardTable<Operands>& table) {
  table.weigh[R - 1][C - 1] = weigh_pairs<Operands, R, C>;
  table.gather[R - 1][C - 1] = gather_tile<Operands, R, C>;
  table.blend[R - 1][C - 1] = blend_tile<Operands, Values::kPacked, Sums::kGoOn, R, C>;
  if constexpr (C > 1) {
    fill<Operands, R, C - 1>(table);
  } else if constexpr (R > 1) {
    fill<Operands, R - 1, kTileVectors>(table);
  }
}

template <class Operands>
constexpr BackwardTable<Operands> filled_backward_table() {
  BackwardTable<Operands> table{};
  fill<Operands, kTileRows, kTileVectors>(table);
  return table;
}
template <class Operands>
constexpr BackwardTable<Operands> kBackwardTiles = filled_backward_table<Operands>();

inline std::int64_t vectors_of_width(std::int64_t width) { return (width + kLanes - 1) / kLanes; }

// sums[j, :] += sum over the run's rows of p[i, j] lanes[i, :], for all keys of the block.
template <class Operands>
inline void gather_all(const BackwardState& s, const float* p, const float* lanes,
                       std::int64_t width, std::int64_t step, float* sums) {
  constexpr int kDepth = Operands::kDepth;
  const Backward::Notes& notes = s.a.notes;
  const std::int64_t tiles = (s.a.row_count + kTileRows - 1) / kTileRows;
  const std::int64_t vectors = vectors_of_width(width);
  for (std::int64_t j = 0; j < s.block.keys; j += kTileRows) {
    const std::int64_t keys = smaller(kTileRows, s.block.keys - j);
    std::int64_t first = 0;
    std::int64_t last = tiles - 1;
    const auto misses = [&](std::int64_t t) {
      return notes.first[t] >= j + keys || notes.end[t] <= j;
    };
    while (first <= last && misses(first)) ++first;
    while (first <= last && misses(last)) --last;
    if (first > last) continue;
    const std::int64_t from = first * kTileRows / kDepth;
    const std::int64_t end = (smaller(s.a.row_count, (last + 1) * kTileRows) + kDepth - 1) / kDepth;
    for (std::int64_t c = 0; c < vectors; c += kTileVectors) {
      const Gather g{p + from * kPairStep + j, lanes + from * step + c * kLanes, end - from,
                     sums + j * step + c * kLanes, step};
      kBackwardTiles<Operands>.gather[keys - 1][smaller(kTileVectors, vectors - c) - 1](g);
    }
  }
}

inline bool sees(const BackwardState& s, std::int64_t r, std::int64_t j) {
  if (r >= s.a.row_count) return false;
  const Reach reach = reach_of(s, s.a.rows[r].row);
  return j >= reach.first && j < reach.end && (!s.adds || s.w.added[r * kKeys + j] != kHidden);
}

// The same where something is not finite: pair by pair, leaving out those that are hidden (0 times
// NaN is NaN). The same chains of multiply-adds otherwise.
template <class Operands>
[[gnu::noinline]] void gather_careful(const BackwardState& s, const float* p, const float* lanes,
                                      std::int64_t step, float* sums) {
  constexpr int kDepth = Operands::kDepth;
  for (std::int64_t j = 0; j < s.block.keys; ++j) {
    for (std::int64_t r = 0; r < s.a.row_count; r += kDepth) {
      const bool here = sees(s, r, j);
      const bool next = kDepth > 1 && sees(s, r + 1, j);
      if (!here && !next) continue;
      const Floats word = all(p[r / kDepth * kPairStep + j]);
      for (std::int64_t d = 0; d < step; d += kLanes) {
        const Floats x = Operands::seen_part(load(lanes + r / kDepth * step + d), here, next);
        float* to = sums + j * step + d;
        store(to, Operands::multiply_add(word, x, load(to)));
      }
    }
  }
}

template <class Operands>
inline void take_queries(BackwardState& s) {
  Backward::Notes& notes = s.a.notes;
  std::int64_t end = 0;
  const std::int64_t tiles = (s.a.row_count + kTileRows - 1) / kTileRows;
  for (std::int64_t at = 0; at < tiles; ++at) {
    const GradientTile t = gradient_tile(s, at * kTileRows);
    notes.first[at] = static_cast<std::int16_t>(t.first);
    notes.end[at] = static_cast<std::int16_t>(t.end);
    end = larger(end, t.end);
  }
  if (end == 0) return;
  pack_rows<Operands>(s);
  const std::int64_t whole = rounded_up(s.block.keys, kLanes);
  for (std::int64_t at = 0; at < tiles; ++at) {
    const GradientTile t = gradient_tile(s, at * kTileRows);
    const std::int64_t first = t.first / kPanelKeys * kPanelKeys;
    const std::int64_t last = smaller(whole, rounded_up(t.end, kPanelKeys));
    clear_pairs<Operands>(s, t, 0, first);
    clear_pairs<Operands>(s, t, last, whole);
    if (t.end == 0) continue;
    find_kept(s, t);
    for (std::int64_t from = first; from < last; from += kPanelKeys) {
      const std::int64_t vectors = smaller(kPanelKeys, whole - from) / kLanes;
      kBackwardTiles<Operands>.weigh[t.count - 1][vectors - 1](s, t, from);
    }
  }
  const Sweep& keys = s.a.keys;
  if (!notes.rows_finite) {
    if (s.a.dv != nullptr) {
      gather_careful<Operands>(s, s.w.p, s.w.g_lanes, s.w.e_step, s.w.dv);
    }
    if (s.a.dk != nullptr) {
      gather_careful<Operands>(s, s.w.ds, s.w.q_lanes, s.w.d_step, s.w.dk);
    }
    return;
  }
  if (s.a.dv != nullptr) {
    gather_all<Operands>(s, s.w.p, s.w.g_lanes, keys.value_width, s.w.e_step, s.w.dv);
  }
  if (s.a.dk != nullptr) {
    gather_all<Operands>(s, s.w.ds, s.w.q_lanes, keys.width, s.w.d_step, s.w.dk);
  }
}

// --- kSpread -------------------------------------------------------------------------------------

template <class Operands>
[[gnu::noinline]] void spread_careful(const BackwardState& s, std::int64_t r) {
  constexpr int kDepth = Operands::kDepth;
  const Reach reach = reach_of(s, s.a.rows[r].row);
  float* sums = s.a.rows[r].sums;
  for (std::int64_t j = reach.first / kDepth * kDepth; j < reach.end; j += kDepth) {
    const bool here = sees(s, r, j);
    const bool next = kDepth > 1 && sees(s, r, j + 1);
    if (!here && !next) continue;
    const Floats word = all(s.w.ds_across[r * kAcrossStep<Operands> + j / kDepth]);
    for (std::int64_t d = 0; d < s.w.d_step; d += kLanes) {
      const Floats x =
          Operands::seen_part(load(s.w.key_lanes + j / kDepth * s.w.d_step + d), here, next);
      store(sums + d, Operands::multiply_add(word, x, load(sums + d)));
    }
  }
}

// dq of the rows of tile `at`, whose sums lie d_step apart.
template <class Operands>
inline void spread_tile(const BackwardState& s, std::int64_t at) {
  constexpr int kDepth = Operands::kDepth;
  const std::int64_t begin = at * kTileRows;
  const std::int64_t rows = smaller(kTileRows, s.a.row_count - begin);
  const std::int64_t first = s.a.notes.first[at] / kPanelKeys * kPanelKeys;
  const std::int64_t vectors = vectors_of_width(s.a.keys.width);
  Blend b{};
  b.p = s.w.ds_across + begin * kAcrossStep<Operands> + first / kDepth;
  b.p_step = kAcrossStep<Operands>;
  b.keys = s.a.notes.end[at] - first;
  b.step = b.v_step = s.w.d_step;
  for (std::int64_t c = 0; c < vectors; c += kTileVectors) {
    b.v = s.w.key_lanes + first / kDepth * s.w.d_step + c * kLanes;
    b.sums = s.a.rows[begin].sums + c * kLanes;
    kBackwardTiles<Operands>.blend[rows - 1][smaller(kTileVectors, vectors - c) - 1](b);
  }
}

inline void spread_bias(const BackwardState& s, std::int64_t r) {
  const Reach reach = reach_of(s, s.a.rows[r].row);
  const float* ds = s.w.ds_exact + r * kPairStep;
  const std::int64_t step = s.a.dbias_step;
  float* to = s.a.rows[r].dbias;
  if (step == 0) {
    float sum = 0;
    for (std::int64_t j = reach.first; j < reach.end; ++j) sum += ds[j];
    *to += sum;
    return;
  }
  to += s.block.begin * step;
  for (std::int64_t j = reach.first; j < reach.end; ++j) to[j * step] += ds[j];
}

template <class Operands>
inline void spread_rows(const BackwardState& s) {
  const std::int64_t tiles = (s.a.row_count + kTileRows - 1) / kTileRows;
  for (std::int64_t at = 0; at < tiles; ++at) {
    if (s.a.notes.end[at] == 0) continue;
    const std::int64_t begin = at * kTileRows;
    const std::int64_t end = smaller(s.a.row_count, begin + kTileRows);
    if (s.a.spreads && s.a.notes.keys_finite) spread_tile<Operands>(s, at);
    for (std::int64_t r = begin; r < end; ++r) {
      if (s.a.spreads && !s.a.notes.keys_finite) spread_careful<Operands>(s, r);
      if (s.a.bias_rows) spread_bias(s, r);
    }
  }
}

template <class Operands>
void backward(Backward& a) {
  using Stage = Backward::Stage;
  if (a.stage == Stage::kStartRows) return start_rows<typename Operands::Number>(a);
  if (a.stage == Stage::kFinishRows) return finish_rows(a);
  BackwardState s = state_of<Operands>(a);
  switch (a.stage) {
    case Stage::kPack:
      pack_block<Operands>(s);
      clear(s.w.dk, s.block.keys * s.w.d_step);
      return clear(s.w.dv, s.block.keys * s.w.e_step);
    case Stage::kGather: return take_queries<Operands>(s);
    case Stage::kSpread: return spread_rows<Operands>(s);
    default: return store_block(s);
  }
}

// 16-bit numbers by way of float32.
inline void backward_widened(Backward& a) {
  switch (a.keys.type) {
    case Number::kFloat32: return backward<Single<float>>(a);
    case Number::kBFloat16: return backward<Single<BFloat16>>(a);
    case Number::kFloat16: return backward<Single<Float16>>(a);
  }
}

}  // namespace
}  // namespace fovea::kernels
