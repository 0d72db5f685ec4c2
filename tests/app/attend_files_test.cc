// fovea attend's arrays: the slopes of ALiBi, and where packed results have what.
#include "app/attend_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "app/attend_run.h"

namespace fovea {
namespace {

using ::testing::ElementsAre;

TEST(AlibiSlopes, ThoseOfThePaper) {
  EXPECT_THAT(alibi_slopes(1), ElementsAre(0x1p-8f));
  EXPECT_THAT(alibi_slopes(2), ElementsAre(0x1p-4f, 0x1p-8f));
  EXPECT_THAT(alibi_slopes(8),
              ElementsAre(0x1p-1f, 0x1p-2f, 0x1p-3f, 0x1p-4f, 0x1p-5f, 0x1p-6f, 0x1p-7f, 0x1p-8f));
  // Not a power of two: the next lower one, then every other slope of twice as many.
  EXPECT_THAT(alibi_slopes(3), ElementsAre(0x1p-4f, 0x1p-8f, 0x1p-2f));
  const std::vector<float> twelve = alibi_slopes(12);
  ASSERT_EQ(twelve.size(), 12u);
  EXPECT_EQ(twelve[7], 0x1p-8f);
  EXPECT_FLOAT_EQ(twelve[8], 0.70710678f);   // 2^-0.5
  EXPECT_FLOAT_EQ(twelve[11], 0.08838835f);  // 2^-3.5
}

TEST(AttendPlaces, EachQueryOfEachHeadOnce) {
  const std::vector<std::int32_t> offsets = {0, 3, 3, 5};
  const AttendPlaces packed{3, 2, 3, offsets};
  const AttendPlaces padded{3, 2, 4, {}};
  for (const AttendPlaces& places : {packed, padded}) {
    std::vector<int> found(static_cast<std::size_t>(places.total()), 0);
    for (std::int64_t b = 0; b < places.B; ++b) {
      for (std::int64_t h = 0; h < places.H; ++h) {
        for (std::int64_t i = 0; i < places.count(b); ++i) {
          ++found.at(static_cast<std::size_t>(places.at(b, h, i)));
        }
      }
    }
    EXPECT_THAT(found, ::testing::Each(1));
  }
  EXPECT_EQ(packed.total(), 10);
  EXPECT_EQ(packed.at(2, 1, 1), 9);   // [T, H]
  EXPECT_EQ(padded.at(2, 1, 1), 21);  // [B, H, N]
}

}  // namespace
}  // namespace fovea
