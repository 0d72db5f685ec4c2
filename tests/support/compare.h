// The one comparator of fovea's tests. Written so that NaN fails wherever it is not expected.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <type_traits>

namespace fovea::testing {

// |got - want|. Where NaN or an infinity is wanted, 0 for the same and infinity for anything else.
inline double error_of(double got, double want) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (std::isnan(want)) return std::isnan(got) ? 0 : kInfinity;
  if (std::isinf(want)) return got == want ? 0 : kInfinity;
  const double error = std::abs(got - want);
  return error <= std::numeric_limits<double>::max() ? error : kInfinity;  // NaN fails here
}

struct Worst {
  double error = 0;
  std::size_t at = 0;
  double got = 0;
  double want = 0;
};

// The worst element. Sizes must agree: a missing element is an infinite error.
template <class Got, class Want>
Worst worst(const Got& got, const Want& want) {
  Worst found;
  if (std::size(got) != std::size(want)) {
    found.error = std::numeric_limits<double>::infinity();
    return found;
  }
  for (std::size_t x = 0; x < std::size(got); ++x) {
    const double error = error_of(static_cast<double>(got[x]), static_cast<double>(want[x]));
    if (!(error <= found.error)) {
      found = {error, x, static_cast<double>(got[x]), static_cast<double>(want[x])};
    }
  }
  return found;
}

// EXPECT_TRUE(close(got, want, 1e-6)) names the worst element when it fails.
template <class Got, class Want>
::testing::AssertionResult close(const Got& got, const Want& want, double tolerance) {
  if (std::size(got) != std::size(want)) {
    return ::testing::AssertionFailure()
           << std::size(got) << " elements, but " << std::size(want) << " wanted";
  }
  const Worst found = worst(got, want);
  // An infinite tolerance (a yardstick that went wrong) allows nothing either.
  if (found.error <= tolerance && std::isfinite(tolerance)) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "element " << found.at << " is " << found.got << ", wanted " << found.want
         << ": off by " << found.error << ", allowed " << tolerance;
}

// Same bits: NaN equals the same NaN, 0 differs from -0. For arrays of float, double or int32.
template <class A, class B>
::testing::AssertionResult same_bits(const A& a, const B& b) {
  using T = std::remove_cvref_t<decltype(a[0])>;
  static_assert(std::is_same_v<T, std::remove_cvref_t<decltype(b[0])>>);
  if (std::size(a) != std::size(b)) {
    return ::testing::AssertionFailure() << std::size(a) << " and " << std::size(b) << " elements";
  }
  using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  for (std::size_t x = 0; x < std::size(a); ++x) {
    if (std::bit_cast<Bits>(a[x]) != std::bit_cast<Bits>(b[x])) {
      return ::testing::AssertionFailure() << "element " << x << ": " << a[x] << " and " << b[x];
    }
  }
  return ::testing::AssertionSuccess();
}

// Refuses expectations that prove nothing: fewer than 2 elements, not finite, constant, or mostly
// zero.
template <class Want>
::testing::AssertionResult informative(const Want& want) {
  if (std::size(want) < 2) return ::testing::AssertionFailure() << "fewer than 2 elements";
  std::size_t zeros = 0;
  bool constant = true;
  for (std::size_t x = 0; x < std::size(want); ++x) {
    const double value = static_cast<double>(want[x]);
    if (!std::isfinite(value)) {
      return ::testing::AssertionFailure() << "element " << x << " is " << value;
    }
    if (value == 0) ++zeros;
    if (value != static_cast<double>(want[0])) constant = false;
  }
  if (constant) return ::testing::AssertionFailure() << "all elements are " << want[0];
  if (2 * zeros > std::size(want)) return ::testing::AssertionFailure() << zeros << " zeros";
  return ::testing::AssertionSuccess();
}

}  // namespace fovea::testing

// Fails a test whose expectation is degenerate: agreement with it would prove nothing.
#define EXPECT_INFORMATIVE(want) EXPECT_TRUE(::fovea::testing::informative(want))
