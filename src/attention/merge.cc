#include "fovea/merge.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "attention/merge_checks.h"

namespace fovea {
namespace {

using attention::MergeRow;
using attention::MergeSizes;
using attention::RowFactors;

constexpr double kHidden = -std::numeric_limits<double>::infinity();

// Elements of out that are added up at a time, on the stack.
constexpr std::int64_t kBlock = 256;

// Elements of one task at least: some 10 microseconds, so that taking a task costs nothing.
constexpr std::int64_t kGrain = 1 << 15;

struct Merge {
  std::span<const Outputs> parts;
  const Outputs& merged;
  const Inputs& inputs;
  MergeSizes z;
};

// Of one thread.
struct Scratch {
  std::vector<double> lse;          // [parts]
  std::vector<double> weight;       // [parts]: the share of each part
  std::vector<std::int64_t> taken;  // [parts]: of its top keys
  std::vector<std::int32_t> index;  // [K]
  std::vector<float> index_weight;  // [K]
};

template <class T, class V>
auto* row_in(const Merge& m, const V& view, const MergeRow& row) {
  using P = std::conditional_t<std::is_same_v<V, View>, const T, T>;
  return static_cast<P*>(view.data) + attention::offset_of(m.z, view, row);
}

void put(const Merge& m, const MutableView& view, const MergeRow& row, double value) {
  if (view.given()) *row_in<float>(m, view, row) = static_cast<float>(value);
}

// Calls f with a pointer to the row, of the view's own type.
template <class V, class F>
void with_row(const Merge& m, const V& view, const MergeRow& row, const F& f) {
  switch (view.type) {
    case DataType::kBFloat16: f(row_in<BFloat16>(m, view, row)); break;
    case DataType::kFloat16: f(row_in<Float16>(m, view, row)); break;
    default: f(row_in<float>(m, view, row)); break;
  }
}

// Fills lse and weight, and returns the lse of the whole. Where no part saw a key: -inf, and weights 0.
double weigh(const Merge& m, const MergeRow& row, Scratch& s) {
  double largest = kHidden;
  bool seen = false;
  for (std::size_t a = 0; a < m.parts.size(); ++a) {
    s.lse[a] = *row_in<const float>(m, m.parts[a].lse, row);
    s.weight[a] = 0;
    largest = std::max(largest, s.lse[a]);
    seen = seen || s.lse[a] != kHidden;  // NaN too has seen something
  }
  if (!seen) return kHidden;
  // NaN goes through exp and the sum into every weight; so does +inf, as inf - inf.
  double sum = 0;
  for (std::size_t a = 0; a < m.parts.size(); ++a) {
    if (s.lse[a] == kHidden) continue;
    s.weight[a] = std::exp(s.lse[a] - largest);
    sum += s.weight[a];
  }
  for (double& weight : s.weight) weight /= sum;
  return largest + std::log(sum);
}

void merge_out(const Merge& m, const MergeRow& row, const Scratch& s, bool seen) {
  const MutableView& out = m.merged.out;
  for (std::int64_t e = 0; e < m.z.E; e += kBlock) {
    const std::int64_t n = std::min(kBlock, m.z.E - e);
    float sums[kBlock];
    // -0 and not 0: adding to it changes nothing, not even a -0, so that one part alone keeps its bits.
    std::fill(sums, sums + n, seen ? -0.0F : 0.0F);
    for (std::size_t a = 0; a < m.parts.size(); ++a) {
      if (s.lse[a] == kHidden) continue;
      const auto weight = static_cast<float>(s.weight[a]);
      with_row(m, View(m.parts[a].out), row, [&](const auto* from) {
        for (std::int64_t x = 0; x < n; ++x) sums[x] += weight * static_cast<float>(from[e + x]);
      });
    }
    with_row(m, out, row, [&](auto* to) {
      using T = std::remove_reference_t<decltype(*to)>;
      for (std::int64_t x = 0; x < n; ++x) to[e + x] = static_cast<T>(sums[x]);
    });
  }
}

// Weights add up to 1, so that this is the mean of the parts' entropies and the entropy of which part.
// No term is negative: the whole lse is at least each part's.
double merged_entropy(const Merge& m, const MergeRow& row, const Scratch& s, double lse) {
  double sum = 0;
  for (std::size_t a = 0; a < m.parts.size(); ++a) {
    if (s.lse[a] == kHidden) continue;
    const double entropy = *row_in<const float>(m, m.parts[a].entropy, row);
    sum += s.weight[a] * (entropy + lse - s.lse[a]);
  }
  return sum;
}

// What a weight counts in the ranking: what is stored of it, so that equal weights are ties; below the
// smallest that float32 stores in full, all that double knows.
double rank_of(double weight) {
  return weight < std::numeric_limits<float>::min() ? weight : static_cast<float>(weight);
}

// Each part's keys are in order already: the best of the parts' first keys comes next, K times. They are
// gathered aside, because the merged top may be a part's own.
void merge_top(const Merge& m, const MergeRow& row, Scratch& s) {
  const RowFactors factors =
      m.inputs.factor.given() ? attention::factors_of(m.z, m.inputs, row) : RowFactors{};
  std::fill(s.taken.begin(), s.taken.end(), 0);
  for (std::int64_t k = 0; k < m.z.K; ++k) {
    const auto place = static_cast<std::size_t>(k);
    s.index[place] = -1;
    s.index_weight[place] = 0;
    double best_rank = 0;
    std::size_t best = m.parts.size();
    for (std::size_t a = 0; a < m.parts.size(); ++a) {
      if (s.lse[a] == kHidden) continue;
      const std::int32_t key = row_in<const std::int32_t>(m, m.parts[a].top_index, row)[s.taken[a]];
      if (key < 0) continue;
      const double weight = s.weight[a] * static_cast<double>(row_in<const float>(
                                              m, m.parts[a].top_weight, row)[s.taken[a]]);
      const double rank = rank_of(weight) * static_cast<double>(factors.at(key));
      if (best < m.parts.size() && !(rank > best_rank)) continue;  // ties: the earlier part
      best = a;
      best_rank = rank;
      s.index[place] = key;
      s.index_weight[place] = static_cast<float>(weight);
    }
    if (best < m.parts.size()) ++s.taken[best];
  }
  std::copy(s.index.begin(), s.index.end(), row_in<std::int32_t>(m, m.merged.top_index, row));
  std::copy(s.index_weight.begin(), s.index_weight.end(),
            row_in<float>(m, m.merged.top_weight, row));
}

void merge_row(const Merge& m, const MergeRow& row, Scratch& s) {
  const double lse = weigh(m, row, s);
  const bool seen = lse != kHidden;
  if (m.merged.out.given()) merge_out(m, row, s, seen);
  if (m.merged.entropy.given()) {
    put(m, m.merged.entropy, row, seen ? merged_entropy(m, row, s, lse) : 0);
  }
  if (m.merged.top_index.given()) merge_top(m, row, s);
  put(m, m.merged.lse, row, lse);
}

}  // namespace

void merge(std::span<const Outputs> parts, const Outputs& merged, Threads& threads,
           const Inputs& inputs) {
  const Merge m{parts, merged, inputs, attention::checked_merge_sizes(parts, merged, inputs)};
  const auto count = static_cast<std::int64_t>(parts.size());
  const auto K = static_cast<std::size_t>(m.z.K);
  std::vector<Scratch> scratch(static_cast<std::size_t>(threads.count()));
  for (Scratch& s : scratch) {
    s.lse.resize(parts.size());
    s.weight.resize(parts.size());
    s.taken.resize(parts.size());
    s.index.resize(K);
    s.index_weight.resize(K);
  }
  // exp and log of a part cost as much as some 64 elements of out.
  const std::int64_t cost = count * (m.z.E + 64 + 4 * m.z.K);
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / cost);
  const std::int64_t rows = m.z.rows();
  threads.run((rows + grain - 1) / grain, [&](std::int64_t task, int thread) {
    const std::int64_t end = std::min(rows, (task + 1) * grain);
    for (std::int64_t row = task * grain; row < end; ++row) {
      merge_row(m, attention::merge_row(m.z, row), scratch[static_cast<std::size_t>(thread)]);
    }
  });
}

}  // namespace fovea
