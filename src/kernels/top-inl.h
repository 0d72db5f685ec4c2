// The K best keys of each row. Most keys fail one vector compare with the K-th best so far; those
// that pass are inserted without a branch: gathering and sorting them, or moving them one place at
// a time, cost twice as much, because nothing predicts where a key belongs.
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
template <bool kFactors = true>
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

template <bool kFactors = true>
[[gnu::always_inline]] inline Places moved(const Places& x, float rank, float score, float index) {
  return {shifted_in(x.rank, rank), kFactors ? shifted_in(x.score, score) : x.rank,
          shifted_in(x.index, index)};
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

// The first keys that a row is offered: those above a floor are set side by side (Passed), and take the
// places that they are due by counting how many are better (fill). No branch waits for a score, and each
// step is done for a tile of rows before the next, so that nothing waits for memory that was just
// written; inserting the keys one by one took six times as long.
constexpr std::int64_t kFilled = 16;  // keys that pass at most, and are kept at most

struct Passed {
  float scores[kFilled + kWidest];
  float places[kFilled + kWidest];  // of the keys, among those offered
  std::int64_t count;               // more than kFilled: too many, and not all of them are here
};

inline Passed passed_of(const Offer& o, std::int64_t kept) {
  Passed passed;
  const Floats floor = all(floor_of(o, kept));
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < o.vectors; ++i) {
    const Floats score = load(o.scores + i * kLanes);
    const std::uint32_t passes = greater(score, floor);
    const std::int64_t at = smaller(count, kFilled);
    store_where(passed.places + at, passes, all(static_cast<float>(i * kLanes)) + ramp());
    count += store_where(passed.scores + at, passes, score);
  }
  for (std::int64_t i = 0; i < kFilled; i += kLanes) {
    store(passed.scores + smaller(count, kFilled) + i, all(kHidden));
  }
  passed.count = count;
  return passed;
}

inline void fill(const Kept& kept, const Passed& passed, std::int64_t begin) {
  static constexpr float kStep[2 * kFilled] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                               1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  float due[kFilled];
  for (std::int64_t i = 0; i < kFilled; i += kLanes) {
    const Floats score = load(passed.scores + i);
    Floats better = all(0);  // keys with a larger score, or the same and a lower index
#pragma GCC unroll 16
    for (std::int64_t m = 0; m < kFilled; ++m) {
      const Floats other = all(passed.scores[m]);
      const Floats above = pick_where_greater(other, score, all(1), all(0));
      const Floats before = load(kStep + kFilled - 1 - m + i);  // 1 in lanes after m
      better = better + pick_where_equal(other, score, before, above);
    }
    store(due + i, better);
  }
  for (std::int64_t i = 0; i < kFilled; ++i) {
    const auto place = static_cast<std::int64_t>(due[i]);
    kept.rank[place] = passed.scores[i];
    kept.index[place] = bits_of(-1);
    if (i >= passed.count) continue;
    kept.index[place] =
        bits_of(static_cast<std::int32_t>(begin + static_cast<std::int64_t>(passed.places[i])));
  }
}

// Bit j: offered key j has a rank above the bar. At most 64 keys.
inline std::uint64_t better_keys(const Offer& o, std::int64_t vectors, Floats bar) {
  std::uint64_t better = 0;
  for (std::int64_t i = 0; i < vectors; ++i) {
    better |= std::uint64_t{greater(rank_at(o, i * kLanes), bar)} << (i * kLanes);
  }
  return better;
}

// Inserts the keys of `better`. Which they are, and how many, cannot be predicted; so there is one loop
// over them and no other branch. A key that is no longer better when its turn comes changes nothing.
template <bool kFactors>
[[gnu::always_inline]] inline Places insert_few(Places x, const Offer& o, std::uint64_t better) {
  for (; better != 0; better &= better - 1) {
    const int j = __builtin_ctzll(better);
    const Floats score = all(o.scores[j]);
    Places key{score, score, all(bits_of(static_cast<std::int32_t>(o.begin + j)))};
    if constexpr (kFactors) key.rank = fma(score - all(o.anchor), all(o.unit), all(o.factors[j]));
    x = with_new<kFactors>(x, moved<kFactors>(x, -kHidden, 0, 0), key);
  }
  return x;
}

// The K best of those kept and those offered, any number of them.
template <bool kFactors>
inline void offer_to(const Kept& kept, Offer o) {
  constexpr std::int64_t kAtOnce = 64 / kLanes;  // vectors
  const float* worst = kept.rank + kept.count - 1;
  const float floor = *worst == kHidden ? floor_of(o, kept.count) : kHidden;
  while (o.vectors > 0) {
    const std::int64_t n = smaller(kAtOnce, o.vectors);
    std::uint64_t better = better_keys(o, n, max(all(floor), all(*worst)));
    if (better != 0 && kept.count <= kLanes) {
      store_places(kept, 0, insert_few<kFactors>(places_at(kept, 0), o, better));
    }
    for (; kept.count > kLanes && better != 0; better &= better - 1) {
      const int j = __builtin_ctzll(better);
      const Floats score = all(o.scores[j]);
      Places key{score, score, all(bits_of(static_cast<std::int32_t>(o.begin + j)))};
      if (kFactors) key.rank = fma(score - all(o.anchor), all(o.unit), all(o.factors[j]));
      insert(kept, key);
    }
    o.scores += n * kLanes;
    if (kFactors) o.factors += n * kLanes;
    o.begin += n * kLanes;
    o.vectors -= n;
  }
}

[[gnu::noinline]] void offer(const Kept& kept, const Offer& o) {
  if (o.factors != nullptr) {
    offer_to<true>(kept, o);
  } else {
    offer_to<false>(kept, o);
  }
}

}  // namespace
}  // namespace fovea::kernels
