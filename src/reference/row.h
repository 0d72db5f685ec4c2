// One row of the n x n matrix, and where everything lies: what the reference's functions stand on.
// Internal to src/reference.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "fovea/attend.h"
#include "reference/attend.h"

namespace fovea::reference {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

using Offsets = std::span<const std::int32_t>;
using Index = std::array<std::int64_t, kMaxRank>;

// A dimension of size 1 repeats: that is what broadcasting is. Of `index` the first view.rank
// count.
std::int64_t offset(const View& view, const Index& index);

double number(const View& view, const Index& index);
void put(const MutableView& view, double value, const Index& index);  // where it is given

// Where element d of position i of sequence b is, of head h. The arrays of queries (out and lse
// among them), and those of keys, are [B, H, positions, width], or, packed, the sequences'
// positions end to end: [all positions, H, width]. Arrays without a width leave d alone.
Index place(Offsets offsets, std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t d = 0);

// How many positions sequence b has; padding counts.
std::int64_t queries(const Inputs& in, std::int64_t b);
std::int64_t keys(const Inputs& in, std::int64_t b);

std::int64_t sequences(const Inputs& in);
std::int64_t heads(const Inputs& in);

// The M of mask, bias and rows: the keys of the longest sequence.
std::int64_t most_keys(const Inputs& in);

// Query head h reads key head h / (H / G).
std::int64_t key_head(const Inputs& in, std::int64_t h);

double factor(const Inputs& in, const Query& query, std::int64_t j);

double scale_of(const Inputs& in, const Options& options);

// Philox 4x32-10 (Salmon, Moraes, Dror, Shaw 2011): ten rounds that mix four words of a counter
// with two of a key.
using Counter = std::array<std::uint32_t, 4>;
Counter philox(Counter counter, std::uint64_t key);

// What dropout makes of the weight of key j: 0, or 1 / (1 - rate) times it; 1 without dropout.
double dropout_factor(const Inputs& in, const Options& options, const Query& query, std::int64_t j);

struct Row {
  std::vector<bool> seen;     // [keys of the sequence]
  std::vector<double> s;      // their scores, where seen
  std::vector<double> p;      // their weights, 0 where not seen
  std::vector<double> log_p;  // where seen
  double lse = -kInfinity;
};

// p_ij = exp(s_ij) / sum_j exp(s_ij), with the largest score taken out of both so that exp is
// finite.
Row softmax_row(const Inputs& in, const Options& options, const Query& query);

// p_ij = exp(s_ij - lse_i). An lse of -inf says that the query saw no key.
Row row_from_lse(const Inputs& in, const Options& options, const Query& query, double lse);

}  // namespace fovea::reference
