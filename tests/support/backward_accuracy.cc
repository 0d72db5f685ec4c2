#include "support/backward_accuracy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/row.h"
#include "support/accuracy.h"
#include "support/compare.h"

namespace fovea::testing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// One pair after the other, every sum in fp32; `backwards`: from the last query and key to the
// first.
class PlainLoop {
 public:
  PlainLoop(const BackwardProblem& problem, const Results<float>& forward, bool backwards)
      : problem_(problem),
        p_(problem.problem),
        c_(problem.problem.c),
        in_(p_.inputs()),
        options_(p_.options()),
        forward_(forward),
        backwards_(backwards),
        got_(p_),
        sizes_(p_) {
    for (auto* all : {&got_, &sizes_}) {
      for (auto* x : {&all->dq, &all->dk, &all->dv, &all->dbias, &all->key_gradient}) {
        std::fill(x->begin(), x->end(), 0.0F);
      }
    }
    if (c_.scale) scale_ = *c_.scale;
  }

  PlainGradients run() {
    for (std::int64_t b = 0; b < c_.B; ++b) {
      for (std::int64_t h = 0; h < c_.H; ++h) {
        each(p_.places.queries(b), [&](std::int64_t i) { add_query({b, h, i}); });
      }
    }
    return {got_, sizes_};
  }

 private:
  template <class F>
  void each(std::int64_t n, const F& f) const {
    for (std::int64_t x = 0; x < n; ++x) f(backwards_ ? n - 1 - x : x);
  }

  template <class A, class B>
  float dot(std::int64_t n, const A& a, const B& b) const {
    float sum = 0;
    each(n, [&](std::int64_t x) { sum += a(x) * b(x); });
    return sum;
  }

  void add_query(const reference::Query& query) {
    const auto [b, h, i] = query;
    const std::size_t x = p_.places.query(b, h, i);
    if (forward_.lse[x] == -kInfinity) return;
    const float delta = dot(
        c_.E, [&](auto e) { return problem_.out_gradient.value(b, h, i, e); },
        [&](auto e) { return forward_.out[x * std::size_t(c_.E) + std::size_t(e)]; });
    each(p_.places.keys(b), [&](std::int64_t j) {
      if (reference::visible(in_, options_, query, j)) add_pair(query, j, delta);
    });
  }

  void add_pair(const reference::Query& query, std::int64_t j, float delta) {
    const auto [b, h, i] = query;
    const std::int64_t g = h / (c_.H / c_.G);
    const auto q = [&](auto d) { return p_.q.value(b, h, i, d); };
    const auto k = [&](auto d) { return p_.k.value(b, g, j, d); };
    const auto v = [&](auto e) { return p_.v.value(b, g, j, e); };
    const auto out_gradient = [&](auto e) { return problem_.out_gradient.value(b, h, i, e); };
    const std::size_t x = p_.places.query(b, h, i);
    const float p = std::exp(scale_ * dot(c_.D, q, k) + added(query, j) - forward_.lse[x]);
    const auto z = static_cast<float>(reference::dropout_factor(in_, options_, query, j));
    const float dp = z * dot(c_.E, out_gradient, v);
    const float ds = p * (dp - delta);
    const float size = p * (std::abs(dp) + std::abs(delta));
    const float met = rounded_weight(z * p), ds_met = rounded_weight(ds);
    for (std::int64_t d = 0; d < c_.D; ++d) {
      const auto of_q = x * std::size_t(c_.D) + std::size_t(d);
      const auto of_k = key_place(b, g, j, c_.D) + std::size_t(d);
      got_.dq[of_q] += scale_ * ds_met * k(d);
      got_.dk[of_k] += scale_ * ds_met * q(d);
      sizes_.dq[of_q] += std::abs(scale_ * size * k(d));
      sizes_.dk[of_k] += std::abs(scale_ * size * q(d));
    }
    for (std::int64_t e = 0; e < c_.E; ++e) {
      const auto of_v = key_place(b, g, j, c_.E) + std::size_t(e);
      got_.dv[of_v] += met * out_gradient(e);
      sizes_.dv[of_v] += std::abs(met * out_gradient(e));
    }
    got_.key_gradient[p_.places.key(b, h, j)] += p * dp;
    sizes_.key_gradient[p_.places.key(b, h, j)] += std::abs(p * dp);
    if (got_.dbias.empty()) return;
    got_.dbias[bias_at(b, h, i, j)] += ds;
    sizes_.dbias[bias_at(b, h, i, j)] += size;
  }

  float rounded_weight(float x) const {
    return c_.type == DataType::kBFloat16 ? rounded(c_.type, x) : x;
  }

  // Bias and ALiBi.
  float added(const reference::Query& query, std::int64_t j) const {
    Options options = options_;
    options.scale = 0.0F;
    return static_cast<float>(reference::score(in_, options, query, j));
  }

  std::size_t key_place(std::int64_t b, std::int64_t g, std::int64_t j, std::int64_t width) const {
    const Places& places = p_.places;
    const std::int64_t row = places.key_offsets.empty()
                                 ? (b * c_.G + g) * c_.M + j
                                 : (places.key_offsets[static_cast<std::size_t>(b)] + j) * c_.G + g;
    return static_cast<std::size_t>(row * width);
  }

  std::size_t bias_at(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) const {
    const auto& s = p_.bias.shape;
    const auto at = [&](std::size_t d, std::int64_t x) { return s[d] > 1 ? x : 0; };
    return static_cast<std::size_t>(((at(0, b) * s[1] + at(1, h)) * s[2] + at(2, i)) * s[3] +
                                    at(3, j));
  }

  const BackwardProblem& problem_;
  const Problem& p_;
  const Case& c_;
  Inputs in_;
  Options options_;
  const Results<float>& forward_;
  bool backwards_;
  GradientResults<float> got_, sizes_;
  float scale_ = 1 / std::sqrt(static_cast<float>(c_.D));
};

double largest(const std::vector<float>& values) {
  double most = 0;
  for (const float x : values) most = std::max(most, std::isfinite(x) ? double(x) : 0);
  return most;
}

}  // namespace

ForwardResults::ForwardResults(const BackwardProblem& problem) : results(problem.problem) {
  Threads one(1);
  fovea::attend(problem.problem.inputs(), problem.problem.options(), results.outputs(), one);
  results.widen();
}

Forward ForwardResults::forward() {
  const Outputs outputs = results.outputs();
  Forward forward;
  forward.out = outputs.out;
  forward.lse = outputs.lse;
  return forward;
}

PlainGradients plain_gradients(const BackwardProblem& problem, const Results<float>& forward,
                               bool backwards) {
  return PlainLoop(problem, forward, backwards).run();
}

GradientResults<float> engine_gradients(const BackwardProblem& problem, ForwardResults& forward,
                                        Threads& threads, const WantedGradients& wanted) {
  GradientResults<float> got(problem.problem, wanted);
  fovea::attend_backward(problem.problem.inputs(), problem.problem.options(), forward.forward(),
                         problem.out_gradient.view(), got.gradients(), threads);
  got.widen();
  return got;
}

void expect_accurate_gradients(const BackwardProblem& problem, const Results<float>& forward,
                               const GradientResults<float>& got) {
  const GradientResults<double> truth = exact_gradients(problem, &forward);
  const PlainGradients loops[] = {plain_gradients(problem, forward, false),
                                  plain_gradients(problem, forward, true)};
  const auto expect = [&](const char* name, bool wanted, auto exact, auto field, bool narrow) {
    if (!wanted) return;
    double error = 0;
    for (const PlainGradients& loop : loops) {
      error = std::max(error, worst(loop.got.*field, truth.*exact).error);
    }
    const double allowed = 2 * error + 1e-6 * largest(loops[0].sizes.*field);
    const DataType type = narrow ? problem.c().type : DataType::kFloat32;
    EXPECT_TRUE(close_narrow(type, got.*field, truth.*exact, allowed)) << name;
  };
  using Got = GradientResults<float>;
  using Exact = GradientResults<double>;
  const bool narrow = problem.c().narrow_out;
  expect("dq", got.wanted.dq, &Exact::dq, &Got::dq, narrow);
  expect("dk", got.wanted.dk, &Exact::dk, &Got::dk, narrow);
  expect("dv", got.wanted.dv, &Exact::dv, &Got::dv, narrow);
  expect("dbias", got.wanted.dbias, &Exact::dbias, &Got::dbias, false);
  expect("key_gradient", got.wanted.key_gradient, &Exact::key_gradient, &Got::key_gradient, false);
}

}  // namespace fovea::testing
