// The reference's gradients against numbers worked out by hand and against central differences of
// the reference's forward; its dropout against published numbers and chance.
#include "reference/backward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>

#include "reference/attend.h"
#include "reference/row.h"
#include "support/backward.h"
#include "support/compare.h"

namespace fovea::testing {
namespace {

using Doubles = std::vector<double>;
const double kNan = std::numeric_limits<double>::quiet_NaN();

// p = (1/4, 3/4), dp = (2, 10), delta = 8, ds = (-3/2, 3/2).
TEST(Backward, TwoKeysByHand) {
  const Doubles q{1}, k{0, std::log(3.0)}, v{1, 5}, g{2};
  const Doubles bias{0, 0};
  Inputs in;
  in.q = View(q.data(), {1, 1, 1, 1});
  in.k = View(k.data(), {1, 1, 2, 1});
  in.v = View(v.data(), {1, 1, 2, 1});
  in.bias = View(bias.data(), {1, 1, 1, 2});
  Doubles dq{kNan}, dk{kNan, kNan}, dv{kNan, kNan}, dbias{kNan, kNan}, key{kNan, kNan};
  reference::attend_backward(in, {}, {}, View(g.data(), {1, 1, 1, 1}),
                             {.dq = {dq.data(), {1, 1, 1, 1}},
                              .dk = {dk.data(), {1, 1, 2, 1}},
                              .dv = {dv.data(), {1, 1, 2, 1}},
                              .dbias = {dbias.data(), {1, 1, 1, 2}},
                              .key_gradient = {key.data(), {1, 1, 2}}});
  EXPECT_TRUE(close(dq, Doubles{1.5 * std::log(3.0)}, 1e-14));
  EXPECT_TRUE(close(dk, Doubles{-1.5, 1.5}, 1e-14));
  EXPECT_TRUE(close(dv, Doubles{0.5, 1.5}, 1e-14));
  EXPECT_TRUE(close(dbias, Doubles{-1.5, 1.5}, 1e-14));
  EXPECT_TRUE(close(key, Doubles{0.5, 7.5}, 1e-14));
}

// Two queries that see nothing of each other's keys; the second sees none. Scale 2, bias for both.
TEST(Backward, AHiddenPairAddsNothingNotEvenNan) {
  const Doubles q{1, kNan}, k{3, kNan}, v{4, kNan}, g{2, kNan};
  const Flag mask[] = {{true}, {false}, {false}, {false}};
  Inputs in;
  in.q = View(q.data(), {1, 1, 2, 1});
  in.k = View(k.data(), {1, 1, 2, 1});
  in.v = View(v.data(), {1, 1, 2, 1});
  in.mask = View(&mask[0].value, {1, 1, 2, 2});
  Doubles dq{kNan, kNan}, dk{kNan, kNan}, dv{kNan, kNan};
  reference::attend_backward(in, {.scale = 2.0F}, {}, View(g.data(), {1, 1, 2, 1}),
                             {.dq = {dq.data(), {1, 1, 2, 1}},
                              .dk = {dk.data(), {1, 1, 2, 1}},
                              .dv = {dv.data(), {1, 1, 2, 1}}});
  EXPECT_TRUE(same_bits(dq, Doubles{0, 0}));  // one key: p = 1, whatever the score
  EXPECT_TRUE(same_bits(dk, Doubles{0, 0}));
  EXPECT_TRUE(same_bits(dv, Doubles{2, 0}));
}

// The numbers of the Random123 library's own tests.
TEST(Backward, PhiloxGivesThePublishedNumbers) {
  using reference::Counter;
  using reference::philox;
  EXPECT_EQ(philox({0, 0, 0, 0}, 0), (Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, 0xffffffffffffffff),
            (Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822),
            (Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// Keys dropped and kept over 400 x 500 pairs: the rate, no run of keys or queries alike, and others
// by seed, offset, head and sequence.
TEST(Backward, DropoutDropsAtItsRateAndDiffersByEverythingThatItCounts) {
  const Problem problem({.B = 2, .H = 3, .N = 400, .M = 500});
  const Inputs in = problem.inputs();
  const auto drops = [&](const Dropout& dropout, std::int64_t b, std::int64_t h) {
    std::vector<bool> all;
    for (std::int64_t i = 0; i < 400; ++i) {
      for (std::int64_t j = 0; j < 500; ++j) {
        const double z = reference::dropout_factor(in, {.dropout = dropout}, {b, h, i}, j);
        EXPECT_TRUE(z == 0 || std::abs(z - 1 / (1 - double(dropout.rate))) < 1e-12) << z;
        all.push_back(z == 0);
      }
    }
    return all;
  };
  const auto same = [](const std::vector<bool>& a, const std::vector<bool>& b, std::size_t by) {
    std::size_t count = 0;
    for (std::size_t x = 0; x + by < a.size(); ++x) count += a[x + by] == b[x] ? 1 : 0;
    return static_cast<double>(count) / static_cast<double>(a.size() - by);
  };
  const Dropout dropout{.rate = 0.2F, .seed = 5, .offset = 6};
  const std::vector<bool> dropped = drops(dropout, 1, 1);
  const auto share = static_cast<double>(std::count(dropped.begin(), dropped.end(), true)) / 2e5;
  EXPECT_NEAR(share, 0.2, 5 * std::sqrt(0.2 * 0.8 / 2e5));  // 5 standard deviations
  // Independent choices agree with probability 0.8^2 + 0.2^2.
  const double by_chance = 5 * std::sqrt(0.68 * 0.32 / 2e5);
  for (const std::size_t by : {1, 2, 4, 500, 2000}) {
    EXPECT_NEAR(same(dropped, dropped, by), 0.68, by_chance) << by;
  }
  EXPECT_NEAR(same(dropped, drops({0.2F, 4, 6}, 1, 1), 0), 0.68, by_chance) << "seed";
  EXPECT_NEAR(same(dropped, drops({0.2F, 5 + (1ULL << 40U), 6}, 1, 1), 0), 0.68, by_chance);
  EXPECT_NEAR(same(dropped, drops({0.2F, 5, 7}, 1, 1), 0), 0.68, by_chance) << "offset";
  EXPECT_NEAR(same(dropped, drops(dropout, 1, 2), 0), 0.68, by_chance) << "head";
  EXPECT_NEAR(same(dropped, drops(dropout, 0, 1), 0), 0.68, by_chance) << "sequence";
  EXPECT_EQ(dropped, drops(dropout, 1, 1));
}

// --- finite differences --------------------------------------------------------------------------

// The arrays of a problem in fp64, so that they can be moved by 1e-5.
struct Doubled {
  explicit Doubled(const FloatArray& array)
      : memory(array.memory.begin(), array.memory.end()), view(array.view()) {
    view.data = memory.data() + array.first;
    view.type = DataType::kFloat64;
  }
  Doubles memory;
  View view;
};

// sum G out, by the forward alone.
double loss(const BackwardProblem& problem, const Inputs& in) {
  Results<double> results(
      problem.problem,
      Wanted{.lse = false, .top = false, .received = false, .entropy = false, .rows = false});
  reference::attend(in, problem.problem.options(), results.outputs());
  const Case& c = problem.c();
  double sum = 0;
  for (std::int64_t b = 0; b < c.B; ++b) {
    for (std::int64_t h = 0; h < c.H; ++h) {
      for (std::int64_t i = 0; i < problem.problem.places.queries(b); ++i) {
        const std::size_t x = problem.problem.places.query(b, h, i);
        for (std::int64_t e = 0; e < c.E; ++e) {
          sum += double(problem.out_gradient.value(b, h, i, e)) *
                 results.out[x * static_cast<std::size_t>(c.E) + static_cast<std::size_t>(e)];
        }
      }
    }
  }
  return sum;
}

// d loss / d element, row-major in the order of `view`.
Doubles differences(const View& view, const std::function<double()>& loss_now) {
  Doubles all;
  auto* data = static_cast<double*>(const_cast<void*>(view.data));
  std::array<std::int64_t, 4> size{1, 1, 1, 1};
  for (int d = 0; d < view.rank; ++d) size[static_cast<std::size_t>(d)] = view.size(d);
  const auto step = [&](int d) { return d < view.rank ? view.step(d) : 0; };
  for (std::int64_t a = 0; a < size[0]; ++a) {
    for (std::int64_t b = 0; b < size[1]; ++b) {
      for (std::int64_t c = 0; c < size[2]; ++c) {
        for (std::int64_t d = 0; d < size[3]; ++d) {
          double& x = data[a * step(0) + b * step(1) + c * step(2) + d * step(3)];
          const double was = x;
          x = was + 1e-5;
          const double above = loss_now();
          x = was - 1e-5;
          const double below = loss_now();
          x = was;
          all.push_back((above - below) / 2e-5);
        }
      }
    }
  }
  return all;
}

void check_differences(const Case& c) {
  const BackwardProblem problem(c);
  Doubled q(problem.problem.q), k(problem.problem.k), v(problem.problem.v);
  std::optional<Doubled> bias;
  Inputs in = problem.problem.inputs();
  in.q = q.view;
  in.k = k.view;
  in.v = v.view;
  if (problem.problem.bias.given()) in.bias = bias.emplace(problem.problem.bias).view;
  GradientResults<double> got(problem.problem);
  reference::attend_backward(in, problem.problem.options(), {}, problem.out_gradient.view(),
                             got.gradients());
  const auto loss_now = [&] { return loss(problem, in); };
  EXPECT_TRUE(close(got.dq, differences(in.q, loss_now), 1e-6)) << "dq " << c;
  EXPECT_TRUE(close(got.dk, differences(in.k, loss_now), 1e-6)) << "dk " << c;
  EXPECT_TRUE(close(got.dv, differences(in.v, loss_now), 1e-6)) << "dv " << c;
  if (bias) {
    EXPECT_TRUE(close(got.dbias, differences(in.bias, loss_now), 1e-6)) << "dbias " << c;
  }
}

TEST(Backward, GradientsAreThoseOfCentralDifferences) {
  std::size_t some_bias = 0, packed = 0, grouped = 0, dropped = 0;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    Random random(seed);
    Case c = random_case(random, 1500);
    c.type = DataType::kFloat32;
    c.narrow_out = false;
    c.spread = std::min(c.spread, 8.0);
    c.dropout = seed % 3 == 0 ? 0.3F : 0;
    check_differences(c);
    if (::testing::Test::HasFailure()) return;
    some_bias += c.bias >= 0 ? 1 : 0;
    packed += c.packed_queries && c.packed_keys ? 1 : 0;
    grouped += c.H > c.G ? 1 : 0;
    dropped += c.dropout > 0 ? 1 : 0;
  }
  EXPECT_GT(std::min({some_bias, packed, grouped, dropped}), 15U);
}

// The derivative of the loss by a common growth of all weights that a key receives.
TEST(Backward, KeyGradientsAreWhatGrowingAKeysWeightsDoesToTheLoss) {
  const Case c{.B = 2,
               .H = 4,
               .G = 2,
               .N = 5,
               .M = 6,
               .D = 3,
               .E = 2,
               .causal = Causal::kBottomRight,
               .dropout = 0.4F};
  const BackwardProblem problem(c);
  const Inputs in = problem.problem.inputs();
  const GradientResults<double> got = exact_gradients(problem);
  std::vector<std::int32_t> all{0, 1, 2, 3, 4};
  Inputs with_rows = in;
  with_rows.row_queries = all;
  Results<double> rows(problem.problem, {}, 5);
  reference::attend(with_rows, problem.problem.options(), rows.outputs());
  EXPECT_INFORMATIVE(got.key_gradient);
  for (std::int64_t b = 0; b < c.B; ++b) {
    for (std::int64_t h = 0; h < c.H; ++h) {
      for (std::int64_t j = 0; j < c.M; ++j) {
        double want = 0;  // sum_i p_ij z_ij <G_i, v_j>
        for (std::int64_t i = 0; i < c.N; ++i) {
          const auto at = static_cast<std::size_t>(((b * c.H + h) * c.N + i) * c.M + j);
          const double z = reference::dropout_factor(in, problem.problem.options(), {b, h, i}, j);
          for (std::int64_t e = 0; e < c.E; ++e) {
            want += rows.rows[at] * z * double(problem.out_gradient.at(b, h, i, e)) *
                    double(problem.problem.v.at(b, h / 2, j, e));
          }
        }
        EXPECT_NEAR(got.key_gradient[problem.problem.places.key(b, h, j)], want, 1e-12);
      }
    }
  }
}

// Weights from the lse, delta from out: the same gradients.
TEST(Backward, GivenLseAndOutChangeNothing) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    Random random(seed);
    Case c = random_case(random, 20'000);
    c.dropout = seed % 2 == 0 ? 0.25F : 0;
    const BackwardProblem problem(c);
    const Inputs in = problem.problem.inputs();
    Results<double> forward(problem.problem);
    const Outputs outputs = forward.outputs();
    reference::attend(in, problem.problem.options(), outputs);
    GradientResults<double> got(problem.problem);
    Forward given;
    given.out = outputs.out;
    given.lse = outputs.lse;
    reference::attend_backward(in, problem.problem.options(), given, problem.out_gradient.view(),
                               got.gradients());
    const GradientResults<double> want = exact_gradients(problem);
    EXPECT_TRUE(close(got.dq, want.dq, 1e-8)) << c;
    EXPECT_TRUE(close(got.dk, want.dk, 1e-8)) << c;
    EXPECT_TRUE(close(got.dv, want.dv, 1e-8)) << c;
    EXPECT_TRUE(close(got.dbias, want.dbias, 1e-8)) << c;
    EXPECT_TRUE(close(got.key_gradient, want.key_gradient, 1e-8)) << c;
  }
}

// Two parts of the keys, with the lse and out of the whole: dq sums up, dk and dv side by side.
TEST(Backward, PartsOfTheKeysSumToTheWhole) {
  const Case whole{.B = 2,
                   .H = 2,
                   .G = 1,
                   .N = 5,
                   .M = 9,
                   .D = 3,
                   .E = 4,
                   .causal = Causal::kBottomRight,
                   .dropout = 0.2F};
  const BackwardProblem problem(whole);
  Results<double> forward(problem.problem);
  const Outputs outputs = forward.outputs();
  reference::attend(problem.problem.inputs(), problem.problem.options(), outputs);
  const GradientResults<double> want = exact_gradients(problem);
  GradientResults<double> sum(problem.problem);
  for (Doubles* all : {&sum.dq, &sum.dk, &sum.dv, &sum.key_gradient}) {
    std::fill(all->begin(), all->end(), 0.0);
  }
  for (const std::int64_t begin : {0, 4}) {
    Options options = problem.problem.options();
    options.key_begin = begin;
    options.key_end = begin + 4 + begin;
    Forward given;
    given.out = outputs.out;
    given.lse = outputs.lse;
    GradientResults<double> part(problem.problem);
    reference::attend_backward(problem.problem.inputs(), options, given,
                               problem.out_gradient.view(), part.gradients());
    for (const auto field :
         {&GradientResults<double>::dq, &GradientResults<double>::dk, &GradientResults<double>::dv,
          &GradientResults<double>::key_gradient}) {
      for (std::size_t x = 0; x < (sum.*field).size(); ++x) (sum.*field)[x] += (part.*field)[x];
    }
  }
  EXPECT_TRUE(close(sum.dq, want.dq, 1e-12));
  EXPECT_TRUE(close(sum.dk, want.dk, 1e-12));
  EXPECT_TRUE(close(sum.dv, want.dv, 1e-12));
  EXPECT_TRUE(close(sum.key_gradient, want.key_gradient, 1e-12));
}

}  // namespace
}  // namespace fovea::testing
