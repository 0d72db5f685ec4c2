// Medians, quartiles, and how long trials go on.
#include "measure/timing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace fovea::measure {
namespace {

TEST(Timing, SpreadByHand) {
  const Spread five = spread_of({5, 1, 3, 2, 4});
  EXPECT_EQ(five.median, 3);
  EXPECT_EQ(five.low, 2);
  EXPECT_EQ(five.high, 4);
  EXPECT_EQ(five.best, 1);
  const Spread four = spread_of({1, 2, 3, 4});
  EXPECT_EQ(four.median, 2.5);
  EXPECT_EQ(four.low, 1.75);
  EXPECT_EQ(four.high, 3.25);
  EXPECT_EQ(spread_of({7}).high, 7);
}

TEST(Timing, RatiosAreTheRoundsOwn) {
  EXPECT_THAT(ratios({2, 9, 4}, {1, 3, 8}), ::testing::ElementsAre(2, 3, 0.5));
}

TEST(Timing, TrialsTakeTurnsForwardsAndBackwards) {
  std::string order;
  const auto trial = [&](char name) {
    return [&order, name] {
      order += name;
      return 1.0;
    };
  };
  const auto figures = in_turn({trial('a'), trial('b'), trial('c')}, 0, 3600);
  EXPECT_EQ(order.substr(0, 9), "abccbaabc");
  EXPECT_EQ(figures.size(), 3U);
  EXPECT_EQ(figures[2].size(), order.size() / 3);
}

TEST(Timing, SteadyFiguresEndEarlyAndLongOnesAfterThreeRounds) {
  EXPECT_EQ(in_turn({[] { return 1.0; }}, 0, 3600)[0].size(), 9U);
  const auto slow = [] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return 1.0;
  };
  EXPECT_EQ(in_turn({slow}, 0, 0.001)[0].size(), 3U);
}

TEST(Timing, UnsteadyFiguresGoOnUntilTheTimeIsSpent) {
  double next = 0;
  const auto figures = in_turn({[&] { return next += 1; }}, 0, 0.02);
  EXPECT_GT(figures[0].size(), 100U);
}

}  // namespace
}  // namespace fovea::measure
