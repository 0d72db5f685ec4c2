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

namespace fovea::testing {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// With the rows of every query.
Results<double> exact(const Problem& problem) {
  std::vector<std::int32_t> everyone(static_cast<std::size_t>(problem.c.N));
  std::iota(everyone.begin(), everyone.end(), 0);
  Inputs inputs = problem.inputs();
  inputs.row_queries = everyone;
  Results<double> results(problem.c, {}, problem.c.N);
  reference::attend(inputs, problem.options(), results.outputs());
  return results;
}

// Calls f(b, h, i, x) for every query; x counts them.
template <class F>
void each_query(const Case& c, const F& f) {
  std::size_t x = 0;
  for (std::int64_t b = 0; b < c.B; ++b) {
    for (std::int64_t h = 0; h < c.H; ++h) {
      for (std::int64_t i = 0; i < c.N; ++i) f(b, h, i, x++);
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
    each_query(c, [&](auto b, auto h, auto i, std::size_t x) {
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
    each_query(c, [&](auto b, auto h, auto i, std::size_t x) {
      double sum = 0;
      for (std::size_t j = 0; j < M; ++j) {
        const double weight = r.rows[x * M + j];
        sum += weight;
        const bool seen = p.visible(b, h, i, static_cast<std::int64_t>(j));
        EXPECT_TRUE(seen ? weight >= 0 && weight <= 1 : weight == 0) << c;
      }
      EXPECT_NEAR(sum, p.visible_keys(b, h, i) > 0 ? 1 : 0, 1e-12) << c;
    });
  });
}

TEST(Identities, EqualKeysGiveTheMeanAndTheEntropyOfChoosingBlindly) {
  each_case([](Random&, Case c) {
    c.bias = -1;
    Problem p(c);
    for (std::int64_t b = 0; b < c.B; ++b) {
      for (std::int64_t g = 0; g < c.G; ++g) {
        for (std::int64_t j = 1; j < c.M; ++j) {
          for (std::int64_t d = 0; d < c.D; ++d) p.k.at(b, g, j, d) = p.k.at(b, g, 0, d);
        }
      }
    }
    const Results<double> r = exact(p);
    each_query(c, [&](auto b, auto h, auto i, std::size_t x) {
      const auto seen = static_cast<double>(p.visible_keys(b, h, i));
      EXPECT_NEAR(r.entropy[x], seen > 0 ? std::log(seen) : 0, 1e-9) << c;
      double sum = 0;
      for (std::int64_t j = 0; j < c.M; ++j) {
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
    each_query(c, [&](auto b, auto h, auto i, std::size_t x) {
      if (p.visible_keys(b, h, i) == 0) return;
      for (std::int64_t e = 0; e < c.E; ++e) {
        double low = kInf, high = -kInf;
        for (std::int64_t j = 0; j < c.M; ++j) {
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
      double sum = 0, seeing = 0;
      for (std::int64_t j = 0; j < c.M; ++j)
        sum += r.received[static_cast<std::size_t>(head * c.M + j)];
      for (std::int64_t i = 0; i < c.N; ++i) {
        seeing += p.visible_keys(head / c.H, head % c.H, i) > 0 ? 1 : 0;
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
    each_query(c, [&](auto b, auto h, auto, std::size_t x) {
      const auto head = static_cast<std::size_t>(b * c.H + h);
      for (std::size_t j = 0; j < M; ++j) {
        want[head * M + j] +=
            double(p.received_weights[x]) * r.rows[x * M + j] * double(p.factor[head * M + j]);
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
    each_query(c, [&](auto b, auto h, auto i, std::size_t x) {
      double sum = 0;
      for (std::int64_t j = 0; j < c.M; ++j) {
        if (p.visible(b, h, i, j)) {
          sum += std::exp(reference::score(p.inputs(), p.options(), {b, h, i}, j));
        }
      }
      EXPECT_TRUE(close(std::vector{r.lse[x]}, std::vector{std::log(sum)}, 1e-10)) << c;
    });
  });
}

// Keys [0, cut) alone and [cut, M) alone, merged by their lse, are the whole.
TEST(Identities, SplitKeysMergeByLse) {
  each_case([](Random& random, Case c) {
    c.K = 1;
    const Problem whole(c);
    const Results<double> want = exact(whole);
    const auto cut =
        static_cast<std::int64_t>(1 + random.below(static_cast<std::uint64_t>(c.M - 1)));
    std::vector<Results<double>> parts;
    for (const bool first : {true, false}) {
      // Hides the other keys by a full mask, so that every other rule stays as it was.
      Problem part(whole);
      part.mask_shape = {c.B, c.H, c.N, c.M};
      part.mask.clear();
      each_query(c, [&](auto b, auto h, auto i, std::size_t) {
        for (std::int64_t j = 0; j < c.M; ++j) {
          part.mask.push_back({(j < cut) == first && whole.visible(b, h, i, j)});
        }
      });
      parts.push_back(exact(part));
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
  });
}

// Keys, values, mask, bias and factor in another order: the same output, moved weights.
TEST(Identities, TheOrderOfKeysDoesNotMatter) {
  each_case([](Random&, Case c) {
    c.causal = Causal::kNone;
    c.window_before.reset();
    c.window_after.reset();
    c.key_lengths = false;
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
        for (std::int64_t j = from; j < c.M; ++j) {
          for (std::int64_t d = 0; d < c.D; ++d) p.k.at(b, g, j, d) = 9;
          for (std::int64_t e = 0; e < c.E; ++e) p.v.at(b, g, j, e) = std::nanf("");
        }
      }
    }
    const Results<double> after = exact(p);
    const auto E = static_cast<std::size_t>(c.E);
    each_query(c, [&](auto, auto, auto i, std::size_t x) {
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
    each_query(c, [&](auto b, auto h, auto i, std::size_t x) {
      std::vector<std::pair<double, std::int32_t>>
          order;  // (-rank, index): ties to the lower index
      for (std::size_t j = 0; j < M; ++j) {
        if (!p.visible(b, h, i, static_cast<std::int64_t>(j))) continue;
        const double factor = c.factor ? double(p.factor[std::size_t(b * c.H + h) * M + j]) : 1;
        order.emplace_back(-r.rows[x * M + j] * factor, static_cast<std::int32_t>(j));
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
