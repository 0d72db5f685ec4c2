// Batches are ragged: the rows of all sentences lie one after another, with no padding between
// them.
#pragma once

#include <cstdint>

namespace fovea::fit {

// One sentence in an attention: which rows ask, which rows answer.
struct Span {
  std::int32_t query_start = 0, query_length = 0;
  std::int32_t key_start = 0, key_length = 0;
};

// A target row of a batch should attend to this source row with this share. A row's shares add up
// to 1, and rows without a link are left alone.
struct GuidedLink {
  std::int32_t span = 0, query = 0, key = 0;  // counted in the span
  float share = 0;
};

}  // namespace fovea::fit
