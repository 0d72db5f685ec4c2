// The truth of fovea/backward.h in fp64: see reference/attend.h.
#pragma once

#include "fovea/backward.h"

namespace fovea::reference {

// As fovea::attend_backward; every gradient is float64. Where forward.lse or forward.out is not given,
// weights, or delta = sum_j p_ij dp_ij, are computed from the inputs; given, they may be of any type.
void attend_backward(const Inputs& inputs, const Options& options, const Forward& forward,
                     const View& out_gradient, const Gradients& gradients);

}  // namespace fovea::reference
