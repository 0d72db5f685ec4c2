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

// Of attend, or of highlights where an lse is given.
Results<double> exact_results(const Problem& problem, bool all_rows,
                              const std::vector<float>* lse) {
  const Places& places = problem.places;
  std::vector<std::int32_t> everyone(static_cast<std::size_t>(places.row_queries()));
  std::iota(everyone.begin(), everyone.end(), 0);
  Inputs inputs = problem.inputs();
  if (all_rows) inputs.row_queries = everyone;
  Wanted wanted;
  wanted.out = wanted.lse = lse == nullptr;
  Results<double> results(problem, wanted,
                          all_rows ? static_cast<std::int64_t>(everyone.size()) : -1);
  if (lse == nullptr) {
    reference::attend(inputs, problem.options(), results.outputs());
  } else {
    reference::highlights(inputs, places.view_of_queries(*lse), problem.options(),
                          results.outputs());
    results.lse.assign(lse->begin(), lse->end());
  }
  return results;
}

// Half of the last place of x in a 16-bit type: the most by which rounding to it moves x.
double half_place(DataType type, double x) {
  if (type == DataType::kFloat32 || !(std::abs(x) <= std::numeric_limits<float>::max())) return 0;
  const bool brain = type == DataType::kBFloat16;
  const int digits = brain ? 8 : 11, lowest = brain ? -126 : -14;
  const int exponent = x == 0 ? lowest : std::max(std::ilogb(x), lowest);
  return std::ldexp(1.0, exponent - digits);
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
  std::span<const double> p;  // [M]
  std::vector<float> factor;  // of the sequence's keys, or empty
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
  const Places& places = problem.places;
  const auto K = static_cast<std::size_t>(c.K), M = static_cast<std::size_t>(c.M);
  const std::vector<bool> visible = problem.all_visible();
  for (std::int64_t b = 0; b < c.B; ++b) {
    for (std::int64_t h = 0; h < c.H; ++h) {
      for (std::int64_t i = 0; i < places.queries(b); ++i) {
        const std::size_t x = places.query(b, h, i);
        TopRow row;
        row.index = std::span(got.top_index).subspan(x * K, K);
        row.weight = std::span(got.top_weight).subspan(x * K, K);
        row.p = std::span(truth.exact.rows).subspan(x * M, M);
        const bool sees = truth.exact.lse[x] != -std::numeric_limits<double>::infinity();
        for (std::int64_t j = 0; j < places.keys(b); ++j) {
          if (c.factor) row.factor.push_back(problem.factor[places.key(b, h, j)]);
          if (sees && visible[x * M + static_cast<std::size_t>(j)]) row.seen.push_back(j);
        }
        const std::string fault = top_fault(row, truth.rows_allowed);
        EXPECT_EQ(fault, "") << "top of b " << b << " h " << h << " i " << i;
        if (!fault.empty()) return;  // one is enough to read
      }
    }
  }
}

}  // namespace

::testing::AssertionResult close_narrow(DataType type, const std::vector<float>& got,
                                        const std::vector<double>& want, double allowed) {
  if (got.size() != want.size()) return close(got, want, allowed);
  for (std::size_t x = 0; x < got.size(); ++x) {
    const double most = allowed + half_place(type, std::abs(want[x]) + allowed);
    const auto one = close(std::span(got).subspan(x, 1), std::span(want).subspan(x, 1), most);
    if (!one) return ::testing::AssertionFailure() << "at " << x << ": " << one.message();
  }
  return ::testing::AssertionSuccess();
}

Truth::Truth(const Problem& problem, const std::vector<float>* lse)
    : exact(exact_results(problem, true, lse)), chosen(exact_results(problem, false, lse)) {
  std::vector<Results<float>> loops{plain_loop(problem, Order::kForward, Weights::kShares, lse),
                                    plain_loop(problem, Order::kBackward, Weights::kShares, lse)};
  if (problem.c.type == DataType::kBFloat16 && lse == nullptr) {
    loops.push_back(plain_loop(problem, Order::kForward, Weights::kExponentials));
    loops.push_back(plain_loop(problem, Order::kForward, Weights::kMovedExponentials));
  }
  const auto allowed = [&](std::vector<float> Results<float>::*values,
                           const std::vector<double>& truth, double floor) {
    double error = 0;
    for (const Results<float>& loop : loops) {
      error = std::max(error, worst(loop.*values, truth).error);
    }
    return 2 * error + floor;
  };
  const double keys = static_cast<double>(std::max<std::int64_t>(problem.c.M, 1));
  out_allowed = allowed(&Results<float>::out, exact.out, 1e-6 * problem.largest_value());
  lse_allowed =
      allowed(&Results<float>::lse, exact.lse, 1e-6 * std::max(1.0, largest_finite(exact.lse)));
  // Scores of bfloat16 that no order of one chain makes (pairs, tiles) are rounded on their own: half a last place of
  // each of two scores may part them where the chains happen to agree, and shifts p by up to a quarter of it. lse is
  // as large as the largest score.
  const double place =
      problem.c.type == DataType::kBFloat16 ? 0x1p-25 * largest_finite(exact.lse) : 0;
  rows_allowed = allowed(&Results<float>::rows, exact.rows, std::max(1e-6, place));
  entropy_allowed =
      allowed(&Results<float>::entropy, exact.entropy, 1e-6 * std::max(1.0, std::log(keys)));
  received_allowed = allowed(&Results<float>::received, exact.received,
                             1e-6 * std::max(1.0, largest_finite(exact.received)));
}

void expect_accurate(const Problem& problem, const Truth& truth, const Results<float>& got) {
  const auto expect = [](bool wanted, const char* name, const std::vector<float>& values,
                         const std::vector<double>& want, double allowed) {
    if (!wanted) return;
    EXPECT_TRUE(close(values, want, allowed)) << name;
  };
  const Wanted& wanted = got.wanted;
  if (wanted.out) {
    const DataType type = problem.c.narrow_out ? problem.c.type : DataType::kFloat32;
    EXPECT_TRUE(close_narrow(type, got.out, truth.exact.out, truth.out_allowed)) << "out";
  }
  expect(wanted.lse, "lse", got.lse, truth.exact.lse, truth.lse_allowed);
  expect(wanted.rows, "rows", got.rows, truth.chosen.rows, truth.rows_allowed);
  expect(wanted.entropy, "entropy", got.entropy, truth.exact.entropy, truth.entropy_allowed);
  expect(wanted.received, "received", got.received, truth.exact.received, truth.received_allowed);
  if (wanted.top) expect_top(problem, truth, got);
}

}  // namespace fovea::testing
