// Multiply-adds of registers alone: see peak.h.
#pragma once

#include <cstdint>

namespace fovea::kernels {
namespace {

// Chains: two units times a latency of up to 6, and a few more for scheduling to have a choice.
constexpr int kChains = 14;

template <class Operands>
inline std::int64_t multiply_adds(std::int64_t rounds) {
  Floats chain[kChains];
#pragma GCC unroll 16
  for (int c = 0; c < kChains; ++c) chain[c] = all(static_cast<float>(c));
  const Floats a = all(0.999f);
  const Floats b = all(0.001f);
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int c = 0; c < kChains; ++c) chain[c] = Operands::multiply_add(a, b, chain[c]);
  }
  Floats sum = all(0);
  for (int c = 0; c < kChains; ++c) sum = sum + chain[c];
  const volatile float used = sum_of(sum);  // or the compiler would leave all of it out
  static_cast<void>(used);
  return rounds * kChains * kLanes * 2 * Operands::kDepth;
}

}  // namespace
}  // namespace fovea::kernels
