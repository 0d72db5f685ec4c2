// What attend_backward promises besides numbers: the same bits for any threads, batch, padding and
// choice of gradients; hidden pairs that add nothing, not even NaN; memory that is not touched.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/backward_accuracy.h"
#include "support/compare.h"
#include "support/guard.h"
#include "support/isa.h"
#include "support/sequence.h"

namespace fovea::testing {
namespace {

const float kNan = std::numeric_limits<float>::quiet_NaN();

class BackwardRules : public OnEveryIsa {};
FOVEA_ON_EVERY_ISA(BackwardRules);

using Got = GradientResults<float>;

constexpr std::vector<float> Got::*const kGradients[] = {&Got::dq, &Got::dk, &Got::dv, &Got::dbias,
                                                         &Got::key_gradient};

void expect_same(const Got& a, const Got& b, const Case& c) {
  for (std::size_t x = 0; x < std::size(kGradients); ++x) {
    EXPECT_TRUE(same_bits(a.*kGradients[x], b.*kGradients[x])) << "gradient " << x << ": " << c;
  }
}

// Several blocks of keys and runs of queries; biases of every kind of sharing.
std::vector<Case> cases() {
  std::vector<Case> all{
      {.B = 2, .H = 4, .G = 2, .N = 310, .M = 530, .D = 8, .E = 16, .key_lengths = true},
      {.N = 700, .M = 700, .D = 4, .E = 4, .causal = Causal::kBottomRight, .dropout = 0.2F},
      {.B = 3,
       .H = 6,
       .G = 3,
       .N = 200,
       .M = 520,
       .D = 4,
       .E = 4,
       .packed_queries = true,
       .packed_keys = true,
       .window_before = 90,
       .alibi = 1},
      {.B = 1, .H = 1, .G = 1, .N = 3, .M = 900, .D = 4, .E = 4},
  };
  for (int bits = 0; bits < 16; ++bits) {
    all.push_back({.B = 2, .H = 4, .G = 2, .N = 200, .M = 520, .D = 4, .E = 4, .bias = bits});
    Case ragged = all.back();
    ragged.packed_queries = ragged.packed_keys = true;
    ragged.mask = 12;
    if (bits % 2 == 0) ragged.type = DataType::kBFloat16;
    all.push_back(ragged);
  }
  return all;
}

TEST_P(BackwardRules, ThreadsDoNotChangeBits) {
  for (const Case& c : cases()) {
    const BackwardProblem problem(c);
    ForwardResults forward(problem);
    Threads one(1);
    const Got want = engine_gradients(problem, forward, one);
    for (const int count : {1, 2, 3, 7}) {
      Threads threads(count);
      expect_same(engine_gradients(problem, forward, threads), want, c);
    }
    if (HasFailure()) return;
  }
}

TEST_P(BackwardRules, WhatElseIsAskedForDoesNotChangeBits) {
  for (const Case& c : cases()) {
    const BackwardProblem problem(c);
    ForwardResults forward(problem);
    Threads threads(2);
    const Got want = engine_gradients(problem, forward, threads);
    for (std::size_t x = 0; x < std::size(kGradients); ++x) {
      const WantedGradients one{
          .dq = x == 0, .dk = x == 1, .dv = x == 2, .dbias = x == 3, .key_gradient = x == 4};
      const Got got = engine_gradients(problem, forward, threads, one);
      EXPECT_TRUE(same_bits(got.*kGradients[x], want.*kGradients[x])) << x << ": " << c;
    }
    if (HasFailure()) return;
  }
}

// Each sequence of a batch as a call of its own, with its padding and without.
void check_alone(const Case& c) {
  const BackwardProblem problem(c);
  ForwardResults forward(problem);
  Threads threads(2);
  const Got whole = engine_gradients(problem, forward, threads);
  const Places& places = problem.problem.places;
  const View out_gradient = problem.out_gradient.view();
  for (std::int64_t b = 0; b < c.B; ++b) {
    for (const bool cut : {false, true}) {
      Sequence alone(problem.problem, b);
      if (cut) alone.cut();
      if (alone.c.N == 0 || alone.c.M == 0) continue;
      Case sizes = alone.c;
      sizes.bias = -1;
      Got got{Problem(sizes), {.dbias = false}};
      const Forward given = forward.forward();
      attend_backward(alone.inputs, alone.options,
                      {alone.of_queries(given.out), alone.of_queries(given.lse)},
                      alone.of_queries(out_gradient), got.gradients(), threads);
      got.widen();
      const auto row = [](const std::vector<float>& all, std::size_t at, std::int64_t width) {
        const auto wide = static_cast<std::size_t>(width);
        return std::vector<float>(all.begin() + std::int64_t(at * wide),
                                  all.begin() + std::int64_t((at + 1) * wide));
      };
      for (std::int64_t h = 0; h < c.H; ++h) {
        for (std::int64_t i = 0; i < alone.c.N; ++i) {
          EXPECT_TRUE(same_bits(row(got.dq, std::size_t(h * alone.c.N + i), c.D),
                                row(whole.dq, places.query(b, h, i), c.D)))
              << "dq " << b << " " << h << " " << i << " " << c;
        }
        for (std::int64_t j = 0; j < alone.c.M; ++j) {
          EXPECT_TRUE(same_bits(row(got.key_gradient, std::size_t(h * alone.c.M + j), 1),
                                row(whole.key_gradient, places.key(b, h, j), 1)))
              << "key_gradient " << c;
          if (h >= c.G) continue;  // h stands for a key head
          Places by_g = places;
          by_g.H = c.G;
          const std::size_t x = std::size_t(h * alone.c.M + j), y = by_g.key(b, h, j);
          EXPECT_TRUE(same_bits(row(got.dk, x, c.D), row(whole.dk, y, c.D))) << "dk " << c;
          EXPECT_TRUE(same_bits(row(got.dv, x, c.E), row(whole.dv, y, c.E))) << "dv " << c;
        }
      }
      if (::testing::Test::HasFailure()) return;
    }
  }
}

TEST_P(BackwardRules, BatchAndPaddingDoNotChangeBits) {
  Random random(7);
  for (int n = 0; n < 60 && !HasFailure(); ++n) {
    Case c = random_case(random, 300'000);
    c.scale = 0.25F;
    check_alone(c);
  }
}

// NaN in keys past the lengths, in queries past theirs, in all that these would read.
TEST_P(BackwardRules, PaddingIsNotRead) {
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    const Case c{.B = 3,
                 .H = 4,
                 .G = 2,
                 .N = 103,
                 .M = 300,
                 .D = 12,
                 .E = 20,
                 .type = type,
                 .causal = Causal::kBottomRight,
                 .key_lengths = true,
                 .query_lengths = true,
                 .seed = 2};
    BackwardProblem clean(c);
    ForwardResults forward(clean);
    BackwardProblem dirty = clean;
    for (std::int64_t b = 0; b < c.B; ++b) {
      for (std::int64_t g = 0; g < c.G; ++g) {
        for (std::int64_t j = clean.problem.key_length(b); j < c.M; ++j) {
          for (std::int64_t d = 0; d < c.D; ++d) dirty.problem.k.at(b, g, j, d) = kNan;
          for (std::int64_t e = 0; e < c.E; ++e) dirty.problem.v.at(b, g, j, e) = kNan;
        }
      }
      for (std::int64_t h = 0; h < c.H; ++h) {
        for (std::int64_t i = clean.problem.query_length(b); i < c.N; ++i) {
          for (std::int64_t d = 0; d < c.D; ++d) dirty.problem.q.at(b, h, i, d) = kNan;
          for (std::int64_t e = 0; e < c.E; ++e) dirty.out_gradient.at(b, h, i, e) = kNan;
        }
      }
    }
    Threads threads(2);
    const Got want = engine_gradients(clean, forward, threads);
    EXPECT_INFORMATIVE(want.dk);
    for (std::int64_t b = 0; b < c.B; ++b) {
      for (std::int64_t i = clean.problem.query_length(b); i < c.N; ++i) {
        const std::size_t x = clean.problem.places.query(b, 1, i);
        for (std::int64_t e = 0; e < c.E; ++e) {
          forward.results.out[x * std::size_t(c.E) + std::size_t(e)] = kNan;
        }
        EXPECT_EQ(want.dq[x * std::size_t(c.D)], 0);
      }
    }
    expect_same(engine_gradients(dirty, forward, threads), want, c);
  }
}

// A NaN in one query, and one in one key, under a mask: what does not see it has the bits that it
// would have without it; what does is NaN.
TEST_P(BackwardRules, ANanStaysWithThoseThatSeeIt) {
  std::uint64_t seed = 0;
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16}) {
    for (const bool windowed : {false, true, false, true}) {
      Case c{.H = 2,
             .G = 1,
             .N = 110,
             .M = 300,
             .D = 9,
             .E = 17,
             .type = type,
             .mask = 15,
             .seed = ++seed};
      if (windowed) {
        c.mask = -1;
        c.window_before = 40;
        c.window_after = 7;
      }
      const BackwardProblem clean(c);
      ForwardResults forward(clean);
      Threads threads(2);
      const Got want = engine_gradients(clean, forward, threads);
      const std::int64_t bad_query = 57, bad_key = 245;
      if (clean.problem.visible_keys(0, 0, bad_query) == 0) continue;  // a row that a mask blanks
      const auto sees = [&](std::int64_t h, std::int64_t i, std::int64_t j) {
        return clean.problem.visible(0, h, i, j);
      };
      for (int where = 0; where < 4; ++where) {
        BackwardProblem dirty = clean;
        if (where == 0) dirty.problem.q.at(0, 0, bad_query, 5) = kNan;
        if (where == 1) dirty.out_gradient.at(0, 0, bad_query, 16) = kNan;
        if (where == 2) dirty.problem.k.at(0, 0, bad_key, 8) = kNan;
        if (where == 3) dirty.problem.v.at(0, 0, bad_key, 2) = kNan;
        const bool of_query = where < 2;
        ForwardResults after(dirty);
        const Got got = engine_gradients(dirty, after, threads);
        std::size_t reached = 0, spared = 0;
        // Queries that are NaN themselves (their out is), and keys that such a query sees.
        const auto query_is_bad = [&](std::int64_t h, std::int64_t i) {
          return of_query ? h == 0 && i == bad_query : sees(h, i, bad_key);
        };
        for (std::int64_t h = 0; h < c.H; ++h) {
          for (std::int64_t i = 0; i < c.N; ++i) {
            const std::size_t x = clean.problem.places.query(0, h, i) * std::size_t(c.D);
            for (std::size_t d = 0; d < std::size_t(c.D); ++d) {
              if (query_is_bad(h, i)) {
                EXPECT_TRUE(std::isnan(got.dq[x + d])) << where << " dq " << i;
                ++reached;
              } else {
                EXPECT_TRUE(same_bits(std::span(got.dq).subspan(x + d, 1),
                                      std::span(want.dq).subspan(x + d, 1)))
                    << where << " dq " << h << " " << i;
                ++spared;
              }
            }
          }
        }
        for (std::int64_t j = 0; j < c.M; ++j) {
          bool bad = false;
          for (std::int64_t h = 0; h < c.H; ++h) {
            for (std::int64_t i = 0; i < c.N; ++i) {
              bad = bad || (query_is_bad(h, i) && sees(h, i, j));
            }
          }
          const std::size_t x = std::size_t(j) * std::size_t(c.D);
          if (bad) {
            EXPECT_TRUE(std::isnan(got.dk[x])) << where << " dk " << j;
            if (where == 1) {
              EXPECT_TRUE(std::isnan(got.dv[std::size_t(j) * 17 + 16])) << "dv " << j;
            }
            ++reached;
          } else {
            EXPECT_TRUE(same_bits(std::span(got.dk).subspan(x, std::size_t(c.D)),
                                  std::span(want.dk).subspan(x, std::size_t(c.D))))
                << where << " dk " << j;
            EXPECT_TRUE(same_bits(
                std::span(got.dv).subspan(std::size_t(j) * std::size_t(c.E), std::size_t(c.E)),
                std::span(want.dv).subspan(std::size_t(j) * std::size_t(c.E), std::size_t(c.E))))
                << where << " dv " << j;
            ++spared;
          }
        }
        EXPECT_GT(reached, 0U);
        EXPECT_GT(spared, 0U);
        if (HasFailure()) return;
      }
    }
  }
}

// An infinite key whose score is -inf weighs nothing, but is seen: 0 times infinity reaches dq.
TEST_P(BackwardRules, AnInfiniteKeyReachesThoseThatSeeIt) {
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16}) {
    BackwardProblem problem(
        {.N = 50, .M = 90, .D = 9, .E = 5, .type = type, .causal = Causal::kBottomRight});
    for (std::int64_t i = 0; i < 50; ++i) problem.problem.q.at(0, 0, i, 8) = -1;
    problem.problem.k.at(0, 0, 70, 8) = std::numeric_limits<float>::infinity();
    ForwardResults forward(problem);
    Threads threads(2);
    const Got got = engine_gradients(problem, forward, threads);
    for (std::size_t i = 0; i < 50; ++i) {
      for (std::size_t d = 0; d < 9; ++d) {
        EXPECT_EQ(std::isnan(got.dq[i * 9 + d]), i >= 30 && d == 8) << i << " " << d;
      }
    }
  }
}

// Keys that a mask, a bias or lengths hide from all, and queries past their length, lie on pages
// that cannot be touched; so do all that comes before and after each row.
TEST_P(BackwardRules, WhatNobodySeesIsNotTouched) {
  const std::int64_t N = 9, D = 7, E = 11;
  for (const auto& [type, M] : {std::pair<DataType, std::int64_t>{DataType::kFloat32, 21},
                                {DataType::kBFloat16, 21},
                                {DataType::kBFloat16, 53}}) {
    GuardedRows q(N, D, type), k(M, D, type), v(M, E, type), g(N, E, type), out(N, E), dq(N, D),
        dk(M, D), dv(M, E), bias(N, M), dbias(N, M), lse(1, N), key_gradient(1, M);
    Random random(1);
    for (GuardedRows* array : {&q, &k, &v, &g}) {
      const View view = array->view();
      for (std::int64_t r = 0; r < view.size(2); ++r) {
        for (std::int64_t d = 0; d < view.size(3); ++d) {
          array->set(r, d, static_cast<float>(random.normal()));
        }
      }
    }
    for (std::int64_t i = 0; i < N; ++i) {
      for (std::int64_t j = 0; j < M; ++j) {
        bias.row(i)[j] = j == 3 ? -std::numeric_limits<float>::infinity() : 0.25F;
      }
    }
    std::vector<Flag> mask(static_cast<std::size_t>(M), {true});
    mask[0].value = mask[16].value = false;
    const std::vector<std::int32_t> keys{static_cast<std::int32_t>(M - 2)}, queries{8};
    Inputs in;
    in.q = q.view();
    in.k = k.view();
    in.v = v.view();
    in.bias = bias.view();
    in.mask = View(&mask[0].value, {1, 1, 1, M});
    in.key_lengths = keys;
    in.query_lengths = queries;
    const View lse_view(lse.row(0), {1, 1, N});
    Threads threads(2);
    Outputs outputs;
    outputs.out = out.view();
    outputs.lse = MutableView(lse.row(0), {1, 1, N});
    attend(in, {}, outputs, threads);
    for (const std::int64_t j :
         {std::int64_t{0}, std::int64_t{3}, std::int64_t{16}, M - 2, M - 1}) {
      k.close(j);
      v.close(j);
    }
    q.close(8);
    g.close(8);
    out.close(8);
    Gradients gradients;
    gradients.dq = dq.view();
    gradients.dk = dk.view();
    gradients.dv = dv.view();
    gradients.dbias = dbias.view();
    gradients.key_gradient = MutableView(key_gradient.row(0), {1, 1, M});
    attend_backward(in, {}, {out.view(), lse_view}, g.view(), gradients, threads);
    for (const std::int64_t j :
         {std::int64_t{0}, std::int64_t{3}, std::int64_t{16}, M - 2, M - 1}) {
      for (std::int64_t d = 0; d < D; ++d) EXPECT_EQ(dk.row(j)[d], 0);
      for (std::int64_t e = 0; e < E; ++e) EXPECT_EQ(dv.row(j)[e], 0);
      EXPECT_EQ(key_gradient.row(0)[j], 0);
    }
    for (std::int64_t d = 0; d < D; ++d) EXPECT_EQ(dq.row(8)[d], 0);
    EXPECT_NE(dv.row(M - 3)[0], 0);
  }
}

// Gradients with gaps between their rows: what lies there stays.
TEST_P(BackwardRules, GradientsHaveAnyStrides) {
  const BackwardProblem problem(
      {.B = 2, .H = 2, .G = 1, .N = 7, .M = 9, .D = 5, .E = 6, .bias = 15});
  ForwardResults forward(problem);
  Threads threads(2);
  const Got want = engine_gradients(problem, forward, threads);
  std::vector<FloatArray> arrays;
  for (const auto& dims :
       {std::array<std::int64_t, 4>{2, 2, 7, 5}, {2, 1, 9, 5}, {2, 1, 9, 6}, {2, 2, 7, 9}}) {
    arrays.emplace_back(Layout::kCut, dims);
  }
  std::vector<float> keys(2 * 2 * 9 * 3, kNan);
  Gradients gradients;
  gradients.dq = arrays[0].mutable_view();
  gradients.dk = arrays[1].mutable_view();
  gradients.dv = arrays[2].mutable_view();
  gradients.dbias = arrays[3].mutable_view();
  gradients.key_gradient = MutableView(keys.data(), {2, 2, 9}, {54, 27, 3});
  attend_backward(problem.problem.inputs(), problem.problem.options(), forward.forward(),
                  problem.out_gradient.view(), gradients, threads);
  EXPECT_TRUE(same_bits(arrays[0].dense(), want.dq));
  EXPECT_TRUE(same_bits(arrays[1].dense(), want.dk));
  EXPECT_TRUE(same_bits(arrays[2].dense(), want.dv));
  EXPECT_TRUE(same_bits(arrays[3].dense(), want.dbias));
  for (const FloatArray& array : arrays) {
    const auto [a, b, c, d] = array.shape;
    const auto nans = std::count_if(array.memory.begin(), array.memory.end(),
                                    [](float x) { return std::isnan(x); });
    EXPECT_EQ(nans, static_cast<std::int64_t>(array.memory.size()) - a * b * c * d);
  }
  std::vector<float> wide(want.dbias.size() * 2, kNan);
  Gradients bias_only;
  bias_only.dbias = MutableView(wide.data(), {2, 2, 7, 9}, {252, 126, 18, 2});
  attend_backward(problem.problem.inputs(), problem.problem.options(), forward.forward(),
                  problem.out_gradient.view(), bias_only, threads);
  for (std::size_t x = 0; x < want.dbias.size(); ++x) {
    EXPECT_EQ(wide[2 * x], want.dbias[x]);
    EXPECT_TRUE(std::isnan(wide[2 * x + 1]));
  }
  for (std::size_t x = 0; x < keys.size(); ++x) {
    if (x % 3 == 0) {
      EXPECT_EQ(keys[x], want.key_gradient[x / 3]);
    } else {
      EXPECT_TRUE(std::isnan(keys[x]));
    }
  }
}

TEST_P(BackwardRules, WithoutQueriesOrKeysGradientsAreZero) {
  Threads threads(2);
  for (const Case& c : {Case{.B = 2, .H = 2, .G = 1, .N = 3, .M = 0, .D = 4, .E = 5},
                        Case{.B = 2, .H = 2, .G = 1, .N = 0, .M = 3, .D = 4, .E = 5},
                        Case{.B = 0, .H = 2, .G = 1, .N = 3, .M = 3, .D = 4, .E = 5}}) {
    const BackwardProblem problem(c);
    ForwardResults forward(problem);
    const Got got = engine_gradients(problem, forward, threads);
    for (const auto field : kGradients) {
      for (const float x : got.*field) EXPECT_EQ(x, 0);
    }
  }
}

TEST_P(BackwardRules, WithoutHeadsGradientsOfKeysAreZero) {
  const std::vector<float> keys(12, 1.0F);
  std::vector<float> dk(12, kNan), dv(12, kNan), none(1);
  Inputs in;
  in.q = View(none.data(), {1, 0, 3, 4});
  in.k = in.v = View(keys.data(), {1, 1, 3, 4});
  Gradients gradients;
  gradients.dk = MutableView(dk.data(), {1, 1, 3, 4});
  gradients.dv = MutableView(dv.data(), {1, 1, 3, 4});
  Threads threads(2);
  attend_backward(in, {}, {View(none.data(), {1, 0, 3, 4}), View(none.data(), {1, 0, 3})},
                  View(none.data(), {1, 0, 3, 4}), gradients, threads);
  for (std::size_t x = 0; x < dk.size(); ++x) {
    EXPECT_EQ(dk[x], 0);
    EXPECT_EQ(dv[x], 0);
  }
}

}  // namespace
}  // namespace fovea::testing
