// The two products, in register tiles of R rows and C vectors.
//
// Each sum is one chain of multiply-adds in the order of d (or of j), whatever R and C: a row gives
// the same bits in any tile.
#pragma once

#include <cstdint>
#include <cstring>

namespace fovea::kernels {
namespace {

// A word of an array of floats, or of the caller's queries where those are words as they lie.
inline float word_at(const float* p) {
  float x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}

// sum[r, j] = sum_d q[r, d] k[j, d]  for R rows, from row to row q_step words, and the C * kLanes keys of a
// panel [words, C * kLanes].
// `ask` asks for a line of memory that is needed later, in each step. (Many at once would wait for each other.)
struct AskNothing {
  void operator()(std::int64_t) const {}
};
template <class Operands, int R, int C, class Ask = AskNothing>
[[gnu::always_inline]] inline void multiply(const float* q, std::int64_t q_step, std::int64_t words,
                                            const float* panel, Floats (&sum)[R][C],
                                            const Ask& ask = {}) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) sum[r][c] = all(0);
  }
  for (std::int64_t d = 0; d < words; ++d) {
    ask(d);
    Floats k[C];
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) k[c] = load(panel + (d * C + c) * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Floats x = all(word_at(q + r * q_step + d));
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
  multiply<Operands>(q, words, words, panel, sum);
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) store(s + r * kKeys + c * kLanes, sum[r][c]);
  }
}

// Rows of memory that are needed soon, one asked for with each key of a block that is scored or whose value is added
// up: this block's values while its keys are scored, the next block's keys while values are added up. In four places of
// the block at once, into the middle cache: docs/design/decode.md.
struct Prefetch {
  std::uintptr_t rows = 0;   // where the first lies, a number since it may be past the last
  std::int64_t count = 0;    // at most kKeys
  std::int64_t apart = 0;    // rows from place to place
  std::uintptr_t step = 0;   // bytes from row to row
  std::uintptr_t width = 0;  // bytes of a row
  bool in_pairs = false;     // every second line will do
};

constexpr std::int64_t kPlaces = 4;

// What goes with key j of the block.
[[gnu::always_inline]] inline void prefetch_row(const Prefetch& p, std::int64_t j) {
  const std::int64_t row = j % kPlaces * p.apart + j / kPlaces;
  if (j / kPlaces >= p.apart || row >= p.count) return;
  std::uintptr_t at = p.rows + static_cast<std::uintptr_t>(row) * p.step;
  const std::uintptr_t end = at + p.width;
  const auto line = [&](std::uintptr_t n) {
    __builtin_prefetch(reinterpret_cast<const void*>(at + n * kLine), 0, 2);
  };
  for (; at + 4 * kLine <= end; at += 4 * kLine) {
    line(0);
    line(2);
    if (p.in_pairs) continue;
    line(1);
    line(3);
  }
  for (; at < end; at += p.in_pairs ? 2 * kLine : kLine) line(0);
}

// The scores of R rows and keys that are not packed: for a few rows panels would not pay. Lanes run along the
// width and are summed at the end: another order than in panels, but one that does not depend on R.
// s[r * kKeys + key], for `groups` times kFewKeys keys. A query of W vectors stays in registers meanwhile; with
// W = 0 it has more than kFewVectors, and is read anew.
//
// `prefetch`: may be null; key l is key `begin` + l of the block.
constexpr std::int64_t kNearKeys = 16;  // at most, at once
constexpr int kFewRows = 4;
constexpr int kFewVectors = 8;

template <class Operands, int R, int W>
void score_few(const float* q, std::int64_t width, const typename Operands::Number* const* keys,
               std::int64_t groups, const Prefetch* prefetch, std::int64_t begin, float* s) {
  constexpr std::int64_t kStep = kLanes * Operands::kDepth;  // numbers of a vector of words
  const std::int64_t words = (width + Operands::kDepth - 1) / Operands::kDepth;
  const std::int64_t whole = width / kStep * kStep;
  const auto query = [&](int r, std::int64_t d) {
    const float* at = q + r * words + d / Operands::kDepth;
    return d < whole ? load(at) : load_first(at, words - d / Operands::kDepth);
  };
  const auto key = [&](const typename Operands::Number* at, std::int64_t d) {
    return d < whole ? Operands::words(at + d) : Operands::words(at + d, width - d);
  };
  Floats x[R][W == 0 ? 1 : W];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int w = 0; w < W; ++w) x[r][w] = query(r, w * kStep);
  }
  // Key by key in a small loop: memory is read straight on, by the same few instructions, which is what the
  // processor's prefetching follows. Unrolled over keys, reading and computing did not overlap.
  float lanes[R][kNearKeys * kLanes];
  for (std::int64_t l = 0; l < groups * kFewKeys; ++l) {
    if (prefetch != nullptr) prefetch_row(*prefetch, begin + l);
    Floats sum[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sum[r] = all(0);
    if constexpr (W > 0) {
#pragma GCC unroll 16
      for (int w = 0; w < W; ++w) {
        const Floats k = w < W - 1 ? Operands::words(keys[l] + w * kStep) : key(keys[l], w * kStep);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) sum[r] = Operands::multiply_add(x[r][w], k, sum[r]);
      }
    } else {
      for (std::int64_t d = 0; d < width; d += kStep) {
        const Floats k = key(keys[l], d);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) sum[r] = Operands::multiply_add(query(r, d), k, sum[r]);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) store(lanes[r] + l * kLanes, sum[r]);
  }
  for (int r = 0; r < R; ++r) {
    for (std::int64_t g = 0; g < groups * kFewKeys; g += kFewKeys) {
      Floats sum[kFewKeys];
#pragma GCC unroll 16
      for (int l = 0; l < kFewKeys; ++l) sum[l] = load(lanes[r] + (g + l) * kLanes);
      sums_of(sum, s + r * kKeys + g);
    }
  }
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
  const Prefetch* prefetch;  // in place; may be null
  std::int64_t begin;        // in place: the first key, in its block
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
      if (kSums == Sums::kGoOn && b.prefetch != nullptr) {
        for (int n = 0; n < kDepth; ++n) prefetch_row(*b.prefetch, b.begin + j * kDepth + n);
      }
      if (kDepth > 1 && j == 0 && b.starts_late) at = next;
      Operands::value_words(at, next, v);
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
  void (*scores[kTileRows][kTileVectors])(const float*, std::int64_t, const float*, float*);
  void (*blends[kTileRows][kTileVectors])(const Blend&);
  void (*blends_in_place[kTileRows][kTileVectors])(const Blend&);
  void (*whole_blends[kTileRows][kTileVectors])(const Blend&);
  void (*whole_blends_in_place[kTileRows][kTileVectors])(const Blend&);
  void (*wide_blends_in_place[kWideRows][kWideVectors])(const Blend&);
  void (*few[kFewRows][kFewVectors + 1])(const float*, std::int64_t,
                                         const typename Operands::Number* const*, std::int64_t,
                                         const Prefetch*, std::int64_t, float*);
};

template <class Operands, int R, int C>
constexpr void fill(TileTable<Operands>& table) {
  table.scores[R - 1][C - 1] = score_tile<Operands, R, C>;
  table.blends[R - 1][C - 1] = blend_tile<Operands, Values::kPacked, Sums::kGoOn, R, C>;
  table.whole_blends[R - 1][C - 1] = blend_tile<Operands, Values::kPacked, Sums::kWhole, R, C>;
  table.whole_blends_in_place[R - 1][C - 1] =
      blend_tile<Operands, Values::kInPlace, Sums::kWhole, R, C>;
  table.blends_in_place[R - 1][C - 1] = blend_tile<Operands, Values::kInPlace, Sums::kGoOn, R, C>;
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

template <class Operands, int R, int W>
constexpr void fill_few(TileTable<Operands>& table) {
  table.few[R - 1][W] = score_few<Operands, R, W>;
  if constexpr (W > 0) {
    fill_few<Operands, R, W - 1>(table);
  } else if constexpr (R > 1) {
    fill_few<Operands, R - 1, kFewVectors>(table);
  }
}

template <class Operands>
constexpr TileTable<Operands> filled_table() {
  TileTable<Operands> table{};
  fill<Operands, kTileRows, kTileVectors>(table);
  fill_wide<Operands, kWideRows, kWideVectors>(table);
  fill_few<Operands, kFewRows, kFewVectors>(table);
  return table;
}
template <class Operands>
constexpr TileTable<Operands> kTiles = filled_table<Operands>();  // no code runs at start-up

}  // namespace
}  // namespace fovea::kernels
