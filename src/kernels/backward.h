// What the kernels of backward are told: rows, one block of keys, and where sums go. Plain data.
//
// attention/ runs the stages in this order:
//   kStartRows   delta of rows; their sums become 0                 any rows
//   for each block of keys
//     kPack        the block is packed, its sums become 0           all rows that may see it
//     for each run of at most kGradientRows rows
//       kGather      p and ds of rows x block; dk, dv and column sums grow
//       kSpread      dq and the rows' bias gradients grow           the same, after kGather
//     kStoreKeys   dk and dv of the block
//   kFinishRows  dq of rows                                         any rows
// Between kPack and kStoreKeys `scratch` and `notes` belong to the block. Other blocks may run
// beside it on other threads, but for a row kSpread must run block after block, in ascending order:
// that fixes the order in which dq is summed.
#pragma once

#include <cstdint>

#include "fovea/isa.h"
#include "kernels/sweep.h"

namespace fovea::kernels {

// Rows of a run. Sums of dk and dv pass through registers once a run: 96 multiply-adds for each load
// and store.
inline constexpr int kGradientRows = 96;

struct GradientRow {
  Row row;  // q, what it sees, known_lse; no outputs
  const void* out = nullptr;
  const void* out_gradient = nullptr;
  void* dq = nullptr;
  float* dbias = nullptr;  // where its biases' gradients are added: [visible] at dbias_step, or one
  float* sums = nullptr;   // [width rounded up to 16]: sum_j ds_ij k_j
  float delta = 0;
};

struct Backward {
  enum class Stage : std::uint8_t { kStartRows, kPack, kGather, kSpread, kStoreKeys, kFinishRows };
  Stage stage = Stage::kStartRows;

  Sweep keys;  // k, v and what holds for all rows; neither its rows nor its outputs

  GradientRow* rows = nullptr;
  std::int64_t row_count = 0;
  Number out_type = Number::kFloat32;
  Number dq_type = Number::kFloat32;

  std::int64_t begin = 0;  // the block: keys [begin, begin + count), begin a multiple of kKeys,
  std::int64_t count = 0;  // at most kKeys of them
  void* dk = nullptr;      // of key `begin`; null: not wanted, and so are the others
  void* dv = nullptr;
  std::int64_t dk_step = 0;
  std::int64_t dv_step = 0;
  Number dk_type = Number::kFloat32;
  Number dv_type = Number::kFloat32;
  std::int64_t dbias_step = 0;    // of rows' dbias; 0: one number is the sum over keys
  float* bias_sums = nullptr;     // [kKeys]: sum over rows of ds is added
  float* product_sums = nullptr;  // [kKeys]: sum over rows of p dp is added

  bool spreads = false;      // rows have sums
  bool bias_rows = false;    // rows have dbias
  float* scratch = nullptr;  // backward_scratch_size floats, aligned to a cache line

  // The kernel's own, from stage to stage.
  struct Notes {
    bool keys_finite = true;
    bool rows_finite = true;
    // Of each tile of rows: keys [first, end) of the block are seen by some of them.
    std::int16_t first[kGradientRows] = {};
    std::int16_t end[kGradientRows] = {};
  };
  Notes notes{};
};

std::int64_t backward_scratch_size(const Backward& backward);

// Floats from row to row of `sums`.
std::int64_t gradient_step(std::int64_t width);

void run(Backward& backward, Isa isa);

}  // namespace fovea::kernels
