// Turns queries of a batch into the kernels' rows: where each reads, what it sees, where it writes.
#pragma once

#include "attention/checks.h"
#include "fovea/attend.h"
#include "kernels/sweep.h"

namespace fovea::attention {

struct Call {
  const Inputs& inputs;
  const Options& options;
  const Outputs& outputs;
  Sizes z;
  View lse{};  // where p is known from it: fovea/highlights.h
};

// Queries and keys of sequence b, by lengths as the call gives them; and how many it has room for
// (which is more where it is padded).
std::int64_t query_room(const Call& call, std::int64_t b);
std::int64_t key_room(const Call& call, std::int64_t b);

// What query i of sequence b sees by lengths, causality, window and part: the keys [first, end). Both
// are 0 when that is none.
struct KeyRange {
  std::int64_t first = 0;
  std::int64_t end = 0;
};
KeyRange visible_keys(const Call& call, std::int64_t b, std::int64_t i);

// Query i of head h of sequence b, with places for all outputs but `rows`.
kernels::Row row_of(const Call& call, std::int64_t b, std::int64_t h, std::int64_t i);

// The same query for `rows` alone, place r.
kernels::Row whole_row_of(const Call& call, std::int64_t b, std::int64_t h, std::int64_t i,
                          std::int64_t r);

// A sweep over the keys of sequence b that query head h reads. It has no rows yet; for all outputs but
// `rows`.
kernels::Sweep sweep_of(const Call& call, std::int64_t b, std::int64_t h);

// An array of an entry for each key of each query head ([B, H, M], packed [S, H]): the keys of head h
// of sequence b.
struct KeyLine {
  float* data;
  std::int64_t step;
};
KeyLine key_line(const Call& call, const View& view, std::int64_t b, std::int64_t h);

}  // namespace fovea::attention
