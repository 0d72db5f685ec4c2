// The worked examples of docs/worked-examples.md: computed by the engine on every instruction set,
// the mistakes by making them, and every number looked up in the page.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

#include "fovea/attend.h"
#include "fovea/error.h"
#include "support/compare.h"
#include "support/isa.h"

namespace fovea::testing {
namespace {

using Doubles = std::vector<double>;

class WorkedExamples : public OnEveryIsa {};
FOVEA_ON_EVERY_ISA(WorkedExamples);

const Doubles kQ{1, 0}, kK{1, 0, -10, 1}, kV{10, 20, 30, 40};

struct Result {
  Doubles weights, output;
};

// One query, two keys, two values of width 2.
Result engine(const Doubles& q, const Doubles& k, const Doubles& v, std::optional<float> scale) {
  const std::vector<float> queries(q.begin(), q.end()), keys(k.begin(), k.end()),
      values(v.begin(), v.end());
  const auto D = static_cast<std::int64_t>(q.size());
  const std::int32_t first[] = {0};
  float out[2], weights[2];
  Inputs inputs;
  inputs.q = View(queries.data(), {1, 1, 1, D});
  inputs.k = View(keys.data(), {1, 1, 2, D});
  inputs.v = View(values.data(), {1, 1, 2, 2});
  inputs.row_queries = first;
  Threads one(1);
  attend(inputs, {.scale = scale}, {.out = {out, {1, 1, 1, 2}}, .rows = {weights, {1, 1, 1, 2}}},
         one);
  return {{weights[0], weights[1]}, {out[0], out[1]}};
}

Doubles softmax(const Doubles& scores) {
  const double a = std::exp(scores[0]), b = std::exp(scores[1]);
  return {a / (a + b), b / (a + b)};
}

// w_0 rows_0 + w_1 rows_1
Doubles mix(const Doubles& w, const Doubles& rows) {
  return {w[0] * rows[0] + w[1] * rows[2], w[0] * rows[1] + w[1] * rows[3]};
}

const std::string& page() {
  static const std::string text = [] {
    std::ifstream in(FOVEA_SOURCE_DIR "/docs/worked-examples.md");
    return std::string(std::istreambuf_iterator<char>(in), {});
  }();
  return text;
}

// The section of the page that begins with "## N."
std::string section(int number) {
  const std::size_t begin = page().find("## " + std::to_string(number) + ".");
  EXPECT_NE(begin, std::string::npos) << "the page has no section " << number;
  return page().substr(begin, page().find("\n## ", begin + 1) - begin);
}

std::string fixed(double value, int decimals) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

// "[10.000334, 20.000334]"
std::string pair(const Doubles& values, int decimals) {
  return "[" + fixed(values[0], decimals) + ", " + fixed(values[1], decimals) + "]";
}

void expect_in(int number, const std::string& text) {
  EXPECT_THAT(section(number), ::testing::HasSubstr(text));
}

TEST_P(WorkedExamples, PlainMeanAndWeightedSum) {
  const Doubles mean = mix({0.5, 0.5}, kV);
  expect_in(1, pair(mean, 0));
  expect_in(1, pair(mix({0.75, 0.25}, kV), 0));
  const Result asked_for_nothing = engine({0, 0}, kK, kV, 1.0F);
  EXPECT_TRUE(close(asked_for_nothing.weights, Doubles{0.5, 0.5}, 1e-7));
  EXPECT_TRUE(close(asked_for_nothing.output, mean, 4e-5));  // 1e-6 of the largest value, 40
  // And the other way round: scores ln 3 apart give 3/4 and 1/4.
  const Result weighed = engine({1, 0}, {std::log(3.0), 0, 0, 0}, kV, 1.0F);
  EXPECT_TRUE(close(weighed.output, Doubles{15, 25}, 4e-5));
}

TEST_P(WorkedExamples, WeightsAreTheSoftmaxOfQTimesKTransposed) {
  const Result got = engine(kQ, kK, kV, 1.0F);
  EXPECT_TRUE(close(got.weights, Doubles{0.999983299, 0.0000167014}, 1e-6));
  EXPECT_NEAR(got.weights[1], 0.0000167014, 1e-10);  // small, and right in itself
  EXPECT_TRUE(close(got.output, Doubles{10.000334, 20.000334}, 4e-5));
  const Doubles weights = softmax({1, -10});
  for (const std::string& text : {fixed(std::exp(1.0), 9), fixed(std::exp(-10.0), 10),
                                  fixed(std::exp(1.0) + std::exp(-10.0), 9), fixed(weights[0], 9),
                                  fixed(weights[1], 10), pair(mix(weights, kV), 6)}) {
    expect_in(2, text);
  }
}

TEST_P(WorkedExamples, WithoutSoftmax) {
  const Doubles wrong = mix({1, -10}, kV);  // the scores in the place of the weights
  expect_in(3, pair(wrong, 0));
  const Doubles right = engine(kQ, kK, kV, 1.0F).output;
  for (std::size_t e = 0; e < 2; ++e) {
    EXPECT_TRUE(wrong[e] < kV[e]) << "outside of the range of the values";
    EXPECT_TRUE(right[e] >= kV[e] && right[e] <= kV[e + 2]) << "inside";
  }
}

TEST_P(WorkedExamples, WithTheKeysForValues) {
  const Doubles wrong = engine(kQ, kK, kK, 1.0F).output;
  EXPECT_TRUE(close(wrong, mix(softmax({1, -10}), kK), 1e-5));
  expect_in(4, "[" + fixed(mix(softmax({1, -10}), kK)[0], 6) + ", " +
                   fixed(mix(softmax({1, -10}), kK)[1], 7) + "]");
}

TEST_P(WorkedExamples, WithKNotTransposed) {
  const Doubles transposed{1, -10, 0, 1};
  const Result wrong = engine(kQ, transposed, kV, 1.0F);  // square: no library can see it
  EXPECT_TRUE(close(wrong.weights, softmax({1, 0}), 1e-6));
  EXPECT_TRUE(close(wrong.output, mix(softmax({1, 0}), kV), 4e-5));
  expect_in(5, pair(softmax({1, 0}), 6));
  expect_in(5, pair(mix(softmax({1, 0}), kV), 6));
  EXPECT_GT(std::abs(wrong.output[0] - engine(kQ, kK, kV, 1.0F).output[0]), 5);
}

TEST_P(WorkedExamples, KThatIsNotSquareIsRefusedInTheWordsOfThePage) {
  const float zeros[6] = {};
  float out[2];
  Inputs inputs;
  inputs.q = View(zeros, {1, 1, 1, 2});
  inputs.k = View(zeros, {1, 1, 2, 3});  // [d, M] instead of [M, d]
  inputs.v = View(zeros, {1, 1, 3, 2});
  Threads one(1);
  try {
    attend(inputs, {}, {.out = {out, {1, 1, 1, 2}}}, one);
    FAIL() << "accepted";
  } catch (const Error& error) {
    // The page breaks its lines where it likes.
    EXPECT_THAT(std::regex_replace(section(5), std::regex("\n"), " "),
                ::testing::HasSubstr(error.what()));
  }
}

TEST_P(WorkedExamples, WithoutTheDivision) {
  const Doubles q(64, 1.0);
  Doubles k(64, 0.25);
  k.insert(k.end(), 64, 0.1875);
  const Result undivided = engine(q, k, kV, 1.0F), divided = engine(q, k, kV, std::nullopt);
  EXPECT_TRUE(close(undivided.weights, softmax({16, 12}), 1e-6));
  EXPECT_TRUE(close(divided.weights, softmax({2, 1.5}), 1e-6));
  EXPECT_TRUE(close(undivided.output, mix(softmax({16, 12}), kV), 4e-5));
  EXPECT_TRUE(close(divided.output, mix(softmax({2, 1.5}), kV), 4e-5));
  for (const Doubles& scores : {Doubles{16, 12}, Doubles{2, 1.5}}) {
    const Doubles weights = softmax(scores);
    expect_in(6, fixed(weights[0], 6) + ", " + fixed(weights[1], 6));
    expect_in(6, pair(mix(weights, kV), 6));
  }
}

TEST_P(WorkedExamples, TheExampleDivided) {
  const double s = 1 / std::sqrt(2.0);
  const Result got = engine(kQ, kK, kV, std::nullopt);
  const Doubles weights = softmax({s, -10 * s});
  EXPECT_TRUE(close(got.weights, weights, 1e-6));
  EXPECT_TRUE(close(got.output, mix(weights, kV), 4e-5));
  expect_in(6, fixed(s, 6) + " and " + fixed(-10 * s, 6));
  expect_in(6, fixed(weights[0], 9) + " and " + fixed(weights[1], 9));
  expect_in(6, pair(mix(weights, kV), 6));
}

}  // namespace
}  // namespace fovea::testing
