// Marian's transformer, computed as transformers' MarianMTModel does.
#pragma once

#include "batches.h"
#include "marian_parameters.h"
#include "ops.h"
#include "shape.h"

namespace fovea::fit {

class Model {
 public:
  // `guided_layer`, from 0: whose cross-attention's first head given alignments guide.
  Model(const Shape& shape, MarianParameters& parameters, torch::ScalarType type, int guided_layer)
      : shape_(shape), parameters_(parameters), type_(type), guided_layer_(guided_layer) {}

  torch::Tensor encode(const Batch& batch, DropoutSource dropouts) const;
  // Hidden rows, one for each target input. `guided` gets the loss of the batch's links.
  torch::Tensor decode(const Batch& batch, const torch::Tensor& memory, DropoutSource dropouts,
                       torch::Tensor* guided = nullptr) const;
  TokenLoss loss(const Batch& batch, std::uint64_t seed, std::uint64_t step, double dropout,
                 double smoothing) const;

  // One decoding step of several sentences, each with one new row; caches hold earlier keys and
  // values.
  torch::Tensor embed_rows(const torch::Tensor& ids, const torch::Tensor& at,
                           Dropout dropout) const;
  torch::Tensor logits(const torch::Tensor& hidden) const;
  torch::Tensor feed_forward(const torch::Tensor& x, const Affine& up, const Affine& down) const {
    return linear(swish(linear(x, up.weight, up.bias)), down.weight, down.bias);
  }
  const Shape& shape() const { return shape_; }
  const MarianParameters& parameters() const { return parameters_; }

 private:
  Shape shape_;
  MarianParameters& parameters_;
  torch::ScalarType type_;
  int guided_layer_;
};

}  // namespace fovea::fit
