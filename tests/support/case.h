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

enum class Layout {
  kHeadsFirst,      // [B, H, N, D], dense
  kPositionsFirst,  // [B, N, H, D], dense
  kCut,             // cut out of a larger cache [B, H, capacity, wider], NaN all around
};

struct Case {
  std::int64_t B = 1, H = 1, G = 1, N = 1, M = 1, D = 1, E = 1;
  Layout layout = Layout::kHeadsFirst;
  Causal causal = Causal::kNone;
  std::optional<std::int64_t> window_before, window_after;
  bool key_lengths = false, query_lengths = false;
  int mask = -1;            // -1: none; else bit d says that dimension d is whole (not 1)
  int bias = -1;            // likewise
  bool bias_hides = false;  // some elements are -inf
  bool factor = false, received_weights = false;
  std::int64_t K = 3, R = 2;
  double spread = 1;  // standard deviation of the scores
  std::optional<float> scale;
  std::uint64_t seed = 1;
};

std::ostream& operator<<(std::ostream& out, const Case& c);

// Any mixture of everything, of at most `work` multiplications.
Case random_case(Random& random, std::int64_t work);

// An array of rank 4 with a layout; the gaps of kCut hold NaN.
struct FloatArray {
  std::vector<float> memory;
  std::array<std::int64_t, 4> shape{}, strides{};
  std::int64_t first = 0;

  FloatArray() = default;
  FloatArray(Layout layout, std::array<std::int64_t, 4> dims);
  bool given() const { return !memory.empty(); }
  float& at(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d);
  const float& at(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) const;
  View view() const;
  MutableView mutable_view();
  std::vector<float> dense() const;  // the elements alone, row-major
  void fill_normal(Random& random, double deviation);
};

// One byte that is a bool: std::vector<bool> has no bytes.
struct Flag {
  bool value = false;
};

struct Problem {
  explicit Problem(const Case& c);

  Case c;
  FloatArray q, k, v, bias;
  std::vector<std::int32_t> key_lengths, query_lengths, row_queries;
  std::vector<Flag> mask;
  std::array<std::int64_t, 4> mask_shape{};
  std::vector<float> factor, received_weights;

  Inputs inputs() const;  // borrows from this
  Options options() const;
  bool visible(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) const;
  std::vector<bool> all_visible() const;  // [B, H, N, M]
  std::int64_t visible_keys(std::int64_t b, std::int64_t h, std::int64_t i) const;
  double largest_value() const;  // of |v|
};

// Which highlights are asked for.
struct Wanted {
  bool out = true, lse = true, top = true, received = true, entropy = true, rows = true;
};

// Room for the outputs: float for the engine, double for the reference. Starts as NaN and -77.
template <class T>
struct Results {
  Results(const Case& sizes, const Wanted& wanted = {}, std::int64_t rows_kept = -1);

  Case c;
  Wanted wanted;
  std::int64_t R;
  std::vector<T> out, lse, top_weight, received, entropy, rows;
  std::vector<std::int32_t> top_index;

  Outputs outputs();
};

extern template struct Results<float>;
extern template struct Results<double>;

// Runs the engine.
Results<float> engine(const Problem& problem, Threads& threads, const Wanted& wanted = {});
Results<float> engine(const Problem& problem, const Wanted& wanted = {});  // one thread

}  // namespace fovea::testing
