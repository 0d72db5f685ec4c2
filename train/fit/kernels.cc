#include "kernels.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstring>

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

namespace {

constexpr int kLanes = 16;
// Sixteen floats side by side (the compiler's own vectors: any ISA), at any address.
typedef float Lanes __attribute__((vector_size(64), aligned(4)));

Lanes& lanes(float* at) { return *reinterpret_cast<Lanes*>(at); }
const Lanes& lanes(const float* at) { return *reinterpret_cast<const Lanes*>(at); }

std::int64_t padded(std::int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// The rows of one head as floats, with zeros from head_width to `width`.
template <typename S>
void load_head(Rows<const S> rows, std::int64_t start, std::int64_t count, int head, int head_width,
               int width, float* to) {
  for (std::int64_t i = 0; i < count; ++i) {
    const S* from = rows.data + (start + i) * rows.stride + head * head_width;
    for (int c = 0; c < head_width; ++c) to[i * width + c] = load(from[c]);
    for (int c = head_width; c < width; ++c) to[i * width + c] = 0;
  }
}

// Feature by row, which makes products of one row with all rows run along the lanes.
void turn(const float* rows, std::int64_t count, std::int64_t wide, int width, float* to) {
  for (int c = 0; c < width; ++c) {
    for (std::int64_t j = 0; j < count; ++j) to[c * wide + j] = rows[j * width + c];
    for (std::int64_t j = count; j < wide; ++j) to[c * wide + j] = 0;
  }
}

// out[j] = scale * row . turned[:, j]; four sums at a time, for the processor to overlap.
inline void row_times_turned(const float* row, const float* turned, std::int64_t wide, int width,
                             float scale, float* out) {
  for (std::int64_t block = 0; block < wide; block += kLanes) {
    Lanes a = {}, b = {}, c = {}, d = {};
    const float* column = turned + block;
    for (int k = 0; k < width; k += 4, column += 4 * wide) {
      a += row[k] * lanes(column);
      b += row[k + 1] * lanes(column + wide);
      c += row[k + 2] * lanes(column + 2 * wide);
      d += row[k + 3] * lanes(column + 3 * wide);
    }
    lanes(out + block) = scale * ((a + b) + (c + d));
  }
}

// out[0..width) = sum_j weights[j * stride] rows[j]
inline void weighted_sum(const float* weights, std::int64_t stride, const float* rows,
                         std::int64_t count, int width, float* out) {
  int at = 0;
  for (; at + 4 * kLanes <= width; at += 4 * kLanes) {
    Lanes a = {}, b = {}, c = {}, d = {};
    for (std::int64_t j = 0; j < count; ++j) {
      const float* row = rows + j * width + at;
      a += weights[j * stride] * lanes(row);
      b += weights[j * stride] * lanes(row + kLanes);
      c += weights[j * stride] * lanes(row + 2 * kLanes);
      d += weights[j * stride] * lanes(row + 3 * kLanes);
    }
    lanes(out + at) = a;
    lanes(out + at + kLanes) = b;
    lanes(out + at + 2 * kLanes) = c;
    lanes(out + at + 3 * kLanes) = d;
  }
  for (; at < width; at += kLanes) {
    Lanes a = {};
    for (std::int64_t j = 0; j < count; ++j)
      a += weights[j * stride] * lanes(rows + j * width + at);
    lanes(out + at) = a;
  }
}

// Softmax of the first `visible` of `wide` scores; the others become 0.
inline void softmax_row(float* scores, std::int64_t visible, std::int64_t wide) {
  float top = scores[0];
  for (std::int64_t j = 1; j < visible; ++j) top = std::max(top, scores[j]);
  for (std::int64_t j = visible; j < wide; ++j) scores[j] = -INFINITY;
  float total = 0;
  for (std::int64_t j = 0; j < wide; ++j) scores[j] = fast_exp(std::max(scores[j] - top, -87.0f));
  for (std::int64_t j = visible; j < wide; ++j) scores[j] = 0;
  for (std::int64_t j = 0; j < wide; ++j) total += scores[j];
  const float inverse = 1 / total;
  for (std::int64_t j = 0; j < wide; ++j) scores[j] *= inverse;
}

inline std::int64_t visible_keys(const Span& span, std::int64_t query, bool causal) {
  return causal ? std::min<std::int64_t>(span.key_length, query + 1) : span.key_length;
}

}  // namespace

template <typename S>
void attention_forward(Rows<const S> q, Rows<const S> k, Rows<const S> v,
                       const std::vector<Span>& spans, int heads, int head_width, bool causal,
                       Rows<S> out) {
  const float scale = 1 / std::sqrt(static_cast<float>(head_width));
  const int width = static_cast<int>(padded(head_width));
  at::parallel_for(
      0, static_cast<std::int64_t>(spans.size()), 1, [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> room;
        for (std::int64_t s = begin; s < end; ++s) {
          const Span& span = spans[s];
          const std::int64_t n = span.query_length, m = span.key_length, wide = padded(m);
          room.resize((n + 2 * m + wide + 1) * width + wide);
          float* queries = room.data();
          float* keys = queries + n * width;
          float* values = keys + m * width;
          float* turned = values + m * width;
          float* sum = turned + wide * width;
          float* weights = sum + width;
          for (int h = 0; h < heads; ++h) {
            load_head(q, span.query_start, n, h, head_width, width, queries);
            load_head(k, span.key_start, m, h, head_width, width, keys);
            load_head(v, span.key_start, m, h, head_width, width, values);
            turn(keys, m, wide, width, turned);
            for (std::int64_t i = 0; i < n; ++i) {
              const std::int64_t visible = visible_keys(span, i, causal);
              row_times_turned(queries + i * width, turned, wide, width, scale, weights);
              softmax_row(weights, visible, wide);
              weighted_sum(weights, 1, values, visible, width, sum);
              S* to = out.data + (span.query_start + i) * out.stride + h * head_width;
              for (int c = 0; c < head_width; ++c) store(to[c], sum[c]);
            }
          }
        }
      });
}

template <typename S>
void attention_backward(Rows<const S> q, Rows<const S> k, Rows<const S> v, Rows<const S> out_grad,
                        const std::vector<Span>& spans, int heads, int head_width, bool causal,
                        Rows<S> q_grad, Rows<S> k_grad, Rows<S> v_grad) {
  const float scale = 1 / std::sqrt(static_cast<float>(head_width));
  const int width = static_cast<int>(padded(head_width));
  at::parallel_for(
      0, static_cast<std::int64_t>(spans.size()), 1, [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> room;
        for (std::int64_t s = begin; s < end; ++s) {
          const Span& span = spans[s];
          const std::int64_t n = span.query_length, m = span.key_length, wide = padded(m);
          room.resize((2 * n + 4 * m + 2 * wide + 1) * width + 2 * n * wide);
          float* queries = room.data();
          float* grads = queries + n * width;
          float* keys = grads + n * width;
          float* values = keys + m * width;
          float* dk = values + m * width;
          float* dv = dk + m * width;
          float* turned_keys = dv + m * width;
          float* turned_values = turned_keys + wide * width;
          float* dq = turned_values + wide * width;
          float* weights = dq + width;
          float* slopes = weights + n * wide;
          for (int h = 0; h < heads; ++h) {
            load_head(q, span.query_start, n, h, head_width, width, queries);
            load_head(out_grad, span.query_start, n, h, head_width, width, grads);
            load_head(k, span.key_start, m, h, head_width, width, keys);
            load_head(v, span.key_start, m, h, head_width, width, values);
            turn(keys, m, wide, width, turned_keys);
            turn(values, m, wide, width, turned_values);
            for (std::int64_t i = 0; i < n; ++i) {
              const std::int64_t visible = visible_keys(span, i, causal);
              float* weight = weights + i * wide;
              float* slope = slopes + i * wide;
              row_times_turned(queries + i * width, turned_keys, wide, width, scale, weight);
              softmax_row(weight, visible, wide);
              row_times_turned(grads + i * width, turned_values, wide, width, 1, slope);
              float mean = 0;
              for (std::int64_t j = 0; j < wide; ++j) mean += weight[j] * slope[j];
              for (std::int64_t j = 0; j < wide; ++j)
                slope[j] = scale * weight[j] * (slope[j] - mean);
              weighted_sum(slope, 1, keys, visible, width, dq);
              S* to = q_grad.data + (span.query_start + i) * q_grad.stride + h * head_width;
              for (int c = 0; c < head_width; ++c) store(to[c], dq[c]);
            }
            for (std::int64_t j = 0; j < m; ++j) {
              // Of the queries, those from `from` on see key j.
              const std::int64_t from = causal ? std::min(j, n) : 0;
              weighted_sum(slopes + from * wide + j, wide, queries + from * width, n - from, width,
                           dk + j * width);
              weighted_sum(weights + from * wide + j, wide, grads + from * width, n - from, width,
                           dv + j * width);
            }
            for (std::int64_t j = 0; j < m; ++j) {
              S* to_k = k_grad.data + (span.key_start + j) * k_grad.stride + h * head_width;
              S* to_v = v_grad.data + (span.key_start + j) * v_grad.stride + h * head_width;
              for (int c = 0; c < head_width; ++c) store(to_k[c], dk[j * width + c]);
              for (int c = 0; c < head_width; ++c) store(to_v[c], dv[j * width + c]);
            }
          }
        }
      });
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
  template void attention_forward<S>(Rows<const S>, Rows<const S>, Rows<const S>,                  \
                                     const std::vector<Span>&, int, int, bool, Rows<S>);           \
  template void attention_backward<S>(Rows<const S>, Rows<const S>, Rows<const S>, Rows<const S>,  \
                                      const std::vector<Span>&, int, int, bool, Rows<S>, Rows<S>,  \
                                      Rows<S>);                                                    \
  template LossSums smoothed_loss<S>(S*, const std::int32_t*, std::int64_t, std::int64_t,          \
                                     std::int64_t, float, float);                                  \
  template void adam_update<S>(std::int64_t, const AdamStep&, const S*, float*, float*, float*,    \
                               float*, S*);                                                        \
  template double squared_sum<S>(const S*, std::int64_t);

FOVEA_FIT_INSTANTIATE(float)
FOVEA_FIT_INSTANTIATE(Bf16)

}  // namespace fovea::fit
