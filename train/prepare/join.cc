#include "join.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"
#include "fovea/text.h"

namespace fovea::train {
namespace {

constexpr std::uint64_t kLeast = 2, kMost = 8;

// Links count words, so those of what follows move by the words that are there already.
void append(TextPair& pair, const TextPair& next) {
  const auto source_words = static_cast<std::int32_t>(words(pair.source).size());
  const auto target_words = static_cast<std::int32_t>(words(pair.target).size());
  for (const Link& link : next.links) {
    pair.links.push_back({link.source + source_words, link.target + target_words});
  }
  pair.source += " " + next.source;
  pair.target += " " + next.target;
}

}  // namespace

std::vector<TextPair> join_pairs(const std::vector<TextPair>& pairs, double share,
                                 std::uint64_t seed, std::size_t most,
                                 const std::function<PieceLengths(const TextPair&)>& length_of) {
  Random random(seed);
  std::vector<std::size_t> order(pairs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  order.resize(static_cast<std::size_t>(std::lround(share * static_cast<double>(pairs.size()))));

  std::vector<TextPair> result;
  std::vector<bool> used(pairs.size(), false);
  for (std::size_t at = 0; at < order.size();) {
    const std::uint64_t wanted = kLeast + random.below(kMost - kLeast + 1);
    std::size_t count = 0;
    PieceLengths length;
    for (; count < wanted && at + count < order.size(); ++count) {
      const PieceLengths more = length_of(pairs[order[at + count]]);
      if (std::max(length.source + more.source, length.target + more.target) > most) break;
      length.source += more.source;
      length.target += more.target;
    }
    if (count >= kLeast) {
      TextPair joined = pairs[order[at]];
      for (std::size_t i = 1; i < count; ++i) append(joined, pairs[order[at + i]]);
      for (std::size_t i = 0; i < count; ++i) used[order[at + i]] = true;
      result.push_back(std::move(joined));
    }
    at += std::max<std::size_t>(count, 1);  // one that fits with no other stays single
  }
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (!used[i]) result.push_back(pairs[i]);
  }
  return result;
}

}  // namespace fovea::train
