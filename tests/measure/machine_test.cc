// The limits: that the programs do what they say, not how fast.
#include "measure/machine.h"

#include <gtest/gtest.h>

#include <vector>

#include "fovea/isa.h"
#include "kernels/read.h"

namespace fovea::measure {
namespace {

TEST(Machine, ReadingSeesEveryWordOnce) {
  constexpr std::size_t kWords = 3 * 128;  // 3 KiB
  const auto data = aligned_array<std::uint64_t>(kWords);
  for (const Isa isa : available_isas()) {
    for (const int streams : {1, 2, 4}) {
      std::uint64_t sum = 0;
      for (std::size_t n = 0; n < kWords; ++n) sum += data[n] = n * n * n + 1;
      EXPECT_EQ(kernels::read_memory(isa, data.get(), kWords * 8, streams), sum)
          << fovea::name_of(isa) << " " << streams;
      for (const std::size_t n : {std::size_t{0}, kWords / 2, kWords - 1}) {
        data[n] += 1;
        EXPECT_EQ(kernels::read_memory(isa, data.get(), kWords * 8, streams), ++sum);
      }
    }
  }
}

TEST(Machine, SaysWhatItIs) {
  const Machine machine = this_machine();
  EXPECT_FALSE(machine.cpu.empty());
  EXPECT_GE(machine.processors, 1);
  for (std::size_t n = 1; n < machine.caches.size(); ++n) {
    EXPECT_LE(machine.caches[n - 1].level, machine.caches[n].level);
    EXPECT_GT(machine.caches[n].bytes, 0);
    EXPECT_GE(machine.caches[n].count, 1);
  }
  EXPECT_GT(last_level_cache(machine), 1 << 10);
  EXPECT_EQ(last_level_cache({}), 64 << 20);
}

TEST(Machine, LimitsAreNumbersThatACpuCanHave) {
  Threads threads(2);
  EXPECT_GT(clock_gigahertz(), 0.05);
  EXPECT_LT(clock_gigahertz(), 10);
  EXPECT_GT(peak_gflops(DataType::kFloat32, threads), 0.05);
  EXPECT_GE(peak_gflops(DataType::kBFloat16, threads), 0);
  Machine small;
  small.caches.push_back({.level = 1, .data = true, .bytes = 3 << 20, .count = 1});
  const ReadMemory memory(small, false, threads);
  EXPECT_EQ(memory.bytes(), 12 << 20);
  EXPECT_GT(memory.gigabytes_per_second(threads, 2), 0.01);
}

}  // namespace
}  // namespace fovea::measure
