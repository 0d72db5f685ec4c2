// Golden values are NumPy's (2.4): numpy.random.default_rng(seed).integers(0, n).
#include "insight/numpy_random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace fovea {
namespace {

using ::testing::ElementsAre;

std::vector<std::uint32_t> draw(NumpyRandom& random, std::uint32_t n, int count) {
  std::vector<std::uint32_t> numbers;
  for (int i = 0; i < count; ++i) numbers.push_back(random.below(n));
  return numbers;
}

TEST(NumpyRandom, GoldenValues) {
  NumpyRandom random(12345);
  EXPECT_THAT(draw(random, 10, 12), ElementsAre(6, 2, 7, 3, 2, 7, 6, 6, 9, 3, 8, 3));
  NumpyRandom again(12345);
  EXPECT_THAT(draw(again, 1000, 8), ElementsAre(699, 227, 788, 316, 204, 797, 642, 676));
  EXPECT_THAT(draw(again, 1, 3), ElementsAre(0, 0, 0));  // draws nothing
  EXPECT_THAT(draw(again, 1000, 2), ElementsAre(988, 391));
}

TEST(NumpyRandom, LargeSeedsAndRangesThatRejectDraws) {
  NumpyRandom wide(1099511627783u);  // 2^40 + 7: a seed of two words
  EXPECT_THAT(draw(wide, 3000000000u, 6), ElementsAre(2489438675u, 1828512392u, 765915474u,
                                                      51031264u, 461372147u, 1514132298u));
  NumpyRandom half(0);  // n just above 2^31: nearly every second draw is refused
  EXPECT_THAT(draw(half, 2147483649u, 6), ElementsAre(87989972u, 161576974u, 376383645u,
                                                      1746484540u, 1394609703u, 1440696408u));
}

}  // namespace
}  // namespace fovea
