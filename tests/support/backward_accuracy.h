// Is attend_backward as accurate as its contract says? As support/accuracy.h: truth is the
// reference in fp64, the yardstick a plain fp32 loop; all are given the lse and out of the engine's
// forward. For every gradient
//     worst error of the engine  <=  2 x worst error of the plain loop + 1e-6 x size
// where size is what the largest would be if nothing cancelled: sums of |terms|, with |dp| +
// |delta| for dp - delta; and of 16-bit gradients half of each element's last place more.
#pragma once

#include "support/backward.h"

namespace fovea::testing {

// What the engine's own forward gives: out (float32, or narrow) and lse, with every output of
// attend.
struct ForwardResults {
  explicit ForwardResults(const BackwardProblem& problem);
  Forward forward();

  Results<float> results;
};

// Gradients as a plain loop in fp32 makes them; of bfloat16 numbers one that rounds p and ds to
// bfloat16 before they meet others.
struct PlainGradients {
  GradientResults<float> got, sizes;
};
PlainGradients plain_gradients(const BackwardProblem& problem, const Results<float>& forward,
                               bool backwards);

// Runs the engine, on the forward's results.
GradientResults<float> engine_gradients(const BackwardProblem& problem, ForwardResults& forward,
                                        Threads& threads, const WantedGradients& wanted = {});

// Adds a test failure for every gradient of `got` that is worse than allowed.
void expect_accurate_gradients(const BackwardProblem& problem, const Results<float>& forward,
                               const GradientResults<float>& got);

}  // namespace fovea::testing
