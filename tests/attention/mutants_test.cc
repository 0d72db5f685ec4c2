// What planted faults (tests/mutants) showed that no other test saw.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

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

// Keys and values each beside pages that cannot be touched, more of them than a block has: what is known of the last
// block must not speak of keys that this one no longer has.
TEST_P(Mutants, NothingIsReadPastTheLastKeyOfALaterBlock) {
  constexpr std::int64_t kWidth = 24;
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    for (const std::int64_t N : {1, 9}) {
      for (const std::int64_t M : {255, 257, 259, 513, 1025}) {
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

}  // namespace
}  // namespace fovea::testing
