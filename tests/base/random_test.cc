#include "base/random.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

namespace fovea {
namespace {

TEST(Random, IsSplitMix64) {  // published values for seed 1234567
  Random random(1234567);
  EXPECT_EQ(random.bits(), 6457827717110365317u);
  EXPECT_EQ(random.bits(), 3203168211198807973u);
  EXPECT_EQ(random.bits(), 9817491932198370423u);
  EXPECT_EQ(random.bits(), 4593380528125082431u);
  EXPECT_EQ(random.bits(), 16408922859458223821u);
}

TEST(Random, TheSameSeedGivesTheSameNumbersAndAnotherDoesNot) {
  Random a(7), b(7), c(8);
  bool differs = false;
  for (int n = 0; n < 100; ++n) {
    const std::uint64_t x = a.bits();
    EXPECT_EQ(x, b.bits());
    differs = differs || x != c.bits();
  }
  EXPECT_TRUE(differs);
}

TEST(Random, UniformLiesInTheUnitIntervalAndFillsIt) {
  Random random(1);
  double sum = 0, low = 1, high = 0;
  for (int n = 0; n < 100'000; ++n) {
    const double x = random.uniform();
    ASSERT_TRUE(x >= 0 && x < 1);
    sum += x;
    low = std::min(low, x);
    high = std::max(high, x);
  }
  EXPECT_NEAR(sum / 100'000, 0.5, 0.005);  // five standard errors
  EXPECT_LT(low, 1e-3);
  EXPECT_GT(high, 1 - 1e-3);
}

TEST(Random, BelowGivesEveryValueAboutEquallyOften) {
  Random random(2);
  std::array<int, 7> seen{};
  for (int n = 0; n < 70'000; ++n) {
    const std::uint64_t x = random.below(7);
    ASSERT_LT(x, 7u);
    ++seen[x];
  }
  for (const int count : seen) EXPECT_NEAR(count, 10'000, 500);
  for (int n = 0; n < 100; ++n) EXPECT_EQ(random.below(1), 0u);
}

TEST(Random, NormalHasMeanZeroVarianceOneAndNormalTails) {
  Random random(3);
  double sum = 0, squares = 0;
  int beyond_two = 0;
  for (int n = 0; n < 100'000; ++n) {
    const double x = random.normal();
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
    beyond_two += std::abs(x) > 2 ? 1 : 0;
  }
  EXPECT_NEAR(sum / 100'000, 0, 0.016);
  EXPECT_NEAR(squares / 100'000, 1, 0.025);
  EXPECT_NEAR(beyond_two, 4550, 350);  // 4.55 %
}

}  // namespace
}  // namespace fovea
