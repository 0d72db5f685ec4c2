// How much a sweep is given: what attention/ relies on when it cuts a call into sweeps.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

#include "kernels/sweep.h"

namespace fovea::kernels {
namespace {

constexpr std::int64_t kNumbers[] = {0,    1,    2,    255,  256,   257,   511,     512,      513,
                                     1000, 1024, 4095, 8192, 65535, 65536, 600'000, 5'000'000};

TEST(Sizes, SomeRowsAlwaysFitAndNotMoreThanThereIsRoomFor) {
  for (const std::int64_t keys : kNumbers) {
    for (const int most : {1, 12, 48, 96, 100, 192}) {
      const int rows = rows_that_fit(keys, most);
      EXPECT_GE(rows, 12) << keys;
      EXPECT_LE(rows, std::max(most, 12)) << keys;
      if (rows > 12) {
        EXPECT_LE(rows * keys, kKeptWeights) << keys;
      }
    }
  }
}

// Scratch is taken for the keys that stay packed, so that it does not move while sweeps see more and more of
// them: it must be enough for all.
TEST(Sizes, ScratchForThePackedKeysIsEnoughForAllKeys) {
  for (const std::int64_t keys : kNumbers) {
    Sweep sweep;
    sweep.width = 8;
    sweep.value_width = 8;
    float value = 0;
    sweep.columns = true;
    sweep.v = &value;
    sweep.packed = packed_keys(sweep, keys);
    if (sweep.packed == 0) continue;
    EXPECT_GE(sweep.packed, keys);
    for (const int rows : {1, 12, 192}) {
      EXPECT_GE(scratch_size(sweep, rows, 0, sweep.packed), scratch_size(sweep, rows, 0, keys))
          << keys;
    }
  }
}

}  // namespace
}  // namespace fovea::kernels
