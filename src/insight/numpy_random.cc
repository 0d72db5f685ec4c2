// Seeds as NumPy's SeedSequence makes them, PCG64 (O'Neill 2014, XSL-RR), and Lemire's way (2019)
// from 32 bits to a range.
#include "insight/numpy_random.h"

#include <bit>
#include <cstddef>

namespace fovea {
namespace {

using Wide = unsigned __int128;

constexpr Wide kMultiplier = (Wide{0x2360ed051fc65da4} << 64) | 0x4385df649fccf645;

struct Hash {
  std::uint32_t constant, multiplier;

  std::uint32_t operator()(std::uint32_t value) {
    value ^= constant;
    constant *= multiplier;
    value *= constant;
    return value ^ (value >> 16);
  }
};

std::array<std::uint64_t, 4> seed_sequence(std::uint64_t seed) {
  std::array<std::uint32_t, 4> pool = {static_cast<std::uint32_t>(seed),
                                       static_cast<std::uint32_t>(seed >> 32), 0, 0};
  Hash into{0x43b0d7e5, 0x931e8875};
  for (std::uint32_t& word : pool) word = into(word);
  for (std::size_t from = 0; from < pool.size(); ++from) {
    for (std::size_t to = 0; to < pool.size(); ++to) {
      if (from == to) continue;
      const std::uint32_t mixed = 0xca01f9dd * pool[to] - 0x4973f715 * into(pool[from]);
      pool[to] = mixed ^ (mixed >> 16);
    }
  }
  Hash out{0x8b51f9dd, 0x58f38ded};
  std::array<std::uint64_t, 4> words{};
  for (std::size_t i = 0; i < 8; ++i) {
    words[i / 2] |= std::uint64_t{out(pool[i % 4])} << (i % 2 * 32);
  }
  return words;
}

}  // namespace

NumpyRandom::NumpyRandom(std::uint64_t seed) {
  const auto words = seed_sequence(seed);
  increment_ = ((Wide{words[2]} << 64 | words[3]) << 1) | 1;
  state_ = (increment_ + (Wide{words[0]} << 64 | words[1])) * kMultiplier + increment_;
}

std::uint64_t NumpyRandom::next64() {
  state_ = state_ * kMultiplier + increment_;
  return std::rotr(static_cast<std::uint64_t>(state_ >> 64) ^ static_cast<std::uint64_t>(state_),
                   static_cast<int>(state_ >> 122));
}

std::uint32_t NumpyRandom::next32() {
  has_kept_ = !has_kept_;
  if (!has_kept_) return kept_;
  const std::uint64_t bits = next64();
  kept_ = static_cast<std::uint32_t>(bits >> 32);
  return static_cast<std::uint32_t>(bits);
}

std::uint32_t NumpyRandom::below(std::uint32_t n) {
  if (n == 1) return 0;                          // NumPy draws nothing for it
  const std::uint32_t threshold = (0u - n) % n;  // the 2^32 mod n values that would be too many
  std::uint64_t product = 0;
  do {
    product = std::uint64_t{next32()} * n;
  } while (static_cast<std::uint32_t>(product) < threshold);
  return static_cast<std::uint32_t>(product >> 32);
}

}  // namespace fovea
