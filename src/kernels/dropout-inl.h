// Which weights dropout drops: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw 2011) over the counters that
// fovea/attend.h states. Plain loops over lanes, which the compiler makes vectors of.
#pragma once

#include <cstdint>

namespace fovea::kernels {
namespace {

// Counters worked on together, each the words of 4 keys.
constexpr int kCounters = 16;
constexpr std::int64_t kDropKeys = 4 * kCounters;

// to[4 c + w]: word w of counter (first + c, query, head, offset).
inline void random_words(const Dropping& dropout, std::uint32_t first, const Row& row,
                         std::uint32_t* to) {
  std::uint32_t a[kCounters], b[kCounters], c[kCounters], d[kCounters];
  for (int l = 0; l < kCounters; ++l) {
    a[l] = first + static_cast<std::uint32_t>(l);
    b[l] = row.query;
    c[l] = row.head;
    d[l] = dropout.offset;
  }
  auto low = static_cast<std::uint32_t>(dropout.seed);
  auto high = static_cast<std::uint32_t>(dropout.seed >> 32U);
  for (int round = 0; round < 10; ++round) {
    for (int l = 0; l < kCounters; ++l) {
      const std::uint64_t x = std::uint64_t{0xD2511F53U} * a[l];
      const std::uint64_t y = std::uint64_t{0xCD9E8D57U} * c[l];
      a[l] = static_cast<std::uint32_t>(y >> 32U) ^ b[l] ^ low;
      b[l] = static_cast<std::uint32_t>(y);
      c[l] = static_cast<std::uint32_t>(x >> 32U) ^ d[l] ^ high;
      d[l] = static_cast<std::uint32_t>(x);
    }
    low += 0x9E3779B9U;
    high += 0xBB67AE85U;
  }
  for (int l = 0; l < kCounters; ++l) {
    to[4 * l] = a[l];
    to[4 * l + 1] = b[l];
    to[4 * l + 2] = c[l];
    to[4 * l + 3] = d[l];
  }
}

// f(j, kept) for keys [begin, end) of the row, j counted from `begin`, which is a multiple of 4.
template <class F>
[[gnu::always_inline]] inline void each_kept(const Dropping& dropout, const Row& row,
                                             std::int64_t begin, std::int64_t end, const F& f) {
  std::uint32_t words[kDropKeys];
  for (std::int64_t from = begin; from < end; from += kDropKeys) {
    random_words(dropout, static_cast<std::uint32_t>(from / 4), row, words);
    const std::int64_t count = end - from < kDropKeys ? end - from : kDropKeys;
    for (std::int64_t j = 0; j < count; ++j) f(from - begin + j, words[j] >= dropout.threshold);
  }
}

// Weights of keys [begin, end), those that are dropped 0. kBytes: of a weight.
template <int kBytes>
inline void drop(const Dropping& dropout, const Row& row, std::int64_t begin, std::int64_t end,
                 const float* from, float* to) {
  using Word [[gnu::may_alias]] = std::uint32_t;
  using Half [[gnu::may_alias]] = std::uint16_t;
  if constexpr (kBytes == 4) {
    const auto* weights = reinterpret_cast<const Word*>(from);
    auto* left = reinterpret_cast<Word*>(to);
    each_kept(dropout, row, begin, end,
              [&](std::int64_t j, bool kept) { left[j] = kept ? weights[j] : 0; });
  } else {
    const auto* weights = reinterpret_cast<const Half*>(from);
    auto* left = reinterpret_cast<Half*>(to);
    each_kept(dropout, row, begin, end, [&](std::int64_t j, bool kept) {
      left[j] = static_cast<std::uint16_t>(kept ? weights[j] : 0);
    });
  }
}

}  // namespace
}  // namespace fovea::kernels
