// What planted faults (tests/mutants) showed that no other test saw.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <thread>

#include "base/random.h"
#include "reference/attend.h"
#include "support/accuracy.h"
#include "support/case.h"
#include "support/compare.h"
#include "support/guard.h"
#include "support/isa.h"

namespace fovea::testing {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class Mutants : public OnEveryIsa {};
FOVEA_ON_EVERY_ISA(Mutants);

// A problem whose scores are all -depth, nearly, and whose queries of odd number (a lone one too) may not see keys
// [begin, end).
Problem far_below_0(Case c, float depth, std::int64_t begin, std::int64_t end) {
  c.mask = 12;  // [1, 1, N, M]
  c.scale = 1;
  Problem p(c);
  for (std::int64_t b = 0; b < c.B; ++b) {
    for (std::int64_t i = 0; i < c.N; ++i) {
      for (std::int64_t d = 0; d < c.D; ++d) p.q.at(b, 0, i, d) = 1;
    }
    for (std::int64_t j = 0; j < c.M; ++j) {
      for (std::int64_t d = 0; d < c.D; ++d) p.k.at(b, 0, j, d) = -depth / static_cast<float>(c.D);
    }
  }
  for (std::int64_t i = 0; i < c.N; ++i) {
    for (std::int64_t j = 0; j < c.M; ++j) {
      const bool hidden = (c.N == 1 || i % 2 == 1) && j >= begin && j < end;
      p.mask[static_cast<std::size_t>(i * c.M + j)].value = !hidden;
    }
  }
  return p;
}

// A block of keys in which a row saw nothing yet, while rows beside it did: its weights there stay 0, however far
// from 0 its first scores are. 2^x from its base is asked for where x is 128 and 384: there the exponent of a float
// overflows, to infinity and not to some number.
TEST_P(Mutants, FirstBlocksThatARowDoesNotSee) {
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    for (const float depth : {88.72F, 266.2F, 300.0F}) {
      const Case c{.N = 20, .M = 600, .D = 8, .E = 8, .type = type};
      const Problem p = far_below_0(c, depth, 0, 300);
      expect_accurate(p, Truth(p), engine(p));
    }
  }
}

// Decoding: a part of the keys in which a row sees nothing changes nothing.
TEST_P(Mutants, PartsThatARowDoesNotSee) {
  for (const std::int64_t N : {1, 2, 5}) {
    for (const std::int64_t part : {0, 1, 2}) {
      const Problem p =
          far_below_0({.N = N, .M = 2500, .D = 8, .E = 8}, 300, part * 1024, (part + 1) * 1024);
      expect_accurate(p, Truth(p), engine(p));
    }
  }
}

// Decoding: a part in which a row sees nothing but NaN makes the row NaN.
TEST_P(Mutants, PartsOfNothingButNan) {
  for (const std::int64_t N : {1, 3}) {
    for (const std::int64_t part : {0, 1, 2}) {
      Problem p({.N = N, .M = 2500, .D = 8, .E = 8});
      for (std::int64_t j = part * 1024; j < std::min<std::int64_t>((part + 1) * 1024, 2500); ++j) {
        for (std::int64_t d = 0; d < 8; ++d) p.k.at(0, 0, j, d) = kNan;
      }
      const Results<float> got = engine(p);
      for (const float x : got.out) EXPECT_TRUE(std::isnan(x)) << "N " << N << " part " << part;
      for (const float x : got.lse) EXPECT_TRUE(std::isnan(x)) << "N " << N << " part " << part;
    }
  }
}

// Keys and values each beside pages that cannot be touched. Where there are more of them than a block has, what is
// known of the last block must not speak of keys that this one no longer has.
TEST_P(Mutants, NothingIsReadPastTheLastKey) {
  constexpr std::int64_t kWidth = 24;
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    for (const std::int64_t N : {1, 9}) {
      for (const std::int64_t M : {1, 2, 15, 16, 63, 255, 257, 259, 513, 1025}) {
        GuardedRows q(N, kWidth, type), k(M, kWidth, type), v(M, kWidth, type);
        Random random(1);
        for (GuardedRows* array : {&q, &k, &v}) {
          const View view = array->view();
          for (std::int64_t r = 0; r < view.size(2); ++r) {
            for (std::int64_t d = 0; d < kWidth; ++d) {
              array->set(r, d, static_cast<float>(random.uniform()));
            }
          }
        }
        Inputs in;
        in.q = q.view();
        in.k = k.view();
        in.v = v.view();
        const Wanted wanted{.top = false, .received = false, .entropy = false, .rows = false};
        const Case c{.N = N, .M = M, .D = kWidth, .E = kWidth, .type = type};
        Results<float> got(c, wanted);
        Results<double> want(c, wanted);
        Threads threads(1);
        attend(in, {}, got.outputs(), threads);
        reference::attend(in, {}, want.outputs());
        EXPECT_TRUE(close(got.out, want.out, 0.005)) << "N " << N << " M " << M;
        EXPECT_TRUE(close(got.lse, want.lse, 1e-5)) << "N " << N << " M " << M;
      }
    }
  }
}

// Out of 16 bits is the nearest number of its type, and of two that are as near the even one: the mean of two
// neighbours, of every parity.
TEST_P(Mutants, OutThatLiesHalfWayBecomesEven) {
  for (const DataType type : {DataType::kBFloat16, DataType::kFloat16}) {
    const float place = type == DataType::kBFloat16 ? 0x1p-7F : 0x1p-10F;  // of numbers in [1, 2)
    for (const std::int64_t N : {1, 9}) {
      Problem p({.N = N, .M = 2, .D = 4, .E = 50, .type = type, .narrow_out = true});
      for (std::int64_t i = 0; i < N; ++i) {
        for (std::int64_t d = 0; d < 4; ++d) p.q.at(0, 0, i, d) = 0;
      }
      for (std::int64_t e = 0; e < 50; ++e) {
        for (std::int64_t j = 0; j < 2; ++j) {
          p.v.at(0, 0, j, e) = 1 + static_cast<float>(e + j) * place;
        }
      }
      const Results<float> got = engine(p);
      for (std::size_t x = 0; x < got.out.size(); ++x) {
        const auto e = static_cast<std::int64_t>(x) % 50;
        EXPECT_EQ(got.out[x], 1 + static_cast<float>(e + e % 2) * place) << "N " << N << " e " << e;
      }
    }
  }
}

// From an lse that was rounded a dominant key's weight may be a little over 1; its entropy is not below 0 for that.
TEST_P(Mutants, EntropyIsNotNegative) {
  for (const std::int64_t N : {1, 30}) {
    const Problem p({.N = N, .M = 300, .D = 8, .E = 8, .spread = 200});
    const Results<float> got = engine(p);
    for (const float x : got.entropy) EXPECT_GE(x, 0);
    std::vector<float> lse = got.lse;
    for (float& x : lse) x = std::nextafter(x, -1e30F);
    for (const float x : engine_later(p, lse).entropy) EXPECT_GE(x, 0);
  }
}

// Scores whose difference no float32 holds. The lower half weighs nothing.
TEST_P(Mutants, ScoresAsFarApartAsFloatsGo) {
  for (const std::int64_t N : {1, 20}) {
    Problem p({.N = N, .M = 2048, .D = 1, .E = 8, .scale = 1.0F});
    for (std::int64_t i = 0; i < N; ++i) p.q.at(0, 0, i, 0) = 1;
    for (std::int64_t j = 0; j < 2048; ++j) p.k.at(0, 0, j, 0) = j < 1024 ? -2e38F : 2e38F;
    const Results<float> got = engine(p);
    for (const float x : got.entropy) EXPECT_NEAR(x, std::log(1024.0F), 1e-4);
    for (std::int64_t e = 0; e < 8; ++e) {
      double mean = 0;
      for (std::int64_t j = 1024; j < 2048; ++j) mean += static_cast<double>(p.v.at(0, 0, j, e));
      for (std::int64_t i = 0; i < N; ++i) {
        EXPECT_NEAR(got.out[static_cast<std::size_t>(i * 8 + e)], mean / 1024, 1e-5);
      }
    }
  }
}

// Decoding, asked for later: the entropies of all parts of the keys add up.
TEST_P(Mutants, EntropyFromLseOfManyKeysAndFewQueries) {
  for (const std::int64_t N : {1, 5}) {
    const Problem p({.N = N, .M = 2500, .D = 8, .E = 8});
    const std::vector<float> lse = engine(p).lse;
    expect_accurate(p, Truth(p, &lse), engine_later(p, lse));
  }
}

// A row of NaN that a mask hides keys from gives NaN to the keys that it sees, and to no others.
TEST_P(Mutants, ANanRowReachesOnlyTheColumnsThatItsMaskLetsItSee) {
  Problem p({.N = 20, .M = 600, .D = 8, .E = 8, .mask = 12});
  for (std::size_t x = 0; x < p.mask.size(); ++x) {
    p.mask[x].value = x / 600 != 3 || (x % 600) % 7 != 2;
  }
  for (std::int64_t d = 0; d < 8; ++d) p.q.at(0, 0, 3, d) = kNan;
  const Results<float> got = engine(p);
  for (std::size_t j = 0; j < 600; ++j) EXPECT_EQ(std::isnan(got.received[j]), j % 7 != 2) << j;
}

// Without column sums and whole rows; and without top keys. Rows over few keys take a way of their own then.
constexpr Wanted kPlain{.top = false, .received = false, .rows = false};
constexpr Wanted kPlainer{.top = false, .received = false, .entropy = false, .rows = false};
constexpr Wanted kTopped{.received = false, .rows = false};

// The bits of plain calls are those of calls for everything.
void expect_plain_is_same(const Problem& p) {
  const Results<float> all = engine(p), plain = engine(p, kPlain), plainer = engine(p, kPlainer);
  const Results<float> topped = engine(p, kTopped);
  EXPECT_TRUE(same_bits(plain.out, all.out)) << p.c;
  EXPECT_TRUE(same_bits(plain.lse, all.lse)) << p.c;
  EXPECT_TRUE(same_bits(plain.entropy, all.entropy)) << p.c;
  EXPECT_TRUE(same_bits(plainer.out, all.out)) << p.c;
  EXPECT_TRUE(same_bits(plainer.lse, all.lse)) << p.c;
  EXPECT_TRUE(same_bits(topped.out, all.out)) << p.c;
  EXPECT_TRUE(same_bits(topped.lse, all.lse)) << p.c;
  EXPECT_TRUE(same_bits(topped.entropy, all.entropy)) << p.c;
  EXPECT_TRUE(same_bits(topped.top_index, all.top_index)) << p.c;
  EXPECT_TRUE(same_bits(topped.top_weight, all.top_weight)) << p.c;
}

TEST_P(Mutants, PlainCallsOverFewKeysGiveTheSameBits) {
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    for (const std::int64_t M : {1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 48, 63, 64, 65}) {
      for (const std::int64_t E : {1, 16, 64, 65, 144}) {
        Case c{.B = 2, .H = 2, .G = 1, .N = 15, .M = M, .D = 7, .E = E, .type = type};
        c.narrow_out = M % 2 == 0;
        expect_plain_is_same(Problem(c));
        c.key_lengths = c.query_lengths = true;
        Problem padded(c);
        padded.query_lengths = {9, 15};
        expect_plain_is_same(padded);
        c.causal = Causal::kBottomRight;  // where N > M the first rows see nothing
        padded.c = c;
        expect_plain_is_same(padded);
        c.window_before = 3;
        padded.c = c;
        expect_plain_is_same(padded);
        c.causal = Causal::kTopLeft;
        c.alibi = 0;
        expect_plain_is_same(Problem(c));
        if (HasFailure()) return;
      }
    }
  }
}

// Queries and values are read where they lie, if they lie so that they can be: the sign of the scale, the steps from
// row to row, and what lies between rows (NaN), are no reason for other bits. Of the sums of rows there are more than
// are looked at together.
TEST_P(Mutants, PlainCallsOverFewKeysOfAnyLayout) {
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    for (const Layout layout : {Layout::kHeadsFirst, Layout::kPositionsFirst, Layout::kCut}) {
      for (const std::int64_t N : {9, 13, 40, 150}) {
        for (const std::int64_t D : {6, 7}) {
          for (const float scale : {-0.4F, 0.0F, 0.4F}) {
            Case c{.H = 4, .G = N % 3 == 0 ? 2 : 4, .N = N, .M = 2 + N % 15, .D = D, .E = 8};
            c.type = type;
            c.layout = layout;
            c.scale = scale;
            c.factor = D == 7;
            Problem p(c);
            if (D == 7) p.q.at(0, 1, 2, 0) = kNan;  // positions first: right behind a row of head 0
            expect_plain_is_same(p);
            if (HasFailure()) return;
          }
        }
      }
    }
  }
}

// Keys that only some rows see, or none, and that are NaN.
TEST_P(Mutants, PlainCallsOverFewKeysOfWhichOneIsNan) {
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    for (const std::int64_t E : {6, 16}) {
      for (const std::int64_t M : {2, 12, 40}) {
        Problem p({.N = 30, .M = M, .D = 5, .E = E, .type = type, .causal = Causal::kTopLeft});
        p.v.at(0, 0, M / 2, 1) = kNan;
        expect_plain_is_same(p);
        Problem part({.N = 30, .M = M, .D = 5, .E = E, .type = type, .key_begin = M / 2});
        const Results<float> want = engine(part, kPlain);
        for (std::int64_t j = 0; j < M / 2; ++j) {
          for (std::int64_t e = 0; e < E; ++e) part.v.at(0, 0, j, e) = kNan;
          for (std::int64_t d = 0; d < 5; ++d) part.k.at(0, 0, j, d) = kNan;
        }
        const Results<float> got = engine(part, kPlain);
        EXPECT_TRUE(same_bits(got.out, want.out)) << part.c;
        EXPECT_TRUE(same_bits(got.lse, want.lse)) << part.c;
        expect_plain_is_same(part);
      }
    }
  }
}

// The memory of rows is kept from call to call: a call does not write where an earlier one was asked to, and does
// not weigh rows as that was told to.
TEST_P(Mutants, NothingOfTheCallBefore) {
  const Case before{.N = 40, .M = 70, .D = 8, .E = 8, .received_weights = true, .R = 40};
  const Case after{.N = 40, .M = 70, .D = 8, .E = 8, .seed = 2};
  const Problem first(before), second(after);
  const Results<float> kept = engine(first);
  const std::vector<float> rows = kept.rows;
  const Results<float> got = engine(second, {.rows = false});
  EXPECT_TRUE(same_bits(kept.rows, rows));
  engine(first, {.rows = false});
  expect_accurate(second, Truth(second), engine(second));
}

// Column sums of queries in several chunks, each of several sweeps, over several heads: keys stay packed from one
// sweep of a chunk to the next, and no longer. A thread of its own has no scratch yet: it grows with the keys that
// sweeps see.
TEST_P(Mutants, ColumnSumsOfManySweepsInFreshMemory) {
  for (const Causal causal : {Causal::kNone, Causal::kBottomRight}) {
    const Problem p(
        {.H = 2, .G = 2, .N = 1350, .M = 300, .D = 4, .E = 4, .causal = causal, .K = 1, .R = 1});
    std::optional<Results<float>> got;
    std::thread([&] { got = engine(p); }).join();
    const Results<float> again = engine(p);
    EXPECT_TRUE(same_bits(got->received, again.received));
    expect_accurate(p, Truth(p), *got);
  }
}

// With so many keys a sweep for column sums is of 48 rows. Those of the first see the same keys, and read values where
// they lie; the second, which has padding, packs them: they are not packed yet, though the keys are.
TEST_P(Mutants, ColumnSumsOfASweepWithValuesInPlaceAndOneWithout) {
  Problem p({.N = 96, .M = 65536, .D = 1, .E = 16, .query_lengths = true, .K = 1, .R = 1});
  p.query_lengths = {60};
  expect_plain_is_same(p);
}

// More blocks of keys than one, so that what a row has found raises the bar for those to come: its own bar, also where
// its best keys fill a vector, and the next row's come right behind them.
TEST_P(Mutants, TopKeysOfManyBlocksInEveryNumber) {
  for (const std::int64_t K : {1, 2, 4, 7, 8, 9, 15, 16, 17, 32}) {
    for (const std::int64_t N : {1, 13}) {
      const Problem p({.N = N, .M = 1100, .D = 8, .E = 8, .K = K});
      expect_accurate(p, Truth(p), engine(p));
      if (HasFailure()) FAIL() << p.c;
    }
  }
}

// A score of NaN is no top key. The row's weights are NaN, but which keys it names does not depend on the rows beside
// it: a tile of rows that is full looks for them in another way than one that is not.
TEST_P(Mutants, ANanScoreIsNoTopKey) {
  for (const std::int64_t N : {12, 13}) {
    Problem p({.N = N, .M = 1024, .D = 1, .E = 4, .K = 3, .scale = 1.0F});
    for (std::int64_t i = 0; i < N; ++i) p.q.at(0, 0, i, 0) = 1;
    for (std::int64_t j = 0; j < 1024; ++j) p.k.at(0, 0, j, 0) = static_cast<float>(j) / 1024;
    p.k.at(0, 0, 300, 0) = kNan;
    const Results<float> got = engine(p);
    for (std::int64_t x = 0; x < N * 3; ++x) {
      EXPECT_EQ(got.top_index[static_cast<std::size_t>(x)], 1023 - x % 3) << "N " << N;
      EXPECT_TRUE(std::isnan(got.top_weight[static_cast<std::size_t>(x)])) << "N " << N;
    }
  }
}

}  // namespace
}  // namespace fovea::testing
