// The K best keys of each row. Most keys fail one vector compare with the K-th best so far; those
// that pass are inserted without a branch: gathering and sorting them, or moving them one place at
// a time, cost twice as much, because nothing predicts where a key belongs.
#pragma once

#include <cstdint>
#include <cstring>

namespace fovea::kernels {
namespace {

// The kept keys of one row, by descending rank, in whole vectors: places past K hold the next best.
// Rank -inf and index -1 where there is none yet. Without factors rank and score are the same
// memory.
struct Kept {
  float* rank;
  float* score;
  float* index;        // int32 in the memory of floats: it moves as floats do
  std::int64_t count;  // K
};

inline float bits_of(std::int32_t index) {
  float bits;
  std::memcpy(&bits, &index, 4);
  return bits;
}

inline std::int32_t index_at(const Kept& kept, std::int64_t i) {
  std::int32_t index;
  std::memcpy(&index, kept.index + i, 4);
  return index;
}

inline void clear(const Kept& kept) {
  for (std::int64_t i = 0; i < kept.count; i += kLanes) {
    store(kept.rank + i, all(kHidden));
    store(kept.score + i, all(kHidden));
    store(kept.index + i, all(bits_of(-1)));
  }
}

// What a new key changes in one vector of the kept: where it is better than the key in a place,
// that place gets the key before it, or the new one if it is not better than the key before.
struct Change {
  Floats rank;    // of the new key, in all lanes
  Floats here;    // ranks
  Floats before;  // ranks, moved by one place

  void apply(float* x, std::int64_t i, float value) const {
    const Floats old = load(x + i);
    const Floats moved = shifted_in(old, i == 0 ? 0 : x[i - 1]);
    const Floats now = pick_where_greater(rank, before, moved, all(value));
    store(x + i, pick_where_greater(rank, here, now, old));
  }
};

// Keys come in ascending order and an equal rank does not move: ties go to the lower index.
inline void insert(const Kept& kept, float rank, float score, std::int64_t index) {
  for (std::int64_t i = (kept.count - 1) / kLanes * kLanes; i >= 0; i -= kLanes) {
    const Floats here = load(kept.rank + i);
    const float last = i == 0 ? -kHidden : kept.rank[i - 1];
    const Change change{all(rank), here, shifted_in(here, last)};
    change.apply(kept.index, i, bits_of(static_cast<std::int32_t>(index)));
    if (kept.score != kept.rank) change.apply(kept.score, i, score);
    change.apply(kept.rank, i, rank);
  }
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

inline void offer(const Kept& kept, const Offer& o) {
  const float* worst = kept.rank + kept.count - 1;
  float ranks[kLanes];
  for (std::int64_t j = 0; j < o.vectors * kLanes; j += kLanes) {
    const Floats rank = rank_at(o, j);
    std::uint32_t better = greater(rank, all(*worst));
    if (better == 0) continue;
    store(ranks, rank);
    for (; better != 0; better &= better - 1) {
      const int l = __builtin_ctz(better);
      insert(kept, ranks[l], o.scores[j + l], o.begin + j + l);
    }
  }
}

}  // namespace
}  // namespace fovea::kernels
