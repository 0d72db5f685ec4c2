// A block of keys is made ready, once for all rows of a sweep.
#pragma once

#include <cstdint>

namespace fovea::kernels {
namespace {

// Keys and values of the block, unless they are packed since an earlier sweep.
template <class Operands>
inline void pack(State& s) {
  const Sweep& a = s.a;
  const bool packs_values = a.v != nullptr && !s.values_in_place;
  const bool stays = s.block.begin + kKeys <= a.packed;
  s.packed_keys = s.w.keys + (stays ? s.block.begin * s.words : 0);
  s.packed_values = s.w.values + (stays ? s.block.begin / Operands::kDepth * s.w.value_step : 0);
  // What is packed depends on which keys rows see: only whole blocks are the same for all.
  const bool whole = stays && s.block.all_seen && s.block.keys == kKeys;
  float* ready = s.w.ready + s.block.begin / kKeys;
  if (whole && *ready != kNotPacked) {
    s.block.finite = *ready == kPackedFinite;
    return;
  }
  if (!a.few) pack_keys<Operands>(a, s.block, s.seen, s.words, s.packed_keys);
  if (packs_values) {
    s.block.finite = pack_values<Operands>(a, s.block, s.seen, s.packed_values, s.w.value_step);
  }
  if (!stays) return;
  *ready = !whole || a.few ? kNotPacked : s.block.finite ? kPackedFinite : kPackedNotFinite;
}

template <class Operands>
inline void prepare(State& s, std::int64_t begin) {
  const Sweep& a = s.a;
  s.block = Block{.begin = begin, .keys = smaller(kKeys, s.keys - begin)};
  if (s.added != nullptr) {
    add_rows(a, s.block, s.w.added, s.seen);
  } else {
    s.block.all_seen = begin >= s.first;
    for (std::int64_t j = 0; j < s.block.keys; ++j) s.seen[j] = begin + j >= s.first;
  }
  pack<Operands>(s);
  if (a.top > 0) {
    for (std::int64_t j = 0; j < kKeys; ++j) {
      s.index[j] = bits_of(static_cast<std::int32_t>(begin + j));
    }
  }
  if (a.top > 0 && a.factor != nullptr) {
    for (std::int64_t j = 0; j < s.block.keys; ++j) {
      s.w.factors[j] = log2_of(a.factor[(begin + j) * a.factor_step]);
    }
    for (std::int64_t j = s.block.keys; j < kKeys; ++j) s.w.factors[j] = 0;
  }
}

}  // namespace
}  // namespace fovea::kernels
