// A measurement of a small situation: everything is filled, and a wrong result would be found.
#include "measure/engine.h"

#include <gtest/gtest.h>

namespace fovea::measure {
namespace {

Situation small() {
  Situation s = *situation_of("sentence_batch");
  s.B = 3;
  return s;
}

TEST(Engine, FillsEveryFigure) {
  Threads threads(1);
  const Measured m = measure(small(), DataType::kFloat32, threads, nullptr, 1, 1e-6);
  EXPECT_TRUE(m.refused.empty());
  EXPECT_GE(m.rounds, 3U);
  EXPECT_GT(m.peak, 0);
  EXPECT_EQ(m.read, 0);
  for (const Spread& s : m.seconds) {
    EXPECT_GT(s.best, 0);
    EXPECT_LE(s.best, s.low);
    EXPECT_LE(s.low, s.median);
    EXPECT_LE(s.median, s.high);
  }
  EXPECT_EQ(m.ratio[kPlain].median, 1);
  EXPECT_GT(m.ratio[kAll].median, 0);
  EXPECT_FALSE(m.neighbour_ratio.has_value());
}

TEST(Engine, RotatesOverMemoryAndMeasuresItsReading) {
  Threads threads(1);
  Machine machine;
  machine.caches.push_back({.level = 1, .data = true, .bytes = 1 << 20, .count = 1});
  const ReadMemory memory(machine, false, threads);
  Situation s = *situation_of("decode_4k_grouped");
  s.M = 256;  // 2 MiB of keys and values
  const Measured m = measure(s, DataType::kFloat32, threads, &memory, 2, 1e-6);
  EXPECT_EQ(m.copies, 2);
  EXPECT_EQ(m.seconds[kBackward].median, 0) << "nobody trains on one query";
  EXPECT_GT(m.read, 0);
}

TEST(Engine, ComparesWithTheRoundNeighbour) {
  Threads threads(1);
  const Measured m = measure(*situation_of("odd"), DataType::kFloat32, threads, nullptr, 1, 1e-6);
  ASSERT_TRUE(m.neighbour_ratio.has_value());
  EXPECT_GT(m.neighbour_ratio->median, 0.05);
  EXPECT_LT(m.neighbour_ratio->median, 20);
}

TEST(Engine, ATypeIsMeasuredOrRefusedWithAReason) {
  Threads threads(1);
  for (const DataType type : {DataType::kBFloat16, DataType::kFloat16}) {
    const Measured m = measure(small(), type, threads, nullptr, 1, 1e-6);
    EXPECT_EQ(m.refused.empty(), m.rounds > 0);
  }
}

}  // namespace
}  // namespace fovea::measure
