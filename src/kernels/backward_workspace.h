// The scratch memory of one block of keys in backward, cut into named pieces: see workspace.h.
#pragma once

#include <cstdint>

#include "kernels/backward.h"
#include "kernels/workspace.h"

namespace fovea::kernels {
namespace {

// Floats from row to row of p and ds. Not a power of 2: products over queries read them column by
// column, and rows 1 KiB apart would share 4 of the 64 sets of L1.
constexpr std::int64_t kPairStep = kKeys + kWidest;

struct BackwardWorkspace {
  std::int64_t d_step, e_step;  // D and E, rounded up to whole vectors

  float* keys;       // panels of [D, vectors of keys]     for s
  float* values;     // panels of [E, vectors of keys]     for dp
  float* key_lanes;  // [keys, d_step]                     for dq
  float* dk;         // [keys, d_step]   sums; in tiles [d_step, kPairStep]
  float* dv;         // [keys, e_step]   likewise
  float* q;          // [rows, D]        times the sign of the scale
  float* g;          // [rows, E]        out_gradient
  float* q_lanes;    // [rows, d_step]
  float* g_lanes;    // [rows, e_step]
  float* p;   // [rows, kPairStep]  weights as they meet out_gradient: words of queries side by side
  float* ds;  // [rows, kPairStep]  likewise
  float* ds_across;  // [rows, kPairStep]  ds: words of keys side by side
  float* ds_exact;   // [rows, kPairStep]  ds: floats
  float* turned;  // [step, rows / 2]   q_lanes or g_lanes, transposed; for tiles only, as some_sums
  float* some_sums;  // [tile rows, step]
  float* scores;     // [tile rows, kKeys]
  float* dots;       // [tile rows, kKeys]  <out_gradient, v>
  float* kept;       // [tile rows, kKeys]  z; with dropout only
  float* added;      // [rows, kKeys]       as in a sweep
  float* base;       // [rows]              lse, in units of scores, and
  float* rest;       // [rows]              what its rounding left, in units of exponents
  float* delta;      // [rows]

  std::int64_t floats;  // all of it
};

// Cuts `base` (may be null, to learn the size only).
inline BackwardWorkspace backward_workspace(const Backward& a, float* base) {
  BackwardWorkspace w{};
  const Sweep& keys = a.keys;
  const auto take = [&w, base](std::int64_t count) {
    float* piece = base == nullptr || count == 0 ? nullptr : base + w.floats;
    w.floats += rounded_up(count, kWidest);
    return piece;
  };
  // 32-bit words hold one number or two: float32 needs no second and third form of ds.
  const bool narrow = keys.type != Number::kFloat32;
  w.d_step = rounded_up(keys.width, kWidest);
  w.e_step = rounded_up(keys.value_width, kWidest);
  const bool tiled = keys.type == Number::kBFloat16;  // at most; by the set too
  const std::int64_t tile_rows = tiled ? kTiledRows : kMostTileRows;
  const std::int64_t sums = tiled ? kPairStep : kKeys;
  // Words of a row that tiles take are a multiple of 16, but half as many as there are numbers.
  const std::int64_t d_words = tiled ? larger(keys.width, kTileSide) : keys.width;
  const std::int64_t e_words = tiled ? larger(keys.value_width, kTileSide) : keys.value_width;
  w.keys = take(kKeys * d_words);
  w.values = take(kKeys * e_words);
  w.key_lanes = take(kKeys * w.d_step);
  w.dk = take(sums * w.d_step);
  w.dv = take(sums * w.e_step);
  w.q = take(kGradientRows * d_words);
  w.g = take(kGradientRows * e_words);
  w.q_lanes = take(kGradientRows * w.d_step);
  w.g_lanes = take(kGradientRows * w.e_step);
  w.p = take(kGradientRows * kPairStep);
  w.ds = take(kGradientRows * kPairStep);
  w.ds_across = take(narrow ? kGradientRows * kPairStep : 0);
  w.ds_exact = take(narrow && a.bias_rows ? kGradientRows * kPairStep : 0);
  w.turned = take(tiled ? larger(w.d_step, w.e_step) * kGradientRows / 2 : 0);
  w.some_sums = take(tiled ? kTiledRows * larger(w.d_step, w.e_step) : 0);
  w.scores = take(tile_rows * kKeys);
  w.dots = take(tile_rows * kKeys);
  w.kept = take(keys.dropout.threshold > 0 ? tile_rows * kKeys : 0);
  w.added = take(keys.masked || keys.biased ? kGradientRows * kKeys : 0);
  w.base = take(kGradientRows);
  w.rest = take(kGradientRows);
  w.delta = take(kGradientRows);
  return w;
}

}  // namespace
}  // namespace fovea::kernels
