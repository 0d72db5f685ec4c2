// The model's weights: what Adam keeps of them, and the leaves that the network computes with.
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "shape.h"

namespace fovea::fit {

struct Parameter {
  // In the file a parameter is one or more tensors of equal shape, stacked here by rows so that q,
  // k and v come out of one product.
  std::vector<std::string> names;
  bool frozen = false;
  torch::Tensor value, first, second, averaged;  // float
  torch::Tensor leaf;                            // what the network sees; has the gradient

  torch::Tensor part(const torch::Tensor& of, std::size_t i) const {
    const auto rows = of.size(0) / static_cast<std::int64_t>(names.size());
    return of.narrow(0, static_cast<std::int64_t>(i) * rows, rows);
  }
};

struct Norm {
  torch::Tensor gamma, beta;
};
struct Affine {
  torch::Tensor weight, bias;
};
struct EncoderLayer {
  Affine qkv, out, up, down;
  Norm self_norm, last_norm;
};
struct DecoderLayer {
  Affine qkv, out, cross_q, cross_kv, cross_out, up, down;
  Norm self_norm, cross_norm, last_norm;
};

class Parameters {
 public:
  Parameters(const Shape& shape, std::uint64_t seed, torch::Device device, torch::ScalarType type);

  std::vector<Parameter>& all() { return all_; }
  const std::vector<Parameter>& all() const { return all_; }
  std::int64_t count() const;

  // Leaves from the current values, or from their moving averages (to validate and to export).
  void refresh_leaves(bool averaged);
  // After an optimizer step has written the leaves itself.
  void refresh_table();
  void clear_gradients();

  torch::Tensor table;          // embeddings, float leaf
  torch::Tensor table_compute;  // the same in the computing type, for the output product
  torch::Tensor positions;
  std::vector<EncoderLayer> encoder;
  std::vector<DecoderLayer> decoder;

 private:
  enum class Kind { kMatrix, kBias, kGamma, kBeta, kTable };
  torch::Tensor add(std::vector<std::string> names, Kind kind, std::int64_t rows,
                    std::int64_t columns, bool zero = false);
  Affine affine(const std::string& prefix, const std::vector<std::string>& names, std::int64_t out,
                std::int64_t in, bool zero = false);
  Norm norm(const std::string& name);

  Shape shape_;
  torch::Device device_;
  torch::ScalarType type_;
  torch::Generator generator_;
  std::vector<Parameter> all_;
};

// Marian's static positions as transformers computes them: columns of sines, then of cosines.
torch::Tensor sinusoids(int positions, int width);

}  // namespace fovea::fit
