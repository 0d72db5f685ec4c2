// The network's parts with their gradients. On a CPU they run the fused loops of kernels.h;
// elsewhere, and after set_plain(true), the same formulas in torch's own operations.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "dropout.h"
#include "kernels.h"
#include "span.h"

namespace fovea::fit {

void set_plain(bool plain);  // for tests: compare the fused loops with torch

// scale * table[ids] + positions[at], dropped out, as `type`. The row of `pad` gets no gradient.
torch::Tensor embed(const torch::Tensor& ids, const torch::Tensor& at, const torch::Tensor& table,
                    const torch::Tensor& positions, double scale, std::int64_t pad, Dropout dropout,
                    torch::ScalarType type);

torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight,
                     const torch::Tensor& bias);
torch::Tensor swish(const torch::Tensor& x);

// norm(x + dropout(branch)), eps 1e-5
torch::Tensor add_norm(const torch::Tensor& x, const torch::Tensor& branch,
                       const torch::Tensor& gamma, const torch::Tensor& beta, Dropout dropout);

// q: [rows, d]; kv: [rows, 2 d]; and self-attention over qkv: [rows, 3 d].
torch::Tensor cross_attention(const torch::Tensor& q, const torch::Tensor& kv,
                              const std::vector<Span>& spans, int heads);
torch::Tensor self_attention(const torch::Tensor& qkv, const std::vector<Span>& spans, int heads,
                             bool causal);

// Guided alignment: -sum of share log p over the links, with p the weights of this
// cross-attention's first head. Least where every linked row looks at its links, by their shares.
torch::Tensor guided_loss(const torch::Tensor& q, const torch::Tensor& kv,
                          const std::vector<Span>& spans, int heads,
                          const std::vector<GuidedLink>& links);

struct TokenLoss {
  torch::Tensor mean;  // smoothed, with gradient
  LossSums sums;
  torch::Tensor guided;  // sum over the linked rows, with gradient; undefined without links
};
// Logits hidden . table^T never exist for more than a few hundred rows at a time. `table` takes the
// gradient; `compute` is the same in the type of hidden. The last row (padding) is not a class.
TokenLoss token_loss(const torch::Tensor& hidden, const torch::Tensor& table,
                     const torch::Tensor& compute, const torch::Tensor& targets, double smoothing);

}  // namespace fovea::fit
