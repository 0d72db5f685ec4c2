// bfloat16 in memory, float in registers; loops over these vectorise on any ISA.
#pragma once

#include <bit>
#include <cstdint>

namespace fovea::fit {

using Bf16 = std::uint16_t;

inline float load(float value) { return value; }
inline float load(Bf16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}

inline void store(float& to, float value) { to = value; }
// Round to nearest, ties to even. NaN is not kept apart: a step that meets one stops the training
// anyway.
inline void store(Bf16& to, float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  to = static_cast<Bf16>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

}  // namespace fovea::fit
