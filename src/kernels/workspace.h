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

struct Workspace {
  std::int64_t value_step;  // E rounded up to whole vectors
  std::int64_t top_step;    // K rounded up to whole vectors

  float* q;          // [rows, D]             the queries, times the sign of the scale
  float* keys;       // panels of [D, vectors of keys]
  float* values;     // [keys, value_step]
  float* scores;     // [tile rows, kKeys]    scores of one tile, then its weights
  float* added;      // [rows, kKeys]         bias, -inf where hidden; with a mask or bias only
  float* factors;    // [kKeys]               log2 of the factors; with a factor only
  float* sums;       // [rows, value_step]    o: sum of weight v
  float* peak;       // [rows]                m: largest score so far
  float* total;      // [rows]                l: sum of weights 2^x
  float* spread;     // [rows]                u: sum of weight x
  float* anchor;     // [rows]                the first peak: ranks are counted from it
  float* top_rank;   // [rows, top_step]      the best keys, descending
  float* top_score;  // [rows, top_step]
  float* top_index;  // [rows, top_step]      int32 in the memory of floats

  std::int64_t floats;  // all of it
};

// Cuts `base` (may be null, to learn the size only) for `rows` rows and at most `keys` keys.
inline Workspace workspace(const Sweep& a, std::int64_t rows, std::int64_t keys, float* base) {
  Workspace w{};
  const std::int64_t block = smaller(kKeys, rounded_up(keys, kWidest));
  const auto take = [&w, base](std::int64_t count) {
    float* piece = base == nullptr ? nullptr : base + w.floats;
    w.floats += rounded_up(count, kWidest);
    return piece;
  };
  w.value_step = a.v == nullptr ? 0 : rounded_up(a.value_width, kWidest);
  w.q = take(rows * a.width);
  w.keys = take(block * a.width);
  w.values = take(block * w.value_step);
  w.scores = take(kMostTileRows * kKeys);
  w.added = take(a.masked || a.biased ? rows * kKeys : 0);
  w.factors = take(a.factor != nullptr && a.top > 0 ? kKeys : 0);
  w.sums = take(rows * w.value_step);
  w.peak = take(rows);
  w.total = take(rows);
  w.spread = take(rows);
  w.anchor = take(rows);
  w.top_step = rounded_up(a.top, kWidest);
  w.top_rank = take(rows * w.top_step);
  w.top_score = take(rows * w.top_step);
  w.top_index = take(rows * w.top_step);
  return w;
}

}  // namespace
}  // namespace fovea::kernels
