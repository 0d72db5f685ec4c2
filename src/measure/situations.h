// The situations in which attention is measured: named uses, not sizes. A name says the same call for
// ever, so that a figure of today can be set beside one of last year.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "fovea/attend.h"

namespace fovea::measure {

// B sequences, H query heads on G key heads, N queries, M keys, width D of keys and values.
struct Situation {
  const char* name;
  const char* what;
  std::int64_t B, H, G, N, M, D;
  Causal causal = Causal::kNone;
  bool quick = false;    // part of a run without --full
  bool lengths = false;  // each sequence has its own
  bool rotated = false;  // keys and values come from memory, not from a cache
  std::optional<std::int64_t> window_before = std::nullopt;
  const char* neighbour = nullptr;  // the situation of round sizes that it is compared with
};

std::span<const Situation> situations();

// nullptr: there is none of this name.
const Situation* situation_of(std::string_view name);

// [B]; empty: all.
std::vector<std::int32_t> key_lengths(const Situation& s);
std::vector<std::int32_t> query_lengths(const Situation& s);

// The keys [begin, end) that query i of sequence b sees; begin = end: none.
struct KeyRange {
  std::int64_t begin = 0, end = 0;
};
KeyRange visible_keys(const Situation& s, std::int64_t b, std::int64_t i);

// Query-key pairs that see each other, over all sequences, for one head.
std::int64_t visible_pairs(const Situation& s);

// What is counted: 2 (D + E) for each visible pair and head.
double operations(const Situation& s);

// Elements of k and v.
std::int64_t key_value_elements(const Situation& s);

}  // namespace fovea::measure
