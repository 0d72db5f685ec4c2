// What attend asks of its caller, checked before anything is written.
#pragma once

#include <cstdint>

#include "fovea/attend.h"
#include "fovea/backward.h"

namespace fovea::attention {

// The letters of fovea/view.h. E is 0 when no output needs v, K and R when top and rows are not
// wanted. Packed: N and M are those of the longest sequence.
struct Sizes {
  std::int64_t B, H, G, N, M, D, E, K, R;
};

// Throws Error, naming the argument and `where` ("attend"); else returns the sizes that all arguments
// agree on.
Sizes checked_sizes(const char* where, const Inputs& inputs, const Options& options,
                    const Outputs& outputs);

// Of attend_backward.
Sizes checked_backward_sizes(const Inputs& inputs, const Options& options, const Forward& forward,
                             const View& out_gradient, const Gradients& gradients);

// lse, where it is an input: as attend's output is.
void check_lse(const char* where, const Inputs& inputs, const Sizes& z, const View& lse);

}  // namespace fovea::attention
