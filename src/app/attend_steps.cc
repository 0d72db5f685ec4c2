#include "app/attend_steps.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <span>

namespace fovea {
namespace {

// One element of a view that broadcasts.
std::int64_t place(const View& view, std::array<std::int64_t, 4> index) {
  std::int64_t at = 0;
  for (int d = 0; d < kMaxRank; ++d) {
    if (view.size(d) > 1) at += index[static_cast<std::size_t>(d)] * view.step(d);
  }
  return at;
}

double number_at(const View& view, std::int64_t at) {
  switch (view.type) {
    case DataType::kFloat16: return float(static_cast<const Float16*>(view.data)[at]);
    case DataType::kBFloat16: return float(static_cast<const BFloat16*>(view.data)[at]);
    default: return static_cast<double>(static_cast<const float*>(view.data)[at]);
  }
}

double float_at(const View& view, std::array<std::int64_t, 4> index) {
  return number_at(view, place(view, index));
}

// One number of q, k or v: `row` counts in sequence b.
double input_at(const View& view, std::span<const std::int32_t> offsets,
                std::array<std::int64_t, 4> index) {
  const auto [b, h, row, column] = index;
  if (offsets.empty()) return float_at(view, index);
  const std::int64_t first = offsets[static_cast<std::size_t>(b)];
  return number_at(view, (first + row) * view.step(0) + h * view.step(1) + column);
}

// What a sequence has: as many as its length says, or else as there are.
std::int64_t length(const std::vector<std::int32_t>& lengths, std::int64_t there, std::int64_t b) {
  return lengths.empty() ? there : lengths[static_cast<std::size_t>(b)];
}

// The query's own place among the keys.
std::int64_t place_of(const AttendArrays& arrays, const Options& options, std::int64_t b,
                      std::int64_t i) {
  if (options.causal == Causal::kTopLeft) return i;
  return i + length(arrays.key_lengths, key_places(arrays).count(b), b) -
         length(arrays.query_lengths, query_places(arrays).count(b), b);
}

bool may_see(const AttendArrays& arrays, const Options& options, std::array<std::int64_t, 4> at) {
  const auto [b, h, i, j] = at;
  if (i >= length(arrays.query_lengths, query_places(arrays).count(b), b)) return false;
  if (j >= length(arrays.key_lengths, key_places(arrays).count(b), b)) return false;
  if (j < options.key_begin.value_or(0) || j >= options.key_end.value_or(j + 1)) return false;
  const std::int64_t own = place_of(arrays, options, b, i);
  if (options.causal != Causal::kNone && j > own) return false;
  if (options.window_before && own - j > *options.window_before) return false;
  if (options.window_after && j - own > *options.window_after) return false;
  const View& mask = arrays.inputs.mask;
  return !mask.given() || static_cast<const bool*>(mask.data)[place(mask, at)];
}

// p_j = exp(s_j - max) / sum, and zeros for a row that sees nothing.
void softmax_row(const AttendMatrix& scores, std::int64_t i, AttendMatrix* weights) {
  double largest = kHiddenScore;
  double sum = 0;
  for (std::int64_t j = 0; j < scores.columns; ++j) largest = std::max(largest, scores.at(i, j));
  for (std::int64_t j = 0; j < scores.columns; ++j) {
    const double score = scores.at(i, j);
    weights->at(i, j) = score == kHiddenScore ? 0 : std::exp(score - largest);
    sum += weights->at(i, j);
  }
  for (std::int64_t j = 0; j < scores.columns; ++j) {
    if (scores.at(i, j) != kHiddenScore) weights->at(i, j) /= sum;
  }
}

}  // namespace

bool windowed(const Options& options) {
  return options.window_before.has_value() || options.window_after.has_value();
}

bool in_parts(const Options& options) {
  return options.key_begin.has_value() || options.key_end.has_value();
}

bool hides(const AttendArrays& arrays, const Options& options) {
  return arrays.inputs.mask.given() || arrays.inputs.bias.given() || !arrays.key_lengths.empty() ||
         !arrays.query_lengths.empty() || options.causal != Causal::kNone || windowed(options) ||
         in_parts(options);
}

double slope_of(const AttendArrays& arrays, std::int64_t b, std::int64_t h) {
  const View& slopes = arrays.inputs.alibi_slopes;
  if (!slopes.given()) return 0;
  return number_at(slopes, (slopes.size(0) > 1 ? b : 0) * slopes.step(0) + h);
}

AttendSteps work_out(const AttendArrays& arrays, const Options& options, std::int64_t b,
                     std::int64_t h) {
  const AttendSizes& s = arrays.sizes;
  const Inputs& inputs = arrays.inputs;
  const std::int64_t n = query_places(arrays).count(b);
  const std::int64_t m = key_places(arrays).count(b);
  const std::int64_t g = h / (s.H / s.G);
  const double scale = scale_of(options, s.D);
  const double slope = slope_of(arrays, b, h);
  AttendSteps steps(n, m, s.D, s.E);
  const auto fill = [&](const View& view, std::span<const std::int32_t> offsets, std::int64_t head,
                        AttendMatrix* matrix) {
    for (std::int64_t r = 0; r < matrix->rows; ++r) {
      for (std::int64_t c = 0; c < matrix->columns; ++c) {
        matrix->at(r, c) = input_at(view, offsets, {b, head, r, c});
      }
    }
  };
  fill(inputs.q, inputs.query_offsets, h, &steps.q);
  fill(inputs.k, inputs.key_offsets, g, &steps.k);
  fill(inputs.v, inputs.key_offsets, g, &steps.v);
  for (std::int64_t i = 0; i < n; ++i) {
    std::int64_t seen = 0;
    for (std::int64_t j = 0; j < m; ++j) {
      for (std::int64_t d = 0; d < s.D; ++d) {
        steps.products.at(i, j) += steps.q.at(i, d) * steps.k.at(j, d);
      }
      steps.scaled.at(i, j) = scale * steps.products.at(i, j);
      steps.biased.at(i, j) = steps.scaled.at(i, j);
      if (inputs.bias.given()) steps.biased.at(i, j) += float_at(inputs.bias, {b, h, i, j});
      const auto apart = std::abs(place_of(arrays, options, b, i) - j);
      steps.distance.at(i, j) = slope * static_cast<double>(apart);
      steps.near.at(i, j) = steps.biased.at(i, j) - steps.distance.at(i, j);
      const bool hidden =
          !may_see(arrays, options, {b, h, i, j}) ||
          (inputs.bias.given() && float_at(inputs.bias, {b, h, i, j}) == kHiddenScore);
      steps.masked.at(i, j) = hidden ? kHiddenScore : steps.near.at(i, j);
      seen += hidden ? 0 : 1;
    }
    softmax_row(steps.masked, i, &steps.weights);
    for (std::int64_t j = 0; j < m; ++j) {
      if (steps.masked.at(i, j) == kHiddenScore) continue;  // 0 x NaN would be NaN
      for (std::int64_t e = 0; e < s.E; ++e) {
        steps.output.at(i, e) += steps.weights.at(i, j) * steps.v.at(j, e);
        steps.mean.at(i, e) += steps.v.at(j, e) / static_cast<double>(seen);
      }
    }
  }
  return steps;
}

}  // namespace fovea
