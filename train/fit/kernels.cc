#include "kernels.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace fovea::fit {
namespace {

// Rows are cut into chunks of this fixed size and the chunks' sums are added in order, so that sums
// do not depend on how many threads share them out.
constexpr std::int64_t kChunk = 256;

// exp in plain arithmetic, which vectorises; within 2e-7 relative, 0 below about -87.
inline float fast_exp(float x) {
  const float t = std::max(-126.0f, std::min(127.0f, x * 1.44269504f));
  const float r = std::nearbyintf(t);
  const float f = t - r;
  float p = 1.5403530e-4f;
  p = p * f + 1.3333558e-3f;
  p = p * f + 9.6181291e-3f;
  p = p * f + 5.5504109e-2f;
  p = p * f + 2.4022651e-1f;
  p = p * f + 6.9314718e-1f;
  p = p * f + 1.0f;
  return p * std::bit_cast<float>((static_cast<std::int32_t>(r) + 127) << 23);
}

template <typename Body>
void each_chunk(std::int64_t rows, const Body& body) {
  const std::int64_t chunks = (rows + kChunk - 1) / kChunk;
  at::parallel_for(0, chunks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c)
      body(c, c * kChunk, std::min(rows, (c + 1) * kChunk));
  });
}

}  // namespace

template <typename S>
void embed_forward(const std::int32_t* ids, const std::int32_t* at, std::int64_t rows,
                   std::int64_t width, const float* table, const float* positions, float scale,
                   Dropout dropout, S* out) {
  each_chunk(rows, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const float* from = table + ids[r] * width;
      const float* position = positions + at[r] * width;
      S* to = out + r * width;
      const auto base = static_cast<std::uint32_t>(r * width);
      for (std::int64_t c = 0; c < width; ++c) {
        store(to[c], (scale * from[c] + position[c]) *
                         dropout.factor(base + static_cast<std::uint32_t>(c)));
      }
    }
  });
}

template <typename S>
void embed_backward(const std::int32_t* ids, std::int64_t rows, std::int64_t width,
                    std::int32_t pad, const S* out_grad, float scale, Dropout dropout,
                    float* table_grad) {
  // Sequential: two rows may share an id, and the order of the sums must stay.
  for (std::int64_t r = 0; r < rows; ++r) {
    if (ids[r] == pad) continue;
    float* to = table_grad + ids[r] * width;
    const S* from = out_grad + r * width;
    const auto base = static_cast<std::uint32_t>(r * width);
    for (std::int64_t c = 0; c < width; ++c) {
      to[c] += scale * load(from[c]) * dropout.factor(base + static_cast<std::uint32_t>(c));
    }
  }
}

template <typename S>
void add_norm_forward(const S* x, const S* branch, const float* gamma, const float* beta,
                      std::int64_t rows, std::int64_t width, Dropout dropout, S* out, float* mean,
                      float* rstd) {
  each_chunk(rows, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    std::vector<float> sum_row(width);
    float* h = sum_row.data();
    for (std::int64_t r = begin; r < end; ++r) {
      const S* a = x + r * width;
      const S* b = branch + r * width;
      S* to = out + r * width;
      const auto base = static_cast<std::uint32_t>(r * width);
      float total = 0;
      for (std::int64_t c = 0; c < width; ++c) {
        h[c] = load(a[c]) + load(b[c]) * dropout.factor(base + static_cast<std::uint32_t>(c));
        total += h[c];
      }
      const float m = total / static_cast<float>(width);
      float squares = 0;
      for (std::int64_t c = 0; c < width; ++c) squares += (h[c] - m) * (h[c] - m);
      const float s = 1 / std::sqrt(squares / static_cast<float>(width) + 1e-5f);
      for (std::int64_t c = 0; c < width; ++c) store(to[c], (h[c] - m) * s * gamma[c] + beta[c]);
      mean[r] = m;
      rstd[r] = s;
    }
  });
}

template <typename S>
void add_norm_backward(const S* x, const S* branch, const float* gamma, const float* mean,
                       const float* rstd, const S* out_grad, std::int64_t rows, std::int64_t width,
                       Dropout dropout, S* x_grad, S* branch_grad, float* gamma_grad,
                       float* beta_grad) {
  const std::int64_t chunks = (rows + kChunk - 1) / kChunk;
  std::vector<float> partial(2 * chunks * width, 0.0f);
  each_chunk(rows, [&](std::int64_t chunk, std::int64_t begin, std::int64_t end) {
    float* gamma_part = partial.data() + 2 * chunk * width;
    float* beta_part = gamma_part + width;
    std::vector<float> scratch(3 * width);
    float* normed = scratch.data();
    float* g = normed + width;
    float* factors = g + width;
    for (std::int64_t r = begin; r < end; ++r) {
      const S* a = x + r * width;
      const S* b = branch + r * width;
      const S* dy = out_grad + r * width;
      const auto base = static_cast<std::uint32_t>(r * width);
      const float m = mean[r], s = rstd[r];
      float sum_g = 0, sum_gn = 0;
      for (std::int64_t c = 0; c < width; ++c) {
        factors[c] = dropout.factor(base + static_cast<std::uint32_t>(c));
        normed[c] = (load(a[c]) + load(b[c]) * factors[c] - m) * s;
        const float d = load(dy[c]);
        g[c] = d * gamma[c];
        sum_g += g[c];
        sum_gn += g[c] * normed[c];
        gamma_part[c] += d * normed[c];
        beta_part[c] += d;
      }
      const float mean_g = sum_g / static_cast<float>(width);
      const float mean_gn = sum_gn / static_cast<float>(width);
      S* dx = x_grad + r * width;
      S* db = branch_grad + r * width;
      for (std::int64_t c = 0; c < width; ++c) {
        const float d = (g[c] - mean_g - normed[c] * mean_gn) * s;
        store(dx[c], d);
        store(db[c], d * factors[c]);
      }
    }
  });
  for (std::int64_t c = 0; c < width; ++c) gamma_grad[c] = beta_grad[c] = 0;
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const float* part = partial.data() + 2 * chunk * width;
    for (std::int64_t c = 0; c < width; ++c) {
      gamma_grad[c] += part[c];
      beta_grad[c] += part[width + c];
    }
  }
}

template <typename S>
void swish_forward(const S* x, std::int64_t count, S* out) {
  at::parallel_for(0, count, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float value = load(x[i]);
      store(out[i], value / (1 + fast_exp(-value)));
    }
  });
}

template <typename S>
void swish_backward(const S* x, const S* out_grad, std::int64_t count, S* x_grad) {
  at::parallel_for(0, count, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float value = load(x[i]);
      const float gate = 1 / (1 + fast_exp(-value));
      store(x_grad[i], load(out_grad[i]) * gate * (1 + value * (1 - gate)));
    }
  });
}

template <typename S>
void column_sums(const S* x, std::int64_t rows, std::int64_t columns, S* sums) {
  std::vector<float> total(columns, 0.0f);
  for (std::int64_t r = 0; r < rows; ++r) {
    const S* row = x + r * columns;
    for (std::int64_t c = 0; c < columns; ++c) total[c] += load(row[c]);
  }
  for (std::int64_t c = 0; c < columns; ++c) store(sums[c], total[c]);
}

template <typename S>
LossSums smoothed_loss(S* logits, const std::int32_t* targets, std::int64_t rows,
                       std::int64_t stride, std::int64_t classes, float smoothing, float weight) {
  const std::int64_t chunks = (rows + kChunk - 1) / kChunk;
  std::vector<LossSums> partial(chunks);
  const float uniform = smoothing / static_cast<float>(classes);
  each_chunk(rows, [&](std::int64_t chunk, std::int64_t begin, std::int64_t end) {
    std::vector<float> scratch(classes);
    float* powers = scratch.data();
    for (std::int64_t r = begin; r < end; ++r) {
      S* row = logits + r * stride;
      float top = load(row[0]), sum = 0;
      for (std::int64_t c = 0; c < classes; ++c) {
        const float value = load(row[c]);
        top = std::max(top, value);
        sum += value;
      }
      float total = 0;
      for (std::int64_t c = 0; c < classes; ++c) {
        powers[c] = fast_exp(load(row[c]) - top);
        total += powers[c];
      }
      const float lse = top + std::log(total);
      const float chosen = load(row[targets[r]]);
      partial[chunk].plain += lse - chosen;
      partial[chunk].smoothed +=
          lse - (1 - smoothing) * chosen - smoothing * sum / static_cast<float>(classes);
      const float inverse = weight / total, floor = weight * uniform;
      for (std::int64_t c = 0; c < classes; ++c) store(row[c], powers[c] * inverse - floor);
      store(row[targets[r]], powers[targets[r]] * inverse - floor - weight * (1 - smoothing));
      for (std::int64_t c = classes; c < stride; ++c) store(row[c], 0.0f);
    }
  });
  LossSums sums;
  for (const LossSums& part : partial) {
    sums.smoothed += part.smoothed;
    sums.plain += part.plain;
  }
  return sums;
}

template <typename G>
void adam_update(std::int64_t count, const AdamStep& step, const G* grad, float* value,
                 float* first, float* second, float* averaged, G* compute) {
  at::parallel_for(0, count, 1 << 14, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float g = load(grad[i]) * step.clip;
      first[i] += (1 - step.beta1) * (g - first[i]);
      second[i] += (1 - step.beta2) * (g * g - second[i]);
      const float change =
          first[i] * step.correction1 / (std::sqrt(second[i] * step.correction2) + step.epsilon);
      const float next = value[i] - step.rate * change;
      value[i] = next;
      averaged[i] += (1 - step.average) * (next - averaged[i]);
      store(compute[i], next);
    }
  });
}

template <typename G>
double squared_sum(const G* values, std::int64_t count) {
  double total = 0;
  for (std::int64_t begin = 0; begin < count; begin += 4096) {
    float part = 0;
    const std::int64_t end = std::min(count, begin + 4096);
    for (std::int64_t i = begin; i < end; ++i) part += load(values[i]) * load(values[i]);
    total += part;
  }
  return total;
}

#define FOVEA_FIT_INSTANTIATE(S)                                                                   \
  template void embed_forward<S>(const std::int32_t*, const std::int32_t*, std::int64_t,           \
                                 std::int64_t, const float*, const float*, float, Dropout, S*);    \
  template void embed_backward<S>(const std::int32_t*, std::int64_t, std::int64_t, std::int32_t,   \
                                  const S*, float, Dropout, float*);                               \
  template void add_norm_forward<S>(const S*, const S*, const float*, const float*, std::int64_t,  \
                                    std::int64_t, Dropout, S*, float*, float*);                    \
  template void add_norm_backward<S>(const S*, const S*, const float*, const float*, const float*, \
                                     const S*, std::int64_t, std::int64_t, Dropout, S*, S*,        \
                                     float*, float*);                                              \
  template void swish_forward<S>(const S*, std::int64_t, S*);                                      \
  template void swish_backward<S>(const S*, const S*, std::int64_t, S*);                           \
  template void column_sums<S>(const S*, std::int64_t, std::int64_t, S*);                          \
  template LossSums smoothed_loss<S>(S*, const std::int32_t*, std::int64_t, std::int64_t,          \
                                     std::int64_t, float, float);                                  \
  template void adam_update<S>(std::int64_t, const AdamStep&, const S*, float*, float*, float*,    \
                               float*, S*);                                                        \
  template double squared_sum<S>(const S*, std::int64_t);

FOVEA_FIT_INSTANTIATE(float)
FOVEA_FIT_INSTANTIATE(Bf16)

}  // namespace fovea::fit
