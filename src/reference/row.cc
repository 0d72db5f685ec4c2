#include "reference/row.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace fovea::reference {
namespace {

// How many positions sequence b of q or k has; padding counts.
std::int64_t positions(const View& view, Offsets offsets, std::int64_t b) {
  if (offsets.empty()) return view.size(2);
  const auto x = static_cast<std::size_t>(b);
  return offsets[x + 1] - offsets[x];
}

std::int64_t key_length(const Inputs& in, std::int64_t b) {
  return in.key_lengths.empty() ? keys(in, b) : in.key_lengths[static_cast<std::size_t>(b)];
}

std::int64_t query_length(const Inputs& in, std::int64_t b) {
  return in.query_lengths.empty() ? queries(in, b) : in.query_lengths[static_cast<std::size_t>(b)];
}

// c: the query's own place among the keys.
std::int64_t own_place(const Inputs& in, const Options& options, const Query& query) {
  if (options.causal == Causal::kTopLeft) return query.i;
  return query.i + key_length(in, query.b) - query_length(in, query.b);
}

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

}  // namespace

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

Index place(Offsets offsets, std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t d) {
  if (offsets.empty()) return {b, h, i, d};
  return {offsets[static_cast<std::size_t>(b)] + i, h, d, 0};
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

std::int64_t most_keys(const Inputs& in) {
  std::int64_t most = 0;
  for (std::int64_t b = 0; b < sequences(in); ++b) most = std::max(most, keys(in, b));
  return most;
}

std::int64_t key_head(const Inputs& in, std::int64_t h) { return h / (heads(in) / in.k.size(1)); }

double factor(const Inputs& in, const Query& query, std::int64_t j) {
  if (!in.factor.given()) return 1;
  return number(in.factor, place(in.key_offsets, query.b, query.h, j));
}

Counter philox(Counter c, std::uint64_t key) {
  auto low = static_cast<std::uint32_t>(key);
  auto high = static_cast<std::uint32_t>(key >> 32U);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t x = std::uint64_t{0xD2511F53U} * c[0];
    const std::uint64_t y = std::uint64_t{0xCD9E8D57U} * c[2];
    c = {static_cast<std::uint32_t>(y >> 32U) ^ c[1] ^ low, static_cast<std::uint32_t>(y),
         static_cast<std::uint32_t>(x >> 32U) ^ c[3] ^ high, static_cast<std::uint32_t>(x)};
    low += 0x9E3779B9U;
    high += 0xBB67AE85U;
  }
  return c;
}

double dropout_factor(const Inputs& in, const Options& options, const Query& query,
                      std::int64_t j) {
  const Dropout& dropout = options.dropout;
  if (dropout.rate == 0) return 1;
  const auto [b, h, i] = query;
  const Counter words = philox({static_cast<std::uint32_t>(j / 4), static_cast<std::uint32_t>(i),
                                static_cast<std::uint32_t>(b * heads(in) + h), dropout.offset},
                               dropout.seed);
  const double rate = dropout.rate;
  const bool kept = words[static_cast<std::size_t>(j % 4)] >= std::round(rate * 0x1.0p32);
  return kept ? 1 / (1 - rate) : 0;
}

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

double scale_of(const Inputs& in, const Options& options) {
  const auto D = static_cast<double>(in.q.size(in.q.rank - 1));
  return options.scale ? static_cast<double>(*options.scale) : 1 / std::sqrt(D);
}

double score(const Inputs& in, const Options& options, const Query& query, std::int64_t j) {
  const auto [b, h, i] = query;
  const std::int64_t D = in.q.size(in.q.rank - 1);
  double dot = 0;
  for (std::int64_t d = 0; d < D; ++d) {
    dot += number(in.q, place(in.query_offsets, b, h, i, d)) *
           number(in.k, place(in.key_offsets, b, key_head(in, h), j, d));
  }
  double s = scale_of(in, options) * dot;
  if (in.bias.given()) s += number(in.bias, {b, h, i, j});
  if (in.alibi_slopes.given()) {
    const std::int64_t distance = std::abs(own_place(in, options, query) - j);
    s -= number(in.alibi_slopes, {b, h, 0, 0}) * static_cast<double>(distance);
  }
  return s;
}

}  // namespace fovea::reference
