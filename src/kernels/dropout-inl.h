// Which weights dropout drops: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw 2011) over the counters
// that fovea/attend.h states. Words of 32 bits are kept in integers of 64, whose upper halves do
// not count.
#pragma once

#include <cstdint>
#include <cstring>

namespace fovea::kernels {
namespace {

// Counters worked on together, each the words of 4 keys.
constexpr int kCounters = 16;
constexpr std::int64_t kDropKeys = 4 * kCounters;

// to[4 c + w]: word w of counter (first + c, query, head, offset). (Of an integer in memory the
// lower half comes first: all processors that fovea has kernels for have this order.)
inline void random_words(const Dropping& dropout, std::uint32_t first, const Row& row,
                         std::uint32_t* to) {
  constexpr Integers kNone{};
  for (int at = 0; at < kCounters; at += kIntegers) {
    std::uint64_t lanes[kIntegers];
    for (int l = 0; l < kIntegers; ++l) {
      lanes[l] = std::uint64_t{first} + static_cast<std::uint64_t>(at + l);
    }
    Integers a;
    std::memcpy(&a, lanes, sizeof(a));
    Integers b = kNone + row.query;
    Integers c = kNone + row.head;
    Integers d = kNone + dropout.offset;
    auto low = static_cast<std::uint32_t>(dropout.seed);
    auto high = static_cast<std::uint32_t>(dropout.seed >> 32U);
    for (int round = 0; round < 10; ++round) {
      const Integers x = low_times(a, 0xD2511F53U);
      const Integers y = low_times(c, 0xCD9E8D57U);
      a = (y >> 32) ^ b ^ (kNone + low);
      b = y;
      c = (x >> 32) ^ d ^ (kNone + high);
      d = x;
      low += 0x9E3779B9U;
      high += 0xBB67AE85U;
    }
    const Integers ab = (a & (kNone + 0xffffffffU)) | (b << 32);
    const Integers cd = (c & (kNone + 0xffffffffU)) | (d << 32);
    std::uint64_t first_half[kIntegers];
    std::uint64_t second_half[kIntegers];
    std::memcpy(first_half, &ab, sizeof(ab));
    std::memcpy(second_half, &cd, sizeof(cd));
    for (int l = 0; l < kIntegers; ++l) {
      std::memcpy(to + 4 * (at + l), first_half + l, 8);
      std::memcpy(to + 4 * (at + l) + 2, second_half + l, 8);
    }
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
