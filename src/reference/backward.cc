#include "reference/backward.h"

#include <algorithm>
#include <vector>

#include "reference/row.h"

namespace fovea::reference {
namespace {

struct Problem {
  const Inputs& in;
  const Options& options;
  const Forward& forward;
  const View& out_gradient;
  const Gradients& gradients;

  std::int64_t D() const { return in.q.size(in.q.rank - 1); }
  std::int64_t E() const { return in.v.size(in.v.rank - 1); }
  double scale() const { return scale_of(in, options); }
};

void add(const MutableView& view, double value, const Index& index) {
  if (view.given()) static_cast<double*>(view.data)[offset(view, index)] += value;
}

// Everything of the array becomes 0, padding of positions too.
void clear(const MutableView& view) {
  if (!view.given()) return;
  Index size{1, 1, 1, 1};
  for (int d = 0; d < view.rank; ++d) size[static_cast<std::size_t>(d)] = view.size(d);
  for (std::int64_t a = 0; a < size[0]; ++a) {
    for (std::int64_t b = 0; b < size[1]; ++b) {
      for (std::int64_t c = 0; c < size[2]; ++c) {
        for (std::int64_t d = 0; d < size[3]; ++d) put(view, 0, {a, b, c, d});
      }
    }
  }
}

// dp_ij = z_ij <G_i, v_j>, 0 where not seen.
std::vector<double> weight_gradients(const Problem& p, const Row& row, const Query& query) {
  const auto [b, h, i] = query;
  std::vector<double> dp(row.p.size(), 0.0);
  for (std::size_t x = 0; x < dp.size(); ++x) {
    if (!row.seen[x]) continue;
    const auto j = static_cast<std::int64_t>(x);
    double dot = 0;
    for (std::int64_t e = 0; e < p.E(); ++e) {
      dot += number(p.out_gradient, place(p.in.query_offsets, b, h, i, e)) *
             number(p.in.v, place(p.in.key_offsets, b, key_head(p.in, h), j, e));
    }
    dp[x] = dropout_factor(p.in, p.options, query, j) * dot;
  }
  return dp;
}

double delta(const Problem& p, const Row& row, const std::vector<double>& dp, const Query& query) {
  const auto [b, h, i] = query;
  double sum = 0;
  if (p.forward.out.given()) {
    for (std::int64_t e = 0; e < p.E(); ++e) {
      const Index at = place(p.in.query_offsets, b, h, i, e);
      sum += number(p.out_gradient, at) * number(p.forward.out, at);
    }
    return sum;
  }
  for (std::size_t x = 0; x < dp.size(); ++x) {
    if (row.seen[x]) sum += row.p[x] * dp[x];
  }
  return sum;
}

// What one visible pair adds to every gradient.
void add_pair(const Problem& p, const Query& query, std::int64_t j, double weight, double dp,
              double ds) {
  const std::int64_t b = query.b;
  const std::int64_t h = query.h;
  const std::int64_t i = query.i;
  const std::int64_t g = key_head(p.in, h);
  const auto of_query = [&](std::int64_t d) { return place(p.in.query_offsets, b, h, i, d); };
  const auto of_key = [&](std::int64_t d) { return place(p.in.key_offsets, b, g, j, d); };
  for (std::int64_t d = 0; d < p.D(); ++d) {
    add(p.gradients.dq, p.scale() * ds * number(p.in.k, of_key(d)), of_query(d));
    add(p.gradients.dk, p.scale() * ds * number(p.in.q, of_query(d)), of_key(d));
  }
  const double dropped = dropout_factor(p.in, p.options, query, j) * weight;
  for (std::int64_t e = 0; e < p.E(); ++e) {
    add(p.gradients.dv, dropped * number(p.out_gradient, of_query(e)), of_key(e));
  }
  add(p.gradients.dbias, ds, {b, h, i, j});  // a dimension of size 1 sums: see offset()
  add(p.gradients.key_gradient, weight * dp, place(p.in.key_offsets, b, h, j));
}

}  // namespace

void attend_backward(const Inputs& in, const Options& options, const Forward& forward,
                     const View& out_gradient, const Gradients& gradients) {
  const Problem p{in, options, forward, out_gradient, gradients};
  for (const MutableView& view :
       {gradients.dq, gradients.dk, gradients.dv, gradients.dbias, gradients.key_gradient}) {
    clear(view);
  }
  for (std::int64_t b = 0; b < sequences(in); ++b) {
    for (std::int64_t h = 0; h < heads(in); ++h) {
      for (std::int64_t i = 0; i < queries(in, b); ++i) {
        const Query query{b, h, i};
        const Index at = place(in.query_offsets, b, h, i);
        const Row row = forward.lse.given()
                            ? row_from_lse(in, options, query, number(forward.lse, at))
                            : softmax_row(in, options, query);
        if (std::none_of(row.seen.begin(), row.seen.end(), [](bool seen) { return seen; })) {
          continue;
        }
        const std::vector<double> dp = weight_gradients(p, row, query);
        const double d = delta(p, row, dp, query);
        for (std::size_t x = 0; x < dp.size(); ++x) {
          if (!row.seen[x]) continue;
          add_pair(p, query, static_cast<std::int64_t>(x), row.p[x], dp[x], row.p[x] * (dp[x] - d));
        }
      }
    }
  }
}

}  // namespace fovea::reference
