// The K best keys of each row. Most keys fail a compare with the K-th best so far, while their scores are
// still in registers; those that pass are inserted at the end of the block, without a branch for each:
// nothing predicts which they are, or where they belong.
#pragma once

#include <math.h>

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

// Of a factor; one of 0 ranks last, but it ranks.
inline float log2_of(float factor) { return factor > 0 ? log2f(factor) : -1e30f; }

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
// place. Without factors scores are the ranks.
template <bool kFactors>
[[gnu::always_inline]] inline Places with_new(const Places& x, const Places& before,
                                              const Places& key) {
  const auto pick = [&](Floats old, Floats moved, Floats now) {
    const Floats in = pick_where_greater(key.rank, before.rank, moved, now);
    return pick_where_greater(key.rank, x.rank, in, old);
  };
  // The ranks themselves, shorter: the next key waits for them.
  const Floats rank = max(x.rank, min(key.rank, before.rank));
  return {rank, kFactors ? pick(x.score, before.score, key.score) : rank,
          pick(x.index, before.index, key.index)};
}

template <bool kFactors>
[[gnu::always_inline]] inline Places moved(const Places& x, float rank, float score, float index) {
  return {shifted_in(x.rank, rank), kFactors ? shifted_in(x.score, score) : x.rank,
          shifted_in(x.index, index)};
}

// Inserts into more than one vector, the last first. An equal rank does not move and keys come in
// ascending order: ties go to the lower index.
inline void insert(const Kept& kept, const Places& key) {
  for (std::int64_t i = (kept.count - 1) / kLanes * kLanes; i >= 0; i -= kLanes) {
    const Places x = places_at(kept, i);
    const Places before =
        i == 0 ? moved<true>(x, -kHidden, 0, 0)
               : moved<true>(x, kept.rank[i - 1], kept.score[i - 1], kept.index[i - 1]);
    store_places(kept, i, with_new<true>(x, before, key));
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
  constexpr int kChains = 4;  // side by side: each waits for itself
  Floats of[kChains] = {all(kHidden), all(kHidden), all(kHidden), all(kHidden)};
  for (std::int64_t i = 0; i < o.vectors; i += kChains) {
#pragma GCC unroll 4
    for (int c = 0; c < kChains; ++c) {  // what ranks NaN, as hidden keys may, is passed over
      of[c] = max(rank_at(o, smaller(i + c, o.vectors - 1) * kLanes), of[c]);
    }
  }
  const Floats most = max(max(of[0], of[1]), max(of[2], of[3]));
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
  const bool finite = floor > kLowest && floor < -kHidden;
  return finite ? floor - size * 1e-6f - 1e-37f : kHidden;
}

// Panels of a block, and the keys of each that are above the bar of a row: bit j for its key j.
constexpr std::int64_t kPanel = kTileVectors * kLanes;
using Better = std::uint64_t[kKeys / kPanel];

// Keys of a block that are above a row's bar, by their place in the block. Written side by side, without a
// branch for each: nothing predicts how many a panel has.
struct Candidates {
  const float* scores;  // of the block
  std::int64_t count;
  std::uint8_t places[kKeys + 64];
};

inline void collect(Candidates& c, const std::uint64_t* better, std::int64_t first_panel,
                    std::int64_t end) {
  std::int64_t count = 0;  // in a register: places are bytes, which might be c.count's
  for (std::int64_t p = first_panel; p < end; ++p) {
    put_places(better[p], static_cast<std::uint8_t>(p * kPanel), c.places + count);
    count += __builtin_popcountll(better[p]);
  }
  c.count = count;
}

// The K best of R rows, each in one vector, and of their candidates. Each row in turn takes its next, so that
// one row's chain of compares does not wait for another's.
template <int R>
inline void merge(const Kept (&kept)[R], const Candidates (&candidates)[R], const float* index) {
  std::int64_t most = 0;
  for (int r = 0; r < R; ++r) most = larger(most, candidates[r].count);
  if (most == 0) return;
  Places x[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) x[r] = places_at(kept[r], 0);
  static constexpr float kNone = kHidden;
  for (std::int64_t i = 0; i < most; ++i) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Candidates& c = candidates[r];
      const Floats score = all(*(i < c.count ? c.scores + c.places[i] : &kNone));
      const Places key{score, score, all(index[c.places[i]])};
      x[r] = with_new<false>(x[r], moved<false>(x[r], -kHidden, 0, 0), key);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) store_places(kept[r], 0, x[r]);
}

// The same with factors, or where K takes more than one vector: key by key. One that is no longer better
// when its turn comes changes nothing.
[[gnu::noinline]] void offer(const Kept& kept, const Offer& o) {
  const float* worst = kept.rank + kept.count - 1;
  const float floor = *worst == kHidden ? floor_of(o, kept.count) : kHidden;
  for (std::int64_t i = 0; i < o.vectors; ++i) {
    const Floats rank = rank_at(o, i * kLanes);
    float ranks[kLanes];
    store(ranks, rank);
    std::uint32_t better = greater(rank, max(all(floor), all(*worst)));
    for (; better != 0; better &= better - 1) {
      const int l = __builtin_ctz(better);
      const std::int64_t j = i * kLanes + l;
      const Floats index = all(bits_of(static_cast<std::int32_t>(o.begin + j)));
      insert(kept, {all(ranks[l]), all(o.scores[j]), index});
    }
  }
}

}  // namespace
}  // namespace fovea::kernels
