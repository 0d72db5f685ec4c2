#include "measure/situations.h"

#include <algorithm>

namespace fovea::measure {
namespace {

constexpr Causal kAll = Causal::kNone, kCausal = Causal::kBottomRight;
constexpr bool kQuick = true, kLengths = true, kRotated = true;

// Columns of sizes: B, H, G, N, M, D. clang-format would give each field a line.
// clang-format off
constexpr Situation kSituations[] = {
    {"self_512", "one text of 512 positions",
     1, 8, 8, 512, 512, 64, kAll, kQuick},
    {"self_2k", "one text of 2,048 positions",
     1, 8, 8, 2048, 2048, 64, kAll, kQuick},
    {"self_2k_wide", "the same, heads of 128",
     1, 8, 8, 2048, 2048, 128, kAll},
    {"self_8k", "one text of 8,192 positions",
     1, 8, 8, 8192, 8192, 64, kAll},
    {"causal_2k", "2,048 positions, causal",
     1, 8, 8, 2048, 2048, 64, kCausal, kQuick},
    {"causal_2k_128", "the same, 32 heads of 128",
     1, 32, 32, 2048, 2048, 128, kCausal},
    {"causal_2k_grouped", "the same, 4 heads share keys",
     1, 32, 8, 2048, 2048, 128, kCausal},
    {"causal_8k", "8,192 positions, causal",
     1, 8, 8, 8192, 8192, 64, kCausal},
    {"window_8k", "the same, 512 keys back",
     1, 8, 8, 8192, 8192, 64, kCausal, !kQuick, !kLengths, !kRotated, 512},
    {"long_32k", "32,768 positions, causal, one head",
     1, 1, 1, 32768, 32768, 64, kCausal},
    {"sentence_batch", "32 sentences: 12 to 24 queries, 12 to 28 keys",
     32, 8, 8, 24, 28, 64, kAll, kQuick, kLengths},
    {"sentence_batch_plain", "32 sentences: 24 queries, 28 keys",
     32, 8, 8, 24, 28, 64, kAll},
    {"translate_step", "one new word, 28 keys",
     1, 8, 8, 1, 28, 64, kAll, kQuick},
    {"translate_step_32", "one new word in each of 32 sentences",
     32, 8, 8, 1, 28, 64, kAll, kQuick},
    {"decode_4k_grouped", "one new word, 4,096 keys in memory, 4 heads share them",
     1, 32, 8, 1, 4096, 128, kAll, kQuick, !kLengths, kRotated},
    {"odd", "64 times 33 queries, 47 keys, width 40",
     8, 8, 8, 33, 47, 40, kAll, kQuick, !kLengths, !kRotated, std::nullopt, "odd_round"},
    {"odd_round", "64 times 32 queries, 48 keys, width 40",
     8, 8, 8, 32, 48, 40, kAll},
};
// clang-format on

// `most` for sequence 0; down to `least` for the others, in no order.
std::vector<std::int32_t> spread_lengths(const Situation& s, std::int64_t most, std::int64_t least,
                                         std::int64_t step) {
  std::vector<std::int32_t> lengths;
  if (!s.lengths) return lengths;
  for (std::int64_t b = 0; b < s.B; ++b) {
    lengths.push_back(static_cast<std::int32_t>(most - step * b % (most - least + 1)));
  }
  return lengths;
}

}  // namespace

std::span<const Situation> situations() { return kSituations; }

const Situation* situation_of(std::string_view name) {
  for (const Situation& s : kSituations) {
    if (name == s.name) return &s;
  }
  return nullptr;
}

std::vector<std::int32_t> key_lengths(const Situation& s) { return spread_lengths(s, s.M, 12, 7); }

std::vector<std::int32_t> query_lengths(const Situation& s) {
  return spread_lengths(s, s.N, 12, 5);
}

KeyRange visible_keys(const Situation& s, std::int64_t b, std::int64_t i) {
  const auto length = [&](const std::vector<std::int32_t>& lengths, std::int64_t all) {
    return lengths.empty() ? all : std::int64_t{lengths[static_cast<std::size_t>(b)]};
  };
  const std::int64_t m = length(key_lengths(s), s.M);
  const std::int64_t n = length(query_lengths(s), s.N);
  if (i >= n) return {};
  const std::int64_t place = s.causal == Causal::kTopLeft ? i : i + m - n;
  KeyRange range = {0, m};
  if (s.causal != Causal::kNone) range.end = std::clamp<std::int64_t>(place + 1, 0, m);
  if (s.window_before) range.begin = std::max<std::int64_t>(0, place - *s.window_before);
  if (range.begin >= range.end) return {};
  return range;
}

std::int64_t visible_pairs(const Situation& s) {
  std::int64_t pairs = 0;
  for (std::int64_t b = 0; b < s.B; ++b) {
    for (std::int64_t i = 0; i < s.N; ++i) {
      const KeyRange range = visible_keys(s, b, i);
      pairs += range.end - range.begin;
    }
  }
  return pairs;
}

double operations(const Situation& s) {
  return static_cast<double>(visible_pairs(s)) * static_cast<double>(2 * s.H * (s.D + s.D));
}

std::int64_t key_value_elements(const Situation& s) { return 2 * s.B * s.G * s.M * s.D; }

}  // namespace fovea::measure
