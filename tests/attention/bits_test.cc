// Same bits: for any number of threads, any batch, any padding, with and without highlights, again
// and again.
#include <gtest/gtest.h>

#include <thread>

#include "support/case.h"
#include "support/compare.h"
#include "support/isa.h"
#include "support/sequence.h"

namespace fovea::testing {
namespace {

class Bits : public OnEveryIsa {};
FOVEA_ON_EVERY_ISA(Bits);

void expect_same(const Results<float>& a, const Results<float>& b, const Case& c) {
  EXPECT_TRUE(same_bits(a.out, b.out)) << "out: " << c;
  EXPECT_TRUE(same_bits(a.lse, b.lse)) << "lse: " << c;
  EXPECT_TRUE(same_bits(a.top_index, b.top_index)) << "top_index: " << c;
  EXPECT_TRUE(same_bits(a.top_weight, b.top_weight)) << "top_weight: " << c;
  EXPECT_TRUE(same_bits(a.received, b.received)) << "received: " << c;
  EXPECT_TRUE(same_bits(a.entropy, b.entropy)) << "entropy: " << c;
  EXPECT_TRUE(same_bits(a.rows, b.rows)) << "rows: " << c;
}

// Large enough that every way of cutting the work into pieces is taken.
std::vector<Case> cases() {
  std::vector<Case> all{
      {.B = 2,
       .H = 4,
       .G = 2,
       .N = 150,
       .M = 170,
       .D = 32,
       .E = 40,
       .causal = Causal::kBottomRight,
       .key_lengths = true,
       .query_lengths = true,
       .factor = true,
       .K = 8,
       .R = 5},
      {.B = 1, .H = 1, .G = 1, .N = 700, .M = 90, .D = 16, .E = 16, .K = 4},
      {.B = 1, .H = 2, .G = 1, .N = 1, .M = 3000, .D = 64, .E = 64, .K = 8},
      {.B = 2, .H = 12, .G = 2, .N = 3, .M = 300, .D = 20, .E = 32, .key_lengths = true, .K = 5},
      // More heads of a group than share a sweep for column sums: six and four.
      {.B = 1, .H = 10, .G = 1, .N = 8, .M = 300, .D = 16, .E = 16, .K = 3},
      // Many heads share a sweep over keys of very unequal lengths.
      {.B = 3, .H = 64, .G = 1, .N = 1, .M = 2100, .D = 64, .E = 64, .packed_keys = true},
      {.B = 3,
       .H = 6,
       .G = 3,
       .N = 5,
       .M = 333,
       .D = 20,
       .E = 7,
       .mask = 15,
       .bias = 14,
       .bias_hides = true,
       .received_weights = true},
      {.B = 4,
       .H = 4,
       .G = 2,
       .N = 130,
       .M = 150,
       .D = 24,
       .E = 16,
       .packed_queries = true,
       .packed_keys = true,
       .causal = Causal::kBottomRight,
       .alibi = 1,
       .factor = true,
       .R = 5},
      {.B = 9,
       .H = 6,
       .G = 2,
       .N = 3,
       .M = 700,
       .D = 16,
       .E = 16,
       .packed_queries = true,
       .key_begin = 30,
       .key_end = 600,
       .key_lengths = true,
       .alibi = 0},
  };
  const std::size_t count = all.size();
  for (std::size_t x = 0; x < count; ++x) {
    for (const DataType type : {DataType::kBFloat16, DataType::kFloat16}) {
      Case narrow = all[x];
      narrow.type = type;
      narrow.narrow_out = x % 2 == 0;
      all.push_back(narrow);
    }
  }
  return all;
}

TEST_P(Bits, AnyNumberOfThreads) {
  for (const Case& c : cases()) {
    const Problem problem(c);
    Threads one(1);
    const Results<float> want = engine(problem, one);
    EXPECT_INFORMATIVE(want.out);
    const Wanted no_columns{.received = false};  // cuts the work in other ways
    const Results<float> rows = engine(problem, one, no_columns);
    EXPECT_TRUE(same_bits(rows.out, want.out)) << c;
    for (const int count : {2, 3, 7}) {
      Threads threads(count);
      expect_same(engine(problem, threads), want, c);
      expect_same(engine(problem, threads, no_columns), rows, c);
    }
  }
}

TEST_P(Bits, RunTwice) {
  for (const Case& c : cases()) {
    const Problem problem(c);
    Threads threads(2);
    const Results<float> first = engine(problem, threads);
    expect_same(engine(problem, threads), first, c);
  }
}

TEST_P(Bits, WithAndWithoutHighlights) {
  for (const Case& c : cases()) {
    const Problem problem(c);
    const Results<float> all = engine(problem);
    const Wanted none{.top = false, .received = false, .entropy = false, .rows = false};
    const Results<float> plain = engine(problem, none);
    EXPECT_TRUE(same_bits(plain.out, all.out)) << c;
    EXPECT_TRUE(same_bits(plain.lse, all.lse)) << c;
    // Each highlight alone is what it is among the others.
    const Wanted no_out{.out = false,
                        .lse = false,
                        .top = false,
                        .received = false,
                        .entropy = false,
                        .rows = false};
    Wanted wanted = no_out;
    wanted.top = true;
    EXPECT_TRUE(same_bits(engine(problem, wanted).top_index, all.top_index)) << c;
    EXPECT_TRUE(same_bits(engine(problem, wanted).top_weight, all.top_weight)) << c;
    wanted = no_out;
    wanted.received = true;
    EXPECT_TRUE(same_bits(engine(problem, wanted).received, all.received)) << c;
    wanted = no_out;
    wanted.entropy = true;
    EXPECT_TRUE(same_bits(engine(problem, wanted).entropy, all.entropy)) << c;
    wanted = no_out;
    wanted.rows = true;
    EXPECT_TRUE(same_bits(engine(problem, wanted).rows, all.rows)) << c;
    wanted = no_out;
    wanted.lse = true;
    EXPECT_TRUE(same_bits(engine(problem, wanted).lse, all.lse)) << c;
    wanted = no_out;
    wanted.out = true;
    EXPECT_TRUE(same_bits(engine(problem, wanted).out, all.out)) << c;
  }
}

// One sequence of a problem, cut to its own lengths.
struct Alone {
  Problem problem;
  std::int64_t n, m;  // queries and keys that belong to the sequence
};

Alone alone(const Problem& batch, std::int64_t b) {
  Case c = batch.c;
  const auto x = static_cast<std::size_t>(b);
  const std::int64_t n = c.query_lengths ? batch.query_lengths[x] : c.N;
  const std::int64_t m = c.key_lengths ? batch.key_lengths[x] : c.M;
  c.B = 1;
  c.N = n;
  c.M = m;
  c.key_lengths = c.query_lengths = false;
  c.layout = Layout::kHeadsFirst;
  Problem one(c);
  one.row_queries.clear();
  for (const std::int32_t i : batch.row_queries) one.row_queries.push_back(i < n ? i : 0);
  for (std::int64_t h = 0; h < c.H; ++h) {
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t d = 0; d < c.D; ++d) one.q.at(0, h, i, d) = batch.q.at(b, h, i, d);
      if (c.received_weights) {
        one.received_weights[std::size_t(h * n + i)] =
            batch.received_weights[std::size_t((b * c.H + h) * batch.c.N + i)];
      }
    }
    for (std::int64_t j = 0; j < m && c.factor; ++j) {
      one.factor[std::size_t(h * m + j)] = batch.factor[std::size_t((b * c.H + h) * batch.c.M + j)];
    }
  }
  for (std::int64_t g = 0; g < c.G; ++g) {
    for (std::int64_t j = 0; j < m; ++j) {
      for (std::int64_t d = 0; d < c.D; ++d) one.k.at(0, g, j, d) = batch.k.at(b, g, j, d);
      for (std::int64_t e = 0; e < c.E; ++e) one.v.at(0, g, j, e) = batch.v.at(b, g, j, e);
    }
  }
  return {one, n, m};
}

// Elements [b, h, 0..count) of a [B, H, size * width] array.
std::vector<float> part(const std::vector<float>& all, std::int64_t head, std::int64_t size,
                        std::int64_t count, std::int64_t width = 1) {
  const auto first = all.begin() + head * size * width;
  return std::vector<float>(first, first + count * width);
}

// A sequence alone, without padding, gives the bits that it gives in a padded batch.
TEST_P(Bits, ABatchOfOneAndTheSameInAPaddedBatch) {
  for (const Causal causal : {Causal::kNone, Causal::kBottomRight, Causal::kTopLeft}) {
    for (const auto& [n, N, M] : {std::tuple{3, 7, 60}, {5, 24, 40}, {20, 24, 130}, {33, 70, 70}}) {
      const DataType type = N == 7    ? DataType::kBFloat16
                            : N == 24 ? (n == 5 ? DataType::kFloat16 : DataType::kFloat32)
                                      : DataType::kBFloat16;
      for (const Layout layout : {Layout::kHeadsFirst, Layout::kPositionsFirst, Layout::kCut}) {
        const bool factor = layout != Layout::kCut;  // without it heads may share a sweep
        const std::optional<std::int64_t> window =
            layout == Layout::kHeadsFirst ? std::nullopt : std::optional<std::int64_t>(N / 2);
        const Case c{.B = 3,
                     .H = 4,
                     .G = 2,
                     .N = N,
                     .M = M,
                     .D = 24,
                     .E = layout == Layout::kPositionsFirst ? 17 : 32,
                     .type = type,
                     .layout = layout,
                     .causal = causal,
                     .window_before = window,
                     .key_lengths = true,
                     .query_lengths = true,
                     .factor = factor,
                     .received_weights = true,
                     .K = 6};
        Problem batch(c);
        batch.key_lengths = {M, M / 2 + 3, 1};
        batch.query_lengths = {N, n, 1};
        const Results<float> whole = engine(batch);
        for (std::int64_t b = 0; b < c.B; ++b) {
          const Alone single = alone(batch, b);
          const Results<float> got = engine(single.problem);
          for (std::int64_t h = 0; h < c.H; ++h) {
            const std::int64_t in_batch = b * c.H + h;
            const auto expect = [&](const char* name, const auto& one, const auto& all,
                                    std::int64_t alone_size, std::int64_t size,
                                    std::int64_t width) {
              EXPECT_TRUE(same_bits(part(one, h, alone_size, alone_size, width),
                                    part(all, in_batch, size, alone_size, width)))
                  << name << " of sequence " << b << " head " << h << ": " << c;
            };
            expect("out", got.out, whole.out, single.n, N, c.E);
            expect("lse", got.lse, whole.lse, single.n, N, 1);
            expect("entropy", got.entropy, whole.entropy, single.n, N, 1);
            expect("top_weight", got.top_weight, whole.top_weight, single.n, N, c.K);
            expect("received", got.received, whole.received, single.m, M, 1);
          }
        }
        if (HasFailure()) return;
      }
    }
  }
}

void expect_same_sequence(const Problem& batch, const Results<float>& whole, std::int64_t b,
                          const Sequence& alone) {
  Results<float> got(alone.c);
  Threads one(1);
  attend(alone.inputs, alone.options, got.outputs(), one);
  got.widen();
  const Case& c = batch.c;
  const std::int64_t n = alone.c.N, m = alone.c.M;
  for (std::int64_t h = 0; h < c.H; ++h) {
    const auto expect = [&](const char* name, const auto& of_alone, std::size_t x,
                            const auto& of_whole, std::size_t y, std::int64_t width) {
      const auto w = static_cast<std::size_t>(width);
      EXPECT_TRUE(
          same_bits(std::span(of_alone).subspan(x * w, w), std::span(of_whole).subspan(y * w, w)))
          << name << " of sequence " << b << " head " << h;
    };
    for (std::int64_t i = 0; i < n; ++i) {
      const auto x = static_cast<std::size_t>(h * n + i), y = batch.places.query(b, h, i);
      expect("out", got.out, x, whole.out, y, c.E);
      expect("lse", got.lse, x, whole.lse, y, 1);
      expect("entropy", got.entropy, x, whole.entropy, y, 1);
      expect("top_weight", got.top_weight, x, whole.top_weight, y, c.K);
      expect("top_index", got.top_index, x, whole.top_index, y, c.K);
    }
    for (std::int64_t j = 0; j < m; ++j) {
      expect("received", got.received, static_cast<std::size_t>(h * m + j), whole.received,
             batch.places.key(b, h, j), 1);
    }
  }
}

// Packed or padded, a sequence gives the bits that it gives alone; cut to its lengths too.
TEST_P(Bits, ASequenceAloneAndTheSameInAPackedBatch) {
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    for (const auto& [N, M] : {std::pair{1, 300}, {6, 90}, {8, 8}, {70, 70}, {40, 520}}) {
      for (int mixture = 0; mixture < 6; ++mixture) {
        const Case c{.B = 5,
                     .H = 4,
                     .G = 2,
                     .N = N,
                     .M = M,
                     .D = mixture % 2 == 0 ? 24 : 17,
                     .E = 16,
                     .type = type,
                     .layout = static_cast<Layout>(mixture % 3),
                     .packed_queries = mixture != 3,
                     .packed_keys = mixture != 2,
                     .causal = static_cast<Causal>(mixture % 3),
                     .window_before = mixture == 4 ? std::optional<std::int64_t>(30) : std::nullopt,
                     .key_begin = mixture == 5 ? std::optional<std::int64_t>(7) : std::nullopt,
                     .key_end = mixture == 5 ? std::optional<std::int64_t>(70) : std::nullopt,
                     .key_lengths = mixture >= 4,
                     .query_lengths = mixture >= 4,
                     .mask = mixture == 1 ? 15 : -1,
                     .bias = mixture == 5 ? 12 : -1,
                     .alibi = mixture % 2,
                     .factor = mixture < 2,
                     .received_weights = mixture < 2,
                     .K = 5,
                     .narrow_out = mixture == 3,
                     .seed = static_cast<std::uint64_t>(mixture)};
        const Problem batch(c);
        Threads two(2);
        const Results<float> whole = engine(batch, two);
        for (std::int64_t b = 0; b < c.B; ++b) {
          Sequence alone(batch, b);
          expect_same_sequence(batch, whole, b, alone);
          alone.cut();
          expect_same_sequence(batch, whole, b, alone);
          if (HasFailure()) FAIL() << c;
        }
      }
    }
  }
}

// One to eight queries, each the same alone, and the same whatever the other sequences are.
TEST_P(Bits, AFewQueriesAndOneOfThem) {
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    for (const std::int64_t M : {5, 70, 1300}) {
      const Case all{.H = 4, .G = 2, .N = 8, .M = M, .D = 24, .E = 16, .type = type, .K = 4};
      const Problem whole(all);
      const Results<float> want = engine(whole);
      EXPECT_INFORMATIVE(want.out);
      for (std::int64_t N = 1; N < 8; ++N) {
        Case few = all;
        few.N = N;
        Problem cut(few);
        cut.k = whole.k;
        cut.v = whole.v;
        for (const std::int64_t first : {std::int64_t{0}, 8 - N}) {
          for (std::int64_t h = 0; h < 4; ++h) {
            for (std::int64_t i = 0; i < N; ++i) {
              for (std::int64_t d = 0; d < 24; ++d) {
                cut.q.at(0, h, i, d) = whole.q.at(0, h, i + first, d);
              }
            }
          }
          const Results<float> got = engine(cut);
          for (std::int64_t h = 0; h < 4; ++h) {
            for (std::int64_t i = 0; i < N; ++i) {
              const std::int64_t x = h * N + i, y = h * 8 + i + first;
              EXPECT_TRUE(same_bits(part(got.out, x, 1, 1, 16), part(want.out, y, 1, 1, 16)));
              EXPECT_TRUE(same_bits(part(got.lse, x, 1, 1), part(want.lse, y, 1, 1)));
              EXPECT_TRUE(same_bits(part(got.entropy, x, 1, 1), part(want.entropy, y, 1, 1)));
              EXPECT_TRUE(
                  same_bits(part(got.top_weight, x, 1, 1, 4), part(want.top_weight, y, 1, 1, 4)));
            }
          }
          if (HasFailure()) FAIL() << few << " first " << first;
        }
      }
    }
  }
}

TEST_P(Bits, AllKeysAreAPartToo) {
  for (Case c : cases()) {
    c.key_begin.reset();
    c.key_end.reset();
    Problem p(c);
    const Results<float> want = engine(p);
    p.c.key_begin = 0;
    expect_same(engine(p), want, c);
    p.c.key_end = c.M;
    expect_same(engine(p), want, c);
    p.c.key_end = INT64_MAX;
    expect_same(engine(p), want, c);
  }
}

// A row does not depend on the rows beside it: queries 10..39 alone give what they give among 64.
TEST_P(Bits, ARowDoesNotDependOnItsNeighbours) {
  const Case all{.H = 2, .G = 1, .N = 64, .M = 150, .D = 20, .E = 12};
  Case some = all;
  some.N = 30;
  const Problem whole(all);
  Problem cut(some);
  cut.k = whole.k;
  cut.v = whole.v;
  for (std::int64_t h = 0; h < 2; ++h) {
    for (std::int64_t i = 0; i < 30; ++i) {
      for (std::int64_t d = 0; d < all.D; ++d) cut.q.at(0, h, i, d) = whole.q.at(0, h, i + 10, d);
    }
  }
  const Results<float> want = engine(whole), got = engine(cut);
  for (std::int64_t h = 0; h < 2; ++h) {
    for (std::int64_t i = 0; i < 30; ++i) {
      const std::int64_t x = h * 30 + i, y = h * 64 + i + 10;
      EXPECT_TRUE(same_bits(part(got.out, x, 1, 1, all.E), part(want.out, y, 1, 1, all.E))) << i;
      EXPECT_TRUE(same_bits(part(got.lse, x, 1, 1), part(want.lse, y, 1, 1))) << i;
      EXPECT_TRUE(same_bits(part(got.entropy, x, 1, 1), part(want.entropy, y, 1, 1))) << i;
    }
  }
}

TEST_P(Bits, LayoutsOfTheSameNumbers) {
  const Case dense{.B = 2, .H = 4, .G = 2, .N = 40, .M = 70, .D = 17, .E = 9};
  const Problem want_of(dense);
  const Results<float> want = engine(want_of);
  for (const Layout layout : {Layout::kPositionsFirst, Layout::kCut}) {
    Case c = dense;
    c.layout = layout;
    const Problem p(c);  // the same seed fills the same elements
    ASSERT_EQ(p.k.dense(), want_of.k.dense());
    expect_same(engine(p), want, c);
  }
}

TEST_P(Bits, TwoCallersAtOnce) {
  const Case a{.H = 4, .G = 4, .N = 60, .M = 80, .D = 16, .E = 16, .causal = Causal::kTopLeft};
  const Case b{.H = 2, .G = 1, .N = 90, .M = 50, .D = 40, .E = 8, .mask = 15};
  const Problem pa(a), pb(b);
  const Results<float> want_a = engine(pa), want_b = engine(pb);
  Threads shared(2);
  for (const bool own_pool : {true, false}) {
    std::thread other([&] {
      Threads own(2);
      for (int round = 0; round < 10; ++round) {
        expect_same(engine(pb, own_pool ? own : shared), want_b, b);
      }
    });
    Threads own(2);
    for (int round = 0; round < 10; ++round) {
      expect_same(engine(pa, own_pool ? own : shared), want_a, a);
    }
    other.join();
  }
}

}  // namespace
}  // namespace fovea::testing
