#include "support/backward.h"

#include <limits>
#include <type_traits>

#include "reference/backward.h"

namespace fovea::testing {
namespace {

std::size_t count(std::int64_t n) { return static_cast<std::size_t>(n); }

void widen_one(DataType type, const std::vector<std::uint16_t>& narrow, auto& wide) {
  for (std::size_t x = 0; x < narrow.size(); ++x) {
    BFloat16 brain;
    Float16 half;
    brain.bits = half.bits = narrow[x];
    const float value =
        type == DataType::kBFloat16 ? static_cast<float>(brain) : static_cast<float>(half);
    wide[x] = value;
  }
}

}  // namespace

BackwardProblem::BackwardProblem(const Case& c) : BackwardProblem(Problem(c)) {}

BackwardProblem::BackwardProblem(const Problem& made) : problem(made) {
  const std::vector<std::int32_t>& offsets = problem.places.query_offsets;
  const Case& c = problem.c;
  std::array<std::int64_t, 4> dims{c.B, c.H, c.N, c.E};
  if (!offsets.empty()) dims = {1, c.H, offsets.back(), c.E};
  out_gradient = FloatArray(c.layout, dims);
  out_gradient.type = c.type;
  out_gradient.offsets = offsets;
  Random random(c.seed + 99);
  out_gradient.fill_normal(random, 1);
}

template <class T>
GradientResults<T>::GradientResults(const Problem& problem, const WantedGradients& what)
    : c(problem.c), places(problem.places), wanted(what) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const std::int64_t queries = places.all_queries(), keys = places.all_keys() / c.H * c.G;
  if (wanted.dq) dq.assign(count(queries * c.D), nan);
  if (wanted.dk) dk.assign(count(keys * c.D), nan);
  if (wanted.dv) dv.assign(count(keys * c.E), nan);
  if (problem.bias.given()) bias_shape = problem.bias.shape;
  const auto [b, h, n, m] = bias_shape;
  if (wanted.dbias) dbias.assign(count(b * h * n * m), nan);
  if (wanted.key_gradient) key_gradient.assign(count(places.all_keys()), nan);
  if (!c.narrow_out || c.type == DataType::kFloat32 || !std::is_same_v<T, float>) return;
  narrow_q_.assign(dq.size(), 0x7fff);  // NaN
  narrow_k_.assign(dk.size(), 0x7fff);
  narrow_v_.assign(dv.size(), 0x7fff);
}

template <class T>
Gradients GradientResults<T>::gradients() {
  Gradients all;
  const auto view = [&](std::vector<T>& values, std::vector<std::uint16_t>& narrow,
                        const std::vector<std::int32_t>& offsets, std::int64_t heads,
                        std::int64_t size, std::int64_t width) {
    if (values.empty()) return MutableView();
    MutableView made = offsets.empty() ? MutableView(values.data(), {c.B, heads, size, width})
                                       : MutableView(values.data(), {offsets.back(), heads, width});
    if (narrow.empty()) return made;
    made.data = narrow.data();
    made.type = c.type;
    return made;
  };
  all.dq = view(dq, narrow_q_, places.query_offsets, c.H, c.N, c.D);
  all.dk = view(dk, narrow_k_, places.key_offsets, c.G, c.M, c.D);
  all.dv = view(dv, narrow_v_, places.key_offsets, c.G, c.M, c.E);
  if (!dbias.empty()) {
    const auto [b, h, n, m] = bias_shape;
    all.dbias = MutableView(dbias.data(), {b, h, n, m});
  }
  if (!key_gradient.empty()) {
    all.key_gradient = places.key_offsets.empty()
                           ? MutableView(key_gradient.data(), {c.B, c.H, c.M})
                           : MutableView(key_gradient.data(), {places.key_offsets.back(), c.H});
  }
  return all;
}

template <class T>
void GradientResults<T>::widen() {
  widen_one(c.type, narrow_q_, dq);
  widen_one(c.type, narrow_k_, dk);
  widen_one(c.type, narrow_v_, dv);
}

template struct GradientResults<float>;
template struct GradientResults<double>;

GradientResults<double> exact_gradients(const BackwardProblem& problem,
                                        const Results<float>* forward) {
  GradientResults<double> results(problem.problem);
  Forward given;
  if (forward != nullptr) {
    const Places& places = problem.problem.places;
    const Case& c = problem.c();
    given.lse = places.view_of_queries(forward->lse);
    given.out = places.query_offsets.empty()
                    ? View(forward->out.data(), {c.B, c.H, c.N, c.E})
                    : View(forward->out.data(), {places.query_offsets.back(), c.H, c.E});
  }
  reference::attend_backward(problem.problem.inputs(), problem.problem.options(), given,
                             problem.out_gradient.view(), results.gradients());
  return results;
}

}  // namespace fovea::testing
