// The two 16-bit floating-point types of language models, as plain numbers that memory holds.
//
//   BFloat16   8 bits of exponent, 7 of fraction: the upper half of a float32
//   Float16    5 bits of exponent, 10 of fraction: IEEE 754 binary16
//
// From float: to nearest, ties to even; beyond the largest becomes infinity; NaN stays NaN. To float:
// exact. No arithmetic: what computes with them widens them first.
#pragma once

#include <bit>
#include <cstdint>

namespace fovea {

struct BFloat16 {
  std::uint16_t bits = 0;

  BFloat16() = default;
  explicit BFloat16(float x) {
    const auto u = std::bit_cast<std::uint32_t>(x);
    const bool nan = (u & 0x7fffffffU) > 0x7f800000U;
    // Half of the last kept place, less one where the place is even: ties go to even.
    bits = static_cast<std::uint16_t>(nan ? (u >> 16U) | 0x40U
                                          : (u + 0x7fffU + ((u >> 16U) & 1U)) >> 16U);
  }
  explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
  }
};

struct Float16 {
  std::uint16_t bits = 0;

  Float16() = default;
  explicit Float16(float x) {
    const auto u = std::bit_cast<std::uint32_t>(x);
    const auto sign = static_cast<std::uint16_t>((u >> 16U) & 0x8000U);
    const std::uint32_t size = u & 0x7fffffffU;
    if (size > 0x7f800000U) {  // NaN
      bits = static_cast<std::uint16_t>(sign | 0x7e00U);
    } else if (size >= 0x477ff000U) {  // 65520, half way from the largest, 65504, to 65536
      bits = static_cast<std::uint16_t>(sign | 0x7c00U);
    } else if (size >= 0x38800000U) {  // 2^-14: normal
      const std::uint32_t rounded = size + 0xfffU + ((size >> 13U) & 1U);
      bits = static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13U));
    } else {  // subnormal: adding 1/2 puts 2^-24 into the last place, and rounds there
      const float shifted = std::bit_cast<float>(size) + 0.5F;
      bits =
          static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000U));
    }
  }
  explicit operator float() const {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16U;
    const std::uint32_t size = bits & 0x7fffU;
    if (size >= 0x7c00U) {  // infinity or NaN
      return std::bit_cast<float>(sign | 0x7f800000U | ((size & 0x3ffU) << 13U));
    }
    if (size >= 0x400U) return std::bit_cast<float>(sign | ((size << 13U) + 0x38000000U));
    const float tiny = static_cast<float>(size) * 0x1p-24F;
    return sign != 0 ? -tiny : tiny;
  }
};

}  // namespace fovea
