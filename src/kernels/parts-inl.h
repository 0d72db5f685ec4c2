// Rows of few queries over many keys: the sums of each part of the keys, and how they are put together.
//
// With b = max(b1, b2) and g_i = 2^(unit (b_i - b)):
//   l = g1 l1 + g2 l2      o = g1 o1 + g2 o2      u = g1 (u1 + x1 l1) + g2 (u2 + x2 l2),  x_i = unit (b_i - b)
// A part in which a row saw nothing changes nothing, not a bit of it.
#pragma once

#include <cstdint>

namespace fovea::kernels {
namespace {

// One row's sums over one part, in the memory of partials.
struct Partial {
  float* head;  // base, limit, anchor
  float* total;
  float* spread;
  float* sums;
  float* rank;
  float* score;
  float* index;
};

inline Partial partial_at(const State& s, float* partials, std::int64_t part, int r) {
  float* at = partials + (part * s.a.row_count + r) * partial_step(s.a);
  Partial p{};
  p.head = at;
  p.total = at + kWidest;
  p.spread = p.total + kWidest;
  p.sums = p.spread + kWidest;
  p.rank = p.sums + s.w.value_step;
  p.score = p.rank + s.w.top_step;
  p.index = p.score + s.w.top_step;
  return p;
}

inline void copy(const float* from, float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += kLanes) store(to + i, load(from + i));
}

inline void put_partials(const State& s, float* partials, std::int64_t part) {
  for (int r = 0; r < s.a.row_count; ++r) {
    const Partial p = partial_at(s, partials, part, r);
    p.head[0] = s.w.base[r];
    p.head[1] = s.w.limit[r];
    p.head[2] = s.w.anchor[r];
    copy(s.w.total + r * kLanes, p.total, kLanes);
    if (s.a.entropy) copy(s.w.spread + r * kLanes, p.spread, kLanes);
    copy(s.w.sums + r * s.w.value_step, p.sums, s.w.value_step);
    if (s.a.top == 0) continue;
    const Kept kept = kept_of(s, r);
    copy(kept.rank, p.rank, s.w.top_step);
    copy(kept.score, p.score, s.w.top_step);
    copy(kept.index, p.index, s.w.top_step);
  }
}

// The best keys of a part, which all have higher indices than those kept so far. Ranks of factored keys
// are counted from the anchor of their part, and so begin anew.
inline void absorb_top(const State& s, int r, const Partial& p) {
  const Kept kept = kept_of(s, r);
  for (std::int64_t i = 0; i < kept.count && p.rank[i] != kHidden; ++i) {
    Floats rank = all(p.rank[i]);
    if (s.a.factor != nullptr) {
      const float factor =
          s.a.factor[index_at({p.rank, p.score, p.index, kept.count}, i) * s.a.factor_step];
      rank = fma(all(p.score[i]) - all(s.w.anchor[r]), all(s.unit), all(log2_of(factor)));
    }
    insert(kept, {rank, all(p.score[i]), all(p.index[i])});
  }
}

inline void absorb_partial(const State& s, int r, const Partial& p) {
  const bool nothing_yet = s.w.limit[r] == kHidden;
  if (nothing_yet) s.w.anchor[r] = p.head[2];
  if (s.a.top > 0) absorb_top(s, r, p);
  float* total = s.w.total + r * kLanes;
  float* spread = s.w.spread + r * kLanes;
  float* sums = s.w.sums + r * s.w.value_step;
  // NaN scores set no limit, but are in the sums.
  if (p.head[1] == kHidden && sum_of(load(p.total)) == 0) return;
  if (s.a.known) {
    if (s.a.entropy) store(spread, load(spread) + load(p.spread));
    return;
  }
  if (nothing_yet && sum_of(load(total)) == 0) {
    s.w.base[r] = p.head[0];
    s.w.limit[r] = p.head[1];
    copy(p.total, total, kLanes);
    if (s.a.entropy) copy(p.spread, spread, kLanes);
    copy(p.sums, sums, s.w.value_step);
    return;
  }
  const float base = p.head[0] > s.w.base[r] ? p.head[0] : s.w.base[r];
  const Floats step_here = all((s.w.base[r] - base) * s.unit);
  const Floats step_there = all((p.head[0] - base) * s.unit);
  const Floats here = exp2(step_here);
  const Floats there = exp2(step_there);
  if (s.a.entropy) {  // -126: -inf times 0 would be NaN
    const Floats mine = fma(max(all(-126.0f), step_here), load(total), load(spread)) * here;
    const Floats theirs = fma(max(all(-126.0f), step_there), load(p.total), load(p.spread)) * there;
    store(spread, mine + theirs);
  }
  store(total, fma(load(p.total), there, load(total) * here));
  for (std::int64_t e = 0; e < s.w.value_step; e += kLanes) {
    store(sums + e, fma(load(p.sums + e), there, load(sums + e) * here));
  }
  s.w.base[r] = base;
  s.w.limit[r] = base + s.reach;
}

template <class Operands>
inline void absorb_partials(State& s, float* partials) {
  start<Operands>(s);
  for (std::int64_t part = 0; part < parts_of(s.keys); ++part) {
    for (int r = 0; r < s.a.row_count; ++r) {
      absorb_partial(s, r, partial_at(s, partials, part, r));
    }
  }
}

}  // namespace
}  // namespace fovea::kernels
