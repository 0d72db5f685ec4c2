#include "support/compare.h"

#include <limits>
#include <vector>

namespace fovea::testing {
namespace {

const double kNan = std::numeric_limits<double>::quiet_NaN();
const double kInf = std::numeric_limits<double>::infinity();
using Values = std::vector<double>;

TEST(Close, IsTrueWithinTheTolerance) {
  EXPECT_TRUE(close(Values{1, 2.5}, Values{1, 2.25}, 0.25));
  EXPECT_TRUE(close(std::vector<float>{1.5F}, Values{1.5}, 0));
  EXPECT_TRUE(close(Values{}, Values{}, 0));
}

TEST(Close, IsFalseBeyondIt) {
  EXPECT_FALSE(close(Values{1, 2.5}, Values{1, 2.25}, 0.2499));
  EXPECT_FALSE(close(Values{1, 2}, Values{1}, 10));
  EXPECT_FALSE(close(Values{}, Values{1}, 10));
}

TEST(Close, NanFails) {
  EXPECT_FALSE(close(Values{kNan, 1}, Values{1, 1}, kInf));
  EXPECT_FALSE(close(Values{kNan, 1}, Values{1, 1}, 1e300));
  EXPECT_FALSE(close(Values{1, 1}, Values{1, kNan}, 1e300));
  EXPECT_FALSE(close(Values{0}, Values{0}, kNan));  // a tolerance that is no number allows nothing
  EXPECT_TRUE(close(Values{kNan}, Values{kNan}, 0));
}

TEST(Close, InfinitiesMustBeTheSame) {
  EXPECT_TRUE(close(Values{-kInf, kInf}, Values{-kInf, kInf}, 0));
  EXPECT_FALSE(close(Values{kInf}, Values{-kInf}, 1e300));
  EXPECT_FALSE(close(Values{1}, Values{-kInf}, 1e300));
  EXPECT_FALSE(close(Values{kInf}, Values{1}, 1e300));
}

TEST(Close, NamesTheWorstElement) {
  const auto result = close(Values{1, 2, 5, 4}, Values{1, 2.5, 3, 4}, 0.25);
  EXPECT_STREQ(result.message(), "element 2 is 5, wanted 3: off by 2, allowed 0.25");
}

TEST(Worst, KeepsTheFirstNan) {
  const Worst found = worst(Values{1, kNan, 9}, Values{0, 0, 0});
  EXPECT_EQ(found.at, 1u);
  EXPECT_EQ(found.error, kInf);
}

TEST(SameBits, TellsZeroFromMinusZeroAndKnowsNan) {
  EXPECT_TRUE(same_bits(Values{kNan, 0, -kInf}, Values{kNan, 0, -kInf}));
  EXPECT_FALSE(same_bits(Values{0.0}, Values{-0.0}));
  EXPECT_FALSE(same_bits(Values{1, 2}, Values{1}));
  EXPECT_FALSE(same_bits(std::vector<float>{1}, std::vector<float>{std::nextafterf(1, 2)}));
  EXPECT_FALSE(same_bits(std::vector<std::int32_t>{1}, std::vector<std::int32_t>{2}));
}

TEST(Informative, RefusesWhatProvesNothing) {
  EXPECT_TRUE(informative(Values{1, 2, 0}));
  EXPECT_FALSE(informative(Values{}));
  EXPECT_FALSE(informative(Values{1}));
  EXPECT_FALSE(informative(Values{3, 3, 3}));
  EXPECT_FALSE(informative(Values{0, 0, 1}));
  EXPECT_FALSE(informative(Values{1, kNan, 2}));
  EXPECT_FALSE(informative(Values{1, kInf, 2}));
}

}  // namespace
}  // namespace fovea::testing
