// Dropout in attend: against the reference, and what it must leave alone. (Its random words, its
// rate and its independence: tests/reference/backward_test.cc.)
#include <gtest/gtest.h>

#include <cmath>

#include "support/accuracy.h"
#include "support/compare.h"
#include "support/isa.h"

namespace fovea::testing {
namespace {

class Dropouts : public OnEveryIsa {};
FOVEA_ON_EVERY_ISA(Dropouts);

TEST_P(Dropouts, DropsTheKeysThatTheReferenceDrops) {
  Random random(5);
  for (int n = 0; n < 150 && !HasFailure(); ++n) {
    Case c = random_case(random, 300'000);
    c.dropout = static_cast<float>(0.95 * random.uniform());
    const Problem problem(c);
    expect_accurate(problem, Truth(problem), engine(problem));
    if (HasFailure()) ADD_FAILURE() << "again: " << c;
  }
}

// Decoding, parts of 1,024 keys, values in place; sweeps of many rows.
TEST_P(Dropouts, OnEveryPath) {
  for (const Case& c : {Case{.H = 4, .G = 2, .N = 1, .M = 2500, .D = 16, .E = 16, .dropout = 0.5F},
                        Case{.N = 30, .M = 300, .D = 16, .E = 32, .dropout = 0.1F},
                        Case{.N = 500, .M = 260, .D = 8, .E = 7, .dropout = 0.9F}}) {
    const Problem problem(c);
    expect_accurate(problem, Truth(problem), engine(problem));
  }
}

TEST_P(Dropouts, LeavesLseAndHighlightsAlone) {
  Random random(6);
  for (int n = 0; n < 40 && !HasFailure(); ++n) {
    Case c = random_case(random, 100'000);
    c.dropout = 0;
    const Results<float> without = engine(Problem(c));
    c.dropout = 0.5F;
    const Results<float> with = engine(Problem(c));
    EXPECT_TRUE(same_bits(with.lse, without.lse)) << c;
    EXPECT_TRUE(same_bits(with.top_index, without.top_index)) << c;
    EXPECT_TRUE(same_bits(with.top_weight, without.top_weight)) << c;
    EXPECT_TRUE(same_bits(with.received, without.received)) << c;
    EXPECT_TRUE(same_bits(with.entropy, without.entropy)) << c;
    EXPECT_TRUE(same_bits(with.rows, without.rows)) << c;
  }
}

TEST_P(Dropouts, ThreadsDoNotChangeBits) {
  for (const Case& c :
       {Case{.B = 2,
       .H = 4,
       .G = 2,
       .N = 400,
       .M = 300,
       .D = 8,
       .E = 16,
       .causal = Causal::kBottomRight,
       .dropout = 0.3F},
        Case{.B = 1, .H = 2, .G = 1, .N = 2, .M = 3000, .D = 8, .E = 8, .dropout = 0.3F}}) {
    const Problem problem(c);
    const Results<float> want = engine(problem);
    for (const int count : {2, 3, 7}) {
      Threads threads(count);
      EXPECT_TRUE(same_bits(engine(problem, threads).out, want.out)) << count;
    }
  }
}

// Everything kept but the rate: weights of out sum to 1 on average.
TEST_P(Dropouts, KeepsTheMean) {
  Problem problem({.N = 2000, .M = 100, .D = 2, .E = 1, .dropout = 0.4F});
  for (float& x : problem.v.memory) x = 1;
  const Results<float> got = engine(problem);
  double sum = 0, squares = 0;
  for (const float x : got.out) {
    sum += double(x);
    squares += double(x) * double(x);
  }
  const double mean = sum / 2000, deviation = std::sqrt(squares / 2000 - mean * mean);
  EXPECT_NEAR(mean, 1, 5 * deviation / std::sqrt(2000.0));
  EXPECT_GT(deviation, 0.05);
}

}  // namespace
}  // namespace fovea::testing
