#include "reference/attend.h"

#include <cmath>
#include <limits>
#include <vector>

namespace fovea::reference {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A dimension of size 1 repeats: that is what broadcasting is.
std::int64_t offset(const View& view, std::int64_t a, std::int64_t b, std::int64_t c,
                    std::int64_t d) {
  const std::int64_t index[4] = {a, b, c, d};
  std::int64_t sum = 0;
  for (int dim = 0; dim < view.rank; ++dim) {
    if (view.size(dim) > 1) sum += index[dim] * view.step(dim);
  }
  return sum;
}

// The element [a, b, c, d] of a view of rank 3 or 4 (rank 3 has no d), as fp64.
double at(const View& view, std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d = 0) {
  const std::int64_t element = offset(view, a, b, c, d);
  if (view.type == DataType::kFloat64) return static_cast<const double*>(view.data)[element];
  return static_cast<const float*>(view.data)[element];
}

bool flag(const View& view, std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) {
  return static_cast<const bool*>(view.data)[offset(view, a, b, c, d)];
}

void put(const MutableView& view, double value, std::int64_t a, std::int64_t b, std::int64_t c,
         std::int64_t d = 0) {
  if (view.given()) static_cast<double*>(view.data)[offset(view, a, b, c, d)] = value;
}

std::int64_t key_length(const Inputs& in, std::int64_t b) {
  return in.key_lengths.empty() ? in.k.size(2) : in.key_lengths[static_cast<std::size_t>(b)];
}

std::int64_t query_length(const Inputs& in, std::int64_t b) {
  return in.query_lengths.empty() ? in.q.size(2) : in.query_lengths[static_cast<std::size_t>(b)];
}

// Query head h reads key head h / (H / G).
std::int64_t key_head(const Inputs& in, std::int64_t h) {
  return h / (in.q.size(1) / in.k.size(1));
}

struct Row {
  std::vector<bool> seen;  // [M]
  std::vector<double> p;   // [M], 0 where not seen
  std::int64_t count = 0;  // of keys seen
  double lse = -kInfinity;
};

// p_ij = exp(s_ij) / sum_j exp(s_ij), with the largest score taken out of both so that exp is
// finite.
Row softmax_row(const Inputs& in, const Options& options, const Query& query) {
  const std::int64_t M = in.k.size(2);
  Row row;
  row.seen.resize(static_cast<std::size_t>(M));
  row.p.assign(static_cast<std::size_t>(M), 0.0);
  std::vector<double> s(static_cast<std::size_t>(M), 0.0);
  double largest = -kInfinity;
  for (std::int64_t j = 0; j < M; ++j) {
    const auto x = static_cast<std::size_t>(j);
    row.seen[x] = visible(in, options, query, j);
    if (!row.seen[x]) continue;
    ++row.count;
    s[x] = score(in, options, query, j);
    if (s[x] > largest) largest = s[x];
  }
  if (row.count == 0) return row;
  double sum = 0;
  for (std::size_t x = 0; x < s.size(); ++x) {
    if (row.seen[x]) sum += std::exp(s[x] - largest);
  }
  for (std::size_t x = 0; x < s.size(); ++x) {
    if (row.seen[x]) row.p[x] = std::exp(s[x] - largest) / sum;
  }
  row.lse = largest + std::log(sum);
  return row;
}

void weighted_sum(const Inputs& in, const Row& row, const Query& query, const MutableView& out) {
  const std::int64_t g = key_head(in, query.h);
  for (std::int64_t e = 0; e < in.v.size(3); ++e) {
    double sum = 0;
    for (std::int64_t j = 0; j < in.k.size(2); ++j) {
      const auto x = static_cast<std::size_t>(j);
      if (row.seen[x]) sum += row.p[x] * at(in.v, query.b, g, j, e);
    }
    put(out, sum, query.b, query.h, query.i, e);
  }
}

double entropy(const Row& row) {
  double sum = 0;
  for (const double p : row.p) {
    if (p != 0) sum -= p * std::log(p);
  }
  return sum;
}

// The K largest, one after the other: each time the largest that is not yet taken; the first of
// equals.
void top_keys(const Inputs& in, const Row& row, const Query& query, const Outputs& outputs) {
  std::vector<bool> taken(row.p.size(), false);
  for (std::int64_t place = 0; place < outputs.top_index.size(3); ++place) {
    std::int64_t best = -1;
    double best_rank = 0;
    for (std::int64_t j = 0; j < in.k.size(2); ++j) {
      const auto x = static_cast<std::size_t>(j);
      if (!row.seen[x] || taken[x]) continue;
      const double rank = row.p[x] * (in.factor.given() ? at(in.factor, query.b, query.h, j) : 1);
      if (best < 0 || rank > best_rank) {
        best = j;
        best_rank = rank;
      }
    }
    const MutableView& index = outputs.top_index;
    static_cast<std::int32_t*>(index.data)[offset(index, query.b, query.h, query.i, place)] =
        static_cast<std::int32_t>(best);
    put(outputs.top_weight, best < 0 ? 0 : row.p[static_cast<std::size_t>(best)], query.b, query.h,
        query.i, place);
    if (best >= 0) taken[static_cast<std::size_t>(best)] = true;
  }
}

// Adds w_i p_ij factor_j to received_j.
void receive(const Inputs& in, const Row& row, const Query& query, std::vector<double>& received) {
  const double w =
      in.received_weights.given() ? at(in.received_weights, query.b, query.h, query.i) : 1;
  for (std::int64_t j = 0; j < in.k.size(2); ++j) {
    const auto x = static_cast<std::size_t>(j);
    if (!row.seen[x]) continue;
    const double factor = in.factor.given() ? at(in.factor, query.b, query.h, j) : 1;
    received[x] += w * row.p[x] * factor;
  }
}

}  // namespace

bool visible(const Inputs& in, const Options& options, const Query& query, std::int64_t j) {
  const auto [b, h, i] = query;
  const std::int64_t m = key_length(in, b);
  const std::int64_t n = query_length(in, b);
  if (j >= m || i >= n) return false;
  if (options.causal == Causal::kBottomRight && !(j <= i + m - n)) return false;
  if (options.causal == Causal::kTopLeft && !(j <= i)) return false;
  const std::int64_t place = options.causal == Causal::kTopLeft ? i : i + m - n;
  if (options.window_before && place - j > *options.window_before) return false;
  if (options.window_after && j - place > *options.window_after) return false;
  if (in.mask.given() && !flag(in.mask, b, h, i, j)) return false;
  if (in.bias.given() && at(in.bias, b, h, i, j) == -kInfinity) return false;
  return true;
}

double score(const Inputs& in, const Options& options, const Query& query, std::int64_t j) {
  const auto [b, h, i] = query;
  const std::int64_t D = in.q.size(3);
  const double scale = options.scale ? *options.scale : 1 / std::sqrt(static_cast<double>(D));
  double dot = 0;
  for (std::int64_t d = 0; d < D; ++d)
    dot += at(in.q, b, h, i, d) * at(in.k, b, key_head(in, h), j, d);
  return scale * dot + (in.bias.given() ? at(in.bias, b, h, i, j) : 0);
}

void attend(const Inputs& in, const Options& options, const Outputs& outputs) {
  const std::int64_t M = in.k.size(2);
  for (std::int64_t b = 0; b < in.q.size(0); ++b) {
    for (std::int64_t h = 0; h < in.q.size(1); ++h) {
      std::vector<double> received(static_cast<std::size_t>(M), 0.0);
      for (std::int64_t i = 0; i < in.q.size(2); ++i) {
        const Query query{b, h, i};
        const Row row = softmax_row(in, options, query);
        if (outputs.out.given()) weighted_sum(in, row, query, outputs.out);
        put(outputs.lse, row.lse, b, h, i);
        put(outputs.entropy, entropy(row), b, h, i);
        if (outputs.top_index.given()) top_keys(in, row, query, outputs);
        receive(in, row, query, received);
        for (std::size_t r = 0; outputs.rows.given() && r < in.row_queries.size(); ++r) {
          if (in.row_queries[r] != i) continue;
          for (std::int64_t j = 0; j < M; ++j) {
            put(outputs.rows, row.p[static_cast<std::size_t>(j)], b, h,
                static_cast<std::int64_t>(r), j);
          }
        }
      }
      for (std::int64_t j = 0; j < M; ++j) {
        put(outputs.received, received[static_cast<std::size_t>(j)], b, h, j);
      }
    }
  }
}

}  // namespace fovea::reference
