#include "reference/attend.h"

#include <algorithm>
#include <vector>

#include "reference/row.h"

namespace fovea::reference {
namespace {

void weighted_sum(const Inputs& in, const Options& options, const Row& row, const Query& query,
                  const MutableView& out) {
  const auto [b, h, i] = query;
  for (std::int64_t e = 0; e < in.v.size(in.v.rank - 1); ++e) {
    double sum = 0;
    for (std::int64_t j = 0; j < keys(in, b); ++j) {
      const auto x = static_cast<std::size_t>(j);
      if (!row.seen[x]) continue;
      sum += dropout_factor(in, options, query, j) * row.p[x] *
             number(in.v, place(in.key_offsets, b, key_head(in, h), j, e));
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
void fill(const Inputs& in, const Options& options, const Outputs& outputs, const RowOf& row_of) {
  for (std::int64_t b = 0; b < sequences(in); ++b) {
    for (std::int64_t h = 0; h < heads(in); ++h) {
      std::vector<double> received(static_cast<std::size_t>(keys(in, b)), 0.0);
      for (std::int64_t i = 0; i < queries(in, b); ++i) {
        const Query query{b, h, i};
        const Row row = row_of(query);
        if (outputs.out.given()) weighted_sum(in, options, row, query, outputs.out);
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

void attend(const Inputs& in, const Options& options, const Outputs& outputs) {
  fill(in, options, outputs, [&](const Query& query) { return softmax_row(in, options, query); });
}

void highlights(const Inputs& in, const View& lse, const Options& options, const Outputs& outputs) {
  fill(in, options, outputs, [&](const Query& query) {
    const Index at = place(in.query_offsets, query.b, query.h, query.i);
    return row_from_lse(in, options, query, number(lse, at));
  });
}

}  // namespace fovea::reference
