// What attend asks of its caller, checked before anything is written.
#pragma once

#include <cstdint>

#include "fovea/attend.h"

namespace fovea::attention {

// The letters of fovea/view.h. E is 0 when no output needs v, K and R when top and rows are not
// wanted.
struct Sizes {
  std::int64_t B, H, G, N, M, D, E, K, R;
};

// Throws Error, naming the argument; else returns the sizes that all arguments agree on.
Sizes checked_sizes(const Inputs& inputs, const Options& options, const Outputs& outputs);

}  // namespace fovea::attention
