#include "support/plain.h"

#include <algorithm>
#include <cmath>
#include <limits>

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

}  // namespace

Results<float> plain_loop(const Problem& p, Order order) {
  const Case& c = p.c;
  Results<float> results(c, {.top = false}, c.N);
  std::fill(results.out.begin(), results.out.end(), 0.0F);
  std::fill(results.received.begin(), results.received.end(), 0.0F);
  const float scale = c.scale ? *c.scale : 1 / std::sqrt(static_cast<float>(c.D));
  std::vector<float> s(static_cast<std::size_t>(c.M));
  const std::vector<bool> visible = p.all_visible();
  std::vector<bool> seen(static_cast<std::size_t>(c.M));
  each(c.B * c.H * c.N, order, [&](std::int64_t row) {
    const auto x = static_cast<std::size_t>(row);
    const std::int64_t i = row % c.N, h = row / c.N % c.H, b = row / c.N / c.H;
    const std::int64_t g = h / (c.H / c.G);
    float largest = -kInfinity;
    for (std::int64_t j = 0; j < c.M; ++j) {
      const auto y = static_cast<std::size_t>(j);
      seen[y] = visible[x * static_cast<std::size_t>(c.M) + y];
      if (!seen[y]) continue;
      float dot = 0;
      each(c.D, order, [&](std::int64_t d) { dot += p.q.at(b, h, i, d) * p.k.at(b, g, j, d); });
      s[y] = scale * dot + bias_at(p, b, h, i, j);
      largest = std::max(largest, s[y]);
    }
    float sum = 0, mean = 0;  // mean: of s - largest, under p
    each(c.M, order, [&](std::int64_t j) {
      const auto y = static_cast<std::size_t>(j);
      if (seen[y]) sum += std::exp(s[y] - largest);
    });
    const float weight = results.c.received_weights ? p.received_weights[x] : 1;
    each(c.M, order, [&](std::int64_t j) {
      const auto y = static_cast<std::size_t>(j);
      const std::size_t key = static_cast<std::size_t>((b * c.H + h) * c.M) + y;
      const float prob = seen[y] ? std::exp(s[y] - largest) / sum : 0;
      results.rows[x * static_cast<std::size_t>(c.M) + y] = prob;
      if (!seen[y]) return;
      if (prob != 0) mean += prob * (s[y] - largest);  // 0 log 0 is 0
      results.received[key] += weight * prob * (c.factor ? p.factor[key] : 1);
      for (std::int64_t e = 0; e < c.E; ++e) {
        results.out[x * static_cast<std::size_t>(c.E) + static_cast<std::size_t>(e)] +=
            prob * p.v.at(b, g, j, e);
      }
    });
    results.lse[x] = sum > 0 ? largest + std::log(sum) : -kInfinity;
    results.entropy[x] = sum > 0 ? std::log(sum) - mean : 0;
  });
  return results;
}

}  // namespace fovea::testing
