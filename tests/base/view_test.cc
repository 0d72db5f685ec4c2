#include "fovea/view.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <type_traits>

namespace fovea {
namespace {

TEST(View, DenseStridesAreRowMajor) {
  const float data[120] = {};
  const View view(data, {2, 3, 4, 5});
  EXPECT_EQ(view.rank, 4);
  EXPECT_EQ(view.data, data);
  EXPECT_EQ(view.type, DataType::kFloat32);
  EXPECT_EQ(view.shape, (std::array<std::int64_t, 4>{2, 3, 4, 5}));
  EXPECT_EQ(view.strides, (std::array<std::int64_t, 4>{60, 20, 5, 1}));
  EXPECT_EQ(view.size(1), 3);
  EXPECT_EQ(view.step(1), 20);
}

TEST(View, GivenStridesAreKept) {
  const double data[24] = {};
  const View view(data, {2, 3, 4}, {4, 8, 1});
  EXPECT_EQ(view.rank, 3);
  EXPECT_EQ(view.type, DataType::kFloat64);
  EXPECT_EQ(view.step(0), 4);
  EXPECT_EQ(view.step(1), 8);
  EXPECT_EQ(view.step(2), 1);
}

TEST(View, WithoutDataItIsNotGiven) {
  EXPECT_FALSE(View().given());
  const bool flag = true;
  EXPECT_TRUE(View(&flag, {1}).given());
}

TEST(View, AMutableViewIsAViewAndNotTheOtherWayRound) {
  std::int32_t data[6] = {};
  const MutableView writable(data, {2, 3});
  const View view = writable;
  EXPECT_EQ(view.data, data);
  EXPECT_EQ(view.type, DataType::kInt32);
  EXPECT_EQ(view.strides, writable.strides);
  EXPECT_EQ(view.shape, writable.shape);
  static_assert(std::is_convertible_v<MutableView, View>);
  static_assert(!std::is_convertible_v<View, MutableView>);
}

TEST(View, ShapesPrintForMessages) {
  const float x = 0;
  EXPECT_EQ(shape_text(View(&x, {2, 8, 10, 64})), "[2, 8, 10, 64]");
  EXPECT_EQ(shape_text(View(&x, {7})), "[7]");
  EXPECT_EQ(shape_text(View()), "[]");
}

TEST(DataType, SizesAndNamesAreNumPys) {
  const struct {
    DataType type;
    std::size_t size;
    const char* name;
  } kTypes[] = {{DataType::kFloat32, 4, "float32"}, {DataType::kFloat64, 8, "float64"},
                {DataType::kFloat16, 2, "float16"}, {DataType::kBFloat16, 2, "bfloat16"},
                {DataType::kInt32, 4, "int32"},     {DataType::kBool, 1, "bool"}};
  for (const auto& expected : kTypes) {
    EXPECT_EQ(size_of(expected.type), expected.size) << expected.name;
    EXPECT_STREQ(name_of(expected.type), expected.name);
  }
  static_assert(data_type_of<const float>() == DataType::kFloat32);
  static_assert(data_type_of<double>() == DataType::kFloat64);
  static_assert(data_type_of<std::int32_t>() == DataType::kInt32);
  static_assert(data_type_of<bool>() == DataType::kBool);
}

}  // namespace
}  // namespace fovea
