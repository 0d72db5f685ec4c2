// The K best keys of each row. Most keys fail one vector compare with the K-th best so far.
#pragma once

#include <cstdint>

namespace fovea::kernels {
namespace {

// The kept keys of one row, by descending rank; rank -inf and index -1 where there is none yet.
// Without factors rank and score are the same memory.
struct Kept {
  float* rank;
  float* score;
  std::int32_t* index;
  std::int64_t count;  // K
};

inline void clear(const Kept& kept) {
  for (std::int64_t i = 0; i < kept.count; ++i) {
    kept.rank[i] = kHidden;
    kept.score[i] = kHidden;
    kept.index[i] = -1;
  }
}

// Keys come in ascending order and equal ranks keep theirs: ties go to the lower index.
inline void insert(const Kept& kept, float rank, float score, std::int64_t index) {
  std::int64_t at = kept.count - 1;
  for (; at > 0 && kept.rank[at - 1] < rank; --at) {
    kept.rank[at] = kept.rank[at - 1];
    kept.index[at] = kept.index[at - 1];
    if (kept.score != kept.rank) kept.score[at] = kept.score[at - 1];
  }
  kept.rank[at] = rank;
  kept.score[at] = score;
  kept.index[at] = static_cast<std::int32_t>(index);
}

struct Offer {
  const float* scores;   // [vectors, kLanes]
  const float* factors;  // log2 of the factors, or null
  float anchor;
  float unit;
  std::int64_t begin;  // the key of the first score
  std::int64_t vectors;
};

// A key ranks by its score; with factors by unit (score - anchor) + factor, which is log2 of p
// factor up to a constant of the row. The anchor keeps that small where scores are large.
inline Floats rank_at(const Offer& o, std::int64_t j) {
  const Floats score = load(o.scores + j);
  if (o.factors == nullptr) return score;
  return fma(score - all(o.anchor), all(o.unit), load(o.factors + j));
}

// A rank that at least `count` of the offered keys reach: the count-th largest of the maxima of the
// lanes, or -inf where there are fewer lanes. From 256 keys, 8 of them best, 11 reach it on
// average; without it 36 would be inserted and most pushed out again.
inline float floor_of(const Offer& o, std::int64_t count) {
  if (count > kLanes) return kHidden;
  Floats most = rank_at(o, 0);
  for (std::int64_t i = 1; i < o.vectors; ++i) most = max(rank_at(o, i * kLanes), most);
  float maxima[kLanes];
  store(maxima, most);
  float least = max_of(most);
  for (int l = 0; l < kLanes; ++l) {
    const bool among = __builtin_popcount(greater(most, all(maxima[l]))) < count;
    if (among && maxima[l] < least) least = maxima[l];
  }
  return least;
}

inline void offer(const Kept& kept, const Offer& o) {
  const float* worst = kept.rank + kept.count - 1;
  // -inf: not full yet. (A floor of NaN is passed by no compare below but the first, and then by
  // none.)
  const float floor = *worst == kHidden ? floor_of(o, kept.count) : *worst;
  float ranks[kLanes];
  for (std::int64_t j = 0; j < o.vectors * kLanes; j += kLanes) {
    const Floats rank = rank_at(o, j);
    std::uint32_t better = not_less(rank, max(all(floor), all(*worst)));
    if (better == 0) continue;
    store(ranks, rank);
    for (; better != 0; better &= better - 1) {
      const int l = __builtin_ctz(better);
      if (ranks[l] > *worst) insert(kept, ranks[l], o.scores[j + l], o.begin + j + l);
    }
  }
}

}  // namespace
}  // namespace fovea::kernels
