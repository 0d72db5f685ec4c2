#include "model.h"

#include <cmath>

namespace fovea::fit {

using torch::Tensor;

Tensor Model::embed_rows(const Tensor& ids, const Tensor& at, Dropout dropout) const {
  return embed(ids, at, parameters_.table, parameters_.positions, std::sqrt(shape_.width),
               shape_.pad(), dropout, type_);
}

Tensor Model::encode(const Batch& batch, DropoutSource dropouts) const {
  Tensor x = embed_rows(batch.source_ids, batch.source_at, dropouts.next());
  for (const EncoderLayer& layer : parameters_.encoder) {
    const Tensor qkv = linear(x, layer.qkv.weight, layer.qkv.bias);
    const Tensor context = self_attention(qkv, batch.source_spans, shape_.heads, false);
    x = add_norm(x, linear(context, layer.out.weight, layer.out.bias), layer.self_norm.gamma,
                 layer.self_norm.beta, dropouts.next());
    x = add_norm(x, feed_forward(x, layer.up, layer.down), layer.last_norm.gamma,
                 layer.last_norm.beta, dropouts.next());
  }
  return x;
}

Tensor Model::decode(const Batch& batch, const Tensor& memory, DropoutSource dropouts,
                     Tensor* guided) const {
  Tensor x = embed_rows(batch.target_inputs, batch.target_at, dropouts.next());
  for (const DecoderLayer& layer : parameters_.decoder) {
    const Tensor qkv = linear(x, layer.qkv.weight, layer.qkv.bias);
    const Tensor own = self_attention(qkv, batch.target_spans, shape_.heads, true);
    x = add_norm(x, linear(own, layer.out.weight, layer.out.bias), layer.self_norm.gamma,
                 layer.self_norm.beta, dropouts.next());
    const Tensor q = linear(x, layer.cross_q.weight, layer.cross_q.bias);
    const Tensor kv = linear(memory, layer.cross_kv.weight, layer.cross_kv.bias);
    const Tensor context = cross_attention(q, kv, batch.cross_spans, shape_.heads);
    if (guided && !batch.links.empty() && &layer == &parameters_.decoder[guided_layer_]) {
      *guided = guided_loss(q, kv, batch.cross_spans, shape_.heads, batch.links);
    }
    x = add_norm(x, linear(context, layer.cross_out.weight, layer.cross_out.bias),
                 layer.cross_norm.gamma, layer.cross_norm.beta, dropouts.next());
    x = add_norm(x, feed_forward(x, layer.up, layer.down), layer.last_norm.gamma,
                 layer.last_norm.beta, dropouts.next());
  }
  return x;
}

TokenLoss Model::loss(const Batch& batch, std::uint64_t seed, std::uint64_t step, double dropout,
                      double smoothing) const {
  const Tensor memory = encode(batch, DropoutSource(seed, 2 * step, dropout));
  Tensor guided;
  const Tensor hidden = decode(batch, memory, DropoutSource(seed, 2 * step + 1, dropout), &guided);
  TokenLoss loss =
      token_loss(hidden, parameters_.table, parameters_.table_compute, batch.target_ids, smoothing);
  loss.guided = guided;
  return loss;
}

Tensor Model::logits(const Tensor& hidden) const {
  return at::mm(hidden, parameters_.table_compute.t());
}

}  // namespace fovea::fit
