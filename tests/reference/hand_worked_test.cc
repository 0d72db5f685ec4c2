// The reference against numbers worked out by hand. Nothing here is computed by code under test.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "reference/attend.h"
#include "support/compare.h"

namespace fovea {
namespace {

using testing::close;
using Doubles = std::vector<double>;
using Ints = std::vector<std::int32_t>;

const double kInf = std::numeric_limits<double>::infinity();
const double kNan = std::numeric_limits<double>::quiet_NaN();

// One head, one sequence, in fp64: [N, D], [M, D], [M, E] in, everything out.
struct Head {
  std::int64_t N, M, D, E;
  Doubles q, k, v;
  std::int64_t K = 2;
  Inputs in{};
  Options options{};

  Doubles out, lse, weight, received, entropy, rows;
  Ints top, every_query;

  void run() {
    in.q = View(q.data(), {1, 1, N, D});
    in.k = View(k.data(), {1, 1, M, D});
    in.v = View(v.data(), {1, 1, M, E});
    every_query.clear();
    for (std::int64_t i = 0; i < N; ++i) every_query.push_back(static_cast<std::int32_t>(i));
    in.row_queries = every_query;
    const auto room = [](Doubles& x, std::int64_t n) {
      x.assign(static_cast<std::size_t>(n), kNan);
    };
    room(out, N * E);
    room(lse, N);
    room(weight, N * K);
    room(received, M);
    room(entropy, N);
    room(rows, N * M);
    top.assign(static_cast<std::size_t>(N * K), -77);
    reference::attend(in, options,
                      {.out = {out.data(), {1, 1, N, E}},
                       .lse = {lse.data(), {1, 1, N}},
                       .top_index = {top.data(), {1, 1, N, K}},
                       .top_weight = {weight.data(), {1, 1, N, K}},
                       .received = {received.data(), {1, 1, M}},
                       .entropy = {entropy.data(), {1, 1, N}},
                       .rows = {rows.data(), {1, 1, N, M}}});
  }
};

TEST(HandWorked, TheExampleOfTheLesson) {
  Head head{1, 2, 2, 2, {1, 0}, {1, 0, -10, 1}, {10, 20, 30, 40}};
  head.options.scale = 1;
  head.run();  // scores 1 and -10; e^-11 = 1.67017e-5
  EXPECT_TRUE(close(head.rows, Doubles{0.999983299, 0.0000167014}, 5e-10));
  EXPECT_TRUE(close(head.out, Doubles{10.000334, 20.000334}, 5e-7));
  EXPECT_TRUE(close(head.lse, Doubles{1.0000167016}, 1e-9));
}

TEST(HandWorked, AQuarterAndThreeQuarters) {
  Head head{1, 2, 1, 2, {1}, {0, std::log(3.0)}, {4, 0, 8, 1}};
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{0.25, 0.75}, 1e-15));
  EXPECT_TRUE(close(head.out, Doubles{7, 0.75}, 1e-14));
  EXPECT_TRUE(close(head.lse, Doubles{std::log(4.0)}, 1e-15));
  EXPECT_TRUE(close(head.entropy, Doubles{0.5623351446188083}, 1e-15));  // ln 4 - 3/4 ln 3
  EXPECT_EQ(head.top, (Ints{1, 0}));
  EXPECT_TRUE(close(head.weight, Doubles{0.75, 0.25}, 1e-15));
  EXPECT_TRUE(close(head.received, Doubles{0.25, 0.75}, 1e-15));
}

TEST(HandWorked, TheScaleIsOneOverTheRootOfTheKeyWidth) {
  // q.k = 4 ln 2 and 0; halved: 2 ln 2, so weights 4/5 and 1/5. E is not 4: it must not matter.
  const double x = std::log(2.0);
  Head head{1, 2, 4, 1, {1, 1, 1, 1}, {x, x, x, x, 0, 0, 0, 0}, {1, 0}};
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{0.8, 0.2}, 1e-15));
  head.options.scale = 0.25;  // exact in float: ln 2, so 2/3 and 1/3
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{2.0 / 3, 1.0 / 3}, 1e-15));
}

// Two queries, three equal keys: the rows say how many keys each query sees.
Head equal_keys(std::int64_t N) {
  return Head{N, 3, 1, 1, Doubles(static_cast<std::size_t>(N), 1), {5, 5, 5}, {3, 6, 30}};
}

TEST(HandWorked, CausalBottomRightLetsTheLastQuerySeeEveryKey) {
  Head head = equal_keys(2);
  head.options.causal = Causal::kBottomRight;
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{0.5, 0.5, 0, 1.0 / 3, 1.0 / 3, 1.0 / 3}, 1e-15));
  EXPECT_TRUE(close(head.out, Doubles{4.5, 13}, 1e-14));
}

TEST(HandWorked, CausalBottomRightWithMoreQueriesThanKeysLeavesTheFirstWithNone) {
  Head head = equal_keys(5);
  head.options.causal = Causal::kBottomRight;
  head.run();
  EXPECT_TRUE(close(head.out, Doubles{0, 0, 3, 4.5, 13}, 1e-14));
  EXPECT_TRUE(
      close(head.lse, Doubles{-kInf, -kInf, 5, 5 + std::log(2.0), 5 + std::log(3.0)}, 1e-14));
  EXPECT_EQ(head.top, (Ints{-1, -1, -1, -1, 0, -1, 0, 1, 0, 1}));
  EXPECT_TRUE(close(head.entropy, Doubles{0, 0, 0, std::log(2.0), std::log(3.0)}, 1e-15));
}

TEST(HandWorked, CausalTopLeftLetsTheFirstQuerySeeTheFirstKey) {
  Head head = equal_keys(2);
  head.options.causal = Causal::kTopLeft;
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{1, 0, 0, 0.5, 0.5, 0}, 1e-15));
}

TEST(HandWorked, LengthsMoveTheCausalDiagonal) {
  Head head = equal_keys(3);
  const Ints keys{2}, queries{2};
  head.in.key_lengths = keys;
  head.in.query_lengths = queries;
  head.options.causal = Causal::kBottomRight;  // j <= i + 2 - 2
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{1, 0, 0, 0.5, 0.5, 0, 0, 0, 0}, 1e-15));
  const Ints three{3};
  head.in.key_lengths = three;  // j <= i + 3 - 2
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{0.5, 0.5, 0, 1.0 / 3, 1.0 / 3, 1.0 / 3, 0, 0, 0}, 1e-15));
  EXPECT_EQ(head.lse[2], -kInf);
}

TEST(HandWorked, AWindowCountsFromTheQuerysPlaceAmongTheKeys) {
  Head head = equal_keys(2);  // of 3 keys: their places are keys 1 and 2
  head.options.window_before = 1;
  head.options.window_after = 0;
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{0.5, 0.5, 0, 0, 0.5, 0.5}, 1e-15));
  head.options.window_before = 0;
  head.options.window_after = 1;
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{0, 0.5, 0.5, 0, 0, 1}, 1e-15));
  head.options.window_before.reset();  // no limit on that side
  head.run();
  EXPECT_TRUE(
      close(head.rows, Doubles{1.0 / 3, 1.0 / 3, 1.0 / 3, 1.0 / 3, 1.0 / 3, 1.0 / 3}, 1e-15));
  head.options = {.causal = Causal::kTopLeft, .window_before = 0};  // places are keys 0 and 1
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{1, 0, 0, 0, 1, 0}, 1e-15));
}

TEST(HandWorked, LengthsMoveTheWindow) {
  Head head = equal_keys(3);
  const Ints keys{2}, queries{1};
  head.in.key_lengths = keys;
  head.in.query_lengths = queries;
  head.options.window_before = 0;  // place of query 0: key 0 + 2 - 1
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{0, 1, 0, 0, 0, 0, 0, 0, 0}, 1e-15));
}

TEST(HandWorked, MaskTrueMaySee) {
  Head head = equal_keys(2);
  const bool mask[] = {true, false, true, false, true, false};
  head.in.mask = View(mask, {1, 1, 2, 3});
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{0.5, 0, 0.5, 0, 1, 0}, 1e-15));
  const bool column[] = {true, false};
  head.in.mask = View(column, {1, 1, 2, 1});
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{1.0 / 3, 1.0 / 3, 1.0 / 3, 0, 0, 0}, 1e-15));
}

TEST(HandWorked, BiasIsAddedToTheScaledScoreAndMinusInfinityHides) {
  Head head = equal_keys(1);
  const Doubles bias{std::log(2.0), -kInf, 0};
  head.in.bias = View(bias.data(), {1, 1, 1, 3});
  head.options.scale = 0.5;
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{2.0 / 3, 0, 1.0 / 3}, 1e-15));
  EXPECT_TRUE(close(head.lse, Doubles{2.5 + std::log(3.0)}, 1e-14));
}

TEST(HandWorked, ALargeNegativeBiasDoesNotHide) {
  Head head = equal_keys(1);
  const Doubles low(3, -1e30), hidden(3, -kInf);
  head.in.bias = View(low.data(), {1, 1, 1, 3});
  head.run();
  EXPECT_TRUE(close(head.out, Doubles{13}, 1e-14));
  head.in.bias = View(hidden.data(), {1, 1, 1, 3});
  head.run();
  EXPECT_TRUE(close(head.out, Doubles{0}, 0));
  EXPECT_TRUE(close(head.lse, Doubles{-kInf}, 0));
}

TEST(HandWorked, FactorRanksAndWeighsReceivedButTopGivesTheWeight) {
  Head head{2, 3, 1, 1, {1, 0}, {std::log(6.0), std::log(3.0), 0}, {0, 0, 0}};
  const Doubles factor{1, 4, 6}, w{10, 100};
  head.in.factor = View(factor.data(), {1, 1, 3});
  head.in.received_weights = View(w.data(), {1, 1, 2});
  head.run();  // rows .6 .3 .1 and thirds; p factor: .6 1.2 .6 (a tie) and 1/3 4/3 2
  EXPECT_TRUE(close(head.rows, Doubles{0.6, 0.3, 0.1, 1.0 / 3, 1.0 / 3, 1.0 / 3}, 1e-15));
  EXPECT_EQ(head.top[0], 1);
  EXPECT_EQ((Ints{head.top[2], head.top[3]}), (Ints{2, 1}));
  EXPECT_TRUE(close(Doubles{head.weight[0], head.weight[2]}, Doubles{0.3, 1.0 / 3}, 1e-15));
  EXPECT_TRUE(close(head.received, Doubles{6 + 100.0 / 3, 4 * (3 + 100.0 / 3), 6 * (1 + 100.0 / 3)},
                    1e-12));
}

TEST(HandWorked, TiesGoToTheLowerIndex) {
  Head head = equal_keys(1);
  head.K = 5;
  head.run();
  EXPECT_EQ(head.top, (Ints{0, 1, 2, -1, -1}));
  EXPECT_TRUE(close(head.weight, Doubles{1.0 / 3, 1.0 / 3, 1.0 / 3, 0, 0}, 1e-15));
}

TEST(HandWorked, NoKeysAtAll) {
  Head head{2, 0, 1, 2, {1, 2}, {0}, {0}};
  head.run();
  EXPECT_TRUE(close(head.out, Doubles{0, 0, 0, 0}, 0));
  EXPECT_TRUE(close(head.lse, Doubles{-kInf, -kInf}, 0));
  EXPECT_TRUE(close(head.entropy, Doubles{0, 0}, 0));
  EXPECT_EQ(head.top, Ints(4, -1));
}

TEST(HandWorked, NanAndInfinityInAVisibleScoreReachTheOutput) {
  for (const double bad : {kNan, kInf}) {
    Head head = equal_keys(1);
    head.k[1] = bad;
    head.run();
    EXPECT_TRUE(close(head.out, Doubles{kNan}, 0)) << bad;
    EXPECT_TRUE(close(head.entropy, Doubles{kNan}, 0)) << bad;
    EXPECT_TRUE(close(head.rows, Doubles{kNan, kNan, kNan}, 0)) << bad;
    const bool mask[] = {true, false, true};  // hidden, it never influences
    head.in.mask = View(mask, {1, 1, 1, 3});
    head.v[1] = bad;
    head.run();
    EXPECT_TRUE(close(head.out, Doubles{16.5}, 1e-14)) << bad;
    EXPECT_TRUE(close(head.received, Doubles{0.5, 0, 0.5}, 1e-15)) << bad;
  }
}

TEST(HandWorked, HeadsShareKeysInOrderAndStridesAreFollowed) {
  // B 1, H 4, G 2: heads 0 and 1 read key head 0, 2 and 3 read key head 1. Memory is [N, H, D].
  const Doubles q{1, 1, 1, 1}, k{0, 0}, v{3, 7};
  Doubles out(4, kNan);
  Inputs in;
  in.q = View(q.data(), {1, 4, 1, 1}, {4, 1, 4, 1});
  in.k = View(k.data(), {1, 2, 1, 1}, {2, 1, 2, 1});
  in.v = View(v.data(), {1, 2, 1, 1}, {2, 1, 2, 1});
  reference::attend(in, {}, {.out = {out.data(), {1, 4, 1, 1}, {4, 1, 4, 1}}});
  EXPECT_TRUE(close(out, Doubles{3, 3, 7, 7}, 0));
}

TEST(HandWorked, Float32AndFloat64InputsAreReadAlike) {
  const std::vector<float> q{1}, k{0, 1}, v{1, 2};
  Doubles out(1, kNan);
  reference::attend(
      {.q = {q.data(), {1, 1, 1, 1}}, .k = {k.data(), {1, 1, 2, 1}}, .v = {v.data(), {1, 1, 2, 1}}},
      {}, {.out = {out.data(), {1, 1, 1, 1}}});
  EXPECT_TRUE(close(out, Doubles{(1 + 2 * std::exp(1.0)) / (1 + std::exp(1.0))}, 1e-15));
}

TEST(HandWorked, AlibiTakesTheSlopeTimesTheDistanceFromTheQuerysPlace) {
  Head head = equal_keys(2);  // of 3 keys: places 1 and 2
  const Doubles slope{std::log(2.0)};
  head.in.alibi_slopes = View(slope.data(), {1, 1});
  head.run();  // distances 1 0 1 and 2 1 0, so weights as 1 2 1 and 1 2 4
  EXPECT_TRUE(close(head.rows, Doubles{0.25, 0.5, 0.25, 1.0 / 7, 2.0 / 7, 4.0 / 7}, 1e-15));
  EXPECT_TRUE(close(head.lse, Doubles{5 + std::log(2.0), 5 + std::log(1.75)}, 1e-14));
  head.options.causal = Causal::kBottomRight;
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{1.0 / 3, 2.0 / 3, 0, 1.0 / 7, 2.0 / 7, 4.0 / 7}, 1e-15));
  head.options.causal = Causal::kTopLeft;  // places 0 and 1
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{1, 0, 0, 1.0 / 3, 2.0 / 3, 0}, 1e-15));
  const Ints keys{2}, queries{1};  // place of query 0: key 1
  head.options.causal = Causal::kNone;
  head.in.key_lengths = keys;
  head.in.query_lengths = queries;
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{1.0 / 3, 2.0 / 3, 0, 0, 0, 0}, 1e-15));
}

TEST(HandWorked, EachHeadHasItsSlopeAndEachSequenceMayHaveItsOwn) {
  const Doubles q(4, 1), k(4, 0), v{8, 0, 8, 0};
  const double x = std::log(3.0);
  const Doubles slopes{0, x, -x, 2 * x};  // [B 2, H 2]; the place is key 1
  Doubles out(4, kNan);
  Inputs in{
      .q = {q.data(), {2, 2, 1, 1}}, .k = {k.data(), {2, 1, 2, 1}}, .v = {v.data(), {2, 1, 2, 1}}};
  in.alibi_slopes = View(slopes.data(), {2, 2});
  reference::attend(in, {}, {.out = {out.data(), {2, 2, 1, 1}}});
  EXPECT_TRUE(close(out, Doubles{4, 2, 6, 0.8}, 1e-14));
  in.alibi_slopes = View(slopes.data(), {1, 2});
  reference::attend(in, {}, {.out = {out.data(), {2, 2, 1, 1}}});
  EXPECT_TRUE(close(out, Doubles{4, 2, 4, 2}, 1e-14));
}

TEST(HandWorked, APartOfTheKeysIsAllThatCounts) {
  Head head{2, 3, 1, 1, {1, 1}, {0, std::log(2.0), std::log(6.0)}, {10, 20, 40}};
  head.options.key_begin = 1;
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{0, 0.25, 0.75, 0, 0.25, 0.75}, 1e-15));
  EXPECT_TRUE(close(head.out, Doubles{35, 35}, 1e-13));
  EXPECT_EQ(head.top, (Ints{2, 1, 2, 1}));  // indices count from key 0
  EXPECT_TRUE(close(head.received, Doubles{0, 0.5, 1.5}, 1e-15));
  head.options.key_end = 2;
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{0, 1, 0, 0, 1, 0}, 1e-15));
  EXPECT_EQ(head.top, (Ints{1, -1, 1, -1}));
  head.options.causal = Causal::kTopLeft;  // places count from key 0 too
  head.run();
  EXPECT_TRUE(close(head.rows, Doubles{0, 0, 0, 0, 1, 0}, 1e-15));
  EXPECT_TRUE(close(head.lse, Doubles{-kInf, std::log(2.0)}, 1e-15));
  head.options = {.key_begin = 2, .key_end = 2};
  head.run();
  EXPECT_TRUE(close(head.lse, Doubles{-kInf, -kInf}, 0));
  EXPECT_EQ(head.top, Ints(4, -1));
}

// Three sequences end to end, of 2, 0 and 1 queries and 1, 1 and 3 keys; two heads over one of keys.
TEST(HandWorked, PackedSequencesLieEndToEnd) {
  const double x = std::log(2.0);
  const Doubles q{1, 0, 1, 1, 2, 0};                 // [T 3, H 2, 1]
  const Doubles k{9, 7, 0, x, 0}, v{1, 2, 3, 6, 9};  // [S 5, G 1, 1]
  const Ints queries{0, 2, 2, 3}, keys{0, 1, 2, 5}, chosen{2, 0};
  Inputs in{.q = {q.data(), {3, 2, 1}}, .k = {k.data(), {5, 1, 1}}, .v = {v.data(), {5, 1, 1}}};
  in.query_offsets = queries;
  in.key_offsets = keys;
  in.row_queries = chosen;
  Doubles out(6, kNan), lse(6, kNan), received(10, kNan), rows(12, kNan), weight(12, kNan);
  Ints top(12, -77);
  const Outputs outputs{.out = {out.data(), {3, 2, 1}},
                        .lse = {lse.data(), {3, 2}},
                        .top_index = {top.data(), {3, 2, 2}},
                        .top_weight = {weight.data(), {3, 2, 2}},
                        .received = {received.data(), {5, 2}},
                        .rows = {rows.data(), {2, 2, 3}}};
  reference::attend(in, {}, outputs);
  // The last: scores of head 0 are 0 2x 0, weights 1/6 4/6 1/6; head 1 sees thirds.
  EXPECT_TRUE(close(out, Doubles{1, 1, 1, 1, 6, 6}, 1e-14));
  EXPECT_TRUE(close(lse, Doubles{9, 0, 9, 9, std::log(6.0), std::log(3.0)}, 1e-14));
  const double s = 1.0 / 6, t = 1.0 / 3;
  EXPECT_TRUE(close(rows, Doubles{s, 4 * s, s, t, t, t, 1, 0, 0, 1, 0, 0}, 1e-15));
  EXPECT_TRUE(close(received, Doubles{2, 2, 0, 0, s, t, 4 * s, t, s, t}, 1e-15));
  EXPECT_EQ(top, (Ints{0, -1, 0, -1, 0, -1, 0, -1, 1, 0, 0, 1}));
  // Mask and bias are of the longest: [.., 2, 3], of which sequence 2 has the first row.
  const bool mask[] = {true, false, true, false, true, true};
  in.mask = View(mask, {1, 1, 2, 3});
  reference::attend(in, {}, outputs);
  EXPECT_TRUE(close(out, Doubles{1, 1, 0, 0, 6, 6}, 1e-14));
  EXPECT_TRUE(close(rows, Doubles{0.5, 0, 0.5, 0.5, 0, 0.5, 1, 0, 0, 1, 0, 0}, 1e-15));
}

TEST(HandWorked, PackedQueriesOverKeysThatAreNotPacked) {
  const Doubles q{1, 1, 1}, k{5, 5, 5, 5}, v{1, 3, 10, 20};
  const Ints queries{0, 1, 3}, lengths{2, 1};
  Inputs in{
      .q = {q.data(), {3, 1, 1}}, .k = {k.data(), {2, 1, 2, 1}}, .v = {v.data(), {2, 1, 2, 1}}};
  in.query_offsets = queries;
  in.key_lengths = lengths;
  Doubles out(3, kNan), received(4, kNan);
  const Outputs outputs{.out = {out.data(), {3, 1, 1}}, .received = {received.data(), {2, 1, 2}}};
  reference::attend(in, {.causal = Causal::kBottomRight}, outputs);
  EXPECT_TRUE(close(out, Doubles{2, 0, 10}, 1e-14));  // of sequence 1 query 0 is before key 0
  EXPECT_TRUE(close(received, Doubles{0.5, 0.5, 1, 0}, 1e-15));
}

TEST(HandWorked, PackedKeysUnderQueriesThatAreNotPacked) {
  const Doubles q{1, 1}, k{5, 5, 5}, v{1, 3, 10};
  const Ints keys{0, 2, 3}, chosen{0};
  Inputs in{.q = {q.data(), {2, 1, 1, 1}}, .k = {k.data(), {3, 1, 1}}, .v = {v.data(), {3, 1, 1}}};
  in.key_offsets = keys;
  in.row_queries = chosen;
  Doubles out(2, kNan), rows(4, kNan);
  reference::attend(in, {},
                    {.out = {out.data(), {2, 1, 1, 1}}, .rows = {rows.data(), {2, 1, 1, 2}}});
  EXPECT_TRUE(close(out, Doubles{2, 10}, 1e-14));
  EXPECT_TRUE(close(rows, Doubles{0.5, 0.5, 1, 0}, 1e-15));
}

TEST(HandWorked, HighlightsFromTheLogOfTheSum) {
  Head head{1, 2, 1, 2, {1}, {0, std::log(3.0)}, {4, 0, 8, 1}};
  head.run();
  const Doubles lse = head.lse, more{std::log(8.0)}, none{-kInf};
  head.rows = head.received = head.weight = Doubles(2, kNan);
  head.entropy = {kNan};
  const Outputs outputs{.top_index = {head.top.data(), {1, 1, 1, 2}},
                        .top_weight = {head.weight.data(), {1, 1, 1, 2}},
                        .received = {head.received.data(), {1, 1, 2}},
                        .entropy = {head.entropy.data(), {1, 1, 1}},
                        .rows = {head.rows.data(), {1, 1, 1, 2}}};
  reference::highlights(head.in, View(lse.data(), {1, 1, 1}), {}, outputs);
  EXPECT_TRUE(close(head.rows, Doubles{0.25, 0.75}, 1e-15));
  EXPECT_TRUE(close(head.received, Doubles{0.25, 0.75}, 1e-15));
  EXPECT_TRUE(close(head.entropy, Doubles{0.5623351446188083}, 1e-15));
  EXPECT_EQ(head.top, (Ints{1, 0}));
  // Of a whole with as much weight again elsewhere: halves of it, ln 8 / 8 + 3/8 ln 8/3 of entropy.
  reference::highlights(head.in, View(more.data(), {1, 1, 1}), {}, outputs);
  EXPECT_TRUE(close(head.rows, Doubles{0.125, 0.375}, 1e-15));
  EXPECT_TRUE(close(head.weight, Doubles{0.375, 0.125}, 1e-15));
  EXPECT_TRUE(close(head.entropy, Doubles{0.6277411625893767}, 1e-15));
  reference::highlights(head.in, View(none.data(), {1, 1, 1}), {}, outputs);
  EXPECT_TRUE(close(head.rows, Doubles{0, 0}, 0));
  EXPECT_TRUE(close(head.entropy, Doubles{0}, 0));
  EXPECT_EQ(head.top, (Ints{-1, -1}));
}

TEST(HandWorked, AllScoresMinusInfinityIsSeeingNoKey) {
  Head head = equal_keys(1);
  head.k = {-kInf, -kInf, -kInf};
  head.run();
  EXPECT_TRUE(close(head.out, Doubles{0}, 0));
  EXPECT_TRUE(close(head.lse, Doubles{-kInf}, 0));
  EXPECT_EQ(head.top, (Ints{-1, -1}));
  head.k[1] = 2;  // among them a number: it has all the weight
  head.run();
  EXPECT_TRUE(close(head.out, Doubles{6}, 0));
  EXPECT_TRUE(close(head.entropy, Doubles{0}, 0));
}

TEST(HandWorked, SixteenBitInputsAreReadAsTheyAreWritten) {
  // bfloat16: 0x3f80 is 1, 0xc040 is -3, 0x3e80 is 0.25. float16: 0x3c00, 0xc200, 0x3400.
  const auto check = [](auto one, std::uint16_t a, std::uint16_t b, std::uint16_t c) {
    using T = decltype(one);
    T q[1], k[2], v[2];
    q[0].bits = a;
    k[0].bits = k[1].bits = b;
    v[0].bits = b;
    v[1].bits = c;
    double out = kNan, lse = kNan;
    reference::attend({.q = {q, {1, 1, 1, 1}}, .k = {k, {1, 1, 2, 1}}, .v = {v, {1, 1, 2, 1}}}, {},
                      {.out = {&out, {1, 1, 1, 1}}, .lse = {&lse, {1, 1, 1}}});
    EXPECT_TRUE(close(Doubles{out, lse}, Doubles{-1.375, -3 + std::log(2.0)}, 1e-15));
  };
  check(BFloat16(), 0x3f80, 0xc040, 0x3e80);
  check(Float16(), 0x3c00, 0xc200, 0x3400);
}

}  // namespace
}  // namespace fovea
