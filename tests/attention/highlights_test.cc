// Highlights asked for later, from the lse that attend stored: what attend itself gives, and what the
// reference says of the same lse.
#include "fovea/highlights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fovea/error.h"
#include "support/accuracy.h"
#include "support/case.h"
#include "support/compare.h"
#include "support/isa.h"
#include "support/sequence.h"

namespace fovea::testing {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

class Highlights : public OnEveryIsa {};
FOVEA_ON_EVERY_ISA(Highlights);

constexpr DataType kTypes[] = {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16};

// Against the reference and a plain loop from the same lse; and against attend within what the contract
// adds for the rounding of lse.
void check(const Case& c) {
  if (left_out()) return;
  const Problem p(c);
  const Results<float> now = engine(p);
  const Results<float> later = engine_later(p, now.lse);
  expect_accurate(p, Truth(p, &now.lse), later);
  double largest = 0;
  for (const float x : now.lse) largest = std::max(largest, std::isfinite(x) ? std::abs(x) : 0.0);
  const Truth truth(p);
  const double off = 1.2e-7 * largest + truth.lse_allowed;
  EXPECT_TRUE(close(later.rows, truth.chosen.rows, 2 * truth.rows_allowed + off)) << "rows";
  EXPECT_TRUE(close(later.top_weight, now.top_weight, 2 * truth.rows_allowed + off)) << "top";
  if (::testing::Test::HasFailure()) ADD_FAILURE() << "again: " << c;
}

TEST_P(Highlights, AreThoseOfAttend) {
  for (const DataType type : kTypes) {
    for (const std::int64_t N : {1, 7, 8, 9, 40}) {
      for (const std::int64_t M : {1, 16, 70, 300}) {
        check({.B = 2, .H = 4, .G = 2, .N = N, .M = M, .D = 16, .E = 8, .type = type});
        check({.B = 2,
               .H = 4,
               .G = 2,
               .N = N,
               .M = M,
               .D = 17,
               .E = 3,
               .type = type,
               .layout = Layout::kCut,
               .causal = Causal::kBottomRight,
               .window_before = 40,
               .key_lengths = true,
               .query_lengths = true,
               .mask = 12,
               .bias = 9,
               .bias_hides = true,
               .alibi = 1,
               .factor = true,
               .received_weights = true,
               .K = 5});
      }
    }
  }
}

TEST_P(Highlights, OfPackedBatchesAndOfParts) {
  for (const DataType type : kTypes) {
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
      check({.B = 4,
             .H = 4,
             .G = 2,
             .N = 30,
             .M = 90,
             .D = 16,
             .E = 4,
             .type = type,
             .packed_queries = seed % 4 != 3,
             .packed_keys = seed % 4 != 2,
             .causal = static_cast<Causal>(seed % 3),
             .key_begin = seed < 4 ? std::nullopt : std::optional<std::int64_t>(9),
             .key_end = seed < 4 ? std::nullopt : std::optional<std::int64_t>(80),
             .factor = seed % 2 == 0,
             .R = 7,
             .seed = seed});
    }
  }
}

TEST_P(Highlights, OfScoresOfAnySpread) {
  for (const double spread : {0.0, 1.0, 8.0, 60.0}) {
    check({.H = 2, .G = 2, .N = 33, .M = 150, .D = 64, .E = 1, .K = 5, .spread = spread});
    check({.H = 4, .G = 4, .N = 1, .M = 150, .D = 64, .E = 1, .K = 5, .spread = spread});
  }
}

TEST_P(Highlights, RandomMixturesOfEverything) {
  Random random(20260202);
  for (int n = 0; n < 120 && !HasFailure(); ++n) check(random_case(random, 200'000));
}

TEST_P(Highlights, NeedNoValues) {
  const Case c{.B = 2, .H = 4, .G = 2, .N = 20, .M = 50, .D = 16, .E = 8};
  const Problem p(c);
  const Results<float> now = engine(p), want = engine_later(p, now.lse);
  Inputs in = p.inputs();
  in.v = View();
  Results<float> got(p, {.out = false, .lse = false});
  Threads one(1);
  highlights(in, p.places.view_of_queries(now.lse), p.options(), got.outputs(), one);
  EXPECT_TRUE(same_bits(got.rows, want.rows));
  EXPECT_TRUE(same_bits(got.received, want.received));
  EXPECT_TRUE(same_bits(got.entropy, want.entropy));
  EXPECT_EQ(got.top_index, want.top_index);
}

// The lse of the whole with a part of the keys gives the whole's weights, of that part.
TEST_P(Highlights, PartsAddUpToTheWhole) {
  for (const std::int64_t N : {3, 30}) {
    const Problem p({.B = 2,
                     .H = 2,
                     .G = 1,
                     .N = N,
                     .M = 200,
                     .D = 16,
                     .E = 4,
                     .causal = Causal::kBottomRight,
                     .key_lengths = true});
    const Results<float> whole = engine(p);
    std::vector<double> rows(whole.rows.size()), received(whole.received.size()),
        entropy(whole.entropy.size());
    for (const auto& [begin, end] : {std::pair{0, 70}, {70, 71}, {71, 200}}) {
      Problem part(p);
      part.c.key_begin = begin;
      part.c.key_end = end;
      const Results<float> share = engine_later(part, whole.lse);
      for (std::size_t x = 0; x < rows.size(); ++x) {
        rows[x] += double(share.rows[x]);
        const auto j = std::int64_t(x % 200);
        if (j < begin || j >= end) {
          EXPECT_EQ(share.rows[x], 0) << "key " << j << " is not of the part";
        }
      }
      for (std::size_t x = 0; x < received.size(); ++x) received[x] += double(share.received[x]);
      for (std::size_t x = 0; x < entropy.size(); ++x) entropy[x] += double(share.entropy[x]);
    }
    EXPECT_TRUE(close(rows, whole.rows, 4e-6));
    EXPECT_TRUE(close(entropy, whole.entropy, 2e-5));
    EXPECT_TRUE(close(received, whole.received, 4e-6 * double(N)));
  }
}

TEST_P(Highlights, AnLseOfMinusInfinitySaysThatNoKeyWasSeen) {
  for (const std::int64_t N : {2, 20}) {
    const Problem p({.N = N, .M = 50, .D = 8, .E = 4, .R = 4});
    std::vector<float> lse = engine(p).lse;
    const Results<float> want = engine_later(p, lse);
    lse[1] = -kInf;
    const Results<float> got = engine_later(p, lse);
    EXPECT_EQ(got.entropy[1], 0);
    EXPECT_EQ(got.entropy[0], want.entropy[0]);
    for (std::size_t k = 3; k < 6; ++k) {
      EXPECT_EQ(got.top_index[k], -1);
      EXPECT_EQ(got.top_weight[k], 0);
    }
    for (std::size_t r = 0; r < 4; ++r) {
      const auto row = std::span(got.rows).subspan(r * 50, 50);
      if (p.row_queries[r] == 1) {
        for (const float x : row) EXPECT_EQ(x, 0);
      } else {
        EXPECT_TRUE(same_bits(row, std::span(want.rows).subspan(r * 50, 50)));
      }
    }
    EXPECT_TRUE(close(got.received, Truth(p, &lse).exact.received, 1e-5));
  }
}

TEST_P(Highlights, ANanInSightReachesThemAndAHiddenOneDoesNot) {
  Problem p({.N = 20, .M = 50, .D = 8, .E = 4, .key_lengths = true, .factor = true});
  p.key_lengths = {40};
  const std::vector<float> lse = engine(p).lse;
  const Results<float> clean = engine_later(p, lse);
  for (std::int64_t j = 40; j < 50; ++j) {
    for (std::int64_t d = 0; d < 8; ++d) p.k.at(0, 0, j, d) = std::nanf("");
    p.factor[std::size_t(j)] = std::nanf("");
  }
  const Results<float> hidden = engine_later(p, lse);
  EXPECT_TRUE(same_bits(hidden.rows, clean.rows));
  EXPECT_TRUE(same_bits(hidden.received, clean.received));
  EXPECT_TRUE(same_bits(hidden.entropy, clean.entropy));
  EXPECT_EQ(hidden.top_index, clean.top_index);
  p.k.at(0, 0, 7, 3) = std::nanf("");
  const std::vector<float> bad = engine(p).lse;
  const Results<float> seen = engine_later(p, bad);
  for (const float x : seen.entropy) EXPECT_TRUE(std::isnan(x));
  for (std::size_t x = 0; x < seen.rows.size(); ++x) {
    EXPECT_EQ(std::isnan(seen.rows[x]), x % 50 < 40) << x;
  }
}

TEST_P(Highlights, TheSameBitsForAnyNumberOfThreadsAndAnyBatch) {
  for (const DataType type : kTypes) {
    for (const std::int64_t N : {6, 150}) {
      const Case c{.B = 3,
                   .H = 4,
                   .G = 2,
                   .N = N,
                   .M = 170,
                   .D = 24,
                   .E = 8,
                   .type = type,
                   .packed_queries = true,
                   .packed_keys = true,
                   .causal = Causal::kBottomRight,
                   .factor = true,
                   .received_weights = true,
                   .K = 6};
      const Problem p(c);
      const std::vector<float> lse = engine(p).lse;
      const Results<float> want = engine_later(p, lse);
      EXPECT_INFORMATIVE(want.received);
      for (const int count : {2, 3, 7}) {
        Threads threads(count);
        const Results<float> got = engine_later(p, lse, threads);
        EXPECT_TRUE(same_bits(got.rows, want.rows)) << count;
        EXPECT_TRUE(same_bits(got.entropy, want.entropy)) << count;
        EXPECT_TRUE(same_bits(got.received, want.received)) << count;
        EXPECT_TRUE(same_bits(got.top_weight, want.top_weight)) << count;
        EXPECT_EQ(got.top_index, want.top_index) << count;
      }
      for (std::int64_t b = 0; b < c.B; ++b) {
        const Sequence alone(p, b);
        if (alone.c.N == 0) continue;
        std::vector<float> own;
        for (std::int64_t h = 0; h < c.H; ++h) {
          for (std::int64_t i = 0; i < alone.c.N; ++i) own.push_back(lse[p.places.query(b, h, i)]);
        }
        Results<float> got(alone.c, {.out = false, .lse = false});
        Threads one(1);
        highlights(alone.inputs, View(own.data(), {1, c.H, alone.c.N}), alone.options,
                   got.outputs(), one);
        for (std::int64_t h = 0; h < c.H; ++h) {
          for (std::int64_t i = 0; i < alone.c.N; ++i) {
            const auto x = std::size_t(h * alone.c.N + i), y = p.places.query(b, h, i);
            EXPECT_TRUE(same_bits(std::span(got.entropy).subspan(x, 1),
                                  std::span(want.entropy).subspan(y, 1)));
            EXPECT_TRUE(same_bits(std::span(got.top_weight).subspan(x * 6, 6),
                                  std::span(want.top_weight).subspan(y * 6, 6)));
          }
          for (std::int64_t j = 0; j < alone.c.M; ++j) {
            EXPECT_TRUE(
                same_bits(std::span(got.received).subspan(std::size_t(h * alone.c.M + j), 1),
                          std::span(want.received).subspan(p.places.key(b, h, j), 1)));
          }
        }
        if (HasFailure()) FAIL() << "sequence " << b << ": " << c;
      }
    }
  }
}

TEST(HighlightsErrors, EachMistakeIsNamedAndNothingIsWritten) {
  struct Mistake {
    const char* name;
    void (*make)(Inputs&, View&, Outputs&, std::vector<float>&);
    const char* message;
  };
  const Mistake kMistakes[] = {
      {"out",
       [](Inputs&, View&, Outputs& o, std::vector<float>& f) {
         o.out = MutableView(f.data(), {2, 6, 5, 8});
       },
       "highlights: out and lse are attend's to give; ask for top, received, entropy or rows"},
      {"lse among the outputs",
       [](Inputs&, View&, Outputs& o, std::vector<float>& f) {
         o.lse = MutableView(f.data(), {2, 6, 5});
       },
       "highlights: out and lse are attend's to give; ask for top, received, entropy or rows"},
      {"no lse", [](Inputs&, View& lse, Outputs&, std::vector<float>&) { lse = View(); },
       "highlights: lse is not given"},
      {"lse in float64",
       [](Inputs&, View& lse, Outputs&, std::vector<float>&) { lse.type = DataType::kFloat64; },
       "highlights: lse is float64 but must be float32"},
      {"lse of rank 2",
       [](Inputs&, View& lse, Outputs&, std::vector<float>& f) {
         lse = View(f.data(), {6, 5});
       },
       "highlights: lse is [6, 5] but must have 3 dimensions [B, H, N]"},
      {"lse for M",
       [](Inputs&, View& lse, Outputs&, std::vector<float>& f) {
         lse = View(f.data(), {2, 6, 7});
       },
       "highlights: lse is [2, 6, 7] but must be [B, H, N] = [2, 6, 5]"},
      {"no q", [](Inputs& in, View&, Outputs&, std::vector<float>&) { in.q = View(); },
       "highlights: q is not given"},
      {"k bfloat16",
       [](Inputs& in, View&, Outputs&, std::vector<float>&) { in.k.type = DataType::kBFloat16; },
       "highlights: q is float32 but k is bfloat16; q, k and v must be of one type"},
      {"received for N",
       [](Inputs&, View&, Outputs& o, std::vector<float>& f) {
         o.received = MutableView(f.data(), {2, 6, 5});
       },
       "highlights: received is [2, 6, 5] but must be [B, H, M] = [2, 6, 7]"},
      {"half of top",
       [](Inputs&, View&, Outputs& o, std::vector<float>&) { o.top_index = MutableView(); },
       "highlights: top_index and top_weight must be given together"},
  };
  const Problem p({.B = 2, .H = 6, .G = 3, .N = 5, .M = 7, .D = 4, .E = 8});
  const std::vector<float> lse = engine(p).lse;
  Threads one(1);
  for (const Mistake& mistake : kMistakes) {
    Results<float> results(p, {.out = false, .lse = false});
    std::vector<float> floats(1000);
    Inputs in = p.inputs();
    View given = p.places.view_of_queries(lse);
    Outputs outputs = results.outputs();
    mistake.make(in, given, outputs, floats);
    try {
      highlights(in, given, p.options(), outputs, one);
      ADD_FAILURE() << mistake.name << ": no error";
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), mistake.message) << mistake.name;
    }
    for (const auto* array :
         {&results.top_weight, &results.received, &results.entropy, &results.rows}) {
      for (const float x : *array) ASSERT_TRUE(std::isnan(x)) << mistake.name << " wrote something";
    }
    for (const float x : floats) ASSERT_EQ(x, 0) << mistake.name << " wrote something";
  }
}

}  // namespace
}  // namespace fovea::testing
