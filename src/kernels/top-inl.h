// The K best keys of each row. Most keys fail one vector compare with the K-th best so far.
#pragma once

#include <cstdint>

namespace fovea::kernels {
namespace {

// The kept keys of one row, by descending rank; rank -inf and index -1 where there is none yet.
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
    kept.score[at] = kept.score[at - 1];
    kept.index[at] = kept.index[at - 1];
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
inline void offer(const Kept& kept, const Offer& o) {
  float* worst = kept.rank + kept.count - 1;
  float ranks[kLanes];
  for (std::int64_t j = 0; j < o.vectors * kLanes; j += kLanes) {
    Floats rank = load(o.scores + j);
    if (o.factors != nullptr) {
      rank = fma(rank - all(o.anchor), all(o.unit), load(o.factors + j));
    }
    std::uint32_t better = greater(rank, all(*worst));
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
