// merge against the formula in fp64: the parts are made from scores by hand here, so that nothing of the
// engine is needed to know what is right. The engine's own parts come last.
#include "fovea/merge.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "base/random.h"
#include "fovea/error.h"
#include "support/case.h"
#include "support/compare.h"

namespace fovea::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr float kFloatInfinity = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

// Scores and values of a batch, dense (all lengths equal) or packed. A score of -inf: a hidden key.
struct Scores {
  Scores(bool is_packed, std::int64_t heads, std::int64_t width, std::vector<std::int32_t> queries,
         std::vector<std::int32_t> keys, double spread = 2)
      : packed(is_packed), H(heads), E(width), n(std::move(queries)), m(std::move(keys)) {
    Random random(7);
    query_offsets = {0};
    key_offsets = {0};
    for (std::size_t b = 0; b < n.size(); ++b) {
      query_offsets.push_back(query_offsets.back() + n[b]);
      key_offsets.push_back(key_offsets.back() + m[b]);
    }
    scores.resize(rows());
    const auto S = static_cast<std::size_t>(key_offsets.back() * H);
    values.resize(S * static_cast<std::size_t>(E));
    factor.resize(S);
    for (double& x : values) x = random.normal();
    for (float& x : factor) x = static_cast<float>(0.1 + random.uniform());
    each_row([&](std::size_t b, std::int64_t, std::int64_t, std::size_t row) {
      for (std::int32_t j = 0; j < m[b]; ++j) {
        scores[row].push_back(random.below(5) == 0 ? -kInfinity : spread * random.normal());
      }
    });
  }

  std::size_t rows() const { return static_cast<std::size_t>(query_offsets.back() * H); }
  std::int64_t B() const { return static_cast<std::int64_t>(n.size()); }

  // f(b, h, i, where the row is stored)
  template <class F>
  void each_row(const F& f) const {
    for (std::size_t b = 0; b < n.size(); ++b) {
      for (std::int64_t h = 0; h < H; ++h) {
        for (std::int64_t i = 0; i < n[b]; ++i) {
          const std::int64_t dense = (static_cast<std::int64_t>(b) * H + h) * n[0] + i;
          const std::int64_t row = packed ? (query_offsets[b] + i) * H + h : dense;
          f(b, h, i, static_cast<std::size_t>(row));
        }
      }
    }
  }

  // Where key j of sequence b lies in factor, and in values.
  std::size_t key(std::size_t b, std::int64_t h, std::int64_t j) const {
    const std::int64_t dense = (static_cast<std::int64_t>(b) * H + h) * m[0] + j;
    return static_cast<std::size_t>(packed ? (key_offsets[b] + j) * H + h : dense);
  }

  // [B, H, N] or [T, H], and the same with a last size.
  template <class T>
  MutableView view(std::vector<T>& data) const {
    if (packed) return MutableView(data.data(), {query_offsets.back(), H});
    return MutableView(data.data(), {B(), H, n[0]});
  }
  template <class T>
  MutableView view(std::vector<T>& data, std::int64_t last) const {
    if (packed) return MutableView(data.data(), {query_offsets.back(), H, last});
    return MutableView(data.data(), {B(), H, n[0], last});
  }

  Inputs with_factor() const {
    Inputs inputs;
    if (packed) {
      inputs.factor = View(factor.data(), {key_offsets.back(), H});
      inputs.query_offsets = query_offsets;
      inputs.key_offsets = key_offsets;
    } else {
      inputs.factor = View(factor.data(), {B(), H, m[0]});
    }
    return inputs;
  }

  bool packed;
  std::int64_t H, E;
  std::vector<std::int32_t> n, m, query_offsets, key_offsets;
  std::vector<std::vector<double>> scores;  // [rows] of m
  std::vector<double> values;               // [keys, E]
  std::vector<float> factor;                // [keys]
};

// Outputs over a part of the keys. T is double for the formula, float for what merge takes; Out is the
// type of out.
template <class T, class Out = T>
struct Rows {
  Rows(const Scores& s, std::int64_t top)
      : K(top),
        out(s.rows() * static_cast<std::size_t>(s.E)),
        lse(s.rows(), T(kNan)),
        entropy(s.rows(), T(kNan)),
        top_weight(s.rows() * static_cast<std::size_t>(top), T(kNan)),
        top_index(s.rows() * static_cast<std::size_t>(top), -77) {
    for (Out& x : out) x = Out(kNan);
  }

  Outputs outputs(const Scores& s) {
    Outputs to;
    to.out = s.view(out, s.E);
    to.lse = s.view(lse);
    to.entropy = s.view(entropy);
    if (K > 0) to.top_index = s.view(top_index, K);
    if (K > 0) to.top_weight = s.view(top_weight, K);
    return to;
  }

  std::int64_t K;
  std::vector<Out> out;
  std::vector<T> lse, entropy, top_weight;
  std::vector<std::int32_t> top_index;
};

using Part = Rows<float>;

// The contract of attend, over the keys [begin, end), in fp64.
Rows<double> formula(const Scores& s, std::int64_t begin, std::int64_t end, std::int64_t K,
                     bool with_factor = false) {
  Rows<double> r(s, K);
  s.each_row([&](std::size_t b, std::int64_t h, std::int64_t, std::size_t row) {
    const std::vector<double>& score = s.scores[row];
    std::vector<double> p(score.size(), 0);
    std::vector<std::int32_t> seen;
    double sum = 0;
    for (std::int64_t j = begin; j < std::min<std::int64_t>(end, s.m[b]); ++j) {
      const auto x = static_cast<std::size_t>(j);
      if (score[x] == -kInfinity) continue;
      seen.push_back(static_cast<std::int32_t>(j));
      sum += p[x] = std::exp(score[x]);
    }
    for (double& x : p) x /= seen.empty() ? 1 : sum;
    r.lse[row] = seen.empty() ? -kInfinity : std::log(sum);
    r.entropy[row] = 0;
    for (const double x : p) r.entropy[row] -= x > 0 ? x * std::log(x) : 0;
    for (std::int64_t e = 0; e < s.E; ++e) {
      double o = 0;
      for (const std::int32_t j : seen) {
        o += p[static_cast<std::size_t>(j)] *
             s.values[s.key(b, h, j) * static_cast<std::size_t>(s.E) + static_cast<std::size_t>(e)];
      }
      r.out[row * static_cast<std::size_t>(s.E) + static_cast<std::size_t>(e)] = o;
    }
    const auto rank = [&](std::int32_t j) {
      return p[static_cast<std::size_t>(j)] *
             (with_factor ? static_cast<double>(s.factor[s.key(b, h, j)]) : 1);
    };
    std::stable_sort(seen.begin(), seen.end(),
                     [&](std::int32_t x, std::int32_t y) { return rank(x) > rank(y); });
    for (std::int64_t k = 0; k < K; ++k) {
      const auto to = row * static_cast<std::size_t>(K) + static_cast<std::size_t>(k);
      const bool some = k < static_cast<std::int64_t>(seen.size());
      r.top_index[to] = some ? seen[static_cast<std::size_t>(k)] : -1;
      r.top_weight[to] = some ? p[static_cast<std::size_t>(r.top_index[to])] : 0;
    }
  });
  return r;
}

template <class Out = float>
Rows<float, Out> part_of(const Scores& s, std::int64_t begin, std::int64_t end, std::int64_t K,
                         bool with_factor = false) {
  const Rows<double> exact = formula(s, begin, end, K, with_factor);
  Rows<float, Out> part(s, K);
  const auto to_float = [](const std::vector<double>& from, std::vector<float>& to) {
    std::transform(from.begin(), from.end(), to.begin(), [](double x) { return float(x); });
  };
  std::transform(exact.out.begin(), exact.out.end(), part.out.begin(),
                 [](double x) { return Out(static_cast<float>(x)); });
  to_float(exact.lse, part.lse);
  to_float(exact.entropy, part.entropy);
  to_float(exact.top_weight, part.top_weight);
  part.top_index = exact.top_index;
  return part;
}

// Parts that begin where the one before ends.
std::vector<Part> parts_of(const Scores& s, const std::vector<std::int64_t>& cuts, std::int64_t K,
                           bool with_factor = false) {
  std::vector<Part> parts;
  for (std::size_t a = 0; a + 1 < cuts.size(); ++a) {
    parts.push_back(part_of(s, cuts[a], cuts[a + 1], K, with_factor));
  }
  return parts;
}

template <class P>
std::vector<Outputs> outputs_of(const Scores& s, std::vector<P>& parts) {
  std::vector<Outputs> outputs;
  for (P& part : parts) outputs.push_back(part.outputs(s));
  return outputs;
}

Part merged_from(const Scores& s, std::vector<Part>& parts, int threads = 1,
                 const Inputs& inputs = {}) {
  Part merged(s, parts.at(0).K);
  Threads pool(threads);
  merge(outputs_of(s, parts), merged.outputs(s), pool, inputs);
  return merged;
}

void expect_same(const Part& a, const Part& b) {
  EXPECT_TRUE(same_bits(a.out, b.out));
  EXPECT_TRUE(same_bits(a.lse, b.lse));
  EXPECT_TRUE(same_bits(a.entropy, b.entropy));
  EXPECT_TRUE(same_bits(a.top_weight, b.top_weight));
  EXPECT_EQ(a.top_index, b.top_index);
}

void expect_close(const Part& got, const Rows<double>& want) {
  EXPECT_INFORMATIVE(want.out);
  EXPECT_INFORMATIVE(want.entropy);
  EXPECT_TRUE(close(got.out, want.out, 2e-6)) << "out";
  EXPECT_TRUE(close(got.lse, want.lse, 1e-6)) << "lse";
  EXPECT_TRUE(close(got.entropy, want.entropy, 2e-6)) << "entropy";
  EXPECT_TRUE(close(got.top_weight, want.top_weight, 1e-6)) << "top_weight";
  EXPECT_EQ(got.top_index, want.top_index);
}

const Scores kDense(false, 3, 7, {5, 5}, {40, 40});
const Scores kPacked(true, 3, 7, {4, 0, 1, 9}, {40, 11, 3, 25});

const std::vector<std::vector<std::int64_t>> kCuts = {
    {0, 40}, {0, 1, 40}, {0, 20, 40}, {0, 13, 13, 27, 40}, {0, 0, 5, 6, 7, 8, 30, 39, 40, 40}};

TEST(Merge, PartsAreTheWhole) {
  for (const Scores* s : {&kDense, &kPacked}) {
    for (const auto& cuts : kCuts) {
      SCOPED_TRACE((s->packed ? "packed, parts " : "dense, parts ") +
                   std::to_string(cuts.size() - 1));
      std::vector<Part> parts = parts_of(*s, cuts, 6);
      expect_close(merged_from(*s, parts), formula(*s, 0, 40, 6));
    }
  }
}

TEST(Merge, TopRankedWithAFactor) {
  for (const Scores* s : {&kDense, &kPacked}) {
    for (const auto& cuts : kCuts) {
      std::vector<Part> parts = parts_of(*s, cuts, 6, true);
      const Rows<double> want = formula(*s, 0, 40, 6, true);
      EXPECT_NE(want.top_index, formula(*s, 0, 40, 6).top_index);  // the factor matters
      expect_close(merged_from(*s, parts, 1, s->with_factor()), want);
    }
  }
}

// Queries packed over dense keys, and the other way round.
TEST(Merge, FactorsOfTheOtherLayout) {
  const Scores queries(true, 2, 4, {3, 0, 2}, {12, 12, 12});
  std::vector<Part> parts = parts_of(queries, {0, 5, 12}, 4, true);
  std::vector<float> dense(queries.factor.size());
  queries.each_row([&](std::size_t b, std::int64_t h, std::int64_t, std::size_t) {
    for (std::int64_t j = 0; j < 12; ++j) {
      dense[(b * 2 + std::size_t(h)) * 12 + std::size_t(j)] = queries.factor[queries.key(b, h, j)];
    }
  });
  Inputs inputs;
  inputs.factor = View(dense.data(), {3, 2, 12});
  inputs.query_offsets = queries.query_offsets;
  expect_close(merged_from(queries, parts, 1, inputs), formula(queries, 0, 12, 4, true));

  const Scores keys(false, 2, 4, {3, 3}, {12, 12});
  std::vector<Part> others = parts_of(keys, {0, 5, 12}, 4, true);
  std::vector<float> packed(keys.factor.size());
  for (std::size_t b = 0; b < 2; ++b) {
    for (std::int64_t h = 0; h < 2; ++h) {
      for (std::int64_t j = 0; j < 12; ++j) {
        packed[(b * 12 + std::size_t(j)) * 2 + std::size_t(h)] = keys.factor[keys.key(b, h, j)];
      }
    }
  }
  inputs = {};
  inputs.factor = View(packed.data(), {24, 2});
  inputs.key_offsets = keys.key_offsets;
  expect_close(merged_from(keys, others, 1, inputs), formula(keys, 0, 12, 4, true));
}

TEST(Merge, ScoresFarApart) {
  for (const double spread : {0.01, 30.0, 150.0}) {  // exp of the largest is near fp64's end
    const Scores s(false, 2, 5, {40, 40}, {30, 30}, spread);
    std::vector<Part> parts = parts_of(s, {0, 7, 8, 22, 30}, 5);
    const Part got = merged_from(s, parts);
    const Rows<double> want = formula(s, 0, 30, 5);
    const double off = 6e-8 * 5 * spread;  // lse is rounded: |lse| up to some 4 spreads
    EXPECT_TRUE(close(got.out, want.out, 3e-6 + 6 * off));
    EXPECT_TRUE(close(got.lse, want.lse, 1e-6 + off));
    EXPECT_TRUE(close(got.entropy, want.entropy, 3e-6 + 6 * off));
    EXPECT_TRUE(close(got.top_weight, want.top_weight, 1e-6 + off));
    for (std::size_t x = 0; spread > 1 && x < want.top_index.size(); ++x) {
      // A weight that its part could not store says nothing about the order.
      if (want.top_weight[x] > 1e-36) {
        EXPECT_EQ(got.top_index[x], want.top_index[x]);
      }
    }
  }
}

TEST(Merge, WideRows) {  // out is added up some hundred elements at a time
  for (const std::int64_t E : {1, 255, 256, 257, 700}) {
    const Scores s(false, 1, E, {3}, {20});
    std::vector<Part> parts = parts_of(s, {0, 6, 20}, 2);
    expect_close(merged_from(s, parts), formula(s, 0, 20, 2));
  }
}

template <class In, class Out>
void check_types() {
  const double last_place = std::is_same_v<Out, float>      ? 0x1p-23
                            : std::is_same_v<Out, BFloat16> ? 0x1p-8
                                                            : 0x1p-11;
  std::vector<Rows<float, In>> parts;
  parts.push_back(part_of<In>(kPacked, 0, 9, 0));
  parts.push_back(part_of<In>(kPacked, 9, 40, 0));
  // What is rounded already counts as it stands.
  std::vector<double> want(parts[0].out.size());
  for (std::size_t x = 0; x < want.size(); ++x) {
    const std::size_t row = x / 7;
    const double whole =
        std::log(std::exp(double(parts[0].lse[row])) + std::exp(double(parts[1].lse[row])));
    for (const auto& part : parts) {
      if (whole != -kInfinity) {
        want[x] += std::exp(double(part.lse[row]) - whole) * double(float(part.out[x]));
      }
    }
  }
  Rows<float, Out> merged(kPacked, 0);
  Threads one(1);
  merge(outputs_of(kPacked, parts), merged.outputs(kPacked), one);
  std::vector<double> got(want.size());
  for (std::size_t x = 0; x < got.size(); ++x) {
    got[x] = double(float(merged.out[x]));
    EXPECT_LE(error_of(got[x], want[x]), 1e-6 + last_place * std::abs(want[x]));
  }
  EXPECT_INFORMATIVE(want);
  EXPECT_TRUE(close(got, want, 3 * last_place + 1e-6));
}

TEST(Merge, OutOfEveryType) {
  check_types<float, BFloat16>();
  check_types<float, Float16>();
  check_types<BFloat16, float>();
  check_types<BFloat16, BFloat16>();
  check_types<Float16, float>();
  check_types<Float16, Float16>();
  check_types<Float16, BFloat16>();
}

TEST(Merge, OnePartAloneKeepsItsBits) {
  std::vector<Part> parts = parts_of(kDense, {0, 40}, 3);
  parts[0].out[3] = -0.0F;
  parts[0].out[4] = kFloatInfinity;
  parts[0].lse[2] = 1e6F;
  expect_same(merged_from(kDense, parts), parts[0]);
  // And beside parts that saw no key.
  parts.push_back(part_of(kDense, 0, 0, 3));
  parts.insert(parts.begin(), part_of(kDense, 0, 0, 3));
  expect_same(merged_from(kDense, parts), parts[1]);
}

TEST(Merge, AQueryThatSeesNoKeyAnywhere) {
  std::vector<Part> parts = parts_of(kPacked, {0, 0, 0, 0}, 4);
  const Part got = merged_from(kPacked, parts);
  for (const float x : got.out) EXPECT_TRUE(x == 0 && !std::signbit(x));
  for (const float x : got.lse) EXPECT_EQ(x, -kFloatInfinity);
  for (const float x : got.entropy) EXPECT_EQ(x, 0);
  for (const float x : got.top_weight) EXPECT_EQ(x, 0);
  for (const std::int32_t x : got.top_index) EXPECT_EQ(x, -1);
}

// One query, one head: parts by hand.
Part by_hand(const Scores& s, float lse, std::vector<float> out,
             std::vector<std::pair<std::int32_t, float>> top, float entropy = 0) {
  Part part(s, static_cast<std::int64_t>(top.size()));
  part.lse[0] = lse;
  part.entropy[0] = entropy;
  part.out = std::move(out);
  for (std::size_t k = 0; k < top.size(); ++k) {
    part.top_index[k] = top[k].first;
    part.top_weight[k] = top[k].second;
  }
  return part;
}

const Scores kOne(false, 1, 2, {1}, {10});

TEST(Merge, NothingIsReadOfAPartThatSawNoKey) {
  const Part seen = by_hand(kOne, 1, {3, 4}, {{2, 0.75F}, {1, 0.25F}}, 0.5F);
  std::vector<Part> parts = {
      by_hand(kOne, -kFloatInfinity, {kNan, kNan}, {{9, 1.0F}, {5, kNan}}, kNan), seen};
  expect_same(merged_from(kOne, parts), seen);
  parts[0].top_index = {1 << 30, 1 << 30};  // beyond every factor
  expect_same(merged_from(kOne, parts, 1, kOne.with_factor()), seen);
}

TEST(Merge, NanReachesTheOutput) {
  for (const float lse : {kNan, kFloatInfinity}) {
    for (const int at : {0, 1, 2}) {
      for (const float others : {1.0F, -kFloatInfinity}) {
        std::vector<Part> parts(3, by_hand(kOne, others, {3, 4}, {{2, 0.75F}}, 0.5F));
        parts[std::size_t(at)].lse[0] = lse;
        const Part got = merged_from(kOne, parts);
        EXPECT_TRUE(std::isnan(got.out[0]) && std::isnan(got.out[1]));
        EXPECT_TRUE(std::isnan(got.lse[0]) && std::isnan(got.entropy[0]));
        EXPECT_TRUE(std::isnan(got.top_weight[0]));
      }
    }
  }
  // In out, even of a part whose weight is less than any float; and only where it is.
  for (const int at : {0, 1}) {
    std::vector<Part> parts = {by_hand(kOne, 5, {3, 4}, {{2, 0.75F}}, 0.5F),
                               by_hand(kOne, -900, {3, 4}, {{7, 0.75F}}, 0.5F)};
    parts[std::size_t(at)].out[1] = kNan;
    Part got = merged_from(kOne, parts);
    EXPECT_TRUE(std::isnan(got.out[1]));
    EXPECT_EQ(got.out[0], 3);
    EXPECT_EQ(got.lse[0], 5);
    parts[std::size_t(at)].entropy[0] = kNan;
    got = merged_from(kOne, parts);
    EXPECT_TRUE(std::isnan(got.entropy[0]));
    EXPECT_EQ(got.top_index[0], 2);
  }
}

TEST(Merge, TiesGoToTheEarlierPartAndTheLowerIndex) {
  // Equal lse: every weight is halved, exactly.
  std::vector<Part> parts = {by_hand(kOne, 0, {1, 1}, {{1, 0.25F}, {3, 0.25F}, {0, 0.125F}}),
                             by_hand(kOne, 0, {1, 1}, {{4, 0.5F}, {6, 0.25F}, {7, 0.125F}})};
  EXPECT_EQ(merged_from(kOne, parts).top_index, (std::vector<std::int32_t>{4, 1, 3}));
  parts[1].top_weight[0] = 0.25F;
  EXPECT_EQ(merged_from(kOne, parts).top_index, (std::vector<std::int32_t>{1, 3, 4}));
  EXPECT_EQ(merged_from(kOne, parts).top_weight, (std::vector<float>{0.125F, 0.125F, 0.125F}));
  // Fewer keys than K: the other part fills up, and -1, 0 the rest.
  parts = {by_hand(kOne, 0, {1, 1}, {{1, 1.0F}, {-1, 0.0F}, {-1, 0.0F}, {-1, 0.0F}}),
           by_hand(kOne, 0, {1, 1}, {{4, 0.75F}, {6, 0.25F}, {-1, 0.0F}, {-1, 0.0F}})};
  EXPECT_EQ(merged_from(kOne, parts).top_index, (std::vector<std::int32_t>{1, 4, 6, -1}));
  EXPECT_EQ(merged_from(kOne, parts).top_weight, (std::vector<float>{0.5F, 0.375F, 0.125F, 0}));
}

TEST(Merge, WeightsThatAreStoredEqualAreTies) {
  // A third of p and of the next float: often the same float.
  float p = 0.5F;
  float next = 0;
  const double third = 1.0 / 3;
  do {
    p = std::nextafter(p, 1.0F);
    next = std::nextafter(p, 1.0F);
  } while (static_cast<float>(third * double(p)) != static_cast<float>(third * double(next)));
  std::vector<Part> parts = {by_hand(kOne, 0, {1, 1}, {{1, p}}),
                             by_hand(kOne, 0, {1, 1}, {{4, next}}),
                             by_hand(kOne, 0, {1, 1}, {{7, 0.0F}})};
  EXPECT_EQ(merged_from(kOne, parts).top_index[0], 1);
}

TEST(Merge, WeightsTooSmallToStoreAreStillRanked) {
  std::vector<Part> parts = {by_hand(kOne, 0, {1, 1}, {{1, 1.0F}, {-1, 0.0F}}),
                             by_hand(kOne, -200, {1, 1}, {{4, 0.5F}, {5, 0.5F}}),
                             by_hand(kOne, -150, {1, 1}, {{7, 0.5F}, {8, 0.5F}})};
  const Part got = merged_from(kOne, parts);
  EXPECT_EQ(got.top_index, (std::vector<std::int32_t>{1, 7}));
  EXPECT_EQ(got.top_weight, (std::vector<float>{1, 0}));
}

TEST(Merge, InPlaceOfAnyPart) {
  for (const Scores* s : {&kDense, &kPacked}) {
    std::vector<Part> parts = parts_of(*s, {0, 11, 20, 40}, 6, true);
    const Part want = merged_from(*s, parts, 1, s->with_factor());
    for (std::size_t a = 0; a < parts.size(); ++a) {
      std::vector<Part> copies = parts;
      const std::vector<Outputs> outputs = outputs_of(*s, copies);
      Threads two(2);
      merge(outputs, outputs[a], two, s->with_factor());
      expect_same(copies[a], want);
    }
  }
}

TEST(Merge, PartsCanBeMergedInSteps) {
  std::vector<Part> parts = parts_of(kDense, {0, 11, 20, 40}, 6);
  std::vector<Part> late = {parts[1], parts[2]};
  std::vector<Part> both = {parts[0], merged_from(kDense, late)};
  expect_close(merged_from(kDense, both), formula(kDense, 0, 40, 6));
}

TEST(Merge, OnlyWhatIsGivenIsMergedOrAsked) {
  std::vector<Part> parts = parts_of(kDense, {0, 11, 40}, 6);
  const Part want = merged_from(kDense, parts);
  const auto without_others = [&](MutableView Outputs::*which) {
    std::vector<Outputs> some;
    for (const Outputs& from : outputs_of(kDense, parts)) {
      Outputs to;
      to.lse = from.lse;
      to.*which = from.*which;
      some.push_back(to);
    }
    return some;
  };
  Threads one(1);
  Part got(kDense, 6);
  for (MutableView Outputs::*which : {&Outputs::out, &Outputs::entropy, &Outputs::lse}) {
    Outputs to;
    to.*which = got.outputs(kDense).*which;
    merge(without_others(which), to, one);
  }
  EXPECT_TRUE(same_bits(got.out, want.out));
  EXPECT_TRUE(same_bits(got.entropy, want.entropy));
  EXPECT_TRUE(same_bits(got.lse, want.lse));
  for (const std::int32_t x : got.top_index) EXPECT_EQ(x, -77);
}

// Rows apart from each other, in another order: nothing is written beside them.
TEST(Merge, AnyStrides) {
  std::vector<Part> parts = parts_of(kDense, {0, 11, 40}, 6);
  const Part want = merged_from(kDense, parts);
  // [B, N, H, wider]: 2 x 5 x 3 rows of up to 10 elements.
  struct Wide {
    std::vector<float> out = std::vector<float>(300, 77), lse = out, top_weight = out;
    std::vector<std::int32_t> top_index = std::vector<std::int32_t>(300, 77);
    Outputs outputs() {
      Outputs to;
      to.out = MutableView(out.data(), {2, 3, 5, 7}, {150, 10, 30, 1});
      to.lse = MutableView(lse.data(), {2, 3, 5}, {150, 10, 30});
      to.top_index = MutableView(top_index.data(), {2, 3, 5, 6}, {150, 10, 30, 1});
      to.top_weight = MutableView(top_weight.data(), {2, 3, 5, 6}, {150, 10, 30, 1});
      return to;
    }
  };
  std::vector<Wide> wide(3);
  const auto each = [&](const auto& f) {
    for (std::int64_t row = 0; row < 30; ++row) {
      const std::int64_t b = row / 15, h = row / 5 % 3, i = row % 5;
      f(static_cast<std::size_t>(row), static_cast<std::size_t>(b * 150 + h * 10 + i * 30));
    }
  };
  for (std::size_t a = 0; a < 2; ++a) {
    each([&](std::size_t row, std::size_t to) {
      std::copy_n(&parts[a].out[row * 7], 7, &wide[a].out[to]);
      std::copy_n(&parts[a].top_index[row * 6], 6, &wide[a].top_index[to]);
      std::copy_n(&parts[a].top_weight[row * 6], 6, &wide[a].top_weight[to]);
      wide[a].lse[to] = parts[a].lse[row];
    });
  }
  const std::vector<Outputs> from = {wide[0].outputs(), wide[1].outputs()};
  Threads one(1);
  merge(from, wide[2].outputs(), one);
  each([&](std::size_t row, std::size_t at) {
    for (std::size_t x = 0; x < 10; ++x) {
      EXPECT_EQ(wide[2].out[at + x], x < 7 ? want.out[row * 7 + x] : 77);
      EXPECT_EQ(wide[2].lse[at + x], x < 1 ? want.lse[row] : 77);
      EXPECT_EQ(wide[2].top_index[at + x], x < 6 ? want.top_index[row * 6 + x] : 77);
      EXPECT_EQ(wide[2].top_weight[at + x], x < 6 ? want.top_weight[row * 6 + x] : 77);
    }
  });
}

TEST(Merge, TheSameBitsForAnyNumberOfThreads) {
  const Scores dense(false, 8, 40, {70, 70}, {30, 30});
  const Scores packed(true, 8, 40, {70, 1, 0, 90}, {30, 30, 30, 30});
  for (const Scores* s : {&dense, &packed}) {
    std::vector<Part> parts = parts_of(*s, {0, 3, 17, 30}, 5, true);
    const Part want = merged_from(*s, parts, 1, s->with_factor());
    EXPECT_INFORMATIVE(want.out);
    for (const int threads : {1, 2, 3, 7}) {
      expect_same(merged_from(*s, parts, threads, s->with_factor()), want);
    }
  }
}

TEST(Merge, NothingToDo) {
  Threads one(1);
  const Scores none(false, 0, 3, {2}, {4});
  std::vector<Part> parts = parts_of(none, {0, 1, 4}, 2);
  EXPECT_NO_THROW(merged_from(none, parts));
  std::vector<Part> some = parts_of(kDense, {0, 1, 40}, 2);
  EXPECT_NO_THROW(merge(outputs_of(kDense, some), {}, one));
}

// --- the engine's parts -----------------------------------------------------------------------------------

using Attended = Results<float>;

// What merge can put together.
constexpr Wanted kMergeable{.received = false, .rows = false};

void expect_close(const Attended& got, const Attended& want) {
  EXPECT_INFORMATIVE(want.out);
  EXPECT_TRUE(close(got.out, want.out, 2e-6)) << "out";
  EXPECT_TRUE(close(got.lse, want.lse, 1e-6)) << "lse";
  EXPECT_TRUE(close(got.entropy, want.entropy, 3e-6)) << "entropy";
  EXPECT_TRUE(close(got.top_weight, want.top_weight, 1e-6)) << "top_weight";
  EXPECT_EQ(got.top_index, want.top_index);
}

void expect_same(const Attended& a, const Attended& b) {
  EXPECT_TRUE(same_bits(a.out, b.out));
  EXPECT_TRUE(same_bits(a.lse, b.lse));
  EXPECT_TRUE(same_bits(a.entropy, b.entropy));
  EXPECT_TRUE(same_bits(a.top_weight, b.top_weight));
  EXPECT_EQ(a.top_index, b.top_index);
}

// Attends to each part by `attend_part`(begin, end, outputs, threads), and merges.
template <class F>
Attended merged_parts(const Problem& problem, const std::vector<std::int64_t>& cuts, int threads,
                      const F& attend_part) {
  Threads pool(threads);
  std::vector<Attended> parts(cuts.size() - 1, Attended(problem.c, kMergeable));
  std::vector<Outputs> outputs;
  for (std::size_t a = 0; a < parts.size(); ++a) {
    outputs.push_back(parts[a].outputs());
    attend_part(cuts[a], cuts[a + 1], parts[a], pool);
  }
  Attended merged(problem.c, kMergeable);
  merge(outputs, merged.outputs(), pool, problem.inputs());
  return merged;
}

// Cuts k, v and what goes with them: any engine can do that, where no rule counts from the last key.
void attend_slice(const Problem& problem, std::int64_t begin, std::int64_t end, Attended& part,
                  Threads& pool) {
  Inputs inputs = problem.inputs();
  const auto cut = [&](View& view, int dim) {
    if (!view.given() || view.size(dim) == 1) return;
    view.data = static_cast<const char*>(view.data) +
                begin * view.step(dim) * static_cast<std::int64_t>(size_of(view.type));
    view.shape[static_cast<std::size_t>(dim)] = end - begin;
  };
  cut(inputs.k, 2);
  cut(inputs.v, 2);
  cut(inputs.mask, 3);
  cut(inputs.bias, 3);
  cut(inputs.factor, 2);
  attend(inputs, problem.options(), part.outputs(), pool);
  for (std::int32_t& index : part.top_index) index += index < 0 ? 0 : static_cast<int>(begin);
}

TEST(MergeEngine, SlicesOfKeysAreTheWhole) {
  for (const Case& c : {Case{.B = 2, .H = 4, .G = 2, .N = 20, .M = 90, .D = 16, .E = 24, .K = 5},
                        Case{.B = 2, .H = 4, .G = 1, .N = 1, .M = 90, .D = 16, .E = 24, .K = 5},
                        Case{.B = 2,
                        .H = 4,
                        .G = 2,
                        .N = 20,
                        .M = 90,
                        .D = 16,
                        .E = 24,
                        .layout = Layout::kPositionsFirst,
                        .mask = 15,
                        .bias = 12,
                        .bias_hides = true,
                        .factor = true,
                        .K = 5}}) {
    const Problem problem(c);
    const Attended whole = engine(problem, kMergeable);
    const std::vector<std::int64_t> cuts = {0, 1, 30, 33, 90};
    const auto slice = [&](std::int64_t begin, std::int64_t end, Attended& part, Threads& pool) {
      attend_slice(problem, begin, end, part, pool);
    };
    const Attended merged = merged_parts(problem, cuts, 1, slice);
    expect_close(merged, whole);
    for (const int threads : {2, 3, 7}) {
      expect_same(merged_parts(problem, cuts, threads, slice), merged);
    }
    if (::testing::Test::HasFailure()) ADD_FAILURE() << "again: " << c;
  }
}

// key_begin and key_end: the rules that count from the last key hold as for the whole.
TEST(MergeEngine, RangesOfKeysAreTheWhole) {
  const Case plain{.B = 2, .H = 4, .G = 2, .N = 40, .M = 90, .D = 16, .E = 24, .K = 5};
  std::vector<Case> cases(6, plain);
  cases[0].causal = Causal::kBottomRight;
  cases[1].causal = Causal::kTopLeft;
  cases[2].causal = Causal::kBottomRight;
  cases[2].window_before = 25;
  cases[3].window_before = 12;
  cases[3].window_after = 7;
  cases[4].causal = Causal::kBottomRight;
  cases[4].window_before = 40;
  cases[4].key_lengths = cases[4].query_lengths = cases[4].factor = true;
  cases[5].N = 1;
  cases[5].window_before = 60;
  cases[5].key_lengths = true;
  for (const Case& c : cases) {
    const Problem problem(c);
    const Attended whole = engine(problem, kMergeable);
    const std::vector<std::int64_t> cuts = {0, 1, 30, 33, 90};
    const auto range = [&](std::int64_t begin, std::int64_t end, Attended& part, Threads& pool) {
      Options options = problem.options();
      options.key_begin = begin;
      options.key_end = end;
      attend(problem.inputs(), options, part.outputs(), pool);
    };
    const Attended merged = merged_parts(problem, cuts, 1, range);
    expect_close(merged, whole);
    for (const int threads : {2, 3, 7}) {
      expect_same(merged_parts(problem, cuts, threads, range), merged);
    }
    if (::testing::Test::HasFailure()) ADD_FAILURE() << "again: " << c;
  }
}

// Packed queries over the keys of a padded batch, and over packed keys: the bits of the padded call.
TEST(MergeEngine, PackedBatchesAreMergedAsPaddedOnes) {
  const Case c{.B = 3,
               .H = 4,
               .G = 2,
               .N = 12,
               .M = 70,
               .D = 16,
               .E = 8,
               .causal = Causal::kBottomRight,
               .factor = true,
               .K = 4};
  const Problem problem(c);
  const std::vector<std::int32_t> queries = {12, 0, 10}, keys = {70, 5, 33};
  const std::vector<std::int64_t> cuts = {0, 4, 40, 70};
  Threads two(2);
  const auto merge_into = [&](const Inputs& in, const std::vector<Outputs>& rooms) {
    std::vector<Outputs> outputs;
    for (std::size_t a = 0; a < 3; ++a) {
      outputs.push_back(rooms[a]);
      attend(in, {.causal = c.causal, .key_begin = cuts[a], .key_end = cuts[a + 1]}, rooms[a], two);
    }
    merge(outputs, rooms[3], two, in);
  };
  // Padded.
  Inputs inputs = problem.inputs();
  inputs.query_lengths = queries;
  inputs.key_lengths = keys;
  std::vector<Attended> padded(4, Attended(c, kMergeable));  // three parts, and the whole
  std::vector<Outputs> rooms;
  for (Attended& results : padded) rooms.push_back(results.outputs());
  merge_into(inputs, rooms);
  const Attended& want = padded[3];
  EXPECT_INFORMATIVE(want.out);

  // Packed: the rows of [B, heads, length, width] with b's first own[b], as [sum of own, heads, width].
  const auto pack = [](const std::vector<float>& from, const std::vector<std::int32_t>& own,
                       std::int64_t heads, std::int64_t length, std::int64_t width) {
    std::vector<float> to;
    for (std::size_t b = 0; b < own.size(); ++b) {
      for (std::int64_t ih = 0; ih < own[b] * heads; ++ih) {
        const std::int64_t row = (static_cast<std::int64_t>(b) * heads + ih % heads) * length;
        const float* x = from.data() + (row + ih / heads) * width;
        to.insert(to.end(), x, x + width);
      }
    }
    return to;
  };
  const std::vector<std::int32_t> query_offsets = {0, 12, 12, 22}, key_offsets = {0, 70, 75, 108};
  const auto q = pack(problem.q.dense(), queries, 4, 12, 16);
  const auto k = pack(problem.k.dense(), keys, 2, 70, 16);
  const auto v = pack(problem.v.dense(), keys, 2, 70, 8);
  const auto factor = pack(problem.factor, keys, 4, 70, 1);
  for (const bool packed_keys : {false, true}) {
    inputs.q = View(q.data(), {22, 4, 16});
    inputs.query_offsets = query_offsets;
    inputs.query_lengths = {};
    if (packed_keys) {
      inputs.k = View(k.data(), {108, 2, 16});
      inputs.v = View(v.data(), {108, 2, 8});
      inputs.factor = View(factor.data(), {108, 4});
      inputs.key_offsets = key_offsets;
      inputs.key_lengths = {};
    }
    const Scores sizes(true, 4, 8, queries, keys);
    std::vector<Part> packed(4, Part(sizes, 4));
    merge_into(inputs, outputs_of(sizes, packed));
    const Part& got = packed[3];
    EXPECT_TRUE(same_bits(got.out, pack(want.out, queries, 4, 12, 8)));
    EXPECT_TRUE(same_bits(got.lse, pack(want.lse, queries, 4, 12, 1)));
    EXPECT_TRUE(same_bits(got.entropy, pack(want.entropy, queries, 4, 12, 1)));
    EXPECT_TRUE(same_bits(got.top_weight, pack(want.top_weight, queries, 4, 12, 4)));
    const std::vector<float> index(want.top_index.begin(), want.top_index.end());
    EXPECT_TRUE(close(got.top_index, pack(index, queries, 4, 12, 4), 0));
  }
}

// --- mistakes ---------------------------------------------------------------------------------------------

// A sound call, to be spoilt one mistake at a time.
struct Call {
  explicit Call(const Scores& scores) : s(scores), parts(parts_of(s, {0, 9, 40}, 4, true)) {
    outputs = outputs_of(s, parts);
    to = merged.outputs(s);
    inputs = s.with_factor();
  }

  const Scores& s;
  std::vector<Part> parts;
  Part merged{s, 4};
  std::vector<Outputs> outputs;
  Outputs to;
  Inputs inputs;
  std::vector<double> doubles = std::vector<double>(1000);
  std::vector<float> floats = std::vector<float>(1000);
  std::vector<std::int32_t> ints = std::vector<std::int32_t>(1000);
};

struct Mistake {
  std::function<void(Call&)> make;
  const char* message;
  bool packed = false;
};

const std::vector<Mistake>& mistakes() {
  static const std::vector<Mistake> all = {
      {[](Call& c) { c.outputs.clear(); }, "merge: there are no parts: at least one is needed"},
      {[](Call& c) { c.outputs[0].lse = {}; },
       "merge: parts[0].lse is not given: every part needs it"},
      {[](Call& c) { c.outputs[1].lse = {}; },
       "merge: parts[1].lse is not given: every part needs it"},
      {[](Call& c) { c.outputs[0].lse = MutableView(c.floats.data(), {5}); },
       "merge: parts[0].lse is [5] but must be [B, H, N], or [T, H] where queries are packed"},
      {[](Call& c) { c.outputs[0].lse.shape[1] = -1; },
       "merge: parts[0].lse is [2, -1, 5]: a negative size"},
      {[](Call& c) {
         c.outputs[0].lse = MutableView(c.doubles.data(), {2, 3, 5});
       },
       "merge: parts[0].lse is float64 but must be float32"},
      {[](Call& c) {
         c.outputs[1].lse = MutableView(c.floats.data(), {2, 3, 4});
       },
       "merge: parts[1].lse is [2, 3, 4] but must be [B, H, N] = [2, 3, 5]"},
      {[](Call& c) {
         c.outputs[1].lse = MutableView(c.floats.data(), {14, 3});
       },
       "merge: parts[1].lse is [14, 3] but must have 3 dimensions [B, H, N]"},
      {[](Call& c) { c.to.lse = MutableView(c.floats.data(), {14}); },
       "merge: merged.lse is [14] but must have 2 dimensions [T, H]", true},
      {[](Call& c) { c.to.lse.strides[1] = 0; },
       "merge: merged.lse has stride 0 in dimension 1: results would overwrite each other"},
      {[](Call& c) { c.outputs[1].entropy = {}; },
       "merge: parts[1].entropy is not given: merged.entropy needs it of every part"},
      {[](Call& c) { c.to.entropy.shape[0] = 3; },
       "merge: merged.entropy is [3, 3, 5] but must be [B, H, N] = [2, 3, 5]"},
      {[](Call& c) { c.outputs[0].out = {}; },
       "merge: parts[0].out is not given: merged.out needs it of every part"},
      {[](Call& c) { c.outputs[1].out.shape[3] = 8; },
       "merge: parts[1].out is [2, 3, 5, 8] but must be [B, H, N, E] = [2, 3, 5, 7]"},
      {[](Call& c) { c.outputs[1].out.shape[0] = 13; },
       "merge: parts[1].out is [13, 3, 7] but must be [T, H, E] = [14, 3, 7]", true},
      {[](Call& c) {
         c.to.out = MutableView(c.floats.data(), {14, 3, 7});
       },
       "merge: merged.out is [14, 3, 7] but must have 4 dimensions [B, H, N, E]"},
      {[](Call& c) { c.to.out.type = DataType::kInt32; },
       "merge: merged.out is int32 but must be float32, bfloat16 or float16"},
      {[](Call& c) { c.to.out.strides[3] = 2; },
       "merge: merged.out has stride 2 in its last dimension but must have 1"},
      {[](Call& c) { c.to.top_weight = {}; },
       "merge: merged.top_index and merged.top_weight must be given together"},
      {[](Call& c) { c.outputs[0].top_weight = {}; },
       "merge: parts[0].top_weight is not given: merged.top_weight needs it of every part"},
      {[](Call& c) { c.outputs[1].top_index.shape[3] = 3; },
       "merge: parts[1].top_index is [2, 3, 5, 3] but must be [B, H, N, K] = [2, 3, 5, 4]"},
      {[](Call& c) { c.to.top_weight.shape[2] = 3; },
       "merge: merged.top_weight is [14, 3, 3] but must be [T, H, K] = [14, 3, 4]", true},
      {[](Call& c) {
         c.to.received = MutableView(c.floats.data(), {2, 3, 40});
       },
       "merge: merged.received is given but parts cannot be merged into it: ask "
       "fovea/highlights.h, "
       "with the merged lse"},
      {[](Call& c) {
         c.to.rows = MutableView(c.floats.data(), {2, 3, 1, 40});
       },
       "merge: merged.rows is given but parts cannot be merged into it: ask fovea/highlights.h, "
       "with "
       "the merged lse"},
      {[](Call& c) {
         c.inputs.factor = View(c.doubles.data(), {2, 3, 40});
       },
       "merge: factor is float64 but must be float32"},
      {[](Call& c) {
         c.inputs.factor = View(c.floats.data(), {80, 3});
       },
       "merge: factor is [80, 3] but must have 3 dimensions [B, H, M]"},
      {[](Call& c) {
         c.inputs.factor = View(c.floats.data(), {2, 2, 40});
       },
       "merge: factor is [2, 2, 40] but must be [B, H, M] = [2, 3, 40]"},
      {[](Call& c) { c.inputs.factor.shape[1] = 4; },
       "merge: factor is [79, 4] but must be [S, H] = [79, 3]", true},
      {[](Call& c) { c.inputs.query_offsets = c.ints; },
       "merge: query_offsets is given but the outputs are not packed: lse is [B, H, N]"},
      {[](Call& c) { c.inputs.query_offsets = {}; },
       "merge: query_offsets is not given: packed rows need it to find their factors", true},
      {[](Call& c) { c.inputs.query_offsets = c.inputs.query_offsets.first(4); },
       "merge: query_offsets must go from 0 to T = 14", true},
      {[](Call& c) {
         c.ints = {0, 4, 3, 5, 14};
         c.inputs.query_offsets = c.ints;
       },
       "merge: query_offsets[2] is 3 but offsets ascend from 0", true},
      {[](Call& c) { c.inputs.factor.shape[0] = 80; },
       "merge: key_offsets must go from 0 to S = 80", true},
      {[](Call& c) {
         c.ints = {0, 40, 79};
         c.inputs.key_offsets = c.ints;
       },
       "merge: key_offsets has 3 entries but a batch of 4 needs 5", true},
      {[](Call& c) {
         c.inputs.factor.shape[2] = 30;
         c.parts[1].top_index[0] = 30;
       },
       "merge: parts[1].top_index has key 30 for sequence 0, for which factor has 30 keys: were "
       "the "
       "parts computed from these inputs?"},
      {[](Call& c) { c.parts[0].top_index[4 * 3 * 4] = 3; },  // of the only query of 3 keys
       "merge: parts[0].top_index has key 3 for sequence 2, for which factor has 3 keys: were the "
       "parts computed from these inputs?",
       true},
  };
  return all;
}

TEST(MergeErrors, TheCallsThatAreSpoiltAreSound) {
  for (const Scores* s : {&kDense, &kPacked}) {
    Call call(*s);
    Threads one(1);
    EXPECT_NO_THROW(merge(call.outputs, call.to, one, call.inputs));
  }
}

TEST(MergeErrors, EachMistakeIsNamedAndNothingIsWritten) {
  for (const Mistake& mistake : mistakes()) {
    Call call(mistake.packed ? kPacked : kDense);
    mistake.make(call);
    Threads one(1);
    try {
      merge(call.outputs, call.to, one, call.inputs);
      ADD_FAILURE() << "no error: " << mistake.message;
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), mistake.message);
    }
    const Part& m = call.merged;
    for (const auto* array : {&m.out, &m.lse, &m.entropy, &m.top_weight}) {
      for (const float x : *array) ASSERT_TRUE(std::isnan(x)) << mistake.message;
    }
    for (const std::int32_t x : m.top_index) ASSERT_EQ(x, -77) << mistake.message;
    for (const float x : call.floats) ASSERT_EQ(x, 0) << mistake.message;
  }
}

}  // namespace
}  // namespace fovea::testing
