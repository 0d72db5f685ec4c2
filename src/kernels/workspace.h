// The scratch memory of one sweep, cut into named pieces. Sizes are for the widest vectors (16
// floats), whatever the instruction set. Everything here has internal linkage: see
// docs/design/isa.md.
#pragma once

#include <cstdint>

#include "kernels/sweep.h"

namespace fovea::kernels {
namespace {

inline std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
inline std::int64_t larger(std::int64_t a, std::int64_t b) { return a > b ? a : b; }
inline std::int64_t rounded_up(std::int64_t n, std::int64_t step) {
  return (n + step - 1) / step * step;
}

constexpr std::int64_t kWidest = 16;       // floats of the widest vector, and of a cache line
constexpr std::int64_t kMostTileRows = 6;  // rows of the tallest register tile

// Tile registers (tiled-inl.h) hold 16 rows of 16 words. Rows are taken two of them at once, and what they read
// and write is whole tiles: arrays of rows and of keys are as long, so that no tile reaches past their ends.
constexpr std::int64_t kTileSide = 16;
constexpr std::int64_t kTiledRows = 2 * kTileSide;
constexpr std::int64_t kTiledKeys = 2 * kTileSide;  // of pairs

struct Workspace {
  std::int64_t value_step;  // E rounded up to whole vectors
  std::int64_t top_step;    // K rounded up to whole vectors

  float* ready;   // [blocks]              which of them are packed already; with `packed` only
  float* keys;    // panels of [D, vectors of keys], of one block or of all that stay packed
  float* values;  // [keys, value_step]
  float* q;       // [rows, D]             the queries, times the sign of the scale
  float*
      scores;  // [tile rows, kKeys]    of one tile of rows and one block; of two with tile registers
  float* weights;   // [tile rows, kKeys]    2^x of one tile of rows and one block
  float* dropped;   // [tile rows, kKeys]    the same less what dropout drops; with dropout only
  float* added;     // [rows, kKeys]         bias, -inf where hidden; with a mask or bias only
  float* factors;   // [kKeys]               log2 of the factors; with a factor only
  float* sums;      // [rows, value_step]    o: sum of 2^x v
  float* base;      // [rows]                b: what scores are counted from
  float* limit;     // [rows]                the score that moves b; -inf before the first
  float* total;     // [rows, lanes]         l: sum of 2^x
  float* spread;    // [rows, lanes]         u: sum of 2^x x; with entropy only
  float* anchor;    // [rows]                the first b: ranks are counted from it
  float* bar;       // [rows]                a score above it may be among the K best; with top only
  float* top_rank;  // [rows, top_step]      the best keys, descending
  float* top_score;  // [rows, top_step]
  float* top_index;  // [rows, top_step]      int32 in the memory of floats
  float* kept;       // [blocks, rows, kKeys] 2^x of all; for column sums and whole rows only
  float* kept_base;  // [blocks, rows]        the b that they were counted from
  float* partials;   // [parts, rows, partial_step]  with few queries and many keys

  std::int64_t floats;  // all of it
};

inline std::int64_t parts_of(std::int64_t end) { return (end + kPartKeys - 1) / kPartKeys; }

// Floats of one row's sums over one part: parts-inl.h.
inline std::int64_t partial_step(const Sweep& a) {
  const std::int64_t values = a.v == nullptr ? 0 : rounded_up(a.value_width, kWidest);
  return 3 * kWidest + values + 3 * rounded_up(a.top, kWidest);
}

// Cuts `base` (may be null, to learn the size only) for `rows` rows and keys [first, end).
inline Workspace workspace(const Sweep& a, std::int64_t rows, std::int64_t first, std::int64_t end,
                           float* base) {
  Workspace w{};
  const std::int64_t block = smaller(kKeys, rounded_up(end, kTiledKeys));
  const std::int64_t blocks = (end + kKeys - 1) / kKeys - first / kKeys;
  const bool keeps = a.columns || a.wholes;
  const bool tiled = a.type == Number::kBFloat16 && !a.few;  // at most; by the set too
  const std::int64_t tile_rows = tiled ? kTiledRows : kMostTileRows;
  const std::int64_t all_rows = tiled ? rounded_up(rows, kTiledRows) : rows;
  // Words of a row that tiles take are a multiple of 16, but half as many as there are numbers.
  const std::int64_t words = tiled ? larger(a.width, kTileSide) : a.width;
  const auto take = [&w, base](std::int64_t count) {
    float* piece = base == nullptr ? nullptr : base + w.floats;
    w.floats += rounded_up(count, kWidest);
    return piece;
  };
  w.value_step = a.v == nullptr ? 0 : rounded_up(a.value_width, kWidest);
  // First what stays: where it lies must not depend on the rows.
  w.ready = take(a.packed / kKeys);
  w.keys = take(larger(block, a.packed) * words);
  w.values = take(larger(block, a.packed) * w.value_step);
  w.q = take(all_rows * words);
  w.scores = take((tiled ? 2 : 1) * tile_rows * kKeys);
  w.weights = take(tile_rows * kKeys);
  w.dropped = take(a.dropout.threshold > 0 ? tile_rows * kKeys : 0);
  w.added = take(a.masked || a.biased ? rows * kKeys : 0);
  w.factors = take(a.factor != nullptr && a.top > 0 ? kKeys : 0);
  w.sums = take(all_rows * w.value_step);
  w.base = take(rows);
  w.limit = take(rows);
  w.total = take(rows * kWidest);
  w.spread = take(a.entropy ? rows * kWidest : 0);
  w.anchor = take(rows);
  w.bar = take(a.top > 0 ? rows : 0);
  w.top_step = rounded_up(a.top, kWidest);
  w.top_rank = take(rows * w.top_step);
  w.top_score = take(a.factor != nullptr ? rows * w.top_step : 0);
  w.top_index = take(rows * w.top_step);
  w.kept = take(keeps ? blocks * rows * kKeys : 0);
  w.kept_base = take(keeps ? blocks * rows : 0);
  const bool parted = a.few && a.stage == Sweep::Stage::kWhole && end > kPartKeys;
  w.partials = take(parted ? parts_of(end) * rows * partial_step(a) : 0);
  return w;
}

}  // namespace
}  // namespace fovea::kernels
