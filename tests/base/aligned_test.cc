#include "base/aligned.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <utility>

namespace fovea {
namespace {

TEST(AlignedArray, StartsOnACacheLineWhateverItsSize) {
  for (const std::size_t count : {0u, 1u, 3u, 16u, 1000u}) {
    const AlignedArray<float> array = aligned_array<float>(count);
    ASSERT_NE(array.get(), nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(array.get()) % kAlignment, 0u) << count;
    std::memset(array.get(), 1, count * sizeof(float));  // the sanitizer sees a size that is wrong
  }
}

TEST(AlignedArray, MovesItsMemory) {
  AlignedArray<double> a = aligned_array<double>(4);
  a[3] = 5;
  const double* memory = a.get();
  const AlignedArray<double> b = std::move(a);
  EXPECT_EQ(b.get(), memory);
  EXPECT_EQ(b[3], 5);
}

}  // namespace
}  // namespace fovea
