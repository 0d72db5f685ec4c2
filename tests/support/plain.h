// Attention as a plain loop in fp32: what the engine's accuracy is measured against.
#pragma once

#include "support/case.h"

namespace fovea::testing {

// The order in which sums run: both are plain loops, and their errors differ by chance alone.
enum class Order { kForward, kBackward };

// out, lse, entropy, received, and rows of every query (R = N). No top.
Results<float> plain_loop(const Problem& problem, Order order);

}  // namespace fovea::testing
