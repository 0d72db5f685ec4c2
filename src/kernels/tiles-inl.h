// The two products, in register tiles of R rows and C vectors.
//
// Each sum is one chain of multiply-adds in the order of d (or of j), whatever R and C: a row gives
// the same bits in any tile.
#pragma once

#include <cstdint>

namespace fovea::kernels {
namespace {

// sum[r, j] = sum_d q[r, d] k[j, d]  for R rows and the C * kLanes keys of a panel [words, C * kLanes].
template <class Operands, int R, int C>
[[gnu::always_inline]] inline void multiply(const float* q, std::int64_t words, const float* panel,
                                            Floats (&sum)[R][C]) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) sum[r][c] = all(0);
  }
  for (std::int64_t d = 0; d < words; ++d) {
    Floats k[C];
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) k[c] = load(panel + (d * C + c) * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Floats x = all(q[r * words + d]);
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) sum[r][c] = Operands::multiply_add(x, k[c], sum[r][c]);
    }
  }
}

template <int C>
[[gnu::always_inline]] inline void store_vectors(float* to, const Floats (&x)[C]) {
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c) store(to + c * kLanes, x[c]);
}

// The scores of a tile, stored: s [R, kKeys].
template <class Operands, int R, int C>
void score_tile(const float* q, std::int64_t words, const float* panel, float* s) {
  Floats sum[R][C];
  multiply<Operands>(q, words, panel, sum);
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) store(s + r * kKeys + c * kLanes, sum[r][c]);
  }
}

// The same for R rows and kFewKeys keys that are not packed: for a few rows panels would not pay. Lanes
// run along the width and are summed at the end: another order than in panels, but one that does not
// depend on R. s[r * kKeys + key].
constexpr int kFewRows = 4;

template <class Operands, int R>
void score_few(const float* q, std::int64_t width,
               const typename Operands::Number* const (&keys)[kFewKeys], float* s) {
  constexpr std::int64_t kStep = kLanes * Operands::kDepth;  // numbers of a vector of words
  const std::int64_t words = (width + Operands::kDepth - 1) / Operands::kDepth;
  Floats sum[R][kFewKeys];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int l = 0; l < kFewKeys; ++l) sum[r][l] = all(0);
  }
  // Key by key, so that memory is read straight on.
#pragma GCC unroll 16
  for (int l = 0; l < kFewKeys; ++l) {
    std::int64_t d = 0;
    for (; d + kStep <= width; d += kStep) {
      const Floats k = Operands::words(keys[l] + d);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const Floats x = load(q + r * words + d / Operands::kDepth);
        sum[r][l] = Operands::multiply_add(x, k, sum[r][l]);
      }
    }
    if (d < width) {
      const std::int64_t at = d / Operands::kDepth;
      const Floats k = Operands::words(keys[l] + d, width - d);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const Floats x = load_first(q + r * words + at, words - at);
        sum[r][l] = Operands::multiply_add(x, k, sum[r][l]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) sums_of(sum[r], s + r * kKeys);
}

// Where a row's attention goes, and what its sums are multiplied with for that.
struct Target {
  void* out;
  float inverse;
};

inline void store_out(Number type, void* out, std::int64_t e, Floats x, std::int64_t n) {
  switch (type) {
    case Number::kFloat32:
      if (n == kLanes) return store(static_cast<float*>(out) + e, x);
      return store_first(static_cast<float*>(out) + e, x, n);
    case Number::kBFloat16: return store_first(static_cast<BFloat16*>(out) + e, x, n);
    case Number::kFloat16: return store_first(static_cast<Float16*>(out) + e, x, n);
  }
}

struct Blend {
  const float* p;  // [R, p_step]  words of weights
  std::int64_t p_step;
  const void* v;  // [keys / kDepth, v_step] words of values; in place: [keys, v_step] numbers
  std::int64_t v_step;
  std::int64_t keys;
  bool starts_late;  // the first key of the first word is not seen, and not read: its weight is 0
  float* sums;       // [R, step]
  std::int64_t step;
  // Instead of sums, where these keys are all there are:
  const Target* targets;  // [R]
  Number out_type;
  std::int64_t first;  // of the values
  std::int64_t width;  // of all of them
};

// Where values are; and whether sums go on from where they were, or from 0 straight to the output.
enum class Values : std::uint8_t { kPacked, kInPlace };
enum class Sums : std::uint8_t { kGoOn, kWhole };

// o[r, e] += sum_j p[r, j] v[j, e]  for R rows and C vectors of e.
template <class Operands, Values kValues, Sums kSums, int R, int C>
void blend_tile(const Blend& b) {
  constexpr int kDepth = Operands::kDepth;
  using Number = typename Operands::Number;
  Floats sum[R][C];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
      sum[r][c] = kSums == Sums::kWhole ? all(0) : load(b.sums + r * b.step + c * kLanes);
    }
  }
  const std::int64_t steps = (b.keys + kDepth - 1) / kDepth;
  for (std::int64_t j = 0; j < steps; ++j) {
    Floats v[C];
    if constexpr (kValues != Values::kInPlace) {
      const float* at = static_cast<const float*>(b.v) + j * b.v_step;
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) v[c] = load(at + c * kLanes);
    } else {
      const Number* at = static_cast<const Number*>(b.v) + j * kDepth * b.v_step;
      const Number* next = j * kDepth + 1 < b.keys ? at + b.v_step : at;
      if (kDepth > 1 && j == 0 && b.starts_late) at = next;
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) {
        v[c] = Operands::value_words(at + c * kLanes, next + c * kLanes, kLanes);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Floats p = all(b.p[r * b.p_step + j]);
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) sum[r][c] = Operands::multiply_add(p, v[c], sum[r][c]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
      if constexpr (kSums == Sums::kWhole) {
        const std::int64_t e = b.first + c * kLanes;
        const Floats x = sum[r][c] * all(b.targets[r].inverse);
        store_out(b.out_type, b.targets[r].out, e, x, smaller(kLanes, b.width - e));
      } else {
        store(b.sums + r * b.step + c * kLanes, sum[r][c]);
      }
    }
  }
}

// Wide values in place: fewer rows and whole rows of values, so that memory is read straight on.
constexpr int kWideRows = kTileRows * kTileVectors >= 24 ? 2 : 1;
constexpr int kWideVectors = 8;

// Every tile up to the full one, for the edges: scores[R - 1][C - 1] and so on.
template <class Operands>
struct TileTable {
  using Keys = const typename Operands::Number* const (&)[kFewKeys];
  void (*scores[kTileRows][kTileVectors])(const float*, std::int64_t, const float*, float*);
  void (*blends[kTileRows][kTileVectors])(const Blend&);
  void (*blends_in_place[kTileRows][kTileVectors])(const Blend&);
  void (*whole_blends[kTileRows][kTileVectors])(const Blend&);
  void (*whole_blends_in_place[kTileRows][kTileVectors])(const Blend&);
  void (*wide_blends_in_place[kWideRows][kWideVectors])(const Blend&);
  void (*few[kFewRows])(const float*, std::int64_t, Keys, float*);
};

template <class Operands, int R, int C>
constexpr void fill(TileTable<Operands>& table) {
  table.scores[R - 1][C - 1] = score_tile<Operands, R, C>;
  table.blends[R - 1][C - 1] = blend_tile<Operands, Values::kPacked, Sums::kGoOn, R, C>;
  table.whole_blends[R - 1][C - 1] = blend_tile<Operands, Values::kPacked, Sums::kWhole, R, C>;
  table.whole_blends_in_place[R - 1][C - 1] =
      blend_tile<Operands, Values::kInPlace, Sums::kWhole, R, C>;
  table.blends_in_place[R - 1][C - 1] = blend_tile<Operands, Values::kInPlace, Sums::kGoOn, R, C>;
  if constexpr (R <= kFewRows && C == 1) table.few[R - 1] = score_few<Operands, R>;
  if constexpr (C > 1) {
    fill<Operands, R, C - 1>(table);
  } else if constexpr (R > 1) {
    fill<Operands, R - 1, kTileVectors>(table);
  }
}

template <class Operands, int R, int C>
constexpr void fill_wide(TileTable<Operands>& table) {
  table.wide_blends_in_place[R - 1][C - 1] =
      blend_tile<Operands, Values::kInPlace, Sums::kGoOn, R, C>;
  if constexpr (C > 1) {
    fill_wide<Operands, R, C - 1>(table);
  } else if constexpr (R > 1) {
    fill_wide<Operands, R - 1, kWideVectors>(table);
  }
}

template <class Operands>
constexpr TileTable<Operands> filled_table() {
  TileTable<Operands> table{};
  fill<Operands, kTileRows, kTileVectors>(table);
  fill_wide<Operands, kWideRows, kWideVectors>(table);
  return table;
}
template <class Operands>
constexpr TileTable<Operands> kTiles = filled_table<Operands>();  // no code runs at start-up

}  // namespace
}  // namespace fovea::kernels
