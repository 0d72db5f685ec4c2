#include "reference/attend.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <span>
#include <vector>

namespace fovea::reference {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

using Offsets = std::span<const std::int32_t>;
using Index = std::array<std::int64_t, kMaxRank>;

// A dimension of size 1 repeats: that is what broadcasting is. Of `index` the first view.rank count.
std::int64_t offset(const View& view, const Index& index) {
  std::int64_t sum = 0;
  for (int dim = 0; dim < view.rank; ++dim) {
    if (view.size(dim) > 1) sum += index[static_cast<std::size_t>(dim)] * view.step(dim);
  }
  return sum;
}

double number(const View& view, const Index& index) {
  const std::int64_t at = offset(view, index);
  switch (view.type) {
    case DataType::kFloat64: return static_cast<const double*>(view.data)[at];
    case DataType::kBFloat16:
      return static_cast<double>(static_cast<float>(static_cast<const BFloat16*>(view.data)[at]));
    case DataType::kFloat16:
      return static_cast<double>(static_cast<float>(static_cast<const Float16*>(view.data)[at]));
    default: return static_cast<const float*>(view.data)[at];
  }
}

void put(const MutableView& view, double value, const Index& index) {
  if (view.given()) static_cast<double*>(view.data)[offset(view, index)] = value;
}

// Where element d of position i of sequence b is, of head h. The arrays of queries (out and lse among
// them), and those of keys, are [B, H, positions, width], or, packed, the sequences' positions end to
// end: [all positions, H, width]. Arrays without a width leave d alone.
Index place(Offsets offsets, std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t d = 0) {
  if (offsets.empty()) return {b, h, i, d};
  return {offsets[static_cast<std::size_t>(b)] + i, h, d, 0};
}

// How many positions sequence b of q or k has; padding counts.
std::int64_t positions(const View& view, Offsets offsets, std::int64_t b) {
  if (offsets.empty()) return view.size(2);
  const auto x = static_cast<std::size_t>(b);
  return offsets[x + 1] - offsets[x];
}

std::int64_t queries(const Inputs& in, std::int64_t b) {
  return positions(in.q, in.query_offsets, b);
}

std::int64_t keys(const Inputs& in, std::int64_t b) { return positions(in.k, in.key_offsets, b); }

std::int64_t sequences(const Inputs& in) {
  return in.query_offsets.empty() ? in.q.size(0)
                                  : static_cast<std::int64_t>(in.query_offsets.size()) - 1;
}

std::int64_t heads(const Inputs& in) { return in.q.size(1); }

// The M of mask, bias and rows: the keys of the longest sequence.
std::int64_t most_keys(const Inputs& in) {
  std::int64_t most = 0;
  for (std::int64_t b = 0; b < sequences(in); ++b) most = std::max(most, keys(in, b));
  return most;
}

std::int64_t key_length(const Inputs& in, std::int64_t b) {
  return in.key_lengths.empty() ? keys(in, b) : in.key_lengths[static_cast<std::size_t>(b)];
}

std::int64_t query_length(const Inputs& in, std::int64_t b) {
  return in.query_lengths.empty() ? queries(in, b) : in.query_lengths[static_cast<std::size_t>(b)];
}

// Query head h reads key head h / (H / G).
std::int64_t key_head(const Inputs& in, std::int64_t h) { return h / (heads(in) / in.k.size(1)); }

// c: the query's own place among the keys.
std::int64_t own_place(const Inputs& in, const Options& options, const Query& query) {
  if (options.causal == Causal::kTopLeft) return query.i;
  return query.i + key_length(in, query.b) - query_length(in, query.b);
}

double factor(const Inputs& in, const Query& query, std::int64_t j) {
  if (!in.factor.given()) return 1;
  return number(in.factor, place(in.key_offsets, query.b, query.h, j));
}

struct Row {
  std::vector<bool> seen;     // [keys of the sequence]
  std::vector<double> s;      // their scores, where seen
  std::vector<double> p;      // their weights, 0 where not seen
  std::vector<double> log_p;  // where seen
  double lse = -kInfinity;
};

// A row that sees no key.
Row empty_row(const Inputs& in, const Query& query) {
  const auto size = static_cast<std::size_t>(keys(in, query.b));
  Row row;
  row.seen.assign(size, false);
  row.s.assign(size, 0.0);
  row.p.assign(size, 0.0);
  row.log_p.assign(size, 0.0);
  return row;
}

// Scores, and no weights yet. All scores -inf: the query counts as seeing no key.
Row scored_row(const Inputs& in, const Options& options, const Query& query) {
  Row row = empty_row(in, query);
  bool weighs = false;
  for (std::size_t x = 0; x < row.s.size(); ++x) {
    const auto j = static_cast<std::int64_t>(x);
    row.seen[x] = visible(in, options, query, j);
    if (!row.seen[x]) continue;
    row.s[x] = score(in, options, query, j);
    if (row.s[x] != -kInfinity) weighs = true;  // NaN too
  }
  return weighs ? row : empty_row(in, query);
}

// p_ij = exp(s_ij) / sum_j exp(s_ij), with the largest score taken out of both so that exp is
// finite.
Row softmax_row(const Inputs& in, const Options& options, const Query& query) {
  Row row = scored_row(in, options, query);
  double largest = -kInfinity;
  for (std::size_t x = 0; x < row.s.size(); ++x) {
    if (row.seen[x] && row.s[x] > largest) largest = row.s[x];
  }
  double sum = 0;
  bool any = false;
  for (std::size_t x = 0; x < row.s.size(); ++x) {
    if (row.seen[x]) sum += std::exp(row.s[x] - largest);
    if (row.seen[x]) any = true;
  }
  if (!any) return row;
  for (std::size_t x = 0; x < row.s.size(); ++x) {
    if (!row.seen[x]) continue;
    row.p[x] = std::exp(row.s[x] - largest) / sum;
    row.log_p[x] = row.s[x] - largest - std::log(sum);
  }
  row.lse = largest + std::log(sum);
  return row;
}

// p_ij = exp(s_ij - lse_i). An lse of -inf says that the query saw no key.
Row row_from_lse(const Inputs& in, const Options& options, const Query& query, double lse) {
  if (lse == -kInfinity) return empty_row(in, query);
  Row row = scored_row(in, options, query);
  for (std::size_t x = 0; x < row.s.size(); ++x) {
    if (!row.seen[x]) continue;
    row.log_p[x] = row.s[x] - lse;
    row.p[x] = std::exp(row.log_p[x]);
  }
  row.lse = lse;
  return row;
}

void weighted_sum(const Inputs& in, const Row& row, const Query& query, const MutableView& out) {
  const auto [b, h, i] = query;
  for (std::int64_t e = 0; e < in.v.size(in.v.rank - 1); ++e) {
    double sum = 0;
    for (std::int64_t j = 0; j < keys(in, b); ++j) {
      const auto x = static_cast<std::size_t>(j);
      if (row.seen[x]) {
        sum += row.p[x] * number(in.v, place(in.key_offsets, b, key_head(in, h), j, e));
      }
    }
    put(out, sum, place(in.query_offsets, b, h, i, e));
  }
}

double entropy(const Row& row) {
  double sum = 0;
  for (std::size_t x = 0; x < row.p.size(); ++x) {
    if (row.p[x] != 0) sum -= row.p[x] * row.log_p[x];  // 0 log 0 is 0
  }
  return sum;
}

// The K largest, one after the other: each time the largest that is not yet taken; the first of
// equals.
void top_keys(const Inputs& in, const Row& row, const Query& query, const Outputs& outputs) {
  const auto [b, h, i] = query;
  const MutableView& index = outputs.top_index;
  std::vector<bool> taken(row.p.size(), false);
  for (std::int64_t k = 0; k < index.size(index.rank - 1); ++k) {
    std::int64_t best = -1;
    double best_rank = 0;
    for (std::int64_t j = 0; j < keys(in, b); ++j) {
      const auto x = static_cast<std::size_t>(j);
      if (!row.seen[x] || taken[x]) continue;
      const double rank = row.p[x] * factor(in, query, j);
      if (best < 0 || rank > best_rank) {
        best = j;
        best_rank = rank;
      }
    }
    const Index at = place(in.query_offsets, b, h, i, k);
    static_cast<std::int32_t*>(index.data)[offset(index, at)] = static_cast<std::int32_t>(best);
    put(outputs.top_weight, best < 0 ? 0 : row.p[static_cast<std::size_t>(best)], at);
    if (best >= 0) taken[static_cast<std::size_t>(best)] = true;
  }
}

// Adds w_i p_ij factor_j to received_j.
void receive(const Inputs& in, const Row& row, const Query& query, std::vector<double>& received) {
  const auto [b, h, i] = query;
  const View& weights = in.received_weights;
  const double w = weights.given() ? number(weights, place(in.query_offsets, b, h, i)) : 1;
  for (std::size_t x = 0; x < row.p.size(); ++x) {
    if (!row.seen[x]) continue;
    received[x] += w * row.p[x] * factor(in, query, static_cast<std::int64_t>(x));
  }
}

// Of the chosen rows those that are this query: row r of each sequence, or, where queries are packed,
// of the one that has query row_queries[r] of all. A shorter sequence's keys, then zeros.
void keep_rows(const Inputs& in, const Row& row, const Query& query, const MutableView& rows) {
  const auto [b, h, i] = query;
  const bool packed = !in.query_offsets.empty();
  const std::int64_t chosen = place(in.query_offsets, b, h, i)[packed ? 0 : 2];
  for (std::size_t x = 0; x < in.row_queries.size(); ++x) {
    if (in.row_queries[x] != chosen) continue;
    const auto r = static_cast<std::int64_t>(x);
    for (std::int64_t j = 0; j < most_keys(in); ++j) {
      const double p = j < keys(in, b) ? row.p[static_cast<std::size_t>(j)] : 0;
      put(rows, p, packed ? Index{r, h, j, 0} : Index{b, h, r, j});
    }
  }
}

// Every output, from one row after the other. row_of(query): its weights.
template <class RowOf>
void fill(const Inputs& in, const Outputs& outputs, const RowOf& row_of) {
  for (std::int64_t b = 0; b < sequences(in); ++b) {
    for (std::int64_t h = 0; h < heads(in); ++h) {
      std::vector<double> received(static_cast<std::size_t>(keys(in, b)), 0.0);
      for (std::int64_t i = 0; i < queries(in, b); ++i) {
        const Query query{b, h, i};
        const Row row = row_of(query);
        if (outputs.out.given()) weighted_sum(in, row, query, outputs.out);
        put(outputs.lse, row.lse, place(in.query_offsets, b, h, i));
        put(outputs.entropy, entropy(row), place(in.query_offsets, b, h, i));
        if (outputs.top_index.given()) top_keys(in, row, query, outputs);
        receive(in, row, query, received);
        if (outputs.rows.given()) keep_rows(in, row, query, outputs.rows);
      }
      for (std::int64_t j = 0; j < keys(in, b); ++j) {
        put(outputs.received, received[static_cast<std::size_t>(j)],
            place(in.key_offsets, b, h, j));
      }
    }
  }
}

}  // namespace

bool visible(const Inputs& in, const Options& options, const Query& query, std::int64_t j) {
  const auto [b, h, i] = query;
  const std::int64_t m = key_length(in, b);
  const std::int64_t n = query_length(in, b);
  if (j >= m || i >= n) return false;
  if (options.key_begin && j < *options.key_begin) return false;
  if (options.key_end && j >= *options.key_end) return false;
  if (options.causal == Causal::kBottomRight && !(j <= i + m - n)) return false;
  if (options.causal == Causal::kTopLeft && !(j <= i)) return false;
  const std::int64_t c = own_place(in, options, query);
  if (options.window_before && c - j > *options.window_before) return false;
  if (options.window_after && j - c > *options.window_after) return false;
  const Index whole{b, h, i, j};  // packed sequences too: each the upper left corner of [N, M]
  if (in.mask.given() && !static_cast<const bool*>(in.mask.data)[offset(in.mask, whole)]) {
    return false;
  }
  if (in.bias.given() && number(in.bias, whole) == -kInfinity) return false;
  return true;
}

double score(const Inputs& in, const Options& options, const Query& query, std::int64_t j) {
  const auto [b, h, i] = query;
  const std::int64_t D = in.q.size(in.q.rank - 1);
  const double scale = options.scale ? *options.scale : 1 / std::sqrt(static_cast<double>(D));
  double dot = 0;
  for (std::int64_t d = 0; d < D; ++d) {
    dot += number(in.q, place(in.query_offsets, b, h, i, d)) *
           number(in.k, place(in.key_offsets, b, key_head(in, h), j, d));
  }
  double s = scale * dot;
  if (in.bias.given()) s += number(in.bias, {b, h, i, j});
  if (in.alibi_slopes.given()) {
    const std::int64_t distance = std::abs(own_place(in, options, query) - j);
    s -= number(in.alibi_slopes, {b, h, 0, 0}) * static_cast<double>(distance);
  }
  return s;
}

void attend(const Inputs& in, const Options& options, const Outputs& outputs) {
  fill(in, outputs, [&](const Query& query) { return softmax_row(in, options, query); });
}

void highlights(const Inputs& in, const View& lse, const Options& options, const Outputs& outputs) {
  fill(in, outputs, [&](const Query& query) {
    const Index at = place(in.query_offsets, query.b, query.h, query.i);
    return row_from_lse(in, options, query, number(lse, at));
  });
}

}  // namespace fovea::reference
