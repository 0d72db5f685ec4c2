// What merge asks of its caller, checked before anything is written; and where the rows lie.
#pragma once

#include <cstdint>
#include <span>

#include "fovea/merge.h"

namespace fovea::attention {

// The rows of all outputs, [B, H, N]; packed queries are one sequence of T queries, stored [T, H]. E is
// 0 when out is not merged, K when top is not.
struct MergeSizes {
  bool packed;
  std::int64_t B, H, N, E, K;

  std::int64_t rows() const { return B * H * N; }
};

// Throws Error, naming the argument; else returns the sizes that all arguments agree on.
MergeSizes checked_merge_sizes(std::span<const Outputs> parts, const Outputs& merged,
                               const Inputs& inputs);

// One of the rows.
struct MergeRow {
  std::int64_t b, h, i;
};

inline MergeRow merge_row(const MergeSizes& z, std::int64_t row) {
  return {row / z.N / z.H, row / z.N % z.H, row % z.N};
}

// Where the row begins in an output, in elements.
inline std::int64_t offset_of(const MergeSizes& z, const View& view, const MergeRow& row) {
  if (z.packed) return row.i * view.step(0) + row.h * view.step(1);
  return row.b * view.step(0) + row.h * view.step(1) + row.i * view.step(2);
}

// The factors of a row, over the keys of its sequence.
struct RowFactors {
  const float* data = nullptr;
  std::int64_t step = 0;
  std::int64_t keys = 0;
  std::int64_t sequence = 0;

  float at(std::int64_t key) const { return data == nullptr ? 1 : data[key * step]; }
};

RowFactors factors_of(const MergeSizes& z, const Inputs& inputs, const MergeRow& row);

}  // namespace fovea::attention
