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

// One vector of the kept keys.
struct Places {
  Floats rank, score, index;
};

inline Places places_at(const Kept& kept, std::int64_t i) {
  return {load(kept.rank + i), load(kept.score + i), load(kept.index + i)};
}

inline void store_places(const Kept& kept, std::int64_t i, const Places& x) {
  store(kept.rank + i, x.rank);
  if (kept.score != kept.rank) store(kept.score + i, x.score);
  store(kept.index + i, x.index);
}

// Where the new key (in all lanes) is better than the one in a place, that place gets the key
// before it, or the new one if it is not better than the key before. `before` is x moved by one
// place.
[[gnu::always_inline]] inline Places with_new(const Places& x, const Places& before,
                                              const Places& key) {
  const auto pick = [&](Floats old, Floats moved, Floats now) {
    const Floats in = pick_where_greater(key.rank, before.rank, moved, now);
    return pick_where_greater(key.rank, x.rank, in, old);
  };
  // The ranks themselves, shorter: the next key waits for them.
  return {max(x.rank, min(key.rank, before.rank)), pick(x.score, before.score, key.score),
          pick(x.index, before.index, key.index)};
}

[[gnu::always_inline]] inline Places moved(const Places& x, float rank, float score, float index) {
  return {shifted_in(x.rank, rank), shifted_in(x.score, score), shifted_in(x.index, index)};
}

// Inserts into more than one vector, the last first. An equal rank does not move and keys come in
// ascending order: ties go to the lower index.
inline void insert(const Kept& kept, const Places& key) {
  for (std::int64_t i = (kept.count - 1) / kLanes * kLanes; i >= 0; i -= kLanes) {
    const Places x = places_at(kept, i);
    const Places before = i == 0 ? moved(x, -kHidden, 0, 0)
                                 : moved(x, kept.rank[i - 1], kept.score[i - 1], kept.index[i - 1]);
    store_places(kept, i, with_new(x, before, key));
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

// A bound that at least `count` of the offered keys exceed, or -inf: just below the count-th
// largest of the maxima of the lanes. From 256 keys, 8 of them best, 11 exceed it on average;
// without it 42 would be inserted.
inline float floor_of(const Offer& o, std::int64_t count) {
  if (count > kLanes) return kHidden;
  Floats most = rank_at(o, 0);
  for (std::int64_t i = 1; i < o.vectors; ++i) most = max(rank_at(o, i * kLanes), most);
  float maxima[kLanes];
  store(maxima, most);
  Floats reached_by = all(0);  // how many lanes have as much
#pragma GCC unroll 16
  for (int l = 0; l < kLanes; ++l) {
    reached_by = reached_by + zero_where_less(all(maxima[l]), most, all(1));
  }
  const Floats enough = all(static_cast<float>(count) - 0.5f);
  const float floor = max_of(pick_where_greater(reached_by, enough, most, all(kHidden)));
  const float size = floor < 0 ? -floor : floor;
  return floor > kLowest ? floor - size * 1e-6f - 1e-37f : kHidden;  // NaN gives -inf too
}

inline void offer(const Kept& kept, const Offer& o) {
  const float* worst = kept.rank + kept.count - 1;
  const float floor = *worst == kHidden ? floor_of(o, kept.count) : kHidden;
  float ranks[kLanes];
  for (std::int64_t j = 0; j < o.vectors * kLanes; j += kLanes) {
    const Floats rank = rank_at(o, j);
    std::uint32_t better = greater(rank, max(all(floor), all(*worst)));
    if (better == 0) continue;
    store(ranks, rank);
    Places x = places_at(kept, 0);  // stays in registers while one vector holds all K
    for (; better != 0; better &= better - 1) {
      const int l = __builtin_ctz(better);
      const Places key{all(ranks[l]), all(o.scores[j + l]),
                       all(bits_of(static_cast<std::int32_t>(o.begin + j + l)))};
      if (kept.count > kLanes) {
        insert(kept, key);
      } else {
        x = with_new(x, moved(x, -kHidden, 0, 0), key);
      }
    }
    if (kept.count <= kLanes) store_places(kept, 0, x);
  }
}

}  // namespace
}  // namespace fovea::kernels
