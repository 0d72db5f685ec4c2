#include "support/guard.h"

#include <gtest/gtest.h>

namespace fovea::testing {
namespace {

volatile float sink;

TEST(GuardedRowsDeathTest, AnOpenRowIsMemoryAndNothingElseIs) {
  GuardedRows rows(3, 5);
  for (int r = 0; r < 3; ++r) {
    for (int d = 0; d < 5; ++d) rows.row(r)[d] = static_cast<float>(10 * r + d);
  }
  const MutableView view = rows.view();
  EXPECT_EQ(static_cast<float*>(view.data)[2 * view.step(2) + 4], 24);
  EXPECT_DEATH(sink = rows.row(0)[5], "");
  EXPECT_DEATH(rows.row(2)[5] = 1, "");
  rows.close(1);
  EXPECT_EQ(rows.row(0)[4], 4);
  EXPECT_EQ(rows.row(2)[0], 20);
  EXPECT_DEATH(sink = rows.row(1)[0], "");
}

}  // namespace
}  // namespace fovea::testing
