// Long pairs made of short ones: what a corpus of single sentences has none of.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "pairs.h"

namespace fovea::train {

struct PieceLengths {
  std::size_t source = 0, target = 0;
};

// Joins `share` of the pairs, drawn by `seed`, into long ones of 2 to 8, with a space between; none
// gets longer than `most` pieces on a side. The long ones come first, then what stays single in its
// order. Every pair is used once. `length_of` counts the pieces of a pair.
std::vector<TextPair> join_pairs(const std::vector<TextPair>& pairs, double share,
                                 std::uint64_t seed, std::size_t most,
                                 const std::function<PieceLengths(const TextPair&)>& length_of);

}  // namespace fovea::train
