#include "bert_parameters.h"

#include <cmath>

namespace fovea::fit {

BertParameters::BertParameters(const Shape& shape, std::uint64_t seed, torch::Device device,
                               torch::ScalarType type, double query_pace)
    : Parameters({shape.vocabulary, shape.width, shape.heads, shape.ffn, shape.encoder_layers,
                  -shape.labels, shape.positions, shape.mean_context},
                 seed, device, type) {
  const std::int64_t d = shape.width, ffn = shape.ffn;
  table = add({"bert.embeddings.word_embeddings.weight"}, Kind::kTable, shape.vocabulary, d);
  positions = (sinusoids(shape.positions, shape.width) / std::sqrt(d)).to(device);
  embedding_norm = norm("bert.embeddings.LayerNorm", d);
  for (int i = 0; i < shape.encoder_layers; ++i) {
    const std::string at = "bert.encoder.layer." + std::to_string(i) + ".";
    EncoderLayer layer;
    layer.qkv = affine(at + "attention.self.", {"query", "key", "value"}, d, d);
    layer.out = affine(at + "attention.output.", {"dense"}, d, d);
    layer.self_norm = norm(at + "attention.output.LayerNorm", d);
    layer.up = affine(at + "intermediate.", {"dense"}, ffn, d);
    layer.down = affine(at + "output.", {"dense"}, d, ffn);
    layer.last_norm = norm(at + "output.LayerNorm", d);
    encoder.push_back(layer);
  }
  query = add({"fovea.pooling.query"}, Kind::kQuery, d, 1, shape.mean_context);
  // At the rate of the others one vector hardly leaves zero (docs/design/classify.md).
  all().back().pace = query_pace;
  labels = affine("fovea.", {"classifier"}, shape.labels, d);
}

}  // namespace fovea::fit
