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

  Case c;  // sizes of the sequence, for Results; its seed makes other arrays
  Inputs inputs;
  Options options;

 private:
  void all_rows();
  std::vector<std::int32_t> everyone_;
};

}  // namespace fovea::testing
