// One block of keys, made ready: keys transposed into panels, values in whole vectors, mask and
// bias as one array of floats. What no row of the sweep may see is not read.
#pragma once

#include <cstdint>

namespace fovea::kernels {
namespace {

// What is known of a block that stays packed between sweeps.
constexpr float kNotPacked = 0;
constexpr float kPackedFinite = 1;
constexpr float kPackedNotFinite = 2;

struct Block {
  std::int64_t begin = 0;  // its first key
  std::int64_t keys = 0;   // keys from there that some row may see by its length, at most kKeys
  bool finite = true;      // every value read is
  bool all_seen = false;   // each of them by some row
};

// to[j]: what is added to the score of key begin + j, -inf where the row may not see it. The usual
// steps have loops of their own, which the compiler makes vectors of.
inline void add_row(const Sweep& a, const Block& block, const Row& row, float* to) {
  const bool* mask = row.mask + block.begin * a.mask_step;
  const float* bias = row.bias + block.begin * a.bias_step;
  const std::int64_t seen = larger(0, smaller(block.keys, row.visible - block.begin));
  const std::int64_t unseen = larger(0, smaller(block.keys, row.first - block.begin));
  for (std::int64_t j = 0; j < unseen; ++j) to[j] = kHidden;
  if (!a.biased && a.mask_step == 1) {
    for (std::int64_t j = unseen; j < seen; ++j) to[j] = mask[j] ? 0.0f : kHidden;
  } else if (!a.masked && a.bias_step == 1) {
    for (std::int64_t j = unseen; j < seen; ++j) to[j] = bias[j];
  } else {
    for (std::int64_t j = unseen; j < seen; ++j) {
      const bool may = !a.masked || mask[j * a.mask_step];
      to[j] = !may ? kHidden : a.biased ? bias[j * a.bias_step] : 0.0f;
    }
  }
  for (std::int64_t j = seen; j < block.keys; ++j) to[j] = kHidden;
}

// added[r, j] of all rows, and seen[j]: some row may see key begin + j.
inline void add_rows(const Sweep& a, const Block& block, float* added, bool* seen) {
  float reach[kKeys];  // 0 where seen
  const std::int64_t whole = rounded_up(block.keys, kLanes);
  for (std::int64_t j = 0; j < whole; j += kLanes) store(reach + j, all(kHidden));
  for (int r = 0; r < a.row_count; ++r) {
    float* row = added + r * kKeys;
    add_row(a, block, a.rows[r], row);
    for (std::int64_t j = 0; j < whole; j += kLanes) {
      const Floats x = load_first(row + j, smaller(kLanes, block.keys - j));
      store(reach + j, pick_where_equal(x, all(kHidden), load(reach + j), all(0)));
    }
  }
  for (std::int64_t j = 0; j < block.keys; ++j) seen[j] = reach[j] == 0;
}

// from[lane]: the row of key j + lane. Where no row of the sweep sees that key, another that is
// seen: what a hidden lane scores does not matter. Returns false when none of them is seen.
template <class T>
inline bool find_lanes(const Sweep& a, const Block& block, const bool* seen, std::int64_t j,
                       const T* (&from)[kLanes]) {
  const T* keys = static_cast<const T*>(a.k) + block.begin * a.k_step;
  if (block.all_seen) {
    for (int l = 0; l < kLanes; ++l) from[l] = keys + smaller(j + l, block.keys - 1) * a.k_step;
    return true;
  }
  const T* some = nullptr;
  for (int l = 0; l < kLanes; ++l) {
    from[l] = nullptr;
    if (j + l < block.keys && seen[j + l]) some = from[l] = keys + (j + l) * a.k_step;
  }
  for (int l = 0; l < kLanes; ++l) {
    if (from[l] == nullptr) from[l] = some;
  }
  return some != nullptr;
}

// Keys become panels of kTileVectors vectors: panel[word, lane] = k[lane, word]. The last panel is as
// narrow as the keys allow.
template <class Operands>
inline void pack_keys(const Sweep& a, const Block& block, const bool* seen, std::int64_t words,
                      float* to) {
  constexpr std::int64_t kStep = kLanes * Operands::kDepth;
  const std::int64_t vectors = (block.keys + kLanes - 1) / kLanes;
  for (std::int64_t t = 0; t < vectors; ++t) {
    const std::int64_t first_of_panel = t / kTileVectors * kTileVectors;
    const std::int64_t panel_step = smaller(kTileVectors, vectors - first_of_panel) * kLanes;
    float* panel = to + (first_of_panel * words + (t - first_of_panel)) * kLanes;
    const typename Operands::Number* from[kLanes];
    if (!find_lanes(a, block, seen, t * kLanes, from)) continue;
    std::int64_t d = 0;
    Floats x[kLanes];
    for (; d + kStep <= a.width; d += kStep) {
#pragma GCC unroll 16
      for (int l = 0; l < kLanes; ++l) x[l] = Operands::words(from[l] + d);
      transpose(x);
      float* column = panel + d / Operands::kDepth * panel_step;
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) store(column + i * panel_step, x[i]);
    }
    if (d == a.width) continue;
    for (int l = 0; l < kLanes; ++l) x[l] = Operands::words(from[l] + d, a.width - d);
    transpose(x);
    const std::int64_t word = d / Operands::kDepth;
    for (std::int64_t i = 0; i < words - word; ++i) store(panel + (word + i) * panel_step, x[i]);
  }
}

// Values become rows of whole vectors of words; those of keys that nobody sees are 0. Returns whether
// all of them are finite: 0 x is 0 then. Tiles get 0 for those that are not: see add_unbounded.
template <class Operands>
inline bool pack_values(const Sweep& a, const Block& block, const bool* seen, float* to,
                        std::int64_t step) {
  using Number = typename Operands::Number;
  constexpr int kDepth = Operands::kDepth;
  const Number* values = static_cast<const Number*>(a.v) + block.begin * a.v_step;
  // Rows of whole vectors need no care at their ends.
  Floats zero = all(0);
  for (std::int64_t j = 0; j < rounded_up(block.keys, Operands::kKeyStep); j += kDepth) {
    const bool here = j < block.keys && seen[j];
    const bool next = kDepth > 1 && j + 1 < block.keys && seen[j + 1];
    const Number* from = values + (here ? j : j + 1) * a.v_step;  // where a key is seen
    const Number* after = values + (next ? j + 1 : j) * a.v_step;
    for (std::int64_t e = 0; e < step; e += kLanes) {
      const std::int64_t n = smaller(kLanes, larger(0, a.value_width - e));
      Floats x = all(0);
      if (here || next) {
        x = Operands::seen_part(Operands::value_words(from + e, after + e, n), here, next);
      }
      zero = Operands::multiply_add(x, all(0), zero);
      if constexpr (Operands::kInTiles) x = Operands::finite_part(x);
      store(to + j / kDepth * step + e, x);
    }
  }
  return sum_of(zero) == 0;
}

}  // namespace
}  // namespace fovea::kernels
