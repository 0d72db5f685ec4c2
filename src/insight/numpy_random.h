// The random numbers of numpy.random.default_rng(seed): what sacreBLEU draws its samples with.
#pragma once

#include <array>
#include <cstdint>

namespace fovea {

class NumpyRandom {
 public:
  explicit NumpyRandom(std::uint64_t seed);

  // In [0, n), n > 0: Generator.integers(0, n).
  std::uint32_t below(std::uint32_t n);

 private:
  std::uint64_t next64();
  std::uint32_t next32();

  unsigned __int128 state_ = 0, increment_ = 0;
  std::uint32_t kept_ = 0;  // the upper half of the last 64 bits, if not handed out yet
  bool has_kept_ = false;
};

}  // namespace fovea
