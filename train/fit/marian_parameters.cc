#include "marian_parameters.h"

namespace fovea::fit {

using torch::Tensor;

MarianParameters::MarianParameters(const Shape& shape, std::uint64_t seed, torch::Device device,
                                   torch::ScalarType type)
    : Parameters({shape.vocabulary, shape.width, shape.heads, shape.ffn, shape.encoder_layers,
                  shape.decoder_layers, shape.positions, shape.mean_context},
                 seed, device, type) {
  const std::int64_t d = shape.width, ffn = shape.ffn;
  table = add({"model.shared.weight"}, Kind::kTable, shape.vocabulary, d);
  {
    // <pad>: the decoder's first input is the position alone.
    torch::NoGradGuard no_grad;
    Parameter& parameter = all().back();
    for (Tensor* copy : {&parameter.value, &parameter.averaged, &parameter.leaf}) {
      (*copy)[shape.pad()].zero_();
    }
  }
  positions = sinusoids(shape.positions, shape.width).to(device);
  const std::vector<std::string> qkv = {"q_proj", "k_proj", "v_proj"};
  for (int i = 0; i < shape.encoder_layers; ++i) {
    const std::string at = "model.encoder.layers." + std::to_string(i) + ".";
    EncoderLayer layer;
    layer.qkv = affine(at + "self_attn.", qkv, d, d);
    layer.out = affine(at + "self_attn.", {"out_proj"}, d, d);
    layer.self_norm = norm(at + "self_attn_layer_norm", d);
    layer.up = affine(at, {"fc1"}, ffn, d);
    layer.down = affine(at, {"fc2"}, d, ffn);
    layer.last_norm = norm(at + "final_layer_norm", d);
    encoder.push_back(layer);
  }
  for (int i = 0; i < shape.decoder_layers; ++i) {
    const std::string at = "model.decoder.layers." + std::to_string(i) + ".";
    DecoderLayer layer;
    layer.qkv = affine(at + "self_attn.", qkv, d, d);
    layer.out = affine(at + "self_attn.", {"out_proj"}, d, d);
    layer.self_norm = norm(at + "self_attn_layer_norm", d);
    layer.cross_q = affine(at + "encoder_attn.", {"q_proj"}, d, d, shape.mean_context);
    layer.cross_kv = affine(at + "encoder_attn.", {"k_proj", "v_proj"}, d, d);
    layer.cross_out = affine(at + "encoder_attn.", {"out_proj"}, d, d);
    layer.cross_norm = norm(at + "encoder_attn_layer_norm", d);
    layer.up = affine(at, {"fc1"}, ffn, d);
    layer.down = affine(at, {"fc2"}, d, ffn);
    layer.last_norm = norm(at + "final_layer_norm", d);
    decoder.push_back(layer);
  }
  refresh_table();
}

void MarianParameters::refresh_table() {
  torch::NoGradGuard no_grad;
  if (!table_compute.defined())
    table_compute = torch::empty(table.sizes(), table.options().dtype(type()).requires_grad(false));
  table_compute.copy_(table);
}

}  // namespace fovea::fit
