// What a kernel is told: a few query rows, the keys of one key head, and where results go. Plain
// data.
//
// A kernel knows no batch, head, thread, option or model; `attention/` turns those into rows.
// Same bits: what a row gives depends on the row, its visible keys, the instruction set, and whether its sequence has
// few queries or keys; not on the rows beside it.
#pragma once

#include <cstdint>

#include "fovea/isa.h"

namespace fovea::kernels {

// Rows of one sweep at most. A sweep packs each block of keys once: at D = E = 64 and 2,048 keys that
// was 13 % of the time with 96 rows, 3 % with 384. attention/ takes fewer where threads would stand idle or
// the rows' own state (some D + E + 40 floats each) would not fit beside the block in L2.
inline constexpr int kQueries = 768;

// Keys of one block. Block edges lie at multiples of it, wherever a row's keys end: that is what
// makes a row's bits independent of padding. 256 keys of D = E = 64 are 128 KiB, an eighth of a Zen
// 4 L2.
inline constexpr int kKeys = 256;

// Queries of a sequence (decoding) whose keys are not packed: products are then taken along the width,
// which gives other bits. So it must not depend on anything but the sequence's own number of queries.
inline constexpr int kFewQueries = 8;

// Keys of a sequence that would leave tile registers (amx_bf16) mostly empty. Other bits too, so likewise the
// sequence's own number.
inline constexpr int kShortKeys = 32;

// Rows of few queries are swept in parts of so many keys, which are then put together in order: so that
// several threads can share one long row, and its bits are the same when they do not.
inline constexpr std::int64_t kPartKeys = 1024;

// Weights that one sweep keeps at most, in floats (12 MiB), where it is asked for column sums or whole
// rows.
inline constexpr std::int64_t kKeptWeights = std::int64_t{384} * 8192;

inline constexpr int kLine = 64;  // bytes of a cache line

// Of q, k, v; and of out.
enum class Number : std::uint8_t { kFloat32, kBFloat16, kFloat16 };

// Dropout of weights: fovea/attend.h says which. A weight is dropped where its random word is less than
// `threshold`; 0: none is. What is kept counts `scale` times.
struct Dropping {
  std::uint32_t threshold = 0;
  std::uint32_t offset = 0;
  std::uint64_t seed = 0;
  float scale = 1;
};

// One query of one head. A null pointer: not wanted, or not given.
struct Row {
  const void* q = nullptr;
  const bool* mask = nullptr;  // mask[j * mask_step]: may see key j
  const float* bias = nullptr;
  std::int64_t first = 0;     // sees keys [first, visible), less what mask and bias hide
  std::int64_t visible = 0;   // first < visible, or both are 0
  std::int64_t place = 0;     // its own place among the keys, and
  float slope = 0;            // what its score loses for each key of distance from there
  float weight = 1;           // its w in `received`
  float* received = nullptr;  // [keys]: weight * p is added, row by row; with Sweep::columns
  float known_lse = 0;        // finite; where the sweep has `known`
  std::uint32_t query = 0;    // its number in its sequence, and
  std::uint32_t head = 0;     // the number of sequence and head: what dropout counts by

  void* out = nullptr;                // [value_width]
  float* lse = nullptr;               // [1]
  float* entropy = nullptr;           // [1]
  std::int32_t* top_index = nullptr;  // [top]
  float* top_weight = nullptr;        // [top]
  float* whole = nullptr;             // [visible]: p; keys not seen stay as they are, or become 0
};

struct Sweep {
  const Row* rows = nullptr;
  int row_count = 0;  // at most kQueries

  Number type = Number::kFloat32;  // of q, k and v
  const void* k = nullptr;
  const void* v = nullptr;  // null: no row has `out`
  std::int64_t k_step = 0;  // from key to key, in elements; features are dense
  std::int64_t v_step = 0;
  std::int64_t width = 0;        // D
  std::int64_t value_width = 0;  // E
  Number out_type = Number::kFloat32;
  float scale = 1;

  bool masked = false;  // rows have a mask
  bool biased = false;  // rows have a bias
  bool sloped = false;  // rows have a slope
  std::int64_t mask_step = 0;
  std::int64_t bias_step = 0;

  bool few = false;  // of a sequence of at most kFewQueries queries: keys are read where they lie
  bool short_keys = false;  // of a sequence of at most kShortKeys keys

  // With `few`: the whole sweep; or one part of the keys, whose sums go to `partials`; or what all parts
  // left there put together, and the results stored.
  enum class Stage : std::uint8_t { kWhole, kPart, kMerge };
  Stage stage = Stage::kWhole;
  std::int64_t part = 0;      // keys [part * kPartKeys, (part + 1) * kPartKeys)
  float* partials = nullptr;  // partial_size floats, aligned to a cache line; with kPart and kMerge

  bool known = false;  // rows have known_lse: their p are known before the sweep; nothing but
                       // received, wholes, top and entropy then
  bool entropy = false;
  std::int64_t top = 0;  // keys kept a row
  bool wholes = false;   // rows have `whole`

  Dropping dropout{};  // of what meets the values; highlights know nothing of it

  const float* factor = nullptr;  // factor[j * factor_step]: top ranks by p * factor
  std::int64_t factor_step = 0;
  bool columns = false;  // rows have `received`

  // Sweeps over the same keys, one after another in the same scratch, pack them once: keys [0, packed) stay
  // packed there (packed_keys; 0: none do), and with `again` they are there already.
  std::int64_t packed = 0;
  bool again = false;

  bool lines_in_pairs = false;  // this processor's memory gives two lines when it is asked for one

  // What the next sweep will read and write, its keys first, where that is known: asked for meanwhile, if it is
  // short; of few queries the keys. Each piece is dense; null: none.
  struct Ahead {
    const char* begin = nullptr;
    const char* end = nullptr;
  };
  static constexpr int kAheads = 4;
  Ahead ahead[kAheads];

  float* scratch = nullptr;  // scratch_size floats, aligned to a cache line
};

// Floats of scratch that a sweep of `rows` rows over keys [first, end) needs at most.
std::int64_t scratch_size(const Sweep& sweep, int rows, std::int64_t first, std::int64_t end);

// Floats of the partials of a sweep of `rows` rows whose keys end at `end`, and how many parts that makes.
std::int64_t partial_size(const Sweep& sweep, int rows, std::int64_t end);
std::int64_t part_count(std::int64_t end);

// How many keys of `keys` may stay packed between sweeps: all, or none where they would take over 16 MiB.
std::int64_t packed_keys(const Sweep& sweep, std::int64_t keys);

// How many rows may share a sweep over `keys` keys whose weights are kept (columns, wholes): `most`, in whole tiles, but
// no more than kKeptWeights has room for, and not fewer than two tiles. More keys than that holds, a quarter of a
// million, take 48 bytes a key.
int rows_that_fit(std::int64_t keys, std::int64_t most);

// Sweep::lines_in_pairs of this processor: docs/design/decode.md.
bool lines_in_pairs();

// Runs the sweep on the instruction set.
void run(const Sweep& sweep, Isa isa);

}  // namespace fovea::kernels
