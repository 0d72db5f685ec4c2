#include "support/accuracy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <sstream>

#include "reference/attend.h"
#include "support/compare.h"
#include "support/plain.h"

namespace fovea::testing {
namespace {

Results<double> exact_results(const Problem& problem, bool all_rows) {
  std::vector<std::int32_t> everyone(static_cast<std::size_t>(problem.c.N));
  std::iota(everyone.begin(), everyone.end(), 0);
  Inputs inputs = problem.inputs();
  if (all_rows) inputs.row_queries = everyone;
  Results<double> results(problem.c, {}, all_rows ? problem.c.N : -1);
  reference::attend(inputs, problem.options(), results.outputs());
  return results;
}

double largest_finite(const std::vector<double>& values) {
  double largest = 0;
  for (const double x : values) {
    if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
  }
  return largest;
}

// One query's top keys against its true weights.
struct TopRow {
  std::span<const std::int32_t> index;
  std::span<const float> weight;
  std::span<const double> p;      // [M]
  std::span<const float> factor;  // [M] or empty
  std::vector<std::int64_t> seen;
};

std::string top_fault(const TopRow& row, double allowed) {
  std::ostringstream fault;
  const auto rank = [&](std::int64_t j) {
    const auto x = static_cast<std::size_t>(j);
    return row.p[x] * (row.factor.empty() ? 1 : double(row.factor[x]));
  };
  std::vector<std::int64_t> best = row.seen;
  std::stable_sort(best.begin(), best.end(), [&](auto a, auto b) { return rank(a) > rank(b); });
  double largest_factor = 1;
  for (const float f : row.factor) largest_factor = std::max(largest_factor, double(f));
  std::set<std::int64_t> named;
  for (std::size_t k = 0; k < row.index.size(); ++k) {
    const std::int64_t j = row.index[k];
    const double weight = row.weight[k];
    if (k >= best.size()) {
      if (j != -1 || !(weight == 0))
        fault << "place " << k << " must be empty, is key " << j << "; ";
      continue;
    }
    if (!std::binary_search(row.seen.begin(), row.seen.end(), j)) {
      fault << "place " << k << " names key " << j << ", which is not visible; ";
      continue;
    }
    if (!named.insert(j).second) fault << "key " << j << " is named twice; ";
    const double want = row.p[static_cast<std::size_t>(j)];
    if (!(std::abs(weight - want) <= allowed)) {
      fault << "place " << k << ": key " << j << " weighs " << want << ", not " << weight << "; ";
    }
    if (!(std::abs(rank(j) - rank(best[k])) <= 2 * allowed * largest_factor)) {
      fault << "place " << k << " belongs to key " << best[k] << ", not to key " << j << "; ";
    }
  }
  return fault.str();
}

void expect_top(const Problem& problem, const Truth& truth, const Results<float>& got) {
  const Case& c = problem.c;
  const auto K = static_cast<std::size_t>(c.K), M = static_cast<std::size_t>(c.M);
  const std::vector<bool> visible = problem.all_visible();
  std::size_t x = 0;
  for (std::int64_t b = 0; b < c.B; ++b) {
    for (std::int64_t h = 0; h < c.H; ++h) {
      for (std::int64_t i = 0; i < c.N; ++i, ++x) {
        TopRow row;
        row.index = std::span(got.top_index).subspan(x * K, K);
        row.weight = std::span(got.top_weight).subspan(x * K, K);
        row.p = std::span(truth.exact.rows).subspan(x * M, M);
        if (c.factor) {
          row.factor =
              std::span(problem.factor).subspan(static_cast<std::size_t>(b * c.H + h) * M, M);
        }
        for (std::int64_t j = 0; j < c.M; ++j) {
          if (visible[x * M + static_cast<std::size_t>(j)]) row.seen.push_back(j);
        }
        const std::string fault = top_fault(row, truth.rows_allowed);
        EXPECT_EQ(fault, "") << "top of b " << b << " h " << h << " i " << i;
        if (!fault.empty()) return;  // one is enough to read
      }
    }
  }
}

}  // namespace

Truth::Truth(const Problem& problem)
    : exact(exact_results(problem, true)), chosen(exact_results(problem, false)) {
  const Results<float> forward = plain_loop(problem, Order::kForward);
  const Results<float> backward = plain_loop(problem, Order::kBackward);
  const auto allowed = [](const std::vector<float>& one, const std::vector<float>& other,
                          const std::vector<double>& truth, double floor) {
    return 2 * std::max(worst(one, truth).error, worst(other, truth).error) + floor;
  };
  const double keys = static_cast<double>(std::max<std::int64_t>(problem.c.M, 1));
  out_allowed = allowed(forward.out, backward.out, exact.out, 1e-6 * problem.largest_value());
  lse_allowed = allowed(forward.lse, backward.lse, exact.lse,
                        1e-6 * std::max(1.0, largest_finite(exact.lse)));
  rows_allowed = allowed(forward.rows, backward.rows, exact.rows, 1e-6);
  entropy_allowed = allowed(forward.entropy, backward.entropy, exact.entropy,
                            1e-6 * std::max(1.0, std::log(keys)));
  received_allowed = allowed(forward.received, backward.received, exact.received,
                             1e-6 * std::max(1.0, largest_finite(exact.received)));
}

void expect_accurate(const Problem& problem, const Truth& truth, const Results<float>& got) {
  const auto expect = [](bool wanted, const char* name, const std::vector<float>& values,
                         const std::vector<double>& want, double allowed) {
    if (!wanted) return;
    EXPECT_TRUE(close(values, want, allowed)) << name;
  };
  const Wanted& wanted = got.wanted;
  expect(wanted.out, "out", got.out, truth.exact.out, truth.out_allowed);
  expect(wanted.lse, "lse", got.lse, truth.exact.lse, truth.lse_allowed);
  expect(wanted.rows, "rows", got.rows, truth.chosen.rows, truth.rows_allowed);
  expect(wanted.entropy, "entropy", got.entropy, truth.exact.entropy, truth.entropy_allowed);
  expect(wanted.received, "received", got.received, truth.exact.received, truth.received_allowed);
  if (wanted.top) expect_top(problem, truth, got);
}

}  // namespace fovea::testing
