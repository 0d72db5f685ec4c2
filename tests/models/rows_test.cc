#include "models/rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "base/random.h"
#include "fovea/isa.h"

namespace fovea {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class Rows : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    before_ = current_isa();
    set_isa(GetParam());
  }
  void TearDown() override { set_isa(before_); }

 private:
  Isa before_ = Isa::kScalar;
};

std::vector<float> ramp(float from, float to, std::size_t count) {
  std::vector<float> x(count);
  for (std::size_t i = 0; i < count; ++i) {
    x[i] = from + (to - from) * static_cast<float>(i) / static_cast<float>(count - 1);
  }
  return x;
}

void expect_activation(Activation a, double (*truth)(double), double error) {
  const std::vector<float> x = ramp(-30, 30, 4099);
  std::vector<float> y = x;
  activate(a, y);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double want = truth(x[i]);
    EXPECT_TRUE(std::abs(y[i] - want) <= error * std::max(1.0, std::abs(want)))
        << x[i] << " " << y[i];
  }
  std::vector<float> broken(19, kNan);
  activate(a, broken);
  for (const float value : broken) EXPECT_TRUE(std::isnan(value));
  std::vector<float> far = {-kInfinity, -1e30f, 1e30f};
  activate(a, far);
  EXPECT_EQ(far[2], 1e30f);
  EXPECT_TRUE(std::abs(far[1]) <= 1e-6f) << far[1];
}

TEST_P(Rows, Activations) {
  expect_activation(
      Activation::kRelu, [](double x) { return x > 0 ? x : 0; }, 0);
  expect_activation(
      Activation::kSwish, [](double x) { return x / (1 + std::exp(-x)); }, 5e-7);
  expect_activation(
      Activation::kGelu, [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }, 5e-7);
  expect_activation(
      Activation::kGeluTanh,
      [](double x) {
        return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
      },
      5e-7);
}

TEST_P(Rows, NormIsTwoPass) {
  for (const std::size_t width : {1u, 7u, 16u, 257u}) {
    Norm norm{ramp(0.5f, 2, width + 1), ramp(-1, 1, width + 1)};
    norm.weight.resize(width);
    norm.bias.resize(width);
    Random random(width);
    std::vector<float> x(3 * width);
    std::vector<float> delta(3 * width);
    // A large mean beside a small spread: the mean of squares minus the square of the mean fails
    // here.
    for (float& v : x) v = static_cast<float>(1000 + random.normal());
    for (float& v : delta) v = static_cast<float>(random.normal());
    std::vector<float> got = x;
    add_norm(got.data(), delta.data(), 3, norm);
    for (std::size_t r = 0; r < 3; ++r) {
      std::vector<double> y;
      for (std::size_t i = 0; i < width; ++i) y.push_back(x[r * width + i] + delta[r * width + i]);
      const double n = static_cast<double>(width);
      const double mean = std::accumulate(y.begin(), y.end(), 0.0) / n;
      double variance = 0;
      for (const double v : y) variance += (v - mean) * (v - mean) / n;
      for (std::size_t i = 0; i < width; ++i) {
        const double want =
            (y[i] - mean) / std::sqrt(variance + 1e-5) * norm.weight[i] + norm.bias[i];
        EXPECT_TRUE(std::abs(got[r * width + i] - want) <= 2e-3) << width << " " << want;
      }
    }
  }
}

TEST_P(Rows, LogSumIsStableAndJoins) {
  std::vector<float> x = ramp(-90, 700, 1031);
  x[500] = -kInfinity;
  double sum = 0;
  for (const float v : x) sum += std::exp(static_cast<double>(v) - 700);
  const double want = 700 + std::log(sum);
  LogSum whole;
  whole.add(x);
  EXPECT_TRUE(std::abs(whole.value() - want) <= 1e-6 * want) << whole.value();
  LogSum first, second, joined;
  first.add(std::span(x).first(700));
  second.add(std::span(x).subspan(700));
  joined.join(first);
  joined.join(second);
  joined.join(LogSum{});
  EXPECT_TRUE(std::abs(joined.value() - want) <= 1e-6 * want) << joined.value();
  EXPECT_EQ(LogSum{}.value(), -std::numeric_limits<double>::infinity());
}

TEST_P(Rows, LogSumShowsWhatIsNotFinite) {
  for (const float bad : {kNan, kInfinity}) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{63}, std::size_t{1023}}) {
      std::vector<float> x = ramp(-3, 3, 1024);
      x[at] = bad;
      LogSum sum;
      sum.add(x);
      LogSum joined;
      joined.join(sum);
      EXPECT_FALSE(std::isfinite(joined.value())) << bad << " at " << at;
    }
  }
  LogSum all;
  all.add(std::vector<float>(5, kNan));
  EXPECT_TRUE(std::isnan(all.value()));
}

TEST_P(Rows, BestKeepsTheLargestInOrder) {
  std::vector<float> x = ramp(0, 1, 1000);
  x[3] = 5;
  x[700] = 7;
  x[701] = 5;  // a tie: the lower index is first
  x[999] = kNan;
  x[0] = -kInfinity;
  Best best(4);
  best.add(std::span(x).first(600), 10);
  best.add(std::span(x).subspan(600), 610);
  std::vector<std::int32_t> indices;
  for (const Best::Item& item : best.items()) indices.push_back(item.index);
  EXPECT_EQ(indices, (std::vector<std::int32_t>{710, 13, 711, 1008}));
  Best few(3);
  few.add(std::vector<float>{-kInfinity, kNan, -4}, 0);
  ASSERT_EQ(few.items().size(), 1u);
  EXPECT_EQ(few.items()[0].index, 2);
}

INSTANTIATE_TEST_SUITE_P(Isas, Rows, testing::ValuesIn(available_isas()),
                         [](const auto& isa) { return std::string(name_of(isa.param)); });

}  // namespace
}  // namespace fovea
