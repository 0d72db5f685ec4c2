// A model's weights: what Adam keeps of them, and the leaves that the network computes with.
#pragma once

#include <torch/torch.h>

#include <array>
#include <string>
#include <vector>

#include "shape.h"

namespace fovea::fit {

struct Parameter {
  // In the file a parameter is one or more tensors of equal shape, stacked here by rows so that q,
  // k and v come out of one product.
  std::vector<std::string> names;
  bool frozen = false;
  double pace = 1;                               // its rate, in rates of the others
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
class Parameters {
 public:
  virtual ~Parameters() = default;
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;

  std::vector<Parameter>& all() { return all_; }
  const std::vector<Parameter>& all() const { return all_; }
  std::int64_t count() const;
  // What fixes the tensors: a checkpoint of other numbers is of another model.
  const std::array<std::int32_t, 8>& numbers() const { return numbers_; }

  // Leaves from the current values, or from their moving averages (to validate and to export).
  void refresh_leaves(bool averaged);
  // After an optimizer step has written the leaves itself: what is computed from them.
  virtual void refresh_table() {}
  void clear_gradients();

 protected:
  Parameters(const std::array<std::int32_t, 8>& numbers, std::uint64_t seed, torch::Device device,
             torch::ScalarType type);

  // What a parameter starts as, and whether its leaf stays float whatever the rest computes in.
  enum class Kind { kMatrix, kBias, kGamma, kBeta, kTable, kQuery };
  torch::Tensor add(std::vector<std::string> names, Kind kind, std::int64_t rows,
                    std::int64_t columns, bool zero = false);
  Affine affine(const std::string& prefix, const std::vector<std::string>& names, std::int64_t out,
                std::int64_t in, bool zero = false);
  Norm norm(const std::string& name, std::int64_t width);

  torch::ScalarType type() const { return type_; }
  torch::Device device() const { return device_; }

 private:
  std::array<std::int32_t, 8> numbers_;
  torch::Device device_;
  torch::ScalarType type_;
  torch::Generator generator_;
  std::vector<Parameter> all_;
};

// Marian's static positions as transformers computes them: columns of sines, then of cosines.
torch::Tensor sinusoids(int positions, int width);

}  // namespace fovea::fit
