// The loops of rows.cc, compiled once for each instruction set with flags of its own
// (models.cmake). Nothing here may be an inline function with a name that others share, or the
// linker could hand AVX-512 code to a CPU without it: hence no standard library, and one anonymous
// namespace.
#pragma once

#include "models/rows_isa.h"

namespace fovea::rows {
namespace {

// exp(x) to 2 ulp for x in [-87, 88]; below it is about 1e-38, above it about 1e38; NaN stays NaN.
// Branchless, so that a loop over it runs in vector lanes: x = n ln 2 + r, |r| <= ln 2 / 2,
// exp(x) = 2^n P(r), P the Taylor polynomial of degree 7 (remainder 5e-9).
__attribute__((always_inline)) inline float exp_lane(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  const float shifted = x * 1.44269504f + kRound;
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
  const unsigned scale = (__builtin_bit_cast(unsigned, shifted) + 127u) << 23;
  return p * __builtin_bit_cast(float, scale);
}

void norm_row(float* x, const float* delta, unsigned long width, const float* weight,
              const float* bias, float epsilon) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (unsigned long i = 0; i < width; ++i) {
    x[i] += delta[i];
    sum += x[i];
  }
  const float mean = sum / static_cast<float>(width);
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (unsigned long i = 0; i < width; ++i) {
    const float d = x[i] - mean;
    squares += d * d;
  }
  const float scale = 1.0f / __builtin_sqrtf(squares / static_cast<float>(width) + epsilon);
#pragma omp simd
  for (unsigned long i = 0; i < width; ++i) x[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

void swish(float* x, unsigned long count) {
#pragma omp simd
  for (unsigned long i = 0; i < count; ++i) x[i] = x[i] / (1.0f + exp_lane(-x[i]));
}

void gelu_tanh(float* x, unsigned long count) {
  constexpr float kRoot = 0.7978845608028654f;  // sqrt(2 / pi)
  // x (1 + tanh u) / 2 = x / (1 + exp(-2u)): no cancellation for negative u.
#pragma omp simd
  for (unsigned long i = 0; i < count; ++i) {
    const float u = kRoot * (x[i] + 0.044715f * x[i] * x[i] * x[i]);
    x[i] = x[i] / (1.0f + exp_lane(-2.0f * u));
  }
}

float largest(const float* x, unsigned long count) {
  float most = -__builtin_inff();
#pragma omp simd reduction(max : most)
  for (unsigned long i = 0; i < count; ++i) most = x[i] > most ? x[i] : most;
  return most;
}

// exp_lane(-inf) is about 1e-38: nothing beside the exp(0) = 1 of the largest value.
float exp_sum(const float* x, unsigned long count, float most) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (unsigned long i = 0; i < count; ++i) sum += exp_lane(x[i] - most);
  return sum;
}

constexpr Loops kLoops = {norm_row, swish, gelu_tanh, largest, exp_sum};

}  // namespace
}  // namespace fovea::rows
