// The two products, in register tiles of R rows and C vectors.
//
// Each sum is one chain of multiply-adds in the order of d (or of j), whatever R and C: a row gives
// the same bits in any tile.
#pragma once

#include <cstdint>

namespace fovea::kernels {
namespace {

// s[r, j] = sum_d q[r, d] k[j, d]  for R rows and the C * kLanes keys of a panel [D, C * kLanes].
template <int R, int C>
void score_tile(const float* q, std::int64_t width, const float* panel, float* s) {
  Floats sum[R][C];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) sum[r][c] = all(0);
  }
  for (std::int64_t d = 0; d < width; ++d) {
    Floats k[C];
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) k[c] = load(panel + (d * C + c) * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Floats x = all(q[r * width + d]);
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) sum[r][c] = fma(x, k[c], sum[r][c]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) store(s + r * kKeys + c * kLanes, sum[r][c]);
  }
}

struct Blend {
  const float* p;  // [R, kKeys]  weights
  const float* v;  // [keys, v_step]
  std::int64_t v_step;
  std::int64_t keys;
  const float* grow;  // [R]  what the old sums are multiplied with
  float* sums;        // [R, step]
  std::int64_t step;
};

// o[r, e] = grow[r] o[r, e] + sum_j p[r, j] v[j, e]  for R rows and C vectors of e.
template <int R, int C>
void blend_tile(const Blend& b) {
  Floats sum[R][C];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    const Floats grow = all(b.grow[r]);
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) sum[r][c] = grow * load(b.sums + r * b.step + c * kLanes);
  }
  for (std::int64_t j = 0; j < b.keys; ++j) {
    Floats v[C];
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) v[c] = load(b.v + j * b.v_step + c * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Floats p = all(b.p[r * kKeys + j]);
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) sum[r][c] = fma(p, v[c], sum[r][c]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) store(b.sums + r * b.step + c * kLanes, sum[r][c]);
  }
}

// s[r, l] = sum_d q[r, d] from[l][d]  for R rows and kLanes keys that are not packed: for a few
// rows that would not pay for panels (they are written to L2 and read back once). The same chains,
// the same bits.
template <int R>
void score_unpacked(const float* q, std::int64_t width, const float* const (&from)[kLanes],
                    float* s) {
  Floats sum[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) sum[r] = all(0);
  std::int64_t d = 0;
  Floats k[kLanes];
  for (; d + kLanes <= width; d += kLanes) {
#pragma GCC unroll 16
    for (int l = 0; l < kLanes; ++l) k[l] = load(from[l] + d);
    transpose(k);
#pragma GCC unroll 16
    for (int l = 0; l < kLanes; ++l) {
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) sum[r] = fma(all(q[r * width + d + l]), k[l], sum[r]);
    }
  }
  if (d < width) {
    for (int l = 0; l < kLanes; ++l) k[l] = load_first(from[l] + d, width - d);
    transpose(k);
    for (int l = 0; l < width - d; ++l) {
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) sum[r] = fma(all(q[r * width + d + l]), k[l], sum[r]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) store(s + r * kKeys, sum[r]);
}

// Every tile up to the full one, for the edges: scores[R - 1][C - 1] and so on.
struct TileTable {
  void (*scores[kTileRows][kTileVectors])(const float*, std::int64_t, const float*, float*);
  void (*blends[kTileRows][kTileVectors])(const Blend&);
  void (*unpacked[kTileRows])(const float*, std::int64_t, const float* const (&)[kLanes], float*);
};

template <int R, int C>
constexpr void fill(TileTable& table) {
  table.scores[R - 1][C - 1] = score_tile<R, C>;
  table.blends[R - 1][C - 1] = blend_tile<R, C>;
  table.unpacked[R - 1] = score_unpacked<R>;
  if constexpr (C > 1) {
    fill<R, C - 1>(table);
  } else if constexpr (R > 1) {
    fill<R - 1, kTileVectors>(table);
  }
}

constexpr TileTable filled_table() {
  TileTable table{};
  fill<kTileRows, kTileVectors>(table);
  return table;
}
constexpr TileTable kTiles = filled_table();  // no code of this set runs at start-up

}  // namespace
}  // namespace fovea::kernels
