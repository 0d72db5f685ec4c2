// bfloat16 in tiles of rows, keys and words, on every instruction set: what the register tiles of amx_bf16 could
// get wrong that smaller ones could not. Tiles there are 32 rows of queries on panels of 64 keys.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#include "fovea/threads.h"
#include "support/accuracy.h"
#include "support/case.h"
#include "support/compare.h"
#include "support/isa.h"

namespace fovea::testing {
namespace {

class Tiles : public OnEveryIsa {};
FOVEA_ON_EVERY_ISA(Tiles);

void check(const Case& c) {
  const Problem problem(c);
  expect_accurate(problem, Truth(problem), engine(problem));
  if (::testing::Test::HasFailure()) ADD_FAILURE() << "again: " << c;
}

TEST_P(Tiles, RowsAndKeysAroundTheirEdges) {
  for (const std::int64_t N : {9, 15, 16, 17, 31, 32, 33, 65}) {
    for (const std::int64_t M : {1, 15, 31, 32, 33, 47, 48, 49, 63, 64, 65, 257}) {
      check({.N = N, .M = M, .D = 33, .E = 17, .type = DataType::kBFloat16});
    }
  }
}

TEST_P(Tiles, WidthsAroundTheirEdges) {
  for (const std::int64_t width : {1, 2, 31, 33, 64, 65, 128}) {
    check({.N = 33, .M = 70, .D = width, .E = 129 - width, .type = DataType::kBFloat16});
  }
}

// Scale 0 makes every score 0, but for a query that is not a number.
TEST_P(Tiles, ScaleZeroKeepsANan) {
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16}) {
    for (const std::int64_t M : {20, 70}) {
      Problem problem({.N = 10, .M = M, .D = 7, .E = 5, .type = type, .scale = 1.0F});
      problem.c.scale = 0.0F;
      problem.q.at(0, 0, 3, 5) = std::numeric_limits<float>::quiet_NaN();
      problem.q.at(0, 0, 4, 6) = std::numeric_limits<float>::infinity();
      const Results<float> got = engine(problem);
      for (std::size_t x = 0; x < got.out.size(); ++x) {
        const std::size_t row = x / 5;
        EXPECT_EQ(std::isnan(got.out[x]), row == 3 || row == 4) << M << " " << row;
      }
    }
  }
}

// Narrow windows: the last panel of some rows is the first of the next.
TEST_P(Tiles, RowsThatShareAPanelWithTheNext) {
  for (const std::int64_t before : {0, 7, 40, 64}) {
    for (const std::int64_t K : {0, 3}) {
      check({.H = 2,
             .G = 1,
             .N = 110,
             .M = 300,
             .D = 24,
             .E = 40,
             .type = DataType::kBFloat16,
             .window_before = before,
             .window_after = 5,
             .K = K});
    }
  }
}

// Scores that grow from key to key: bases move while products of the panel before are still to be done.
TEST_P(Tiles, BasesThatMoveInEveryPanel) {
  Problem problem({.N = 40, .M = 520, .D = 32, .E = 40, .type = DataType::kBFloat16, .scale = 1});
  for (std::int64_t i = 0; i < 40; ++i) {
    for (std::int64_t d = 0; d < 32; ++d) problem.q.at(0, 0, i, d) = d == 0 ? 1.0F : 0.0F;
  }
  for (std::int64_t j = 0; j < 520; ++j) {
    problem.k.at(0, 0, j, 0) = rounded(DataType::kBFloat16, 0.2F * static_cast<float>(j));
  }
  expect_accurate(problem, Truth(problem), engine(problem));
}

// An infinite value reaches those that see it; the others have the bits that they have without it.
TEST_P(Tiles, AnInfiniteValueStaysWithThoseThatSeeIt) {
  const Case c{.N = 40,
               .M = 90,
               .D = 16,
               .E = 20,
               .type = DataType::kBFloat16,
               .causal = Causal::kBottomRight};
  const Problem clean(c);
  const Results<float> want = engine(clean);
  for (const float bad :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    for (const std::int64_t key : {70, 71}) {
      Problem dirty(c);
      dirty.v.at(0, 0, key, 3) = bad;
      const Results<float> got = engine(dirty);
      for (std::int64_t i = 0; i < c.N; ++i) {
        for (std::int64_t e = 0; e < c.E; ++e) {
          const auto x = static_cast<std::size_t>(i * c.E + e);
          const bool reached = i + c.M - c.N >= key && e == 3;
          if (!reached) {
            EXPECT_EQ(got.out[x], want.out[x]) << i << " " << e;
          } else if (std::isnan(bad)) {
            EXPECT_TRUE(std::isnan(got.out[x])) << i;
          } else {
            EXPECT_EQ(got.out[x], bad) << i;
          }
        }
      }
    }
  }
}

// Tile registers are a thread's own: one that never called before gets the same bits.
TEST_P(Tiles, AThreadThatNeverCalled) {
  const Problem problem({.N = 40, .M = 90, .D = 24, .E = 24, .type = DataType::kBFloat16});
  const Results<float> want = engine(problem);
  std::vector<float> got;
  std::thread([&] { got = engine(problem).out; }).join();
  EXPECT_EQ(got, want.out);
}

#if defined(__x86_64__)
// A call leaves no tiles behind, which the system would have to save with the thread.
TEST_P(Tiles, NoneAreLeftInUse) {
  if (GetParam() != Isa::kAmxBf16) return;
  engine(Problem({.N = 40, .M = 90, .D = 24, .E = 24, .type = DataType::kBFloat16}));
  std::uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));  // what is in use
  EXPECT_EQ(low & (3U << 17U), 0U);
}
#endif

}  // namespace
}  // namespace fovea::testing
