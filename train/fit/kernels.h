// Plain loops for what lies between the matrix products (attention: attention.h), on a CPU: each
// fuses what torch would do in several passes over memory. S is float or Bf16 (storage); sums are in
// float. Results do not depend on the number of threads.
#pragma once

#include <cstdint>

#include "bf16.h"
#include "dropout.h"

namespace fovea::fit {

// out[r] = dropout(scale * table[ids[r]] + positions[at[r]])
template <typename S>
void embed_forward(const std::int32_t* ids, const std::int32_t* at, std::int64_t rows,
                   std::int64_t width, const float* table, const float* positions, float scale,
                   Dropout dropout, S* out);
// Adds to table_grad; the row of `pad` stays untouched.
template <typename S>
void embed_backward(const std::int32_t* ids, std::int64_t rows, std::int64_t width,
                    std::int32_t pad, const S* out_grad, float scale, Dropout dropout,
                    float* table_grad);

// out = norm(x + dropout(branch)) * gamma + beta; mean and rstd (one a row) are kept for the
// backward pass.
template <typename S>
void add_norm_forward(const S* x, const S* branch, const float* gamma, const float* beta,
                      std::int64_t rows, std::int64_t width, Dropout dropout, S* out, float* mean,
                      float* rstd);
template <typename S>
void add_norm_backward(const S* x, const S* branch, const float* gamma, const float* mean,
                       const float* rstd, const S* out_grad, std::int64_t rows, std::int64_t width,
                       Dropout dropout, S* x_grad, S* branch_grad, float* gamma_grad,
                       float* beta_grad);

template <typename S>
void swish_forward(const S* x, std::int64_t count, S* out);
template <typename S>
void swish_backward(const S* x, const S* out_grad, std::int64_t count, S* x_grad);

// sums[c] = sum over rows of x[r][c]
template <typename S>
void column_sums(const S* x, std::int64_t rows, std::int64_t columns, S* sums);

// Cross-entropy with label smoothing over the first `classes` of `stride` columns, and in place of
// the logits their gradient times `weight`; columns past `classes` (padding, which is never
// written) get 0. Returns {sum of smoothed losses, sum of plain negative log-likelihoods}.
struct LossSums {
  double smoothed = 0, plain = 0;
};
template <typename S>
LossSums smoothed_loss(S* logits, const std::int32_t* targets, std::int64_t rows,
                       std::int64_t stride, std::int64_t classes, float smoothing, float weight);

// One Adam step with decoupled nothing: value, moments and moving average; `compute` gets the value
// again.
struct AdamStep {
  float rate, beta1, beta2, epsilon, correction1, correction2, clip, average;
};
template <typename G>
void adam_update(std::int64_t count, const AdamStep& step, const G* grad, float* value,
                 float* first, float* second, float* averaged, G* compute);
template <typename G>
double squared_sum(const G* values, std::int64_t count);

}  // namespace fovea::fit
