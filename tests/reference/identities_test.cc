// What must hold of attention whatever the numbers are: identities, on random mixtures of every
// rule.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>

#include "reference/attend.h"
#include "support/case.h"
#include "support/compare.h"
#include "support/sequence.h"

namespace fovea::testing {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// With the rows of every query.
Results<double> exact(const Problem& problem) {
  std::vector<std::int32_t> everyone(std::size_t(problem.places.row_queries()));
  std::iota(everyone.begin(), everyone.end(), 0);
  Inputs inputs = problem.inputs();
  inputs.row_queries = everyone;
  Results<double> results(problem, {}, std::int64_t(everyone.size()));
  reference::attend(inputs, problem.options(), results.outputs());
  return results;
}

// Calls f(b, h, i, x) for every query; x is its place in the results.
template <class F>
void each_query(const Problem& p, const F& f) {
  for (std::int64_t b = 0; b < p.c.B; ++b) {
    for (std::int64_t h = 0; h < p.c.H; ++h) {
      for (std::int64_t i = 0; i < p.places.queries(b); ++i) f(b, h, i, p.places.query(b, h, i));
    }
  }
}

// Calls f(random, case) for 40 random cases; a failure prints the C++ of its case.
template <class F>
void each_case(const F& f) {
  for (std::uint64_t seed = 1000; seed < 1040; ++seed) {
    Random random(seed);
    Case c;
    do {
      c = random_case(random, 60'000);
    } while (c.N < 2 || c.M < 2);
    f(random, c);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(Identities, ConstantValuesComeOutAgain) {
  each_case([](Random&, Case c) {
    Problem p(c);
    for (float& x : p.v.memory) x = std::isnan(x) ? x : 2.5F;
    const Results<double> r = exact(p);
    each_query(p, [&](auto b, auto h, auto i, std::size_t x) {
      const double want = p.visible_keys(b, h, i) > 0 ? 2.5 : 0;
      for (std::size_t e = 0; e < static_cast<std::size_t>(c.E); ++e) {
        EXPECT_TRUE(close(std::vector{r.out[x * static_cast<std::size_t>(c.E) + e]},
                          std::vector{want}, 1e-12))
            << c;
      }
    });
  });
}

TEST(Identities, WeightsSumToOneOverTheVisibleKeysAndAreZeroElsewhere) {
  each_case([](Random&, Case c) {
    const Problem p(c);
    const Results<double> r = exact(p);
    const auto M = static_cast<std::size_t>(c.M);
    each_query(p, [&](auto b, auto h, auto i, std::size_t x) {
      double sum = 0;
      for (std::size_t j = 0; j < M; ++j) {
        const double weight = r.rows[x * M + j];
        sum += weight;
        const auto y = static_cast<std::int64_t>(j);
        const bool seen = y < p.places.keys(b) && p.visible(b, h, i, y);
        EXPECT_TRUE(seen ? weight >= 0 && weight <= 1 : weight == 0) << c;
      }
      EXPECT_NEAR(sum, p.visible_keys(b, h, i) > 0 ? 1 : 0, 1e-12) << c;
    });
  });
}

TEST(Identities, EqualKeysGiveTheMeanAndTheEntropyOfChoosingBlindly) {
  each_case([](Random&, Case c) {
    c.bias = c.alibi = -1;
    Problem p(c);
    for (std::int64_t b = 0; b < c.B; ++b) {
      for (std::int64_t g = 0; g < c.G; ++g) {
        for (std::int64_t j = 1; j < p.places.keys(b); ++j) {
          for (std::int64_t d = 0; d < c.D; ++d) p.k.at(b, g, j, d) = p.k.at(b, g, 0, d);
        }
      }
    }
    const Results<double> r = exact(p);
    each_query(p, [&](auto b, auto h, auto i, std::size_t x) {
      const auto seen = static_cast<double>(p.visible_keys(b, h, i));
      EXPECT_NEAR(r.entropy[x], seen > 0 ? std::log(seen) : 0, 1e-9) << c;
      double sum = 0;
      for (std::int64_t j = 0; j < p.places.keys(b); ++j) {
        if (p.visible(b, h, i, j)) sum += double(p.v.at(b, h / (c.H / c.G), j, 0));
      }
      EXPECT_NEAR(r.out[x * static_cast<std::size_t>(c.E)], seen > 0 ? sum / seen : 0, 1e-10) << c;
    });
  });
}

TEST(Identities, OutputsLieInTheRangeOfTheVisibleValues) {
  each_case([](Random&, Case c) {
    const Problem p(c);
    const Results<double> r = exact(p);
    each_query(p, [&](auto b, auto h, auto i, std::size_t x) {
      if (p.visible_keys(b, h, i) == 0) return;
      for (std::int64_t e = 0; e < c.E; ++e) {
        double low = kInf, high = -kInf;
        for (std::int64_t j = 0; j < p.places.keys(b); ++j) {
          if (!p.visible(b, h, i, j)) continue;
          low = std::min(low, double(p.v.at(b, h / (c.H / c.G), j, e)));
          high = std::max(high, double(p.v.at(b, h / (c.H / c.G), j, e)));
        }
        const double out =
            r.out[x * static_cast<std::size_t>(c.E + 0) + static_cast<std::size_t>(e)];
        EXPECT_TRUE(out >= low - 1e-12 && out <= high + 1e-12) << c;
      }
    });
  });
}

TEST(Identities, ReceivedSumsToTheQueriesThatSeeAKey) {
  each_case([](Random&, Case c) {
    c.factor = c.received_weights = false;
    const Problem p(c);
    const Results<double> r = exact(p);
    for (std::int64_t head = 0; head < c.B * c.H; ++head) {
      const std::int64_t b = head / c.H, h = head % c.H;
      double sum = 0, seeing = 0;
      for (std::int64_t j = 0; j < p.places.keys(b); ++j) sum += r.received[p.places.key(b, h, j)];
      for (std::int64_t i = 0; i < p.places.queries(b); ++i) {
        seeing += p.visible_keys(b, h, i) > 0 ? 1 : 0;
      }
      EXPECT_NEAR(sum, seeing, 1e-9) << c;
    }
  });
}

TEST(Identities, ReceivedIsTheRowsTransposedTimesTheWeights) {
  each_case([](Random&, Case c) {
    c.factor = c.received_weights = true;
    const Problem p(c);
    const Results<double> r = exact(p);
    std::vector<double> want(r.received.size(), 0.0);
    const auto M = static_cast<std::size_t>(c.M);
    each_query(p, [&](auto b, auto h, auto, std::size_t x) {
      for (std::int64_t j = 0; j < p.places.keys(b); ++j) {
        const std::size_t key = p.places.key(b, h, j);
        want[key] +=
            double(p.received_weights[x]) * r.rows[x * M + std::size_t(j)] * double(p.factor[key]);
      }
    });
    EXPECT_TRUE(close(r.received, want, 1e-11)) << c;
  });
}

TEST(Identities, LseIsTheLogOfTheSumOfExponentials) {
  each_case([](Random&, Case c) {
    c.spread = std::min(c.spread, 8.0);  // small enough for exp to be used as it stands
    const Problem p(c);
    const Results<double> r = exact(p);
    each_query(p, [&](auto b, auto h, auto i, std::size_t x) {
      double sum = 0;
      const Inputs in = p.inputs();
      for (std::int64_t j = 0; j < p.places.keys(b); ++j) {
        if (reference::visible(in, p.options(), {b, h, i}, j)) {
          sum += std::exp(reference::score(in, p.options(), {b, h, i}, j));
        }
      }
      EXPECT_TRUE(close(std::vector{r.lse[x]}, std::vector{std::log(sum)}, 1e-10)) << c;
    });
  });
}

// Keys [0, cut) alone and [cut, M) alone, by their options or by a mask, merged by their lse, are the
// whole: what fovea/merge.h says, top too.
TEST(Identities, SplitKeysMergeByLse) {
  each_case([](Random& random, Case c) {
    c.key_begin.reset();
    c.key_end.reset();
    const Problem whole(c);
    const Results<double> want = exact(whole);
    const auto cut =
        static_cast<std::int64_t>(1 + random.below(static_cast<std::uint64_t>(c.M - 1)));
    std::vector<Results<double>> parts;
    for (const bool first : {true, false}) {
      Problem part(whole);
      if (first) part.c.key_end = cut;
      if (!first) part.c.key_begin = cut;
      parts.push_back(exact(part));
      // Hides the other keys by a full mask, so that every other rule stays as it was.
      Problem masked(whole);
      masked.mask_shape = {c.B, c.H, c.N, c.M};
      masked.mask.assign(std::size_t(c.B * c.H * c.N * c.M), {false});
      each_query(whole, [&](auto b, auto h, auto i, std::size_t) {
        for (std::int64_t j = 0; j < whole.places.keys(b); ++j) {
          masked.mask[std::size_t(((b * c.H + h) * c.N + i) * c.M + j)].value =
              (j < cut) == first && whole.visible(b, h, i, j);
        }
      });
      const Results<double> other = exact(masked);
      EXPECT_TRUE(close(parts.back().out, other.out, 0)) << c;
      EXPECT_TRUE(close(parts.back().lse, other.lse, 0)) << c;
      EXPECT_TRUE(close(parts.back().rows, other.rows, 0)) << c;
      EXPECT_TRUE(close(parts.back().received, other.received, 0)) << c;
      EXPECT_EQ(parts.back().top_index, other.top_index) << c;
    }
    std::vector<double> lse(want.lse.size()), out(want.out.size());
    const auto E = static_cast<std::size_t>(c.E);
    for (std::size_t x = 0; x < lse.size(); ++x) {
      const double a = parts[0].lse[x], b = parts[1].lse[x], top = std::max(a, b);
      lse[x] = top == -kInf ? -kInf : top + std::log(std::exp(a - top) + std::exp(b - top));
      for (std::size_t e = x * E; e < (x + 1) * E; ++e) {
        out[e] = top == -kInf ? 0
                              : std::exp(a - lse[x]) * parts[0].out[e] +
                                    std::exp(b - lse[x]) * parts[1].out[e];
      }
    }
    EXPECT_TRUE(close(lse, want.lse, 1e-10)) << c;
    EXPECT_TRUE(close(out, want.out, 1e-10)) << c;
    for (std::size_t x = 0; x < lse.size(); ++x) {
      double entropy = 0;
      for (const Results<double>& part : parts) {
        if (part.lse[x] == -kInf) continue;
        entropy += std::exp(part.lse[x] - lse[x]) * (part.entropy[x] + lse[x] - part.lse[x]);
      }
      EXPECT_NEAR(entropy, want.entropy[x], 1e-9) << c;
    }
  });
}

// Keys, values, mask, bias and factor in another order: the same output, moved weights.
TEST(Identities, TheOrderOfKeysDoesNotMatter) {
  each_case([](Random&, Case c) {
    c.causal = Causal::kNone;
    c.window_before.reset();
    c.window_after.reset();
    c.key_begin.reset();
    c.key_end.reset();
    c.key_lengths = c.packed_keys = false;
    c.alibi = -1;
    c.K = 1;
    const Problem p(c);
    Problem reversed(p);
    const auto M = static_cast<std::size_t>(c.M);
    const auto reverse_keys = [&](FloatArray& to, const FloatArray& from, bool keys_last) {
      const auto [a, b, m, n] = to.shape;
      for (std::int64_t w = 0; w < a; ++w) {
        for (std::int64_t x = 0; x < b; ++x) {
          for (std::int64_t y = 0; y < m; ++y) {
            for (std::int64_t z = 0; z < n; ++z) {
              to.at(w, x, y, z) =
                  keys_last ? from.at(w, x, y, n - 1 - z) : from.at(w, x, m - 1 - y, z);
            }
          }
        }
      }
    };
    reverse_keys(reversed.k, p.k, false);
    reverse_keys(reversed.v, p.v, false);
    if (p.bias.given()) reverse_keys(reversed.bias, p.bias, true);
    const auto last = static_cast<std::size_t>(p.mask_shape[3]);
    for (std::size_t x = 0; x < p.mask.size(); ++x) {
      reversed.mask[x] = p.mask[x / last * last + (last - 1 - x % last)];
    }
    for (std::size_t x = 0; x < p.factor.size(); ++x) {
      reversed.factor[x] = p.factor[x / M * M + (M - 1 - x % M)];
    }
    const Results<double> a = exact(p), b = exact(reversed);
    EXPECT_TRUE(close(b.out, a.out, 1e-11)) << c;
    EXPECT_TRUE(close(b.lse, a.lse, 1e-11)) << c;
    EXPECT_TRUE(close(b.entropy, a.entropy, 1e-10)) << c;
    for (std::size_t x = 0; x < a.received.size(); ++x) {
      EXPECT_NEAR(b.received[x], a.received[x / M * M + (M - 1 - x % M)], 1e-10) << c;
    }
  });
}

// A window is the mask that it stands for.
TEST(Identities, AWindowIsAMask) {
  each_case([](Random& random, Case c) {
    c.key_lengths = c.query_lengths = false;
    c.causal = Causal::kTopLeft;
    c.mask = -1;
    c.window_before = static_cast<std::int64_t>(random.below(12));
    const Problem windowed(c);
    c.window_before.reset();
    Problem masked(c);
    masked.mask_shape = {1, 1, c.N, c.M};
    for (std::int64_t i = 0; i < c.N; ++i) {
      for (std::int64_t j = 0; j < c.M; ++j) {
        masked.mask.push_back({i - j <= *windowed.c.window_before});
      }
    }
    const Results<double> a = exact(windowed), b = exact(masked);
    EXPECT_TRUE(close(a.out, b.out, 0)) << c;
    EXPECT_TRUE(close(a.lse, b.lse, 0)) << c;
    EXPECT_TRUE(close(a.received, b.received, 0)) << c;
  });
}

TEST(Identities, ACausalRowIgnoresLaterKeys) {
  each_case([](Random& random, Case c) {
    c.causal = Causal::kTopLeft;
    Problem p(c);
    const Results<double> before = exact(p);
    const std::int64_t from = 1 + static_cast<std::int64_t>(random.below(std::uint64_t(c.M - 1)));
    for (std::int64_t b = 0; b < c.B; ++b) {
      for (std::int64_t g = 0; g < c.G; ++g) {
        for (std::int64_t j = from; j < p.places.keys(b); ++j) {
          for (std::int64_t d = 0; d < c.D; ++d) p.k.at(b, g, j, d) = 9;
          for (std::int64_t e = 0; e < c.E; ++e) p.v.at(b, g, j, e) = std::nanf("");
        }
      }
    }
    const Results<double> after = exact(p);
    const auto E = static_cast<std::size_t>(c.E);
    each_query(p, [&](auto, auto, auto i, std::size_t x) {
      if (i >= from) return;
      EXPECT_EQ(after.lse[x], before.lse[x]) << c;
      for (std::size_t e = x * E; e < (x + 1) * E; ++e) EXPECT_EQ(after.out[e], before.out[e]) << c;
    });
  });
}

TEST(Identities, TopIsWhatSortingTheRowGives) {
  each_case([](Random&, Case c) {
    const Problem p(c);
    const Results<double> r = exact(p);
    const auto M = static_cast<std::size_t>(c.M), K = static_cast<std::size_t>(c.K);
    each_query(p, [&](auto b, auto h, auto i, std::size_t x) {
      std::vector<std::pair<double, std::int32_t>>
          order;  // (-rank, index): ties to the lower index
      for (std::int64_t j = 0; j < p.places.keys(b); ++j) {
        if (!p.visible(b, h, i, j)) continue;
        const double factor = c.factor ? double(p.factor[p.places.key(b, h, j)]) : 1;
        order.emplace_back(-r.rows[x * M + std::size_t(j)] * factor, static_cast<std::int32_t>(j));
      }
      std::sort(order.begin(), order.end());
      for (std::size_t k = 0; k < K; ++k) {
        const std::int32_t want = k < order.size() ? order[k].second : -1;
        EXPECT_EQ(r.top_index[x * K + k], want) << c;
        EXPECT_EQ(r.top_weight[x * K + k], want < 0 ? 0 : r.rows[x * M + std::size_t(want)]) << c;
      }
    });
  });
}

// ALiBi is the bias that it stands for, counted from each query's own place.
TEST(Identities, AlibiIsABias) {
  each_case([](Random&, Case c) {
    c.alibi = static_cast<int>(c.seed % 2);
    c.bias = -1;
    const Problem sloped(c);
    c.alibi = -1;
    Problem biased(c);  // the same seed: all else is the same up to here
    biased.q = sloped.q;
    biased.factor = sloped.factor;
    biased.received_weights = sloped.received_weights;
    biased.row_queries = sloped.row_queries;
    std::vector<double> bias(std::size_t(c.B * c.H * c.N * c.M), std::nan(""));
    each_query(sloped, [&](auto b, auto h, auto i, std::size_t) {
      const std::int64_t own =
          c.causal == Causal::kTopLeft ? i : i + sloped.key_length(b) - sloped.query_length(b);
      const float slope = sloped.alibi_slopes[std::size_t((sloped.c.alibi == 1 ? b * c.H : 0) + h)];
      for (std::int64_t j = 0; j < sloped.places.keys(b); ++j) {
        bias[std::size_t(((b * c.H + h) * c.N + i) * c.M + j)] =
            -double(slope) * double(j > own ? j - own : own - j);
      }
    });
    Inputs in = biased.inputs();
    in.bias = View(bias.data(), {c.B, c.H, c.N, c.M});
    Results<double> want(biased);
    reference::attend(in, biased.options(), want.outputs());
    const Results<double> got = exact(sloped);
    EXPECT_TRUE(close(got.out, want.out, 1e-12)) << c;
    EXPECT_TRUE(close(got.lse, want.lse, 1e-12)) << c;
    EXPECT_TRUE(close(got.received, want.received, 1e-11)) << c;
  });
}

// A packed sequence gives what it gives alone: every output, every rule, at its place among the others.
TEST(Identities, PackedEqualsEachSequenceAlone) {
  each_case([](Random& random, Case c) {
    c.packed_queries = random.below(3) != 0;
    c.packed_keys = !c.packed_queries || random.below(3) != 0;
    const Problem p(c);
    const Results<double> whole = exact(p);
    const auto M = std::size_t(c.M), E = std::size_t(c.E), K = std::size_t(c.K);
    for (std::int64_t b = 0; b < c.B; ++b) {
      const std::int64_t n = p.places.queries(b), m = p.places.keys(b);
      if (n == 0) {
        for (std::int64_t h = 0; h < c.H; ++h) {
          for (std::int64_t j = 0; j < m; ++j) EXPECT_EQ(whole.received[p.places.key(b, h, j)], 0);
        }
        continue;
      }
      const Sequence alone(p, b);
      Results<double> got(alone.c);
      reference::attend(alone.inputs, alone.options, got.outputs());
      for (std::int64_t h = 0; h < c.H; ++h) {
        for (std::int64_t i = 0; i < n; ++i) {
          const std::size_t x = std::size_t(h * n + i), y = p.places.query(b, h, i);
          const auto expect = [&](const char* name, const auto& a, const auto& of_whole,
                                  std::size_t width, std::size_t count) {
            for (std::size_t e = 0; e < count; ++e) {
              EXPECT_EQ(a[x * count + e], of_whole[y * width + e]) << name << " of " << c;
            }
          };
          expect("out", got.out, whole.out, E, E);
          expect("lse", got.lse, whole.lse, 1, 1);
          expect("entropy", got.entropy, whole.entropy, 1, 1);
          expect("top_index", got.top_index, whole.top_index, K, K);
          expect("top_weight", got.top_weight, whole.top_weight, K, K);
          expect("rows", got.rows, whole.rows, M, std::size_t(m));
          for (std::size_t j = std::size_t(m); j < M; ++j) EXPECT_EQ(whole.rows[y * M + j], 0) << c;
        }
        for (std::int64_t j = 0; j < m; ++j) {
          EXPECT_EQ(got.received[std::size_t(h * m + j)], whole.received[p.places.key(b, h, j)])
              << c;
        }
      }
      if (::testing::Test::HasFailure()) return;
    }
  });
}

// Highlights from the lse of attend are attend's; from the lse of a whole, those of its parts add up.
TEST(Identities, HighlightsFromLseEqualAttends) {
  each_case([](Random& random, Case c) {
    Problem p(c);
    std::vector<std::int32_t> everyone(std::size_t(p.places.row_queries()));
    std::iota(everyone.begin(), everyone.end(), 0);
    p.row_queries = everyone;
    const auto R = std::int64_t(everyone.size());
    Results<double> want(p, {}, R);
    reference::attend(p.inputs(), p.options(), want.outputs());
    View lse = want.outputs().lse;
    if (want.lse.empty()) return;
    const Wanted wanted{.out = false, .lse = false};
    Results<double> got(p, wanted, R);
    reference::highlights(p.inputs(), lse, p.options(), got.outputs());
    EXPECT_TRUE(close(got.rows, want.rows, 1e-10)) << c;
    EXPECT_TRUE(close(got.entropy, want.entropy, 1e-9)) << c;
    EXPECT_TRUE(close(got.received, want.received, 1e-9)) << c;
    EXPECT_TRUE(close(got.top_weight, want.top_weight, 1e-10)) << c;

    const auto cut = std::int64_t(random.below(std::uint64_t(c.M) + 1));
    std::vector<double> rows(want.rows.size()), received(want.received.size()),
        entropy(want.entropy.size());
    for (const bool first : {true, false}) {
      Problem part(p);
      const auto begin = c.key_begin.value_or(0), end = c.key_end.value_or(c.M);
      part.c.key_begin = first ? begin : std::max(begin, cut);
      part.c.key_end =
          first ? std::max(begin, std::min(end, cut)) : std::max(end, *part.c.key_begin);
      Results<double> share(part, wanted, R);
      reference::highlights(part.inputs(), lse, part.options(), share.outputs());
      for (std::size_t x = 0; x < rows.size(); ++x) rows[x] += share.rows[x];
      for (std::size_t x = 0; x < received.size(); ++x) received[x] += share.received[x];
      for (std::size_t x = 0; x < entropy.size(); ++x) entropy[x] += share.entropy[x];
    }
    EXPECT_TRUE(close(rows, want.rows, 1e-10)) << c;
    EXPECT_TRUE(close(received, want.received, 1e-9)) << c;
    EXPECT_TRUE(close(entropy, want.entropy, 1e-9)) << c;
  });
}

// The numbers of a 16-bit call, widened, give the same call in float32 and in float64.
TEST(Identities, SixteenBitNumbersAreReadExactly) {
  each_case([](Random&, Case c) {
    c.type = c.seed % 2 == 0 ? DataType::kBFloat16 : DataType::kFloat16;
    const Problem narrow(c);
    Problem wide(narrow);
    for (FloatArray* array : {&wide.q, &wide.k, &wide.v}) array->type = DataType::kFloat32;
    wide.c.type = DataType::kFloat32;
    const Results<double> a = exact(narrow), b = exact(wide);
    EXPECT_TRUE(same_bits(a.out, b.out)) << c;
    EXPECT_TRUE(same_bits(a.lse, b.lse)) << c;
    EXPECT_TRUE(same_bits(a.received, b.received)) << c;
    EXPECT_EQ(a.top_index, b.top_index) << c;
  });
}

// Doubling a key (writing it twice) doubles its odds against every other key.
TEST(Identities, ADoubledKeyWeighsTwice) {
  const Case once{.N = 4, .M = 5, .D = 3, .E = 2};
  const Case twice{.N = 4, .M = 6, .D = 3, .E = 2};
  const Problem a(once);
  Problem b(twice);
  for (std::int64_t i = 0; i < 4; ++i) {
    for (std::int64_t d = 0; d < 3; ++d) b.q.at(0, 0, i, d) = a.q.at(0, 0, i, d);
  }
  for (std::int64_t j = 0; j < 6; ++j) {  // key 4 again at 5
    for (std::int64_t d = 0; d < 3; ++d)
      b.k.at(0, 0, j, d) = a.k.at(0, 0, std::min<std::int64_t>(j, 4), d);
  }
  const Results<double> single = exact(a), doubled = exact(b);
  EXPECT_INFORMATIVE(single.rows);
  for (std::size_t i = 0; i < 4; ++i) {
    const double odds = single.rows[i * 5 + 4] / single.rows[i * 5];
    const double odds_now =
        (doubled.rows[i * 6 + 4] + doubled.rows[i * 6 + 5]) / doubled.rows[i * 6];
    EXPECT_NEAR(odds_now, 2 * odds, 1e-12 * odds);
  }
}

}  // namespace
}  // namespace fovea::testing
