// Attention as a plain loop in fp32: what the engine's accuracy is measured against. Of bfloat16
// numbers, one that rounds its weights to bfloat16 before they meet the values.
#pragma once

#include "support/case.h"

namespace fovea::testing {

// The order in which sums run: both are plain loops, and their errors differ by chance alone.
enum class Order { kForward, kBackward };

// What a plain loop sums values by: p; exp(s - largest), with the division last; or the same from
// another base, so that the weight of the largest is 192.5 / 256 instead of 1, which bfloat16 rounds by
// half a place. It makes a difference where weights are rounded, and by chance alone: the base is
// anybody's choice, and 1 is the one that flatters a dominant key.
enum class Weights { kShares, kExponentials, kMovedExponentials };

// out, lse, entropy, received, and rows of every query (at its place among the queries). No top.
// With an lse (of every query): weights are exp(s - lse), and there is no out, no lse.
Results<float> plain_loop(const Problem& problem, Order order, Weights weights = Weights::kShares,
                          const std::vector<float>* lse = nullptr);

}  // namespace fovea::testing
