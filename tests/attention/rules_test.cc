// The edge rules of attend's contract: what sees no key, what is hidden, what is not finite.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/accuracy.h"
#include "support/case.h"
#include "support/compare.h"
#include "support/isa.h"

namespace fovea::testing {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

class Rules : public OnEveryIsa {};
FOVEA_ON_EVERY_ISA(Rules);

void check(const Problem& p) { expect_accurate(p, Truth(p), engine(p)); }

// Every output says "saw nothing".
void expect_saw_nothing(const Results<float>& r) {
  EXPECT_TRUE(same_bits(r.out, std::vector<float>(r.out.size(), 0.0F)));
  EXPECT_TRUE(same_bits(r.lse, std::vector<float>(r.lse.size(), -kInf)));
  EXPECT_TRUE(same_bits(r.entropy, std::vector<float>(r.entropy.size(), 0.0F)));
  EXPECT_TRUE(same_bits(r.rows, std::vector<float>(r.rows.size(), 0.0F)));
  EXPECT_TRUE(same_bits(r.received, std::vector<float>(r.received.size(), 0.0F)));
  EXPECT_TRUE(same_bits(r.top_weight, std::vector<float>(r.top_weight.size(), 0.0F)));
  EXPECT_EQ(r.top_index, std::vector<std::int32_t>(r.top_index.size(), -1));
}

TEST_P(Rules, KeyLengthZeroSeesNothing) {
  for (const std::int64_t N : {1, 20}) {
    Problem p({.H = 2, .G = 1, .N = N, .M = 33, .D = 8, .E = 5, .key_lengths = true});
    p.key_lengths = {0};
    expect_saw_nothing(engine(p));
  }
}

TEST_P(Rules, QueryLengthZeroSeesNothing) {
  for (const Causal causal : {Causal::kNone, Causal::kBottomRight, Causal::kTopLeft}) {
    Problem p({.N = 20, .M = 33, .D = 8, .E = 5, .causal = causal, .query_lengths = true});
    p.query_lengths = {0};
    expect_saw_nothing(engine(p));
  }
}

TEST_P(Rules, NoKeys) {
  const Problem p({.B = 2, .H = 2, .G = 1, .N = 9, .M = 0, .D = 8, .E = 5});
  expect_saw_nothing(engine(p));
}

TEST_P(Rules, NoQueries) {
  const Problem p({.B = 2, .H = 2, .G = 1, .N = 0, .M = 9, .D = 8, .E = 5});
  const Results<float> got = engine(p);  // nothing to write but `received`: nobody looked
  EXPECT_TRUE(same_bits(got.received, std::vector<float>(36, 0.0F)));
}

TEST_P(Rules, NoSequences) {
  const Problem p({.B = 0, .N = 3, .M = 9, .D = 8, .E = 5});
  EXPECT_NO_THROW(engine(p));
}

TEST_P(Rules, LengthsOfZeroAmongOthers) {
  for (const Causal causal : {Causal::kNone, Causal::kBottomRight, Causal::kTopLeft}) {
    Problem p({.B = 5,
               .H = 2,
               .G = 1,
               .N = 20,
               .M = 40,
               .D = 8,
               .E = 5,
               .causal = causal,
               .key_lengths = true,
               .query_lengths = true});
    p.key_lengths = {40, 0, 17, 0, 1};
    p.query_lengths = {20, 20, 0, 0, 7};
    check(p);
  }
}

TEST_P(Rules, RowsThatTheMaskEmpties) {
  Problem p({.H = 2, .G = 2, .N = 40, .M = 70, .D = 8, .E = 5, .mask = 15});
  for (std::size_t x = 0; x < p.mask.size(); ++x) {
    const std::size_t row = x / 70;
    if (row % 3 == 0 || (row >= 16 && row < 34)) p.mask[x].value = false;
  }
  check(p);
}

TEST_P(Rules, CausalWithMoreQueriesThanKeys) {
  for (const std::int64_t N : {9, 40, 130}) {
    check(Problem({.N = N, .M = 7, .D = 8, .E = 5, .causal = Causal::kBottomRight}));
    check(Problem({.N = N, .M = 7, .D = 8, .E = 5, .causal = Causal::kTopLeft}));
  }
}

TEST_P(Rules, MaskTrueMaySee) {
  Problem p({.N = 1, .M = 3, .D = 1, .E = 1, .mask = 8, .K = 1});
  p.mask = {{false}, {true}, {false}};
  const Results<float> got = engine(p);
  EXPECT_EQ(got.out[0], p.v.at(0, 0, 1, 0));
  EXPECT_EQ(got.top_index[0], 1);
}

// Minus infinity hides, even a NaN; any finite bias does not, even the lowest (torch.finfo.min).
TEST_P(Rules, BiasMinusInfinityHidesAndALargeNegativeOneDoesNot) {
  for (const std::int64_t N : {1, 12}) {
    for (const float low : {-1e4F, -1e30F, -std::numeric_limits<float>::max()}) {
      Problem p({.N = N, .M = 50, .D = 8, .E = 5, .bias = 8});
      for (std::int64_t j = 0; j < 50; ++j) p.bias.at(0, 0, 0, j) = low;
      check(p);  // every key alike: far from empty
      const Results<float> all_low = engine(p);
      EXPECT_TRUE(std::isfinite(all_low.lse[0]));
      EXPECT_EQ(all_low.top_index.size(), std::size_t(N * 3));
      EXPECT_NE(all_low.top_index[0], -1);

      for (std::int64_t j = 0; j < 50; ++j) p.bias.at(0, 0, 0, j) = -kInf;
      expect_saw_nothing(engine(p));

      p.bias.at(0, 0, 0, 31) = low;  // one key left: its value, whole
      const Results<float> one = engine(p);
      check(p);
      for (std::int64_t e = 0; e < 5; ++e) {
        EXPECT_NEAR(one.out[std::size_t(e)], p.v.at(0, 0, 31, e), 1e-6 * p.largest_value());
      }
      EXPECT_EQ(one.top_index[0], 31);
      EXPECT_NEAR(one.top_weight[0], 1, 1e-6);

      p.bias.at(0, 0, 0, 12) = 0;  // beside an ordinary key it weighs nothing
      const Results<float> two = engine(p);
      check(p);
      for (std::int64_t e = 0; e < 5; ++e) {
        EXPECT_NEAR(two.out[std::size_t(e)], p.v.at(0, 0, 12, e), 1e-6 * p.largest_value());
      }
      EXPECT_EQ(two.top_index[0], 12);
      EXPECT_EQ(two.top_index[1], 31);  // visible still, at weight 0
      EXPECT_EQ(two.top_weight[1], 0);
      EXPECT_EQ(two.top_index[2], -1);
      if (HasFailure()) FAIL() << "bias " << low << ", N " << N;
    }
  }
}

void poison_key(Problem& p, std::int64_t b, std::int64_t j, float bad) {
  for (std::int64_t g = 0; g < p.c.G; ++g) {
    for (std::int64_t d = 0; d < p.c.D; ++d) p.k.at(b, g, j, d) = bad;
    for (std::int64_t e = 0; e < p.c.E; ++e) p.v.at(b, g, j, e) = bad;
  }
}

void expect_same(const Results<float>& a, const Results<float>& b) {
  EXPECT_TRUE(same_bits(a.out, b.out)) << "out";
  EXPECT_TRUE(same_bits(a.lse, b.lse)) << "lse";
  EXPECT_TRUE(same_bits(a.top_index, b.top_index)) << "top_index";
  EXPECT_TRUE(same_bits(a.top_weight, b.top_weight)) << "top_weight";
  EXPECT_TRUE(same_bits(a.received, b.received)) << "received";
  EXPECT_TRUE(same_bits(a.entropy, b.entropy)) << "entropy";
  EXPECT_TRUE(same_bits(a.rows, b.rows)) << "rows";
}

// NaN and infinities in keys, values, factors and queries that nobody sees: not a bit changes.
TEST_P(Rules, WhatIsHiddenFromAllNeverMatters) {
  for (int mixture = 0; mixture < 6; ++mixture) {
    const std::int64_t N = mixture % 2 == 0 ? 2 : 30;
    for (const float bad : {kNan, kInf, -kInf}) {
      Problem p({.B = 2,
                 .H = 2,
                 .G = 1,
                 .N = N,
                 .M = 70,
                 .D = 9,
                 .E = 6,
                 .type = mixture < 2   ? DataType::kFloat32
                         : mixture < 4 ? DataType::kBFloat16
                                       : DataType::kFloat16,
                 .key_lengths = true,
                 .query_lengths = true,
                 .mask = 15,
                 .factor = true,
                 .received_weights = true,
                 .K = 9});
      p.key_lengths = {53, 18};
      p.query_lengths = {static_cast<std::int32_t>(N), static_cast<std::int32_t>(N / 2)};
      const auto hidden = [&](std::int64_t b, std::int64_t j) {
        return j >= p.key_lengths[std::size_t(b)] || j == 3 || j == 16;
      };
      for (std::size_t x = 0; x < p.mask.size(); ++x) {
        if (x % 70 == 3 || x % 70 == 16) p.mask[x].value = false;
      }
      const Results<float> clean = engine(p);
      EXPECT_INFORMATIVE(clean.out);
      for (std::int64_t b = 0; b < 2; ++b) {
        for (std::int64_t j = 0; j < 70; ++j) {
          if (!hidden(b, j)) continue;
          poison_key(p, b, j, bad);
          for (std::int64_t h = 0; h < 2; ++h) p.factor[std::size_t((b * 2 + h) * 70 + j)] = bad;
        }
        for (std::int64_t h = 0; h < 2; ++h) {
          for (std::int64_t i = p.query_lengths[std::size_t(b)]; i < N; ++i) {
            for (std::int64_t d = 0; d < 9; ++d) p.q.at(b, h, i, d) = bad;
            p.received_weights[std::size_t((b * 2 + h) * N + i)] = bad;
          }
        }
      }
      expect_same(engine(p), clean);
      if (HasFailure()) FAIL() << "bad = " << bad << ", N = " << N;
    }
  }
}

// The bias of a hidden key does not matter either, and a bias of -inf hides a key that is NaN.
TEST_P(Rules, BiasOfHiddenKeysNeverMatters) {
  Problem p({.N = 30,
             .M = 70,
             .D = 9,
             .E = 6,
             .causal = Causal::kTopLeft,
             .key_lengths = true,
             .mask = 12,
             .bias = 12});
  p.key_lengths = {47};
  const Results<float> clean = engine(p);
  for (std::int64_t i = 0; i < 30; ++i) {
    for (std::int64_t j = 0; j < 70; ++j) {
      if (!p.visible(0, 0, i, j)) p.bias.at(0, 0, i, j) = (i + j) % 2 == 0 ? kNan : kInf;
    }
  }
  expect_same(engine(p), clean);

  Problem hides({.N = 30, .M = 70, .D = 9, .E = 6, .bias = 8});
  for (const std::int64_t j : {0, 5, 15, 16, 69}) hides.bias.at(0, 0, 0, j) = -kInf;
  const Results<float> before = engine(hides);
  for (const std::int64_t j : {0, 5, 15, 16, 69}) poison_key(hides, 0, j, kNan);
  expect_same(engine(hides), before);
}

// One bad key: the queries that see it become NaN, the others keep every bit.
void expect_only_who_sees(const Problem& clean_problem, std::int64_t bad_key, float bad,
                          bool in_key, bool in_value) {
  Problem p(clean_problem);
  const Case& c = p.c;
  for (std::int64_t g = 0; g < c.G; ++g) {
    for (std::int64_t d = 0; in_key && d < c.D; ++d) p.k.at(0, g, bad_key, d) = bad;
    for (std::int64_t e = 0; in_value && e < c.E; ++e) p.v.at(0, g, bad_key, e) = bad;
  }
  const Results<float> clean = engine(clean_problem), got = engine(p);
  std::size_t sees = 0, x = 0;
  for (std::int64_t h = 0; h < c.H; ++h) {
    for (std::int64_t i = 0; i < c.N; ++i, ++x) {
      const auto E = static_cast<std::size_t>(c.E), K = static_cast<std::size_t>(c.K);
      const auto out = std::span(got.out).subspan(x * E, E);
      const auto want = std::span(clean.out).subspan(x * E, E);
      const bool seen = p.visible(0, h, i, bad_key);
      sees += seen ? 1 : 0;
      const std::string where = "query " + std::to_string(i) + " head " + std::to_string(h);
      if (seen) {
        for (const float o : out) EXPECT_FALSE(std::isfinite(o)) << where;
      } else {
        EXPECT_TRUE(same_bits(out, want)) << where;
      }
      if (seen && in_key) {
        EXPECT_TRUE(std::isnan(got.lse[x])) << where;
        EXPECT_TRUE(std::isnan(got.entropy[x])) << where;
      } else {
        EXPECT_TRUE(same_bits(std::span(got.lse).subspan(x, 1), std::span(clean.lse).subspan(x, 1)))
            << where;
        EXPECT_EQ(got.entropy[x], clean.entropy[x]) << where;
        for (std::size_t k = x * K; k < (x + 1) * K; ++k) {
          EXPECT_EQ(got.top_index[k], clean.top_index[k]) << where;
          EXPECT_EQ(got.top_weight[k], clean.top_weight[k]) << where;
        }
      }
      for (std::size_t k = x * K; k < (x + 1) * K; ++k) {
        EXPECT_TRUE(got.top_index[k] >= -1 && got.top_index[k] < c.M) << where;
      }
    }
  }
  EXPECT_TRUE(sees > 0 && sees < x) << "the case must have both kinds of queries";
}

TEST_P(Rules, ABadKeyReachesOnlyTheQueriesThatSeeIt) {
  for (const std::int64_t bad_key : {0, 1, 15, 17, 40, 63, 69}) {
    for (const float bad : {kNan, kInf}) {
      // By the mask, so that rows of one block differ.
      Problem masked({.H = 2, .G = 1, .N = 35, .M = 70, .D = 1, .E = 6, .mask = 15, .K = 4});
      for (float& q : masked.q.memory) q = std::abs(q) + 0.1F;  // +inf * positive is +inf
      expect_only_who_sees(masked, bad_key, bad, true, true);
      expect_only_who_sees(masked, bad_key, bad, true, false);
      expect_only_who_sees(masked, bad_key, bad, false, true);
    }
    // By causality (key 0 is seen by all there).
    if (bad_key > 0) {
      const Problem causal({.N = 70, .M = 70, .D = 9, .E = 6, .causal = Causal::kBottomRight});
      expect_only_who_sees(causal, bad_key, kNan, true, true);
      expect_only_who_sees(causal, bad_key, kNan, false, true);
    }
    // By a window.
    const Problem window(
        {.N = 70, .M = 70, .D = 9, .E = 16, .window_before = 8, .window_after = 2});
    Problem few_seen({.N = 4, .M = 70, .D = 9, .E = 16, .window_before = 1, .window_after = 2});
    few_seen.key_lengths = {static_cast<std::int32_t>(std::min<std::int64_t>(70, bad_key + 4))};
    Problem same_end(few_seen);  // all of them see the last key
    same_end.c.window_after.reset();
    for (const Problem* p : std::vector<const Problem*>{&window, &few_seen, &same_end}) {
      if (bad_key == 0 && p != &window) continue;
      if (bad_key == 69 && p == &same_end) continue;
      expect_only_who_sees(*p, bad_key, kNan, true, true);
      expect_only_who_sees(*p, bad_key, kNan, true, false);
      expect_only_who_sees(*p, bad_key, kNan, false, true);
    }
    // Few queries, values of whole vectors: kernels may read such keys where they lie.
    for (const std::int64_t N : {2, 3, 6}) {
      if (bad_key == 0 || bad_key >= 69) continue;
      Problem few({.N = N, .M = 70, .D = 9, .E = 16, .causal = Causal::kBottomRight});
      few.c.query_lengths = true;  // the last query sees key `bad_key`, those before it do not
      few.query_lengths = {static_cast<std::int32_t>(N)};
      few.key_lengths = {static_cast<std::int32_t>(bad_key + 1)};
      expect_only_who_sees(few, bad_key, kNan, true, true);
      expect_only_who_sees(few, bad_key, kNan, false, true);
      Problem masked({.N = N, .M = 70, .D = 1, .E = 16, .mask = 12});
      for (std::int64_t i = 0; i < N; ++i) {
        masked.mask[std::size_t(i * 70 + bad_key)].value = i == 1;
        masked.mask[std::size_t(i * 70 + (bad_key + 5) % 70)].value = true;
      }
      expect_only_who_sees(masked, bad_key, kNan, true, true);
      expect_only_who_sees(masked, bad_key, kInf, false, true);
    }
    if (HasFailure()) FAIL() << "key " << bad_key;
  }
}

// Column sums take several sweeps over the same keys, which are packed once: what an earlier sweep saw of them
// must not decide what a later one does.
TEST_P(Rules, ABadKeyOfManySweeps) {
  const Problem window({.N = 768, .M = 768, .D = 5, .E = 16, .window_before = 330});
  expect_only_who_sees(window, 300, kNan, true, true);
  expect_only_who_sees(window, 300, kNan, false, true);
}

TEST_P(Rules, ManySweepsThatSeeDifferentKeys) {
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16}) {
    // The first half of the queries does not see keys 40 to 60, the second does.
    Problem p({.N = 500, .M = 600, .D = 5, .E = 16, .type = type, .mask = 12});
    for (std::int64_t i = 0; i < 500; ++i) {
      for (std::int64_t j = 0; j < 600; ++j) {
        p.mask[std::size_t(i * 600 + j)].value = i >= 250 || j < 40 || j > 60;
      }
    }
    expect_accurate(p, Truth(p), engine(p));
  }
  // More queries than one sweep takes, where nothing but the output is asked for.
  for (const std::uint64_t seed : {1, 2}) {
    const Problem p({.N = 900, .M = 600, .D = 5, .E = 16, .window_before = 700, .seed = seed});
    const Results<float> got = engine(p, Wanted{.received = false, .rows = false});
    const Results<float> want = engine(p);
    EXPECT_TRUE(same_bits(std::span(got.out), std::span(want.out)));
  }
  // One call after another: nothing is left of the keys of the first.
  for (const std::uint64_t seed : {1, 2, 3}) {
    const Problem p({.N = 400, .M = 600, .D = 5, .E = 16, .seed = seed});
    expect_accurate(p, Truth(p), engine(p));
  }
}

TEST_P(Rules, ABadKeyReachesOnlyTheSequenceAndTheHeadsThatReadIt) {
  Problem p({.B = 2, .H = 4, .G = 2, .N = 12, .M = 40, .D = 9, .E = 6});
  const Results<float> clean = engine(p);
  for (std::int64_t d = 0; d < 9; ++d)
    p.k.at(1, 0, 7, d) = kNan;  // read by heads 0 and 1 of sequence 1
  const Results<float> got = engine(p);
  for (std::size_t x = 0; x < got.out.size(); ++x) {
    const std::size_t head = x / (12 * 6);
    if (head == 4 || head == 5) {
      EXPECT_TRUE(std::isnan(got.out[x])) << x;
    } else {
      EXPECT_EQ(got.out[x], clean.out[x]) << x;
    }
  }
  for (std::size_t x = 0; x < got.received.size(); ++x) {
    const std::size_t head = x / 40;
    EXPECT_EQ(std::isnan(got.received[x]), head == 4 || head == 5) << x;
  }
}

TEST_P(Rules, ABadQueryReachesOnlyItself) {
  for (const std::int64_t N : {3, 33}) {
    for (const float bad : {kNan, kInf}) {
      Problem p({.H = 2, .G = 2, .N = N, .M = 50, .D = 3, .E = 6, .R = 4});
      for (float& k : p.k.memory) k = std::abs(k) + 0.1F;
      p.row_queries = {0, 1, 2, 1};
      const Results<float> clean = engine(p);
      p.q.at(0, 0, 1, 2) = bad;
      const Results<float> got = engine(p);
      for (std::size_t x = 0; x < got.out.size(); ++x) {
        if (x / 6 == 1) {
          EXPECT_TRUE(std::isnan(got.out[x])) << x;
        } else {
          EXPECT_EQ(got.out[x], clean.out[x]) << x;
        }
      }
      for (std::size_t x = 0; x < got.lse.size(); ++x)
        EXPECT_EQ(std::isnan(got.lse[x]), x == 1) << x;
      for (std::size_t x = 0; x < got.rows.size(); ++x) {
        const std::size_t row = x / 50;
        EXPECT_EQ(std::isnan(got.rows[x]), row == 1 || row == 3) << x;
      }
      for (std::size_t x = 0; x < got.received.size(); ++x) {
        EXPECT_EQ(std::isnan(got.received[x]), x < 50) << x;
      }
    }
  }
}

TEST_P(Rules, ABadBiasInSightReachesTheOutput) {
  for (const float bad : {kNan, kInf}) {
    for (const std::int64_t N : {1, 20}) {
      Problem p({.N = N, .M = 50, .D = 3, .E = 6, .bias = 8});
      p.bias.at(0, 0, 0, 33) = bad;
      const Results<float> got = engine(p);
      for (const float x : got.out) EXPECT_TRUE(std::isnan(x)) << bad;
      for (const float x : got.lse) EXPECT_TRUE(std::isnan(x)) << bad;
      for (const float x : got.entropy) EXPECT_TRUE(std::isnan(x)) << bad;
    }
  }
}

TEST_P(Rules, AScoreOfMinusInfinityInSightWeighsNothing) {  // it is not NaN and not +inf
  Problem p({.N = 20, .M = 50, .D = 1, .E = 6, .K = 2});
  for (float& q : p.q.memory) q = std::abs(q) + 0.1F;
  p.k.at(0, 0, 20, 0) = -kInf;
  check(p);
}

TEST_P(Rules, ScoresBeyondFloatOverflowToInfinityAndSoToNan) {
  Problem p({.N = 9, .M = 20, .D = 2, .E = 3, .scale = 1.0F});
  for (float& q : p.q.memory) q = 1e25F;
  for (std::int64_t d = 0; d < 2; ++d) p.k.at(0, 0, 11, d) = 1e25F;
  const Results<float> got = engine(p);
  for (const float x : got.out) EXPECT_TRUE(std::isnan(x));
}

// The other sequences of a packed batch, before and behind, are hidden: not a bit changes.
TEST_P(Rules, OtherPackedSequencesNeverMatter) {
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    for (const std::int64_t N : {3, 40}) {
      for (const float bad : {kNan, kInf}) {
        const Case c{.B = 3,
                     .H = 4,
                     .G = 2,
                     .N = N,
                     .M = 53,
                     .D = 9,
                     .E = 16,
                     .type = type,
                     .packed_queries = true,
                     .packed_keys = true,
                     .causal = Causal::kBottomRight};
        Places places(c);
        const auto n = static_cast<std::int32_t>(N);
        places.query_offsets = offsets_of({n, n - 1, 2});
        places.key_offsets = offsets_of({50, 37, 53});
        Problem p(c, places);
        p.row_queries = {n, n + 1};  // of sequence 1
        const Results<float> clean = engine(p);
        EXPECT_INFORMATIVE(clean.out);
        for (const std::int64_t b : {0, 2}) {
          for (std::int64_t h = 0; h < 4; ++h) {
            for (std::int64_t i = 0; i < places.queries(b); ++i) p.q.at(b, h, i, 3) = bad;
          }
          for (std::int64_t g = 0; g < 2; ++g) {
            for (std::int64_t j = 0; j < places.keys(b); ++j) {
              p.k.at(b, g, j, 5) = bad;
              p.v.at(b, g, j, 2) = bad;
            }
          }
        }
        const Results<float> got = engine(p);
        for (std::int64_t h = 0; h < 4; ++h) {
          for (std::int64_t i = 0; i < places.queries(1); ++i) {
            const std::size_t x = places.query(1, h, i);
            EXPECT_TRUE(same_bits(std::span(got.out).subspan(x * 16, 16),
                                  std::span(clean.out).subspan(x * 16, 16)));
            EXPECT_EQ(got.lse[x], clean.lse[x]);
            EXPECT_EQ(got.entropy[x], clean.entropy[x]);
          }
          for (std::int64_t j = 0; j < places.keys(1); ++j) {
            EXPECT_EQ(got.received[places.key(1, h, j)], clean.received[places.key(1, h, j)]);
          }
        }
        EXPECT_TRUE(same_bits(got.rows, clean.rows));
        if (HasFailure()) FAIL() << c << " bad " << bad;
      }
    }
  }
}

TEST_P(Rules, KeysOutsideThePartNeverMatter) {
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    for (const std::int64_t N : {2, 30}) {
      Problem p({.H = 2,
                 .G = 1,
                 .N = N,
                 .M = 70,
                 .D = 9,
                 .E = 16,
                 .type = type,
                 .key_begin = 11,
                 .key_end = 45});
      const Results<float> clean = engine(p);
      for (std::int64_t j = 0; j < 70; ++j) {
        if (j < 11 || j >= 45) poison_key(p, 0, j, kNan);
      }
      expect_same(engine(p), clean);
    }
  }
}

TEST_P(Rules, APartWithoutKeysSeesNothing) {
  for (const std::int64_t N : {2, 30}) {
    Problem p({.N = N, .M = 70, .D = 9, .E = 16, .key_begin = 20, .key_end = 20});
    expect_saw_nothing(engine(p));
    Problem beyond({.N = N, .M = 70, .D = 9, .E = 16, .key_begin = 20, .key_lengths = true});
    beyond.key_lengths = {20};
    expect_saw_nothing(engine(beyond));
  }
}

// NaN and infinity in sight, of every type.
TEST_P(Rules, SixteenBitBadKeysReachOnlyTheQueriesThatSeeThem) {
  for (const DataType type : {DataType::kBFloat16, DataType::kFloat16}) {
    for (const std::int64_t bad_key : {1, 15, 17, 40, 63, 69}) {
      const Problem causal(
          {.N = 70, .M = 70, .D = 9, .E = 6, .type = type, .causal = Causal::kBottomRight});
      expect_only_who_sees(causal, bad_key, kNan, true, true);
      expect_only_who_sees(causal, bad_key, kNan, true, false);
      expect_only_who_sees(causal, bad_key, kInf, false, true);
      if (bad_key < 69) {
        Problem few(
            {.N = 3, .M = 70, .D = 9, .E = 16, .type = type, .causal = Causal::kBottomRight});
        few.c.key_lengths = true;
        few.key_lengths = {static_cast<std::int32_t>(bad_key + 1)};
        expect_only_who_sees(few, bad_key, kNan, true, true);
        expect_only_who_sees(few, bad_key, kNan, false, true);
      }
      if (HasFailure()) FAIL() << "key " << bad_key;
    }
  }
}

}  // namespace
}  // namespace fovea::testing
