// What a transformer does row by row, beside matrix products and attention. Plain loops that the
// compiler vectorises; every result depends on its own row only.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fovea {

enum class Activation : std::uint8_t {
  kRelu,
  kGelu,      // x Phi(x), by erf
  kGeluTanh,  // its tanh approximation ("gelu_new")
  kSwish      // x / (1 + exp(-x))
};

struct Norm {
  std::vector<float> weight;
  std::vector<float> bias;
  float epsilon = 1e-5f;
};

// x <- norm(x + delta), row by row: (y - mean) / sqrt(variance + epsilon) weight + bias. Two passes:
// the variance is a mean of squared differences from the mean, which does not cancel.
void add_norm(float* x, const float* delta, std::int64_t rows, const Norm& norm);

// In place. Relative error of exp and tanh under 3e-7.
void activate(Activation activation, std::span<float> values);

// Joins pieces of one row: m = the largest value, sum = sum of exp(value - m).
struct LogSum {
  float most = -__builtin_inff();
  double sum = 0;

  void add(std::span<const float> values);  // a NaN among them makes sum NaN
  void join(const LogSum& other);
  double value() const;  // log sum exp; -inf for nothing at all
};

// The `keep` largest values seen so far, descending, ties to what came first.
class Best {
 public:
  struct Item {
    float value;
    std::int32_t index;
  };

  explicit Best(int keep) : keep_(static_cast<std::size_t>(keep)) { items_.reserve(keep_ + 1); }
  void clear() { items_.clear(); }
  // values[i] has index first + i. NaN and -inf are never kept.
  void add(std::span<const float> values, std::int32_t first);
  std::span<const Item> items() const { return items_; }

 private:
  std::size_t keep_;
  std::vector<Item> items_;
};

}  // namespace fovea
