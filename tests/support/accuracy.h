// Is the engine as accurate as its contract says? Truth: the reference in fp64. Yardstick: a plain
// fp32 loop on the same arrays. For every output
//     worst error of the engine  <=  2 x worst error of the plain loop + floor
//   out       floor 1e-6 of the largest |v|; in bfloat16 or float16 each element half of its own last
//             place more
//   lse       floor 1e-6 of the largest |lse|, at least 1e-6
//   rows      floor 1e-6 (a weight is at most 1)
//   entropy   floor 1e-6 of log M, at least 1e-6
//   received  floor 1e-6 of the largest received, at least 1e-6
//   top       each weight within the allowance of `rows` of the true weight of the key named; the key at
//             place k ranks within twice that allowance (times the largest factor) of the k-th best:
//             only near ties may change places. Places past the visible keys: exactly -1 and 0.
// "Plain loop" is the worse of two, one summing forwards and one backwards: on a small problem the
// error of one loop is a matter of luck. Of bfloat16 calls there are two more, which divide last, from
// two bases: how far the weight of a dominant key is rounded depends on the base, and that is luck again.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "support/case.h"

namespace fovea::testing {

struct Truth {
  // With an lse, as attend stored it: of highlights from that lse, and so is the plain loop. (out and
  // lse are then nobody's.)
  explicit Truth(const Problem& problem, const std::vector<float>* lse = nullptr);
  Results<double> exact;   // with rows of every query, each at its place among the queries
  Results<double> chosen;  // rows as the problem asks for them
  double out_allowed, lse_allowed, rows_allowed, entropy_allowed, received_allowed;
};

// As close(), of elements that were rounded to a 16-bit type after all else: half of their last place
// more.
::testing::AssertionResult close_narrow(DataType type, const std::vector<float>& got,
                                        const std::vector<double>& want, double allowed);

// Adds a test failure for every output of `got` that is worse than allowed.
void expect_accurate(const Problem& problem, const Truth& truth, const Results<float>& got);

}  // namespace fovea::testing
