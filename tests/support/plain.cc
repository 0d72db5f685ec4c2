#include "support/plain.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/row.h"

namespace fovea::testing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Calls f(x) for x in [0, n), in the order asked for.
template <class F>
void each(std::int64_t n, Order order, const F& f) {
  for (std::int64_t x = 0; x < n; ++x) f(order == Order::kForward ? x : n - 1 - x);
}

float bias_at(const Problem& p, std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) {
  if (!p.bias.given()) return 0;
  const auto& s = p.bias.shape;
  return p.bias.at(s[0] > 1 ? b : 0, s[1] > 1 ? h : 0, s[2] > 1 ? i : 0, s[3] > 1 ? j : 0);
}

// slope_h |c - j|
float alibi_at(const Problem& p, std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) {
  if (p.alibi_slopes.empty()) return 0;
  const std::int64_t own =
      p.c.causal == Causal::kTopLeft ? i : i + p.key_length(b) - p.query_length(b);
  const auto slope = static_cast<std::size_t>((p.c.alibi == 1 ? b * p.c.H : 0) + h);
  return p.alibi_slopes[slope] * static_cast<float>(std::abs(own - j));
}

}  // namespace

Results<float> plain_loop(const Problem& p, Order order, Weights weights,
                          const std::vector<float>* lse) {
  const Case& c = p.c;
  const Places& places = p.places;
  Wanted wanted{.top = false};
  wanted.out = wanted.lse = lse == nullptr;
  Results<float> results(p, wanted, places.row_queries());
  std::fill(results.out.begin(), results.out.end(), 0.0F);
  std::fill(results.received.begin(), results.received.end(), 0.0F);
  std::fill(results.rows.begin(), results.rows.end(), 0.0F);
  const float scale = c.scale ? *c.scale : 1 / std::sqrt(static_cast<float>(c.D));
  const std::vector<bool> visible = p.all_visible();
  const Inputs inputs = p.inputs();
  std::vector<float> s(static_cast<std::size_t>(c.M));
  std::vector<bool> seen(static_cast<std::size_t>(c.M));
  const auto row = [&](std::int64_t b, std::int64_t h, std::int64_t i) {
    const std::size_t x = places.query(b, h, i);
    const std::int64_t g = h / (c.H / c.G), m = places.keys(b);
    float largest = -kInfinity;
    bool any = false;
    for (std::int64_t j = 0; j < m; ++j) {
      const auto y = static_cast<std::size_t>(j);
      seen[y] = visible[x * static_cast<std::size_t>(c.M) + y];
      if (!seen[y]) continue;
      float dot = 0;
      each(c.D, order,
           [&](std::int64_t d) { dot += p.q.value(b, h, i, d) * p.k.value(b, g, j, d); });
      s[y] = scale * dot + bias_at(p, b, h, i, j) - alibi_at(p, b, h, i, j);
      if (s[y] == -kInfinity) seen[y] = false;  // weighs nothing
      if (seen[y]) any = true;
      largest = std::max(largest, s[y]);
    }
    if (weights == Weights::kMovedExponentials) largest -= std::log(192.5F / 256);
    if (lse != nullptr) {
      largest = (*lse)[x];
      any = largest != -kInfinity;
    }
    if (!any) {
      results.entropy[x] = 0;
      if (lse == nullptr) results.lse[x] = -kInfinity;
      return;
    }
    float sum = 0, mean = 0;  // mean: of s - largest, under p
    each(m, order, [&](std::int64_t j) {
      const auto y = static_cast<std::size_t>(j);
      if (seen[y]) sum += std::exp(s[y] - largest);
    });
    if (lse != nullptr) sum = 1;
    const float w = c.received_weights ? p.received_weights[x] : 1;
    float* out = lse != nullptr ? nullptr : results.out.data() + x * static_cast<std::size_t>(c.E);
    each(m, order, [&](std::int64_t j) {
      const auto y = static_cast<std::size_t>(j);
      if (!seen[y]) return;
      const std::size_t key = places.key(b, h, j);
      const float exponential = std::exp(s[y] - largest), prob = exponential / sum;
      results.rows[x * static_cast<std::size_t>(c.M) + y] = prob;
      if (prob != 0) mean += prob * (s[y] - largest);  // 0 log 0 is 0
      results.received[key] += w * prob * (c.factor ? p.factor[key] : 1);
      if (lse != nullptr) return;
      float weight = weights == Weights::kShares ? prob : exponential;
      if (c.type == DataType::kBFloat16) weight = rounded(c.type, weight);
      if (c.dropout != 0) {
        weight *= static_cast<float>(reference::dropout_factor(inputs, p.options(), {b, h, i}, j));
      }
      for (std::int64_t e = 0; e < c.E; ++e) out[e] += weight * p.v.value(b, g, j, e);
    });
    results.entropy[x] = std::log(sum) - mean;
    if (lse != nullptr) return;
    results.lse[x] = largest + std::log(sum);
    if (weights == Weights::kShares) return;
    for (std::int64_t e = 0; e < c.E; ++e) out[e] /= sum;
  };
  each(c.B, order, [&](std::int64_t b) {
    each(c.H, order, [&](std::int64_t h) {
      each(places.queries(b), order, [&](std::int64_t i) { row(b, h, i); });
    });
  });
  return results;
}

}  // namespace fovea::testing
