// A hash that is the same on every machine: what it decides, it decides the same everywhere.
#pragma once

#include <cstdint>
#include <string_view>

namespace fovea::train {

inline std::uint64_t hash_of(std::string_view text) {  // FNV-1a
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return hash ^ (hash >> 32);
}

}  // namespace fovea::train
