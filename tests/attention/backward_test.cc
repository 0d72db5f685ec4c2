// attend_backward against the reference, with the tolerance that its contract states
// (support/backward_accuracy.h), on every instruction set; its edges, its bits, and dropout.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "support/backward_accuracy.h"
#include "support/compare.h"
#include "support/guard.h"
#include "support/isa.h"

namespace fovea::testing {
namespace {

const float kNan = std::numeric_limits<float>::quiet_NaN();

class Backward : public OnEveryIsa {};
FOVEA_ON_EVERY_ISA(Backward);

void check(const Case& c) {
  if (left_out() || ::testing::Test::HasFailure()) return;
  const BackwardProblem problem(c);
  ForwardResults forward(problem);
  Threads threads(2);
  expect_accurate_gradients(problem, forward.results, engine_gradients(problem, forward, threads));
  if (::testing::Test::HasFailure()) ADD_FAILURE() << "again: " << c;
}

// Around the lanes of every vector, tiles, runs of queries and blocks of keys.
constexpr std::int64_t kSizes[] = {1,   2,   3,   4,   5,   6,   7,   8,   9,   12, 15,
                                   16,  17,  31,  32,  33,  63,  64,  65,  95,  96, 97,
                                   191, 192, 193, 255, 256, 257, 320, 511, 512, 513};

TEST_P(Backward, KeysAroundEveryEdge) {
  for (const std::int64_t M : kSizes) check({.H = 2, .G = 1, .N = 13, .M = M, .D = 16, .E = 8});
}

TEST_P(Backward, QueriesAroundEveryEdge) {
  for (const std::int64_t N : kSizes) check({.H = 2, .G = 2, .N = N, .M = 37, .D = 8, .E = 16});
}

TEST_P(Backward, CausalAroundEveryEdge) {
  for (const std::int64_t N : kSizes) {
    check({.N = N, .M = N, .D = 4, .E = 4, .causal = Causal::kBottomRight});
    if (N > 300) continue;
    check({.N = N, .M = 70, .D = 4, .E = 4, .causal = Causal::kBottomRight});
    check({.N = 70, .M = N, .D = 4, .E = 4, .causal = Causal::kTopLeft});
  }
}

TEST_P(Backward, Windows) {
  for (const std::int64_t before : {0, 1, 5, 16, 63, 64, 256, 300}) {
    check({.N = 300, .M = 300, .D = 4, .E = 4, .window_before = before, .window_after = 3});
    check({.N = 40, .M = 600, .D = 4, .E = 8, .window_before = before});
  }
}

TEST_P(Backward, EveryWidth) {
  for (const std::int64_t width : {1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 40, 64, 65, 80, 128, 129}) {
    check({.N = 14, .M = 37, .D = width, .E = 24});
    check({.N = 14, .M = 37, .D = 24, .E = width, .layout = Layout::kCut});
    check({.N = 15, .M = 19, .D = width, .E = width, .type = DataType::kBFloat16});
    check({.N = 35, .M = 51, .D = width, .E = 130 - width, .type = DataType::kBFloat16});
  }
}

TEST_P(Backward, EveryBroadcastOfMaskAndBias) {
  for (int bits = 0; bits < 16; ++bits) {
    const Case c{.B = 2, .H = 4, .G = 2, .N = 103, .M = 270, .D = 4, .E = 4, .bias = bits};
    check(c);
    Case hides = c;
    hides.N = 19;
    hides.M = 35 + 32 * (bits % 3);
    hides.causal = Causal::kBottomRight;
    hides.key_lengths = true;
    hides.mask = 15 - bits;
    hides.bias_hides = true;
    hides.type = bits % 2 == 0 ? DataType::kFloat32 : DataType::kBFloat16;
    check(hides);
  }
}

// bfloat16 around tiles of 32 queries and panels of 64 keys: of which later queries see what earlier ones do not.
TEST_P(Backward, TilesThatSeeDifferentKeys) {
  for (const std::int64_t N : {31, 33, 64, 97, 130}) {
    Case c{.H = 2, .G = 1, .N = N, .M = N + 40, .D = 24, .E = 40, .type = DataType::kBFloat16};
    c.causal = Causal::kTopLeft;
    check(c);
    c.causal = Causal::kBottomRight;
    check(c);
    c.dropout = 0.3F;
    check(c);
    c.causal = Causal::kNone;
    c.window_before = c.window_after = 5;
    check(c);
  }
}

TEST_P(Backward, Spreads) {
  for (const double spread : {0.0, 8.0, 60.0}) {
    check({.N = 100, .M = 270, .D = 16, .E = 16, .spread = spread});
  }
}

TEST_P(Backward, ScalesOfEverySign) {
  for (const float scale : {-1.5F, 0.0F, 0.01F}) {
    check({.N = 20, .M = 70, .D = 8, .E = 8, .causal = Causal::kBottomRight, .scale = scale});
    check({.N = 20, .M = 70, .D = 8, .E = 8, .bias = 12, .scale = scale});
  }
}

// Without what the engine's forward gave: from the inputs alone.
TEST_P(Backward, ForwardAndBackwardTogetherAreTheGradient) {
  for (const float dropout : {0.0F, 0.3F}) {
    const BackwardProblem problem({.B = 2,
                                   .H = 4,
                                   .G = 2,
                                   .N = 130,
                                   .M = 270,
                                   .D = 16,
                                   .E = 24,
                                   .causal = Causal::kBottomRight,
                                   .key_lengths = true,
                                   .bias = 10,
                                   .alibi = 0,
                                   .dropout = dropout});
    ForwardResults forward(problem);
    Threads threads(2);
    const GradientResults<float> got = engine_gradients(problem, forward, threads);
    const GradientResults<double> want = exact_gradients(problem);
    EXPECT_INFORMATIVE(want.dq);
    EXPECT_TRUE(close(got.dq, want.dq, 1e-5));
    EXPECT_TRUE(close(got.dk, want.dk, 1e-5));
    EXPECT_TRUE(close(got.dv, want.dv, 1e-5));
    EXPECT_TRUE(close(got.dbias, want.dbias, 1e-5));
    EXPECT_TRUE(close(got.key_gradient, want.key_gradient, 1e-5));
  }
}

TEST_P(Backward, RandomCombinations) {
  const char* asked = std::getenv("FOVEA_TEST_CASES");
  const std::uint64_t cases = asked == nullptr ? 150 : std::strtoull(asked, nullptr, 10);
  for (std::uint64_t seed = 1; seed <= cases; ++seed) {
    Random random(seed);
    Case c = random_case(random, 2'000'000);
    if (random.below(3) == 0) c.dropout = static_cast<float>(0.9 * random.uniform());
    check(c);
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace fovea::testing
