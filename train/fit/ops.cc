#include "ops.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "attention.h"

namespace fovea::fit {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

bool plain_wanted = false;

bool fused(const Tensor& tensor) { return tensor.is_cpu() && !plain_wanted; }

template <typename S>
S* data(const Tensor& tensor) {
  return static_cast<S*>(tensor.data_ptr());
}

// Calls body with the storage type of the tensor.
template <typename Body>
void with_type(const Tensor& tensor, const Body& body) {
  if (tensor.scalar_type() == torch::kFloat) return body(float{});
  if (tensor.scalar_type() == torch::kBFloat16) return body(Bf16{});
  throw std::runtime_error("fit computes in float and bfloat16 only");
}

void save(AutogradContext* ctx, Dropout dropout) {
  ctx->saved_data["key"] = static_cast<std::int64_t>(dropout.key);
  ctx->saved_data["threshold"] = static_cast<std::int64_t>(dropout.threshold);
  ctx->saved_data["scale"] = static_cast<double>(dropout.scale);
}

Dropout saved_dropout(AutogradContext* ctx) {
  return {static_cast<std::uint32_t>(ctx->saved_data["key"].toInt()),
          static_cast<std::uint32_t>(ctx->saved_data["threshold"].toInt()),
          static_cast<float>(ctx->saved_data["scale"].toDouble())};
}

double rate(Dropout dropout) { return static_cast<double>(dropout.threshold) / 4294967296.0; }

struct Embed : Function<Embed> {
  static Tensor forward(AutogradContext* ctx, Tensor ids, Tensor at, Tensor table, Tensor positions,
                        double scale, std::int64_t pad, Dropout dropout, torch::ScalarType type) {
    ctx->save_for_backward({ids, table});
    ctx->saved_data["scale_by"] = scale;
    ctx->saved_data["pad"] = pad;
    save(ctx, dropout);
    Tensor out = torch::empty({ids.size(0), table.size(1)},
                              table.options().dtype(type).requires_grad(false));
    with_type(out, [&](auto s) {
      using S = decltype(s);
      embed_forward<S>(data<std::int32_t>(ids), data<std::int32_t>(at), ids.size(0), table.size(1),
                       data<float>(table), data<float>(positions), static_cast<float>(scale),
                       dropout, data<S>(out));
    });
    return out;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    Tensor out_grad = grads[0].contiguous();
    Tensor table_grad = torch::zeros_like(saved[1]);
    with_type(out_grad, [&](auto s) {
      using S = decltype(s);
      embed_backward<S>(data<std::int32_t>(saved[0]), saved[0].size(0), saved[1].size(1),
                        static_cast<std::int32_t>(ctx->saved_data["pad"].toInt()),
                        data<S>(out_grad),
                        static_cast<float>(ctx->saved_data["scale_by"].toDouble()),
                        saved_dropout(ctx), data<float>(table_grad));
    });
    return {{}, {}, table_grad, {}, {}, {}, {}, {}};
  }
};

struct Linear : Function<Linear> {
  static Tensor forward(AutogradContext* ctx, Tensor x, Tensor weight, Tensor bias) {
    ctx->save_for_backward({x, weight});
    return at::linear(x, weight, bias);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    Tensor out_grad = grads[0].contiguous();
    Tensor bias_grad = torch::empty({out_grad.size(1)}, out_grad.options());
    with_type(out_grad, [&](auto s) {
      using S = decltype(s);
      column_sums<S>(data<S>(out_grad), out_grad.size(0), out_grad.size(1), data<S>(bias_grad));
    });
    return {at::mm(out_grad, saved[1]), at::mm(out_grad.t(), saved[0]), bias_grad};
  }
};

struct Swish : Function<Swish> {
  static Tensor forward(AutogradContext* ctx, Tensor x) {
    ctx->save_for_backward({x});
    Tensor out = torch::empty_like(x);
    with_type(x, [&](auto s) {
      using S = decltype(s);
      swish_forward<S>(data<S>(x), x.numel(), data<S>(out));
    });
    return out;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const Tensor x = ctx->get_saved_variables()[0];
    Tensor out_grad = grads[0].contiguous();
    Tensor x_grad = torch::empty_like(x);
    with_type(x, [&](auto s) {
      using S = decltype(s);
      swish_backward<S>(data<S>(x), data<S>(out_grad), x.numel(), data<S>(x_grad));
    });
    return {x_grad};
  }
};

struct AddNorm : Function<AddNorm> {
  static Tensor forward(AutogradContext* ctx, Tensor x, Tensor branch, Tensor gamma, Tensor beta,
                        Dropout dropout) {
    Tensor out = torch::empty_like(x);
    Tensor mean = torch::empty({x.size(0)}, x.options().dtype(torch::kFloat));
    Tensor rstd = torch::empty_like(mean);
    with_type(x, [&](auto s) {
      using S = decltype(s);
      add_norm_forward<S>(data<S>(x), data<S>(branch), data<float>(gamma), data<float>(beta),
                          x.size(0), x.size(1), dropout, data<S>(out), data<float>(mean),
                          data<float>(rstd));
    });
    ctx->save_for_backward({x, branch, gamma, mean, rstd});
    save(ctx, dropout);
    return out;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &branch = saved[1], &gamma = saved[2];
    Tensor out_grad = grads[0].contiguous();
    Tensor x_grad = torch::empty_like(x), branch_grad = torch::empty_like(x);
    Tensor gamma_grad = torch::empty_like(gamma), beta_grad = torch::empty_like(gamma);
    with_type(x, [&](auto s) {
      using S = decltype(s);
      add_norm_backward<S>(data<S>(x), data<S>(branch), data<float>(gamma), data<float>(saved[3]),
                           data<float>(saved[4]), data<S>(out_grad), x.size(0), x.size(1),
                           saved_dropout(ctx), data<S>(x_grad), data<S>(branch_grad),
                           data<float>(gamma_grad), data<float>(beta_grad));
    });
    return {x_grad, branch_grad, gamma_grad, beta_grad, {}};
  }
};

// q, k and v as column blocks: of one tensor (`own`: q is qkv) or of two.
struct Blocks {
  Tensor q, k, v;
};

Blocks split(const Tensor& q, const Tensor& kv, bool own) {
  if (own) {
    const std::int64_t d = q.size(1) / 3;
    return {q.narrow(1, 0, d), q.narrow(1, d, d), q.narrow(1, 2 * d, d)};
  }
  const std::int64_t d = q.size(1);
  return {q, kv.narrow(1, 0, d), kv.narrow(1, d, d)};
}

template <typename S>
Rows<S> rows(const Tensor& tensor) {
  return {static_cast<S*>(tensor.data_ptr()), tensor.stride(0)};
}

struct Attention : Function<Attention> {
  // Autograd takes no absent tensor: in self-attention (`own`) kv is qkv once more and gets no
  // gradient.
  static Tensor forward(AutogradContext* ctx, Tensor q, Tensor kv, bool own,
                        const std::vector<Span>* spans, int heads, bool causal) {
    const Blocks blocks = split(q, kv, own);
    Tensor out = torch::zeros({q.size(0), blocks.q.size(1)}, q.options());
    Tensor lse = torch::empty({q.size(0), heads}, q.options().dtype(torch::kFloat));
    with_type(q, [&](auto s) {
      using S = decltype(s);
      attention_forward<S>(
          rows<const S>(blocks.q), rows<const S>(blocks.k), rows<const S>(blocks.v), *spans, heads,
          static_cast<int>(out.size(1) / heads), causal, rows<S>(out), data<float>(lse));
    });
    ctx->save_for_backward({q, kv, out, lse});
    // The batch, which owns the spans, outlives the backward pass.
    ctx->saved_data["spans"] = reinterpret_cast<std::int64_t>(spans);
    ctx->saved_data["heads"] = static_cast<std::int64_t>(heads);
    ctx->saved_data["causal"] = causal;
    ctx->saved_data["own"] = own;
    return out;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto* spans =
        reinterpret_cast<const std::vector<Span>*>(ctx->saved_data["spans"].toInt());
    const int heads = static_cast<int>(ctx->saved_data["heads"].toInt());
    Tensor out_grad = grads[0].contiguous();
    const Tensor &q = saved[0], &kv = saved[1];
    Tensor q_grad = torch::zeros_like(q);
    const bool own = ctx->saved_data["own"].toBool();
    Tensor kv_grad = own ? Tensor() : torch::zeros_like(kv);
    const Blocks blocks = split(q, kv, own), slopes = split(q_grad, kv_grad, own);
    with_type(q, [&](auto s) {
      using S = decltype(s);
      attention_backward<S>(
          rows<const S>(blocks.q), rows<const S>(blocks.k), rows<const S>(blocks.v),
          rows<const S>(saved[2]), data<float>(saved[3]), rows<const S>(out_grad), *spans, heads,
          static_cast<int>(out_grad.size(1) / heads), ctx->saved_data["causal"].toBool(),
          rows<S>(slopes.q), rows<S>(slopes.k), rows<S>(slopes.v));
    });
    return {q_grad, kv_grad, {}, {}, {}, {}};
  }
};

// Ragged rows as a padded batch: which rows stand in it, and which keys each of them sees.
struct Padding {
  std::int64_t queries = 1, keys = 1;  // of the longest span
  Tensor query_rows, key_rows;         // [spans, queries], [spans, keys]: indices of rows
  Tensor seen;                         // [spans, queries, keys]
  std::vector<std::int64_t> from, to;  // place in the padded batch -> row, of every query
};

Padding padding_of(const std::vector<Span>& spans, bool causal) {
  Padding padding;
  const auto count = static_cast<std::int64_t>(spans.size());
  for (const Span& span : spans) {
    padding.queries = std::max<std::int64_t>(padding.queries, span.query_length);
    padding.keys = std::max<std::int64_t>(padding.keys, span.key_length);
  }
  const std::int64_t n = padding.queries, m = padding.keys;
  padding.query_rows = torch::zeros({count, n}, torch::kLong);
  padding.key_rows = torch::zeros({count, m}, torch::kLong);
  padding.seen = torch::zeros({count, n, m}, torch::kBool);
  auto query_at = padding.query_rows.accessor<std::int64_t, 2>();
  auto key_at = padding.key_rows.accessor<std::int64_t, 2>();
  auto see = padding.seen.accessor<bool, 3>();
  for (std::int64_t b = 0; b < count; ++b) {
    const Span& span = spans[b];
    for (std::int64_t i = 0; i < n; ++i) {
      query_at[b][i] = span.query_start + std::min<std::int64_t>(i, span.query_length - 1);
      if (i < span.query_length) {
        padding.from.push_back(b * n + i);
        padding.to.push_back(span.query_start + i);
      }
      for (std::int64_t j = 0; j < span.key_length; ++j) see[b][i][j] = !causal || j <= i;
    }
    for (std::int64_t j = 0; j < m; ++j) {
      key_at[b][j] = span.key_start + std::min<std::int64_t>(j, span.key_length - 1);
    }
  }
  return padding;
}

Tensor rows_at(const Tensor& x, const Tensor& indices) {
  return x.index_select(0, indices.flatten().to(x.device()));
}

Tensor plain_attention(const Blocks& blocks, const std::vector<Span>& spans, int heads,
                       bool causal) {
  const Padding padding = padding_of(spans, causal);
  const auto count = static_cast<std::int64_t>(spans.size());
  const std::int64_t d = blocks.q.size(1);
  auto gather = [&](const Tensor& x, const Tensor& at, std::int64_t length) {
    return rows_at(x, at).view({count, length, heads, d / heads}).transpose(1, 2);
  };
  Tensor out =
      at::scaled_dot_product_attention(gather(blocks.q, padding.query_rows, padding.queries),
                                       gather(blocks.k, padding.key_rows, padding.keys),
                                       gather(blocks.v, padding.key_rows, padding.keys),
                                       padding.seen.unsqueeze(1).to(blocks.q.device()));
  out = out.transpose(1, 2).reshape({count * padding.queries, d});
  const Tensor from_rows = torch::tensor(padding.from, torch::kLong).to(out.device());
  const Tensor to_rows = torch::tensor(padding.to, torch::kLong).to(out.device());
  return torch::zeros({blocks.q.size(0), d}, out.options())
      .index_copy(0, to_rows, out.index_select(0, from_rows));
}

constexpr std::int64_t kLossRows = 512;

struct FusedLoss : Function<FusedLoss> {
  static Tensor forward(AutogradContext* ctx, Tensor hidden, Tensor table, Tensor compute,
                        Tensor targets, double smoothing, bool with_grad, LossSums* sums) {
    const std::int64_t count = hidden.size(0), classes = table.size(0) - 1;
    Tensor hidden_grad = with_grad ? torch::empty_like(hidden) : Tensor();
    Tensor table_grad =
        with_grad ? torch::zeros_like(table, table.options().requires_grad(false)) : Tensor();
    const float weight = 1.0f / static_cast<float>(count);
    for (std::int64_t begin = 0; begin < count; begin += kLossRows) {
      const std::int64_t here = std::min(kLossRows, count - begin);
      const Tensor part = hidden.narrow(0, begin, here);
      Tensor logits = at::mm(part, compute.t());
      with_type(logits, [&](auto s) {
        using S = decltype(s);
        const LossSums more =
            smoothed_loss<S>(data<S>(logits), data<std::int32_t>(targets) + begin, here,
                             logits.size(1), classes, static_cast<float>(smoothing), weight);
        sums->smoothed += more.smoothed;
        sums->plain += more.plain;
      });
      if (!with_grad) continue;
      hidden_grad.narrow(0, begin, here).copy_(at::mm(logits, compute));
      table_grad.add_(at::mm(logits.t(), part));
    }
    if (with_grad) ctx->save_for_backward({hidden_grad, table_grad});
    return torch::full({}, sums->smoothed / static_cast<double>(count), torch::kFloat);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    Tensor hidden_grad = saved[0], table_grad = saved[1];
    if (const float by = grads[0].item<float>(); by != 1) {
      hidden_grad = hidden_grad * by;
      table_grad = table_grad * by;
    }
    return {hidden_grad, table_grad, {}, {}, {}, {}, {}};
  }
};

}  // namespace

void set_plain(bool plain) { plain_wanted = plain; }

Tensor embed(const Tensor& ids, const Tensor& at, const Tensor& table, const Tensor& positions,
             double scale, std::int64_t pad, Dropout dropout, torch::ScalarType type) {
  if (fused(table)) return Embed::apply(ids, at, table, positions, scale, pad, dropout, type);
  const Tensor rows = torch::embedding(table, ids.to(torch::kLong), pad);
  const Tensor sum = rows * scale + positions.index_select(0, at.to(torch::kLong));
  return torch::dropout(sum.to(type), rate(dropout), dropout.threshold > 0);
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (fused(x)) return Linear::apply(x, weight, bias);
  return at::linear(x, weight, bias);
}

Tensor swish(const Tensor& x) { return fused(x) ? Swish::apply(x) : torch::silu(x); }

Tensor add_norm(const Tensor& x, const Tensor& branch, const Tensor& gamma, const Tensor& beta,
                Dropout dropout) {
  if (fused(x)) return AddNorm::apply(x, branch, gamma, beta, dropout);
  const Tensor sum =
      x.to(torch::kFloat) + torch::dropout(branch, rate(dropout), dropout.threshold > 0);
  return torch::layer_norm(sum, {x.size(1)}, gamma, beta, 1e-5).to(x.scalar_type());
}

Tensor cross_attention(const Tensor& q, const Tensor& kv, const std::vector<Span>& spans,
                       int heads) {
  if (fused(q)) return Attention::apply(q, kv, false, &spans, heads, false);
  return plain_attention(split(q, kv, false), spans, heads, false);
}

Tensor self_attention(const Tensor& qkv, const std::vector<Span>& spans, int heads, bool causal) {
  if (fused(qkv)) return Attention::apply(qkv, qkv, true, &spans, heads, causal);
  return plain_attention(split(qkv, qkv, true), spans, heads, causal);
}

Tensor guided_loss(const Tensor& q, const Tensor& kv, const std::vector<Span>& spans, int heads,
                   const std::vector<GuidedLink>& links) {
  const Padding padding = padding_of(spans, false);
  const auto count = static_cast<std::int64_t>(spans.size());
  const std::int64_t width = q.size(1) / heads;
  const auto first_head = [&](const Tensor& x, const Tensor& at, std::int64_t length) {
    return rows_at(x.narrow(1, 0, width), at).view({count, length, width}).to(torch::kFloat);
  };
  const Tensor scores = at::bmm(first_head(q, padding.query_rows, padding.queries),
                                first_head(kv, padding.key_rows, padding.keys).transpose(1, 2)) /
                        std::sqrt(static_cast<double>(width));
  const Tensor hidden = padding.seen.logical_not().to(q.device());
  const Tensor logs =
      torch::log_softmax(scores.masked_fill(hidden, -std::numeric_limits<float>::infinity()), 2);
  std::vector<std::int64_t> at;
  std::vector<float> shares;
  for (const GuidedLink& link : links) {
    at.push_back((link.span * padding.queries + link.query) * padding.keys + link.key);
    shares.push_back(link.share);
  }
  const Tensor chosen =
      logs.flatten().index_select(0, torch::tensor(at, torch::kLong).to(q.device()));
  return -(chosen * torch::tensor(shares).to(q.device())).sum();
}

TokenLoss token_loss(const Tensor& hidden, const Tensor& table, const Tensor& compute,
                     const Tensor& targets, double smoothing) {
  TokenLoss loss;
  if (fused(hidden)) {
    const bool with_grad = torch::GradMode::is_enabled();
    loss.mean = FusedLoss::apply(hidden, table, compute, targets, smoothing, with_grad, &loss.sums);
    return loss;
  }
  const std::int64_t classes = table.size(0) - 1, count = hidden.size(0);
  // With the table's own gradient: the plain way casts inside the graph.
  const Tensor logits =
      at::matmul(hidden, table.narrow(0, 0, classes).to(hidden.scalar_type()).t());
  const Tensor logs = torch::log_softmax(logits.to(torch::kFloat), 1);
  const Tensor chosen = logs.gather(1, targets.to(torch::kLong).unsqueeze(1)).sum();
  const Tensor smoothed =
      -(1 - smoothing) * chosen - smoothing / static_cast<double>(classes) * logs.sum();
  loss.mean = smoothed / static_cast<double>(count);
  loss.sums = {smoothed.item<double>(), -chosen.item<double>()};
  return loss;
}

}  // namespace fovea::fit
