// Turns queries of a batch into the kernels' rows: where each reads, what it sees, where it writes.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "attention/checks.h"
#include "fovea/attend.h"
#include "fovea/backward.h"
#include "kernels/backward.h"
#include "kernels/sweep.h"

namespace fovea::attention {

// What attend_backward is told besides.
struct BackwardViews {
  const Forward& forward;
  const View& out_gradient;
  const Gradients& gradients;
};

// The rows of one sweep. Memory is kept when they are emptied, with what was in it: whoever adds a row sets all
// of it. (To clear each before took a twentieth of the time of a batch of sentences.)
class Rows {
 public:
  void clear() { count_ = 0; }
  std::span<kernels::Row> add(std::int64_t count) {
    const std::size_t first = count_;
    count_ += static_cast<std::size_t>(count);
    if (rows_.size() < count_) rows_.resize(count_);
    return {rows_.data() + first, static_cast<std::size_t>(count)};
  }
  std::span<const kernels::Row> all() const { return {rows_.data(), count_}; }

 private:
  std::vector<kernels::Row> rows_;
  std::size_t count_ = 0;
};

struct Call {
  const Inputs& inputs;
  const Options& options;
  const Outputs& outputs;
  Sizes z;
  View lse{};  // where p is known from it: fovea/highlights.h, fovea/backward.h
  const BackwardViews* backward = nullptr;
};

// How many queries and keys sequence b has room for: its own number, or more where it is padded.
std::int64_t query_room(const Call& call, std::int64_t b);
std::int64_t key_room(const Call& call, std::int64_t b);

// Queries [i, i + count) of head h of sequence b, with places for all outputs but `rows`, added to
// `rows`; `received`: where their column sums go, if anywhere.
void add_rows(const Call& call, std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t count,
              float* received, Rows& rows);

// All queries of head h of sequence b, with places for what attend_backward reads and stores; but for
// `sums`.
void add_gradient_rows(const Call& call, std::int64_t b, std::int64_t h,
                       std::vector<kernels::GradientRow>& rows);

// Query i for `rows` alone, place r.
kernels::Row whole_row_of(const Call& call, std::int64_t b, std::int64_t h, std::int64_t i,
                          std::int64_t r);

// A sweep over the keys of sequence b that query head h reads. It has no rows yet; for all outputs but
// `rows`, or for backward.
kernels::Sweep sweep_of(const Call& call, std::int64_t b, std::int64_t h);

// What that sweep of queries [i, ...) of head h will read and write, where it is dense: for Sweep::ahead.
void look_ahead(const Call& call, std::int64_t b, std::int64_t h, std::int64_t i,
                kernels::Sweep& sweep);

kernels::Number number_of(DataType type);

// Where key j = 0 of head h of sequence b lies in an array of keys ([B, heads, M, width], packed
// [S, heads, width]); and the steps from key to key, in elements.
struct KeyRows {
  void* data;
  std::int64_t step;
};
KeyRows key_rows(const Call& call, const View& view, std::int64_t b, std::int64_t h);

// Element [b, h, 0, 0] of a mask or bias, where a size of 1 is repeated.
float* broadcast_line(const View& view, std::int64_t b, std::int64_t h);

// An array of an entry for each key of each query head ([B, H, M], packed [S, H]): the keys of head h
// of sequence b.
struct KeyLine {
  float* data;
  std::int64_t step;
};
KeyLine key_line(const Call& call, const View& view, std::int64_t b, std::int64_t h);

}  // namespace fovea::attention
