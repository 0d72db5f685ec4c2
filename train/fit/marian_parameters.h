// The weights of a MarianMT model.
#pragma once

#include <vector>

#include "parameters.h"

namespace fovea::fit {

struct DecoderLayer {
  Affine qkv, out, cross_q, cross_kv, cross_out, up, down;
  Norm self_norm, cross_norm, last_norm;
};

class MarianParameters : public Parameters {
 public:
  MarianParameters(const Shape& shape, std::uint64_t seed, torch::Device device,
                   torch::ScalarType type);

  void refresh_table() override;

  torch::Tensor table;          // embeddings, float leaf
  torch::Tensor table_compute;  // the same in the computing type, for the output product
  torch::Tensor positions;
  std::vector<EncoderLayer> encoder;
  std::vector<DecoderLayer> decoder;
};

}  // namespace fovea::fit
