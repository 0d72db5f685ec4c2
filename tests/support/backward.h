// A problem for attend_backward: that of attend, and a gradient of out; room for every gradient.
#pragma once

#include <vector>

#include "fovea/backward.h"
#include "support/case.h"

namespace fovea::testing {

struct BackwardProblem {
  explicit BackwardProblem(const Case& c);
  explicit BackwardProblem(const Problem& made);

  const Case& c() const { return problem.c; }

  Problem problem;
  FloatArray out_gradient;  // as out, with the problem's layout
};

// Which gradients are asked for.
struct WantedGradients {
  bool dq = true, dk = true, dv = true, dbias = true, key_gradient = true;
};

// float for the engine, double for the reference. Starts as NaN. Row-major as the contract has the
// shapes.
template <class T>
struct GradientResults {
  explicit GradientResults(const Problem& problem, const WantedGradients& what = {});

  Case c;
  Places places;
  std::array<std::int64_t, 4> bias_shape{};
  WantedGradients wanted;
  std::vector<T> dq, dk, dv, dbias, key_gradient;

  Gradients gradients();
  void widen();  // after the call: where 16-bit gradients were asked for, fills dq, dk and dv

 private:
  std::vector<std::uint16_t> narrow_q_, narrow_k_, narrow_v_;
};

extern template struct GradientResults<float>;
extern template struct GradientResults<double>;

// Of the reference, which computes lse and delta itself, or takes them from a forward's lse and
// out.
GradientResults<double> exact_gradients(const BackwardProblem& problem,
                                        const Results<float>* forward = nullptr);

}  // namespace fovea::testing
