// One sequence of a batch as a call of its own: views of the same memory, without offsets. Lengths
// stay, so that what pads a sequence there pads it here; cut() takes the padding away.
#pragma once

#include <vector>

#include "support/case.h"

namespace fovea::testing {

struct Sequence {
  // rows: those of all its queries.
  Sequence(const Problem& batch, std::int64_t b);
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  // Without the queries and keys past its lengths.
  void cut();

  // Its part of an array of the batch that has an entry for each query ([B, H, N, ...] or [T, H, ...]).
  View of_queries(View view) const;

  Case c;  // sizes of the sequence, for Results; its seed makes other arrays
  Inputs inputs;
  Options options;

 private:
  void all_rows();
  std::int64_t b_, first_query_;
  bool packed_queries_;
  std::vector<std::int32_t> everyone_;
};

}  // namespace fovea::testing
