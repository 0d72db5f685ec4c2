#include "models/rows.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>

namespace fovea {
namespace {

constexpr std::size_t kBlock = 256;  // values summed in float before they join a double

// exp(x) to 2 ulp for x in [-87, 88]; below it is about 1e-38, above it about 1e38; NaN stays NaN.
// Branchless, so that a loop over it runs in vector lanes: x = n ln 2 + r, |r| <= ln 2 / 2,
// exp(x) = 2^n P(r), P the Taylor polynomial of degree 7 (remainder 5e-9).
inline float exp_lane(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  const float shifted = x * std::numbers::log2e_v<float> + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;  // ln 2 in two parts
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const std::uint32_t scale = (std::bit_cast<std::uint32_t>(shifted) + 127u) << 23;
  return p * std::bit_cast<float>(scale);
}

void norm_row(float* x, const float* delta, std::size_t width, const Norm& norm) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::size_t i = 0; i < width; ++i) {
    x[i] += delta[i];
    sum += x[i];
  }
  const float mean = sum / static_cast<float>(width);
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (std::size_t i = 0; i < width; ++i) {
    const float d = x[i] - mean;
    squares += d * d;
  }
  const float scale = 1.0f / std::sqrt(squares / static_cast<float>(width) + kNormEpsilon);
  const float* weight = norm.weight.data();
  const float* bias = norm.bias.data();
#pragma omp simd
  for (std::size_t i = 0; i < width; ++i) x[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

void swish(float* x, std::size_t count) {
#pragma omp simd
  for (std::size_t i = 0; i < count; ++i) x[i] = x[i] / (1.0f + exp_lane(-x[i]));
}

void gelu_tanh(float* x, std::size_t count) {
  constexpr float kRoot = 0.7978845608028654f;  // sqrt(2 / pi)
  // x (1 + tanh u) / 2 = x / (1 + exp(-2u)): no cancellation for negative u.
#pragma omp simd
  for (std::size_t i = 0; i < count; ++i) {
    const float u = kRoot * (x[i] + 0.044715f * x[i] * x[i] * x[i]);
    x[i] = x[i] / (1.0f + exp_lane(-2.0f * u));
  }
}

float largest(const float* x, std::size_t count) {
  float most = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : most)
  for (std::size_t i = 0; i < count; ++i) most = x[i] > most ? x[i] : most;
  return most;
}

// exp_lane(-inf) is about 1e-38: nothing beside the exp(0) = 1 of the largest value.
float exp_sum(const float* x, std::size_t count, float most) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::size_t i = 0; i < count; ++i) sum += exp_lane(x[i] - most);
  return sum;
}

}  // namespace

void add_norm(float* x, const float* delta, std::int64_t rows, const Norm& norm) {
  const std::size_t width = norm.weight.size();
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::size_t at = static_cast<std::size_t>(row) * width;
    norm_row(x + at, delta + at, width, norm);
  }
}

void activate(Activation activation, std::span<float> values) {
  switch (activation) {
    case Activation::kRelu:
      for (float& x : values) x = x < 0.0f ? 0.0f : x;  // keeps NaN
      return;
    case Activation::kGelu:
      for (float& x : values)
        x = 0.5f * x * (1.0f + std::erf(x * (1 / std::numbers::sqrt2_v<float>)));
      return;
    case Activation::kGeluTanh: return gelu_tanh(values.data(), values.size());
    case Activation::kSwish: return swish(values.data(), values.size());
  }
}

void LogSum::add(std::span<const float> values) {
  const float before = most;
  most = std::max(most, largest(values.data(), values.size()));
  if (most == -std::numeric_limits<float>::infinity()) {  // all -inf, or NaN
    for (const float x : values) {
      if (x != x) sum = x;
    }
    return;
  }
  if (sum != 0) sum *= std::exp(static_cast<double>(before) - most);
  for (std::size_t at = 0; at < values.size(); at += kBlock) {
    sum += exp_sum(values.data() + at, std::min(kBlock, values.size() - at), most);
  }
}

void LogSum::join(const LogSum& other) {
  if (other.most == -std::numeric_limits<float>::infinity()) {
    if (other.sum != other.sum) sum = other.sum;
    return;
  }
  const float before = most;
  most = std::max(most, other.most);
  if (sum != 0) sum *= std::exp(static_cast<double>(before) - most);
  sum += other.sum * std::exp(static_cast<double>(other.most) - most);
}

double LogSum::value() const { return std::log(sum) + most; }

void Best::add(std::span<const float> values, std::int32_t first) {
  for (std::size_t at = 0; at < values.size(); at += kBlock) {
    const std::size_t end = std::min(at + kBlock, values.size());
    float bar =
        items_.size() < keep_ ? -std::numeric_limits<float>::infinity() : items_.back().value;
    if (!(largest(values.data() + at, end - at) > bar)) continue;
    for (std::size_t i = at; i < end; ++i) {
      if (!(values[i] > bar)) continue;
      auto place = items_.end();
      while (place != items_.begin() && (place - 1)->value < values[i]) --place;
      items_.insert(place, {values[i], first + static_cast<std::int32_t>(i)});
      if (items_.size() > keep_) items_.pop_back();
      if (items_.size() == keep_) bar = items_.back().value;
    }
  }
}

}  // namespace fovea
