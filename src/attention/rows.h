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
};

// What query i of sequence b sees by lengths, causality and window: the keys [first, end). Both are
// 0 when that is none.
struct KeyRange {
  std::int64_t first = 0;
  std::int64_t end = 0;
};
KeyRange visible_keys(const Call& call, std::int64_t b, std::int64_t i);

// Query i of head h of sequence b, with places for all outputs but `rows`.
kernels::Row row_of(const Call& call, std::int64_t b, std::int64_t h, std::int64_t i);

// The same query for `rows` alone, place r.
kernels::Row whole_row_of(const Call& call, std::int64_t b, std::int64_t h, std::int64_t r);

// A sweep over the keys of sequence b, head g, that has no rows yet; for all outputs but `rows`.
kernels::Sweep sweep_of(const Call& call, std::int64_t b, std::int64_t g);

}  // namespace fovea::attention
