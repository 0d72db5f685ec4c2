#include "numerics/plain.h"

#include <algorithm>
#include <cmath>

#include "fovea/half.h"

namespace fovea::numerics {
namespace {

struct Row {
  const float* q;
  const float* k;
  const float* v;
  float* out;
  float* moved_out;  // null: weights are not rounded
  float* lse;
  float* entropy;
  float* p;
  float* received;
};

float bfloat16(float x) { return static_cast<float>(BFloat16(x)); }

void attend_row(const Problem& z, const Row& row) {
  constexpr float kMoved = 192.5F / 256;
  float most = -INFINITY;
  for (std::int64_t j = 0; j < z.M; ++j) {
    float dot = 0;
    for (std::int64_t d = 0; d < z.D; ++d) dot += row.q[d] * row.k[j * z.D + d];
    row.p[j] = dot * z.scale;
    most = std::max(most, row.p[j]);
  }
  float total = 0;
  for (std::int64_t j = 0; j < z.M; ++j) total += row.p[j] = std::exp(row.p[j] - most);
  for (std::int64_t j = 0; j < z.M; ++j) {
    const float* v = row.v + j * z.D;
    if (row.moved_out == nullptr) {
      for (std::int64_t e = 0; e < z.D; ++e) row.out[e] += row.p[j] * v[e];
    } else {
      const float share = bfloat16(row.p[j] / total);
      const float moved = bfloat16(row.p[j] * kMoved);
      for (std::int64_t e = 0; e < z.D; ++e) row.out[e] += share * v[e];
      for (std::int64_t e = 0; e < z.D; ++e) row.moved_out[e] += moved * v[e];
    }
  }
  for (std::int64_t e = 0; e < z.D; ++e) {
    if (row.moved_out == nullptr) {
      row.out[e] /= total;
    } else {
      row.moved_out[e] /= total * kMoved;
    }
  }
  *row.lse = most + std::log(total);
  float entropy = 0;
  for (std::int64_t j = 0; j < z.M; ++j) {
    row.p[j] /= total;
    if (row.p[j] > 0) entropy -= row.p[j] * std::log(row.p[j]);
    row.received[j] += row.p[j];
  }
  *row.entropy = entropy;
}

}  // namespace

Plain plain(const Problem& z, bool rounds_weights) {
  const auto floats = [](std::int64_t n) {
    return std::vector<float>(static_cast<std::size_t>(n));
  };
  Plain to{floats(z.H * z.N * z.D), floats(rounds_weights ? z.H * z.N * z.D : 0),
           floats(z.H * z.N),       floats(z.H * z.N),
           floats(z.H * z.N * z.M), floats(z.H * z.M)};
  for (std::int64_t h = 0; h < z.H; ++h) {
    for (std::int64_t i = 0; i < z.N; ++i) {
      const std::int64_t at = h * z.N + i;
      attend_row(
          z, {z.q.data() + at * z.D, z.k.data() + h * z.M * z.D, z.v.data() + h * z.M * z.D,
              to.out.data() + at * z.D, rounds_weights ? to.moved_out.data() + at * z.D : nullptr,
              to.lse.data() + at, to.entropy.data() + at, to.rows.data() + at * z.M,
              to.received.data() + h * z.M});
    }
  }
  return to;
}

}  // namespace fovea::numerics
