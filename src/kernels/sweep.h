// What a kernel is told: a few query rows, the keys of one key head, and where results go. Plain
// data.
//
// A kernel knows no batch, head, thread, option or model; `attention/` turns those into rows.
// Same bits: what a row gives depends on the row, its visible keys and the instruction set alone,
// not on the rows beside it.
#pragma once

#include <cstdint>

#include "fovea/isa.h"

namespace fovea::kernels {

// Rows of one sweep at most. A sweep packs each block of keys once: at D = E = 64 and 2,048 keys
// that was 13 % of the time with 96 rows, and is 4 % with 384. Then the rows' own state is 200 KiB.
inline constexpr int kQueries = 384;

// Keys of one block. Block edges lie at multiples of it, wherever a row's keys end: that is what
// makes a row's bits independent of padding. 256 keys of D = E = 64 are 128 KiB, an eighth of a Zen
// 4 L2.
inline constexpr int kKeys = 256;

// One query of one head. A null pointer: not wanted, or not given.
struct Row {
  const float* q = nullptr;
  const bool* mask = nullptr;  // mask[j * mask_step]: may see key j
  const float* bias = nullptr;
  std::int64_t first = 0;    // sees keys [first, visible), less what mask and bias hide
  std::int64_t visible = 0;  // first < visible, or both are 0
  float weight = 1;          // its w in `received`

  float* out = nullptr;               // [value_width]
  float* lse = nullptr;               // [1]
  float* entropy = nullptr;           // [1]
  std::int32_t* top_index = nullptr;  // [top]
  float* top_weight = nullptr;        // [top]
  float* whole = nullptr;             // [visible]: p; keys not seen stay as they are, or become 0
};

struct Sweep {
  const Row* rows = nullptr;
  int row_count = 0;  // at most kQueries

  const float* k = nullptr;
  const float* v = nullptr;  // null: no row has `out`
  std::int64_t k_step = 0;   // from key to key, in elements; features are dense
  std::int64_t v_step = 0;
  std::int64_t width = 0;        // D
  std::int64_t value_width = 0;  // E
  float scale = 1;

  bool masked = false;  // rows have a mask
  bool biased = false;  // rows have a bias
  std::int64_t mask_step = 0;
  std::int64_t bias_step = 0;

  bool entropy = false;
  std::int64_t top = 0;  // keys kept a row
  bool wholes = false;   // rows have `whole`

  const float* factor = nullptr;  // factor[j * factor_step]: top ranks by p * factor
  std::int64_t factor_step = 0;
  float* received = nullptr;  // [keys]: sum of weight * p is added, row by row; null: not wanted

  float* scratch = nullptr;  // scratch_size floats, aligned to a cache line
};

// Floats of scratch that a sweep of `rows` rows over at most `keys` keys needs.
std::int64_t scratch_size(const Sweep& sweep, int rows, std::int64_t keys);

// Runs the sweep on the instruction set.
void run(const Sweep& sweep, Isa isa);

}  // namespace fovea::kernels
