// attend against the reference, with the tolerance that its contract states (support/accuracy.h),
// on every instruction set: sizes around every edge, and scores that are made to break an online
// softmax.
#include "support/accuracy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "support/case.h"
#include "support/compare.h"
#include "support/isa.h"

namespace fovea::testing {
namespace {

class Accuracy : public OnEveryIsa {};
FOVEA_ON_EVERY_ISA(Accuracy);

// Around 1, 2, the lanes of every vector (4, 8, 16) and every likely block edge.
constexpr std::int64_t kSizes[] = {1,  2,  3,   4,   5,   7,   8,   9,   15,  16,  17, 23,
                                   24, 25, 31,  32,  33,  47,  48,  49,  63,  64,  65, 95,
                                   96, 97, 127, 128, 129, 255, 256, 257, 511, 512, 513};
constexpr std::int64_t kWidths[] = {1,  2,  3,  4,  5,  7,  8,  9,  12, 15,  16,  17,  24,  31,
                                    32, 33, 40, 48, 63, 64, 65, 80, 96, 127, 128, 129, 160, 256};

void check(const Case& c) {
  if (left_out()) return;
  const Problem problem(c);
  const Truth truth(problem);
  const Results<float> got = engine(problem);
  expect_accurate(problem, truth, got);
  if (::testing::Test::HasFailure()) ADD_FAILURE() << "again: " << c;
}

// As check, after `change` to the arrays.
void check_changed(const Case& c, const std::function<void(Problem&)>& change) {
  if (left_out()) return;
  Problem problem(c);
  change(problem);
  const Truth truth(problem);
  expect_accurate(problem, truth, engine(problem));
  if (::testing::Test::HasFailure()) ADD_FAILURE() << "again: " << c;
}

TEST_P(Accuracy, KeysAroundEveryEdgeManyQueries) {
  for (const std::int64_t M : kSizes) check({.H = 2, .G = 2, .N = 13, .M = M, .D = 16, .E = 16});
}

TEST_P(Accuracy, KeysAroundEveryEdgeOneQuery) {
  for (const std::int64_t M : kSizes) check({.B = 3, .H = 4, .G = 4, .M = M, .D = 20, .E = 20});
}

TEST_P(Accuracy, QueriesAroundEveryEdge) {
  for (const std::int64_t N : kSizes) check({.H = 2, .G = 1, .N = N, .M = 37, .D = 16, .E = 24});
}

TEST_P(Accuracy, QueriesAroundEveryEdgeCausal) {
  for (const std::int64_t N : kSizes) {
    if (N > 300) continue;
    check({.N = N, .M = N, .D = 8, .E = 8, .causal = Causal::kBottomRight});
    check({.N = N, .M = 70, .D = 8, .E = 8, .causal = Causal::kBottomRight});
    check({.N = 70, .M = N, .D = 8, .E = 8, .causal = Causal::kTopLeft});
  }
}

// Windows of every kind, their edges in every lane and on both sides of a block of keys.
TEST_P(Accuracy, Windows) {
  for (const std::int64_t before : {0, 1, 5, 15, 16, 17, 63, 64, 70, 256, 300}) {
    check({.N = 20, .M = 300, .D = 8, .E = 16, .window_before = before});
    check({.H = 2, .G = 1, .N = 1, .M = 300, .D = 8, .E = 16, .window_before = before});
    check({.N = 300, .M = 300, .D = 4, .E = 4, .window_before = before, .window_after = 3});
    check({.N = 290,
           .M = 300,
           .D = 4,
           .E = 4,
           .causal = Causal::kTopLeft,
           .window_before = before,
           .mask = 15,
           .bias = 12,
           .bias_hides = true});
  }
  check(
      {.N = 900, .M = 700, .D = 4, .E = 4, .window_before = 3, .window_after = 2, .factor = true});
  check({.N = 5, .M = 7, .D = 4, .E = 4, .window_before = INT64_MAX, .window_after = INT64_MAX});
}

TEST_P(Accuracy, EveryWidth) {
  for (const std::int64_t width : kWidths) {
    check({.N = 14, .M = 37, .D = width, .E = width});
    check({.N = 14, .M = 37, .D = width, .E = 24});
    check({.N = 14, .M = 37, .D = 24, .E = width});
    check({.H = 3, .G = 3, .N = 2, .M = 37, .D = width, .E = width, .layout = Layout::kCut});
  }
}

TEST_P(Accuracy, EveryNumberOfTopKeys) {
  for (const std::int64_t K : {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 32, 33, 64, 100, 130}) {
    check({.N = 20, .M = 100, .D = 8, .E = 8, .K = K});
    check({.N = 20, .M = 100, .D = 8, .E = 8, .causal = Causal::kTopLeft, .factor = true, .K = K});
  }
}

TEST_P(Accuracy, GroupedHeads) {
  for (const auto& [H, G] : {std::pair{1, 1}, {2, 1}, {6, 1}, {6, 2}, {6, 3}, {6, 6}, {32, 4}}) {
    check({.B = 2, .H = H, .G = G, .N = 5, .M = 40, .D = 16, .E = 8});
    check({.B = 2, .H = H, .G = G, .N = 1, .M = 40, .D = 16, .E = 8, .key_lengths = true});
  }
}

TEST_P(Accuracy, EveryBroadcastOfMaskAndBias) {
  for (int bits = 0; bits < 16; ++bits) {
    check({.B = 2, .H = 4, .G = 2, .N = 19, .M = 35, .D = 8, .E = 8, .mask = bits});
    check({.B = 2,
           .H = 4,
           .G = 2,
           .N = 19,
           .M = 35,
           .D = 8,
           .E = 8,
           .bias = bits,
           .bias_hides = (bits % 2 == 0)});
    check({.B = 2,
           .H = 4,
           .G = 2,
           .N = 19,
           .M = 35,
           .D = 8,
           .E = 8,
           .causal = Causal::kBottomRight,
           .key_lengths = true,
           .mask = bits,
           .bias = 15 - bits,
           .bias_hides = true});
  }
}

// Column sums are added up over many queries, in pieces.
TEST_P(Accuracy, ReceivedOverManyQueries) {
  for (const std::int64_t N : {383, 384, 385, 768, 1151, 1152, 1153, 2400}) {
    check({.H = 2,
           .G = 1,
           .N = N,
           .M = 5,
           .D = 2,
           .E = 1,
           .factor = true,
           .received_weights = true,
           .K = 2});
  }
}

TEST_P(Accuracy, ManyRows) {
  check({.N = 60, .M = 33, .D = 4, .E = 4, .causal = Causal::kTopLeft, .R = 900});
}

TEST_P(Accuracy, ManyQueriesAndKeys) {
  check({.N = 513, .M = 515, .D = 64, .E = 64, .causal = Causal::kBottomRight});
  check({.H = 2, .G = 1, .N = 130, .M = 1100, .D = 64, .E = 64, .key_lengths = true});
}

TEST_P(Accuracy, ScoresOfAnySpread) {
  for (const double spread : {0.0, 1e-3, 1.0, 8.0, 60.0, 400.0}) {  // exp overflows at 88.7
    check({.H = 2, .G = 2, .N = 33, .M = 150, .D = 64, .E = 32, .K = 5, .spread = spread});
    check({.B = 5, .H = 4, .G = 4, .N = 1, .M = 150, .D = 64, .E = 32, .K = 5, .spread = spread});
  }
}

// Scores of a shape given by f(j), up to a little noise: D = 1, q = 1.
void check_scores(std::int64_t N, std::int64_t M, const std::function<double(std::int64_t)>& f) {
  check_changed({.N = N, .M = M, .D = 1, .E = 9, .K = 4}, [&](Problem& p) {
    for (std::int64_t i = 0; i < N; ++i) p.q.at(0, 0, i, 0) = 1 + 0.01F * static_cast<float>(i);
    for (std::int64_t j = 0; j < M; ++j) p.k.at(0, 0, j, 0) = static_cast<float>(f(j));
  });
}

TEST_P(Accuracy, ScoresThatBreakAnOnlineSoftmax) {
  for (const std::int64_t N : {1, 20}) {
    for (const std::int64_t M : {7, 100, 300, 700}) {
      const auto m = static_cast<double>(M);
      check_scores(N, M, [](auto j) { return 0.3 * double(j); });   // a new largest in every block
      check_scores(N, M, [](auto j) { return -0.3 * double(j); });  // the largest first
      check_scores(N, M,
                   [](auto j) { return 2.0 * double(j) - 700; });  // from far below to far above
      check_scores(N, M,
                   [m](auto j) { return double(j) == m - 1 ? 30 : 0; });  // one dominant key, last
      check_scores(N, M, [](auto j) { return j == 0 ? 100 : -100; });     // and first
      check_scores(N, M, [](auto) { return -150; });  // all negative, exp underflows
      check_scores(N, M, [](auto) { return 150; });   // all equal, exp overflows
      check_scores(N, M,
                   [](auto j) { return (j / 64) % 2 == 0 ? -200 : 5; });    // whole blocks vanish
      check_scores(N, M, [](auto j) { return 1 + 1e-6 * double(j % 5); });  // near ties
      check_scores(N, M, [m](auto j) { return 60 * std::sin(40 * double(j) / m); });
    }
  }
}

TEST_P(Accuracy, ExactTiesGoToTheLowerIndex) {
  // Small integers: scores are exact in any order of summation, so ties are ties.
  for (const std::int64_t N : {1, 4, 40}) {
    for (const std::int64_t M : {3, 16, 65, 200, 515}) {
      const Case c{.N = N, .M = M, .D = 4, .E = 1, .K = 12, .scale = 0.5F};
      Problem p(c);
      Random random(static_cast<std::uint64_t>(N * 1000 + M));
      for (float& x : p.q.memory) x = static_cast<float>(random.below(3)) - 1;
      for (float& x : p.k.memory) x = static_cast<float>(random.below(3)) - 1;
      const Truth truth(p);
      const Results<float> got = engine(p);
      EXPECT_EQ(got.top_index, truth.exact.top_index) << c;
      expect_accurate(p, truth, got);
    }
  }
}

TEST_P(Accuracy, ExactTiesUnderAFactorToo) {
  const Case c{.N = 20, .M = 130, .D = 2, .E = 1, .factor = true, .K = 9, .scale = 1.0F};
  Problem p(c);
  std::fill(p.q.memory.begin(), p.q.memory.end(), 0.0F);  // p is the same for all keys
  for (std::size_t j = 0; j < 130; ++j) p.factor[j] = (j % 10 == 7) ? 4.0F : 0.5F;
  const Results<float> got = engine(p);
  const std::vector<std::int32_t> want{7, 17, 27, 37, 47, 57, 67, 77, 87};
  for (std::size_t i = 0; i < 20; ++i) {
    const auto row = std::span(got.top_index).subspan(i * 9, 9);
    EXPECT_EQ(std::vector<std::int32_t>(row.begin(), row.end()), want) << "query " << i;
  }
  for (const float weight : got.top_weight) EXPECT_NEAR(weight, 1.0 / 130, 1e-8);
}

TEST_P(Accuracy, EqualKeysGiveThePlainMean) {
  Problem p({.N = 10, .M = 77, .D = 16, .E = 5});
  for (float& x : p.k.memory) x = 0.25F;
  const Results<float> got = engine(p);
  std::vector<double> mean(5, 0.0);
  for (std::int64_t j = 0; j < 77; ++j) {
    for (std::int64_t e = 0; e < 5; ++e) mean[std::size_t(e)] += double(p.v.at(0, 0, j, e)) / 77;
  }
  EXPECT_INFORMATIVE(mean);
  for (std::size_t i = 0; i < 10; ++i) {
    EXPECT_TRUE(close(std::span(got.out).subspan(i * 5, 5), mean, 1e-6)) << i;
    EXPECT_NEAR(got.entropy[i], std::log(77.0), 4e-6);
  }
}

TEST_P(Accuracy, ScaleOfAnySignAndSize) {
  for (const float scale : {1.0F, 0.0F, -1.0F, 1e-4F, 3.0F}) {
    Case c{.N = 17, .M = 40, .D = 12, .E = 6, .scale = 0.3F};
    check_changed(c, [&](Problem& p) { p.c.scale = scale; });
  }
}

constexpr DataType kTypes[] = {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16};
constexpr DataType kNarrow[] = {DataType::kBFloat16, DataType::kFloat16};

TEST_P(Accuracy, SixteenBitTypesKeysAndQueriesAroundEveryEdge) {
  for (const DataType type : kNarrow) {
    for (const std::int64_t M : kSizes) {
      check({.H = 2, .G = 2, .N = 13, .M = M, .D = 16, .E = 16, .type = type});
      check({.B = 3, .H = 4, .G = 2, .M = M, .D = 20, .E = 20, .type = type, .narrow_out = true});
    }
    for (const std::int64_t N : kSizes) {
      check({.H = 2, .G = 1, .N = N, .M = 37, .D = 16, .E = 24, .type = type, .narrow_out = true});
    }
  }
}

// Odd widths, odd addresses: pairs of numbers must not be taken for granted.
TEST_P(Accuracy, SixteenBitTypesOfEveryWidth) {
  for (const DataType type : kNarrow) {
    for (const std::int64_t width : kWidths) {
      for (const Layout layout : {Layout::kHeadsFirst, Layout::kCut}) {
        check({.N = 14, .M = 37, .D = width, .E = width, .type = type, .layout = layout});
        check({.N = 14, .M = 37, .D = width, .E = 24, .type = type, .layout = layout});
        check({.N = 14, .M = 37, .D = 24, .E = width, .type = type, .layout = layout});
        check({.H = 3,
               .G = 1,
               .N = 2,
               .M = 37,
               .D = width,
               .E = width,
               .type = type,
               .layout = layout,
               .narrow_out = true});
      }
    }
  }
}

TEST_P(Accuracy, SixteenBitTypesUnderEveryRule) {
  for (const DataType type : kNarrow) {
    for (const Causal causal : {Causal::kNone, Causal::kBottomRight, Causal::kTopLeft}) {
      for (const int bits : {-1, 0, 9, 15}) {
        check({.B = 2,
               .H = 4,
               .G = 2,
               .N = 19,
               .M = 77,
               .D = 24,
               .E = 16,
               .type = type,
               .causal = causal,
               .window_before = bits == 9 ? std::optional<std::int64_t>(20) : std::nullopt,
               .key_lengths = true,
               .query_lengths = bits >= 9,
               .mask = bits,
               .bias = bits,
               .bias_hides = true,
               .factor = true,
               .received_weights = true,
               .narrow_out = bits == 15});
      }
    }
  }
}

TEST_P(Accuracy, SixteenBitTypesOfAnySpread) {
  for (const DataType type : kNarrow) {
    for (const double spread : {0.0, 1e-3, 1.0, 8.0, 60.0, 400.0}) {
      check({.H = 2, .G = 2, .N = 33, .M = 150, .D = 64, .E = 32, .type = type, .spread = spread});
      check({.B = 5, .H = 4, .G = 4, .M = 150, .D = 64, .E = 32, .type = type, .spread = spread});
    }
  }
}

// Numbers whose products or sums are beside the edges of the types. (bfloat16's subnormals are float's,
// 1e-38 and less; the dot products of a CPU take them for zero.)
TEST_P(Accuracy, SixteenBitNumbersOfEverySize) {
  for (const DataType type : kNarrow) {
    const bool brain = type == DataType::kBFloat16;
    for (const std::int64_t N : {2, 20}) {
      for (const float size : {brain ? 0x1p-100F : 0x1p-24F, brain ? 0x1p-90F : 0x1p-14F, 0x1p-8F,
                               1.0F, brain ? 0x1p100F : 0x1p15F}) {
        // Values of that size, keys too, and queries of its inverse as far as the type goes.
        Case c{.N = N, .M = 70, .D = 8, .E = 16, .type = type, .scale = 1.0F};
        const float inverse = std::min(1 / size, brain ? 0x1p120F : 0x1p14F);
        check_changed(c, [&](Problem& p) {
          for (float& x : p.v.memory) x *= size / 4;
          for (float& x : p.k.memory) x *= size / 4;
          for (float& x : p.q.memory) x *= inverse;
        });
      }
    }
  }
}

// Where work is cut along keys: pieces of 256 to 8192 of them, for one query and for many.
TEST_P(Accuracy, KeysAroundEveryBlockEdge) {
  for (const std::int64_t edge : {256, 1024, 2048, 4096, 8192}) {
    for (const std::int64_t M : {edge - 1, edge, edge + 1}) {
      check({.M = M, .D = 4, .E = 4});
      check({.H = 2, .G = 1, .N = 3, .M = M, .D = 3, .E = 5, .causal = Causal::kBottomRight});
      check({.N = 9, .M = M, .D = 4, .E = 4, .type = DataType::kBFloat16, .key_lengths = true});
      check({.N = 8, .M = M, .D = 4, .E = 4, .type = DataType::kBFloat16, .factor = true});
      check({.N = 2, .M = M, .D = 4, .E = 8, .type = DataType::kFloat16, .alibi = 0});
    }
  }
  check({.N = 20, .M = 8193, .D = 2, .E = 3});
}

// A few new queries over thousands of kept keys, of sequences of different lengths.
TEST_P(Accuracy, Decoding) {
  for (const DataType type : kTypes) {
    for (const std::int64_t N : {1, 2, 3, 5, 8}) {
      check({.B = 3,
             .H = 4,
             .G = 2,
             .N = N,
             .M = 2100,
             .D = 16,
             .E = 16,
             .type = type,
             .layout = N % 2 == 0 ? Layout::kCut : Layout::kHeadsFirst,
             .causal = Causal::kBottomRight,
             .key_lengths = true,
             .seed = static_cast<std::uint64_t>(N)});
    }
    Problem lengths({.B = 5,
                     .H = 6,
                     .G = 1,
                     .M = 3000,
                     .D = 8,
                     .E = 8,
                     .type = type,
                     .key_lengths = true,
                     .narrow_out = type != DataType::kFloat32});
    lengths.key_lengths = {0, 3000, 1, 1024, 2049};
    expect_accurate(lengths, Truth(lengths), engine(lengths));
  }
}

TEST_P(Accuracy, Alibi) {
  for (const int alibi : {0, 1}) {
    for (const std::int64_t N : {1, 3, 8, 9, 40, 130}) {
      for (const Causal causal : {Causal::kNone, Causal::kBottomRight, Causal::kTopLeft}) {
        check({.B = 2,
               .H = 4,
               .G = 2,
               .N = N,
               .M = 130,
               .D = 16,
               .E = 8,
               .causal = causal,
               .alibi = alibi});
        check({.B = 2,
               .H = 6,
               .G = 2,
               .N = N,
               .M = 70,
               .D = 8,
               .E = 16,
               .causal = causal,
               .window_before = 9,
               .key_lengths = true,
               .query_lengths = true,
               .mask = 9,
               .bias = 12,
               .bias_hides = true,
               .alibi = alibi,
               .factor = true});
      }
    }
  }
  // Far from any key: 8,000 of them, and slopes that leave only the nearest.
  check({.N = 4, .M = 8000, .D = 2, .E = 2, .alibi = 0});
  check_changed({.H = 2, .G = 1, .N = 70, .M = 300, .D = 4, .E = 4, .alibi = 0}, [](Problem& p) {
    p.alibi_slopes = {100, -1};
  });
  check_changed({.H = 2, .G = 1, .N = 3, .M = 300, .D = 4, .E = 4, .alibi = 0}, [](Problem& p) {
    p.alibi_slopes = {0, 1e30F};
  });
}

// As check, with these many queries and keys in each sequence; none: not packed.
void check_packed(Case c, const std::vector<std::int32_t>& queries,
                  const std::vector<std::int32_t>& keys) {
  c.B = static_cast<std::int64_t>(std::max(queries.size(), keys.size()));
  c.packed_queries = !queries.empty();
  c.packed_keys = !keys.empty();
  if (!queries.empty()) c.N = *std::max_element(queries.begin(), queries.end());
  if (!keys.empty()) c.M = *std::max_element(keys.begin(), keys.end());
  Places places(c);
  if (!queries.empty()) places.query_offsets = offsets_of(queries);
  if (!keys.empty()) places.key_offsets = offsets_of(keys);
  const Problem problem(c, places);
  expect_accurate(problem, Truth(problem), engine(problem));
  if (::testing::Test::HasFailure()) {
    ADD_FAILURE() << c << ::testing::PrintToString(queries) << ::testing::PrintToString(keys);
  }
}

TEST_P(Accuracy, PackedSequences) {
  using Sizes = std::vector<std::int32_t>;
  const std::pair<Sizes, Sizes> kBatches[] = {
      {{5}, {9}},
      {{1, 1, 1, 1}, {300, 1, 0, 77}},         // decoding
      {{3, 0, 8, 1, 2}, {40, 7, 0, 500, 64}},  // short ones, some empty
      {{0, 33, 16, 0, 1}, {5, 33, 0, 0, 70}},
      {{130, 7, 65, 9}, {130, 7, 65, 9}},  // self-attention
      {{1, 1, 1}, {}},
      {{4, 0, 40}, {}},
      {{}, {130, 0, 64}},
      {{0, 0}, {3, 0}},
      {{2, 3}, {0, 0}},
  };
  for (const auto& [queries, keys] : kBatches) {
    for (const DataType type : kTypes) {
      Case c{.H = 4, .G = 2, .N = 11, .M = 90, .D = 16, .E = 24, .type = type};
      c.R = 9;
      for (const Causal causal : {Causal::kNone, Causal::kBottomRight, Causal::kTopLeft}) {
        c.causal = causal;
        c.layout = static_cast<Layout>((queries.size() + static_cast<std::size_t>(causal)) % 3);
        check_packed(c, queries, keys);
      }
      c.key_lengths = c.query_lengths = c.factor = c.received_weights = true;
      c.alibi = 1;
      c.window_before = 12;
      check_packed(c, queries, keys);
      c.mask = 15;
      c.bias = 15;
      c.bias_hides = true;
      check_packed(c, queries, keys);
      c.mask = 3;
      c.bias = 4;
      c.narrow_out = type != DataType::kFloat32;
      c.key_begin = 3;
      c.key_end = 60;
      check_packed(c, queries, keys);
      if (HasFailure()) return;
    }
  }
}

TEST_P(Accuracy, PartsOfTheKeys) {
  for (const DataType type : kTypes) {
    for (const std::int64_t N : {1, 8, 20}) {
      for (const auto& [begin, end] : {std::pair{0, 0},
                                       {0, 1},
                                       {1, 2},
                                       {0, 64},
                                       {63, 65},
                                       {17, 250},
                                       {64, 300},
                                       {299, 300},
                                       {300, 300},
                                       {0, 300}}) {
        check({.H = 2,
               .G = 1,
               .N = N,
               .M = 300,
               .D = 8,
               .E = 16,
               .type = type,
               .causal = Causal::kBottomRight,
               .key_begin = begin,
               .key_end = end});
        check({.B = 2,
               .H = 2,
               .G = 2,
               .N = N,
               .M = 300,
               .D = 8,
               .E = 16,
               .type = type,
               .window_before = 150,
               .key_begin = begin,
               .key_end = end,
               .key_lengths = true,
               .mask = N == 8 ? 12 : -1,
               .alibi = 0,
               .factor = true});
      }
    }
  }
  check({.N = 3, .M = 20, .D = 4, .E = 4, .key_begin = 5, .key_end = INT64_MAX});
  check({.N = 30, .M = 20, .D = 4, .E = 4, .key_begin = 5, .key_end = 1'000'000'000'000});
}

// Hundreds of mixtures of everything. FOVEA_TEST_CASES asks for more of them.
TEST_P(Accuracy, RandomMixturesOfEverything) {
  const char* more = std::getenv("FOVEA_TEST_CASES");
  const int cases = more != nullptr ? std::atoi(more) : 250;
  Random random(20260101);
  for (int n = 0; n < cases && !HasFailure(); ++n) check(random_case(random, 400'000));
}

}  // namespace
}  // namespace fovea::testing
