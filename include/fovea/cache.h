// Keys and values kept from step to step of decoding: memory of fixed capacity for a batch of
// sequences of different lengths, and appending to it.
//
//   keys [B, G, capacity, D]    values [B, G, capacity, E]    lengths [B]
//
// Give keys(), values() and lengths() to attend as k, v and key_lengths: positions past a length are
// never read. Positions of one head lie side by side, so that decoding reads memory straight on. How
// to decode with it: docs/decode.md.
//
// Memory  is asked for whole, and not touched before it is used. The views point into it: they stay
//         good, and show what append and reorder change, as long as the cache lives or its memory
//         moves on to another one. A cache that was moved from may only be assigned to or destroyed.
// Threads One call at a time, and none while attend reads
// Throws  Error, and leaves the cache as it was
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "fovea/view.h"

namespace fovea {

class KeyValueCache {
 public:
  // Each size at least 1.
  struct Shape {
    std::int64_t batch = 1, heads = 1, capacity = 0;  // B, G, positions of one sequence at most
    std::int64_t key_width = 0, value_width = 0;      // D, E
    DataType type = DataType::kFloat32;               // float32, bfloat16 or float16
  };

  explicit KeyValueCache(const Shape& shape);
  ~KeyValueCache();
  KeyValueCache(KeyValueCache&&) noexcept;
  KeyValueCache& operator=(KeyValueCache&&) noexcept;

  // Adds k [B, G, n, D] and v [B, G, n, E], of the cache's type, after what each sequence has. With
  // counts [B], each in [0, n], only the first counts[b] positions of sequence b. Any strides with the
  // last one 1.
  void append(const View& k, const View& v, std::span<const std::int32_t> counts = {});

  // Sequence b becomes what sequence from[b] was: beams that survive a step. [B], each in [0, B). Only
  // the positions in use are moved, and none of a sequence that stays.
  void reorder(std::span<const std::int32_t> from);

  // Sequence b keeps its first `length` positions (at most what it has); 0 empties it.
  void truncate(std::int64_t b, std::int64_t length);

  const Shape& shape() const;
  View keys() const;
  View values() const;
  std::span<const std::int32_t> lengths() const;

 private:
  struct Memory;
  std::unique_ptr<Memory> memory_;
};

}  // namespace fovea
