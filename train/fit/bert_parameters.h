// The weights of a reader: a BERT encoder, a query that pools what it read, and a choice of labels.
#pragma once

#include <vector>

#include "parameters.h"

namespace fovea::fit {

class BertParameters : public Parameters {
 public:
  BertParameters(const Shape& shape, std::uint64_t seed, torch::Device device,
                 torch::ScalarType type, double query_pace);

  torch::Tensor table;      // embeddings, float leaf
  torch::Tensor positions;  // sinusoids, as large as the embeddings; not learnt
  Norm embedding_norm;
  std::vector<EncoderLayer> encoder;
  torch::Tensor query;  // [width]; zeros in a model of the mean, and at the start of the other
  Affine labels;
};

}  // namespace fovea::fit
