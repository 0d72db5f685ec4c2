// Dropout without stored masks: an element's fate is a hash of its place, so that the backward pass
// finds it again and a resumed run meets the same one.
#pragma once

#include <cstdint>

namespace fovea::fit {

struct Dropout {
  std::uint32_t key = 0;
  std::uint32_t threshold = 0;  // drop when hash < threshold; 0 drops nothing
  float scale = 1;

  // Factor of element `index`: 0 or scale.
  float factor(std::uint32_t index) const {
    std::uint32_t h = (index ^ key) * 0x9E3779B1u;
    h ^= h >> 15;
    h *= 0x85EBCA77u;
    h ^= h >> 13;
    h += key;
    h *= 0xC2B2AE3Du;
    h ^= h >> 16;
    return h < threshold ? 0.0f : scale;
  }
};

inline std::uint64_t mix(std::uint64_t x) {  // splitmix64
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

// A stream of dropouts, one for each site of the network, from the seed and the step.
class DropoutSource {
 public:
  DropoutSource(std::uint64_t seed, std::uint64_t step, double rate)
      : state_(mix(mix(seed) ^ step)), rate_(rate) {}

  Dropout next() {
    state_ = mix(state_);
    if (rate_ <= 0) return {};
    return {static_cast<std::uint32_t>(state_), static_cast<std::uint32_t>(rate_ * 4294967296.0),
            static_cast<float>(1 / (1 - rate_))};
  }

 private:
  std::uint64_t state_;
  double rate_;
};

}  // namespace fovea::fit
