// The 16-bit types against arithmetic in double: every one of their 65536 patterns, and what lies
// between any two of them.
#include "fovea/half.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "base/random.h"

namespace fovea {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// What defines each: bits of fraction, and of exponent.
template <class T>
struct Format;
template <>
struct Format<BFloat16> {
  static constexpr int kFraction = 7, kExponent = 8;
};
template <>
struct Format<Float16> {
  static constexpr int kFraction = 10, kExponent = 5;
};

template <class T>
class Half : public ::testing::Test {
 public:
  static constexpr int kFraction = Format<T>::kFraction, kExponent = Format<T>::kExponent;
  static constexpr int kBias = (1 << (kExponent - 1)) - 1;
  static constexpr int kMost = (1 << kExponent) - 1;  // of infinity and NaN

  static T of_bits(std::uint32_t bits) {
    T x;
    x.bits = static_cast<std::uint16_t>(bits);
    return x;
  }

  // The number that a pattern stands for, by the definition. Not for NaN.
  static double meaning(std::uint32_t bits) {
    const double sign = (bits & 0x8000U) != 0 ? -1 : 1;
    const int exponent = static_cast<int>(bits >> kFraction) & kMost;
    const double fraction = std::ldexp(bits & ((1U << kFraction) - 1), -kFraction);
    if (exponent == kMost) return sign * kInf;
    if (exponent == 0) return sign * std::ldexp(fraction, 1 - kBias);
    return sign * std::ldexp(1 + fraction, exponent - kBias);
  }

  static constexpr std::uint32_t kInfinity = static_cast<std::uint32_t>(kMost) << kFraction;
};

using Types = ::testing::Types<BFloat16, Float16>;
TYPED_TEST_SUITE(Half, Types);

TYPED_TEST(Half, EveryPatternIsTheNumberThatItStandsForAndComesBack) {
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const TypeParam x = TestFixture::of_bits(bits);
    const auto wide = static_cast<float>(x);
    if ((bits & 0x7fffU) > TestFixture::kInfinity) {
      ASSERT_TRUE(std::isnan(wide)) << bits;
      ASSERT_TRUE(std::isnan(static_cast<float>(TypeParam(wide)))) << bits;
      continue;
    }
    ASSERT_EQ(static_cast<double>(wide), TestFixture::meaning(bits)) << bits;
    ASSERT_EQ(std::signbit(wide), (bits & 0x8000U) != 0) << bits;  // -0 too
    ASSERT_EQ(TypeParam(wide).bits, bits);
  }
}

// Between two neighbours: their middle goes to the even one, and a float beside it to the nearer. Beyond
// the largest the next would be 2^(largest exponent + 1), and infinity stands in its place.
TYPED_TEST(Half, BetweenNeighboursItIsTheNearerAndTheMiddleGoesToTheEven) {
  for (std::uint32_t low = 0; low < TestFixture::kInfinity; ++low) {
    const double a = TestFixture::meaning(low);
    const double b = low + 1 < TestFixture::kInfinity
                         ? TestFixture::meaning(low + 1)
                         : std::ldexp(1.0, TestFixture::kMost - TestFixture::kBias);
    const auto middle = static_cast<float>((a + b) / 2);
    // bfloat16 has subnormals that are float's own; their middles are floats all the same.
    ASSERT_EQ(static_cast<double>(middle), (a + b) / 2) << low;
    const float below = std::nextafter(middle, 0.0F);
    const float above = std::nextafter(middle, std::numeric_limits<float>::infinity());
    for (const std::uint32_t sign : {0U, 0x8000U}) {
      const float s = sign != 0 ? -1.0F : 1.0F;
      ASSERT_EQ(TypeParam(s * middle).bits, sign | (low % 2 == 0 ? low : low + 1)) << middle;
      ASSERT_EQ(TypeParam(s * below).bits, sign | low) << below;
      ASSERT_EQ(TypeParam(s * above).bits, sign | (low + 1)) << above;
    }
  }
}

// No float is nearer to another pattern than to its own.
TYPED_TEST(Half, AnyFloatGoesToTheNearest) {
  Random random(5);
  for (int n = 0; n < 300'000; ++n) {
    const auto x = std::bit_cast<float>(static_cast<std::uint32_t>(random.bits() >> 32U));
    const std::uint32_t bits = TypeParam(x).bits;
    if (std::isnan(x)) {
      ASSERT_GT(bits & 0x7fffU, TestFixture::kInfinity) << x;
      continue;
    }
    ASSERT_EQ((bits & 0x8000U) != 0, std::signbit(x)) << x;
    const double size = std::abs(static_cast<double>(x));
    const std::uint32_t got = bits & 0x7fffU;
    const double top = std::ldexp(1.0, TestFixture::kMost - TestFixture::kBias);
    const auto value = [&](std::uint32_t y) {
      return y >= TestFixture::kInfinity ? top : TestFixture::meaning(y);
    };
    const double error = std::abs(size - value(got));
    if (got == TestFixture::kInfinity && size >= top) continue;
    if (got > 0) {
      ASSERT_LE(error, std::abs(size - value(got - 1))) << x;
    }
    if (got < TestFixture::kInfinity) {
      ASSERT_LE(error, std::abs(size - value(got + 1))) << x;
    }
  }
}

TYPED_TEST(Half, InfinityAndWhatIsBeyondTheLargest) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(TypeParam(inf).bits, TestFixture::kInfinity);
  EXPECT_EQ(TypeParam(-inf).bits, TestFixture::kInfinity | 0x8000U);
  EXPECT_EQ(TypeParam(std::numeric_limits<float>::max()).bits, TestFixture::kInfinity);
  EXPECT_EQ(TypeParam(-std::numeric_limits<float>::max()).bits, TestFixture::kInfinity | 0x8000U);
}

// Any NaN, of any payload: one that lies in the bits that are cut off must not become infinity.
TYPED_TEST(Half, NanStaysNan) {
  for (int bit = 0; bit < 23; ++bit) {
    for (const std::uint32_t sign : {0U, 0x80000000U}) {
      const auto nan = std::bit_cast<float>(sign | 0x7f800000U | (1U << bit));
      EXPECT_TRUE(std::isnan(static_cast<float>(TypeParam(nan)))) << bit;
    }
  }
  EXPECT_TRUE(
      std::isnan(static_cast<float>(TypeParam(std::bit_cast<float>(std::uint32_t{0x7fffffff})))));
}

TYPED_TEST(Half, BeginsAsZero) {
  EXPECT_EQ(TypeParam().bits, 0);
  static_assert(sizeof(TypeParam) == 2);
}

TEST(HalfExamples, AreThoseOfTheStandards) {
  EXPECT_EQ(Float16(1.0F).bits, 0x3c00);
  EXPECT_EQ(Float16(-2.0F).bits, 0xc000);
  EXPECT_EQ(Float16(65504.0F).bits, 0x7bff);
  EXPECT_EQ(Float16(65519.996F).bits, 0x7bff);
  EXPECT_EQ(Float16(65520.0F).bits, 0x7c00);
  EXPECT_EQ(Float16(0x1p-14F).bits, 0x0400);
  EXPECT_EQ(Float16(0x1p-24F).bits, 0x0001);
  EXPECT_EQ(Float16(0x1p-25F).bits, 0x0000);  // a tie: to even
  EXPECT_EQ(Float16(0.333333343F).bits, 0x3555);
  EXPECT_EQ(BFloat16(1.0F).bits, 0x3f80);
  EXPECT_EQ(BFloat16(-2.0F).bits, 0xc000);
  EXPECT_EQ(BFloat16(3.14159274F).bits, 0x4049);
  EXPECT_EQ(BFloat16(1.00390625F).bits, 0x3f80);  // 1 + 2^-8, a tie: to even
  EXPECT_EQ(BFloat16(1.01171875F).bits, 0x3f82);  // 1 + 3 2^-8, a tie: to even
}

}  // namespace
}  // namespace fovea
