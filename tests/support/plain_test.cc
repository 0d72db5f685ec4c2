// The yardstick and the problems it is held against: the plain loop is near the reference on any mixture
// of everything, and passes for an engine; an engine that ignores a rule does not.
#include "support/plain.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/accuracy.h"
#include "support/compare.h"

namespace fovea::testing {
namespace {

// As the engine would give it: out in its type, the rows that were asked for, and top from all rows.
Results<float> as_engine(const Problem& p, Order order) {
  const Results<float> plain = plain_loop(p, order);
  const Case& c = p.c;
  Results<float> r(p);
  r.out = plain.out;
  if (c.narrow_out) {
    for (float& x : r.out) x = rounded(c.type, x);
  }
  r.lse = plain.lse;
  r.entropy = plain.entropy;
  r.received = plain.received;
  const auto M = std::size_t(c.M), K = std::size_t(c.K);
  const std::vector<bool> visible = p.all_visible();
  std::size_t places = 0;
  for (std::int64_t b = 0; b < c.B; ++b) {
    for (std::int64_t h = 0; h < c.H; ++h) {
      for (std::int64_t i = 0; i < p.places.queries(b); ++i, ++places) {
        const std::size_t x = p.places.query(b, h, i);
        const float* row = plain.rows.data() + x * M;
        for (std::size_t n = 0; n < p.row_queries.size(); ++n) {
          const bool packed = c.packed_queries;
          const std::int64_t chosen =
              p.row_queries[n] - (packed ? p.places.query_offsets[std::size_t(b)] : 0);
          if (chosen != i) continue;
          const std::size_t at = packed ? n * std::size_t(c.H) + std::size_t(h)
                                        : std::size_t(b * c.H + h) * p.row_queries.size() + n;
          std::copy(row, row + M, r.rows.begin() + std::ptrdiff_t(at * M));
        }
        std::vector<std::int32_t> seen;
        for (std::int64_t j = 0; j < p.places.keys(b); ++j) {
          if (visible[x * M + std::size_t(j)]) seen.push_back(std::int32_t(j));
        }
        const auto rank = [&](std::int32_t j) {
          return row[j] * (c.factor ? p.factor[p.places.key(b, h, j)] : 1);
        };
        std::stable_sort(seen.begin(), seen.end(),
                         [&](auto one, auto other) { return rank(one) > rank(other); });
        for (std::size_t k = 0; k < K; ++k) {
          r.top_index[x * K + k] = k < seen.size() ? seen[k] : -1;
          r.top_weight[x * K + k] = k < seen.size() ? row[seen[k]] : 0;
        }
      }
    }
  }
  EXPECT_EQ(places, r.lse.size());
  return r;
}

TEST(Plain, IsNearTheReferenceAndPassesForAnEngine) {
  Random random(11);
  for (int n = 0; n < 150; ++n) {
    const Case c = random_case(random, 60'000);
    const Problem p(c);
    const Truth truth(p);
    const double near = c.type == DataType::kBFloat16 ? 0.0078125 : 4e-6;
    const double score = 1 + c.spread + 20 * (c.alibi >= 0 ? 1 : 0);
    for (const Order order : {Order::kForward, Order::kBackward}) {
      const Results<float> got = as_engine(p, order);
      EXPECT_LE(worst(plain_loop(p, order).out, truth.exact.out).error,
                (near + 2e-5 * score) * p.largest_value())
          << c;
      EXPECT_LE(worst(got.lse, truth.exact.lse).error, 1e-5 * score) << c;
      expect_accurate(p, truth, got);
      if (::testing::Test::HasFailure()) FAIL() << c;
    }
  }
}

TEST(Plain, HighlightsFromLseAreNearTheReference) {
  Random random(12);
  for (int n = 0; n < 80; ++n) {
    const Case c = random_case(random, 60'000);
    const Problem p(c);
    const std::vector<float> lse = plain_loop(p, Order::kForward).lse;
    if (lse.empty()) continue;
    const Truth truth(p, &lse);
    const Results<float> got = plain_loop(p, Order::kBackward, Weights::kShares, &lse);
    const double score = 1 + c.spread + 20 * (c.alibi >= 0 ? 1 : 0);
    EXPECT_LE(worst(got.rows, truth.exact.rows).error, 1e-5 * score) << c;
    EXPECT_TRUE(close(got.entropy, truth.exact.entropy, truth.entropy_allowed)) << c;
    EXPECT_TRUE(close(got.received, truth.exact.received, truth.received_allowed)) << c;
    if (::testing::Test::HasFailure()) return;
  }
}

// What the checks are for: a call that leaves out one rule must not pass as the call that has it.
TEST(Plain, AnEngineThatIgnoresARuleFails) {
  const Case base{.B = 2,
                  .H = 2,
                  .G = 1,
                  .N = 12,
                  .M = 30,
                  .D = 8,
                  .E = 5,
                  .packed_queries = true,
                  .packed_keys = true};
  const auto expect_failure = [](const Case& right, const Case& wrong) {
    Problem p(right), other(p);
    other.c = wrong;
    if (wrong.alibi < 0) other.alibi_slopes.clear();
    const Results<float> got = as_engine(other, Order::kForward);
    const Truth truth(p);
    ::testing::TestPartResultArray failures;
    {
      ::testing::ScopedFakeTestPartResultReporter fake(
          ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
      expect_accurate(p, truth, got);
    }
    EXPECT_GE(failures.size(), 3) << right;
  };
  Case with = base;
  with.alibi = 0;
  expect_failure(with, base);
  with = base;
  with.key_begin = 3;
  expect_failure(with, base);
  with = base;
  with.key_end = 25;
  expect_failure(with, base);
  // Slopes of the wrong sequence.
  with = base;
  with.alibi = 1;
  Case other = with;
  other.alibi = 0;
  expect_failure(with, other);
}

// A result in float16 may be off by half a place, and not by a whole one. Of bfloat16 the weights are
// rounded too, by up to half a place of their own: four are too many.
TEST(Plain, TheRoundingOfOutIsHalfAPlace) {
  for (const DataType type : {DataType::kBFloat16, DataType::kFloat16}) {
    const Case c{.N = 30, .M = 1, .D = 2, .E = 40, .type = type, .narrow_out = true};
    Problem p(c);
    const Results<float> got = as_engine(p, Order::kForward);
    const Truth truth(p);
    expect_accurate(p, truth, got);
    Results<float> wrong = got;
    wrong.out[17] *= type == DataType::kBFloat16 ? 1.03125F : 1.0009765625F;
    ::testing::TestPartResultArray failures;
    {
      ::testing::ScopedFakeTestPartResultReporter fake(
          ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
      expect_accurate(p, truth, wrong);
    }
    EXPECT_EQ(failures.size(), 1);
  }
}

TEST(Problem, PackedSequencesAndTypesAreAsTheCaseSays) {
  bool empty_queries = false, empty_keys = false;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Case c{.B = 3,
                 .H = 2,
                 .G = 1,
                 .N = 9,
                 .M = 14,
                 .D = 3,
                 .E = 2,
                 .type = seed % 2 == 0 ? DataType::kBFloat16 : DataType::kFloat16,
                 .layout = static_cast<Layout>(seed % 3),
                 .packed_queries = true,
                 .packed_keys = true,
                 .seed = seed};
    const Problem p(c);
    std::int64_t most_queries = 0, most_keys = 0;
    for (std::int64_t b = 0; b < 3; ++b) {
      most_queries = std::max(most_queries, p.places.queries(b));
      most_keys = std::max(most_keys, p.places.keys(b));
      empty_queries = empty_queries || p.places.queries(b) == 0;
      empty_keys = empty_keys || p.places.keys(b) == 0;
      for (std::int64_t j = 0; j < p.places.keys(b); ++j) {
        EXPECT_EQ(p.k.at(b, 0, j, 2), p.k.value(b, 0, j, 2)) << "rounded as it was made";
      }
    }
    EXPECT_EQ(most_queries, 9);
    EXPECT_EQ(most_keys, 14);
    const Inputs in = p.inputs();
    EXPECT_EQ(in.q.shape[0], in.query_offsets.back());
    EXPECT_EQ(in.k.shape[0], in.key_offsets.back());
    EXPECT_EQ(in.q.type, c.type);
    EXPECT_EQ(in.q.rank, 3);
  }
  EXPECT_TRUE(empty_queries && empty_keys);
}

}  // namespace
}  // namespace fovea::testing
