// A problem for attend: sizes and rules in a Case, the arrays made from it (by seed) in a Problem,
// and room for every output in Results. A Case prints as the C++ that makes it again.
#pragma once

#include <array>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "fovea/attend.h"

namespace fovea::testing {

enum class Layout {  // of packed arrays B is 1 and N the positions of all sequences
  kHeadsFirst,       // [B, H, N, D], dense
  kPositionsFirst,   // [B, N, H, D], dense
  kCut,              // cut out of a larger cache [B, H, capacity, wider], NaN all around
};

// Packed: N or M is what the longest sequence has; the others have any number of positions up to that,
// none too, by seed.
struct Case {
  std::int64_t B = 1, H = 1, G = 1, N = 1, M = 1, D = 1, E = 1;
  DataType type = DataType::kFloat32;  // of q, k and v
  Layout layout = Layout::kHeadsFirst;
  bool packed_queries = false, packed_keys = false;
  Causal causal = Causal::kNone;
  std::optional<std::int64_t> window_before, window_after;
  std::optional<std::int64_t> key_begin, key_end;
  bool key_lengths = false, query_lengths = false;
  int mask = -1;            // -1: none; else bit d says that dimension d is whole (not 1)
  int bias = -1;            // likewise
  bool bias_hides = false;  // some elements are -inf
  int alibi = -1;           // -1: none; 0: slopes [1, H]; 1: slopes [B, H]
  bool factor = false, received_weights = false;
  std::int64_t K = 3, R = 2;
  double spread = 1;  // standard deviation of the scores
  std::optional<float> scale;
  float dropout = 0;        // rate; seed and offset are made of `seed`
  bool narrow_out = false;  // out (and gradients) have `type`, else float32
  std::uint64_t seed = 1;
};

std::ostream& operator<<(std::ostream& out, const Case& c);

// FOVEA_TEST_SHARE=n, for builds in which everything takes long: of the cases that a test goes through one in n is run,
// the first among them, and always the same. Asked once for each case: whether it is left out.
bool left_out();

// Any mixture of everything, of at most `work` multiplications.
Case random_case(Random& random, std::int64_t work);

// x, as an element of that type holds it.
float rounded(DataType type, float x);

// Where the rows of queries and of keys stand in the arrays that have one for each: [B, H, N] and
// [B, H, M], packed [T, H] and [S, H], row-major.
struct Places {
  std::int64_t B = 0, H = 0, N = 0, M = 0;
  std::vector<std::int32_t> query_offsets, key_offsets;  // [B + 1]; empty: not packed

  Places() = default;
  explicit Places(const Case& c);              // packed by the seed
  std::int64_t queries(std::int64_t b) const;  // of sequence b
  std::int64_t keys(std::int64_t b) const;
  std::int64_t all_queries() const;  // of every head and sequence
  std::int64_t all_keys() const;
  std::int64_t row_queries() const;  // those that Inputs::row_queries counts: N or T
  View view_of_queries(const std::vector<float>& values) const;  // [B, H, N] or [T, H]
  std::size_t query(std::int64_t b, std::int64_t h, std::int64_t i) const;
  std::size_t key(std::int64_t b, std::int64_t h, std::int64_t j) const;
};

// An array of rank 4 with a layout; the gaps of kCut hold NaN. With offsets it is packed: the shape is
// [1, H, positions, width], at(b, h, i, d) finds position i of sequence b, and view() shows
// [positions, H, width]. The numbers are kept as floats; view() shows them as `type`, rounded anew each
// time it is called.
struct FloatArray {
  std::vector<float> memory;
  std::array<std::int64_t, 4> shape{}, strides{};
  std::int64_t first = 0;
  DataType type = DataType::kFloat32;
  std::vector<std::int32_t> offsets;

  FloatArray() = default;
  FloatArray(Layout layout, std::array<std::int64_t, 4> dims);
  bool given() const { return !memory.empty(); }
  float& at(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d);
  const float& at(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) const;
  // As the type holds it: what view() shows.
  float value(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) const {
    return rounded(type, at(a, b, c, d));
  }
  View view() const;
  View shown() const;  // as view(), but of what was there when view() was called last
  MutableView mutable_view();
  std::vector<float> dense() const;  // the elements alone, row-major
  void fill_normal(Random& random, double deviation);

 private:
  std::size_t index(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) const;
  mutable std::vector<std::uint16_t> narrow_;
};

// One byte that is a bool: std::vector<bool> has no bytes.
struct Flag {
  bool value = false;
};

struct Problem {
  explicit Problem(const Case& c);

  // With these many positions in each packed sequence, instead of by the seed. The longest must have
  // c.N and c.M.
  Problem(const Case& c, const Places& given);

  Case c;
  Places places;
  FloatArray q, k, v, bias;
  std::vector<std::int32_t> key_lengths, query_lengths, row_queries;
  std::vector<Flag> mask;
  std::array<std::int64_t, 4> mask_shape{};
  std::vector<float> alibi_slopes;              // [B or 1, H]
  std::vector<float> factor, received_weights;  // at places.key and places.query

  Inputs inputs() const;  // borrows from this
  Options options() const;
  bool visible(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) const;
  std::vector<bool> all_visible() const;  // [places.query, M]
  std::int64_t visible_keys(std::int64_t b, std::int64_t h, std::int64_t i) const;
  std::int64_t key_length(std::int64_t b) const;
  std::int64_t query_length(std::int64_t b) const;
  double largest_value() const;  // of |v|

 private:
  Inputs shapes() const;  // as inputs(), with q, k and v as they were when last asked for
};

// The same offsets, from the number of positions of each sequence.
std::vector<std::int32_t> offsets_of(const std::vector<std::int32_t>& sizes);

// Which highlights are asked for.
struct Wanted {
  bool out = true, lse = true, top = true, received = true, entropy = true, rows = true;
};

// Room for the outputs: float for the engine, double for the reference. Starts as NaN and -77.
// Row-major as the contract has their shapes. rows_kept: for as many row_queries as that.
template <class T>
struct Results {
  Results(const Case& sizes, const Wanted& what = {}, std::int64_t rows_kept = -1)
      : Results(sizes, Places(sizes), what, rows_kept) {}
  Results(const Problem& problem, const Wanted& what = {}, std::int64_t rows_kept = -1)
      : Results(problem.c, problem.places, what, rows_kept) {}

  Case c;
  Places places;
  Wanted wanted;
  std::int64_t R;
  std::vector<T> out, lse, top_weight, received, entropy, rows;
  std::vector<std::int32_t> top_index;

  Outputs outputs();
  void widen();  // after the call: where out was asked for in a 16-bit type, fills `out`

 private:
  Results(const Case& sizes, const Places& where, const Wanted& what, std::int64_t rows_kept);
  std::vector<std::uint16_t> narrow_out_;
};

extern template struct Results<float>;
extern template struct Results<double>;

// Runs the engine.
Results<float> engine(const Problem& problem, Threads& threads, const Wanted& wanted = {});
Results<float> engine(const Problem& problem, const Wanted& wanted = {});  // one thread
// Its highlights from an lse; never out, never lse.
Results<float> engine_later(const Problem& problem, const std::vector<float>& lse, Threads& threads,
                            Wanted wanted = {});
Results<float> engine_later(const Problem& problem, const std::vector<float>& lse,
                            Wanted wanted = {});

}  // namespace fovea::testing
