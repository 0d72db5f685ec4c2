#include "parameters.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

namespace fovea::fit {

using torch::Tensor;

torch::Tensor sinusoids(int positions, int width) {
  Tensor table = torch::empty({positions, width}, torch::kFloat);
  auto at = table.accessor<float, 2>();
  const int half = width / 2 + width % 2;
  for (int p = 0; p < positions; ++p) {
    for (int j = 0; j < width; ++j) {
      const double angle = p / std::pow(10000.0, 2.0 * (j / 2) / width);
      if (j % 2 == 0)
        at[p][j / 2] = static_cast<float>(std::sin(angle));
      else
        at[p][half + j / 2] = static_cast<float>(std::cos(angle));
    }
  }
  return table;
}

Parameters::Parameters(const std::array<std::int32_t, 8>& numbers, std::uint64_t seed,
                       torch::Device device, torch::ScalarType type)
    : numbers_(numbers),
      device_(device),
      type_(type),
      generator_(at::detail::createCPUGenerator(seed)) {}

Tensor Parameters::add(std::vector<std::string> names, Kind kind, std::int64_t rows,
                       std::int64_t columns, bool zero) {
  Parameter parameter;
  const auto parts = static_cast<std::int64_t>(names.size());
  parameter.names = std::move(names);
  parameter.frozen = zero;
  const bool flat = kind != Kind::kMatrix && kind != Kind::kTable;
  const std::vector<std::int64_t> sizes = flat ? std::vector<std::int64_t>{rows * parts}
                                               : std::vector<std::int64_t>{rows * parts, columns};
  Tensor value = torch::zeros(sizes, torch::kFloat);
  if (kind == Kind::kGamma) value.fill_(1);
  if (kind == Kind::kMatrix && !zero) {
    const double bound = std::sqrt(6.0 / static_cast<double>(rows + columns));
    value.uniform_(-bound, bound, generator_);
  }
  if (kind == Kind::kTable) {
    value.normal_(0, 1 / std::sqrt(static_cast<double>(columns)), generator_);
  }
  parameter.value = value.to(device_);
  parameter.first = torch::zeros_like(parameter.value);
  parameter.second = torch::zeros_like(parameter.value);
  parameter.averaged = parameter.value.clone();
  // Tables, norms and queries stay float: their gradients are sums over many rows.
  const bool wide = kind == Kind::kTable || kind == Kind::kGamma || kind == Kind::kBeta ||
                    kind == Kind::kQuery;
  parameter.leaf =
      parameter.value.to(wide ? torch::kFloat : type_, false, true).requires_grad_(!zero);
  all_.push_back(parameter);
  return parameter.leaf;
}

Affine Parameters::affine(const std::string& prefix, const std::vector<std::string>& names,
                          std::int64_t out, std::int64_t in, bool zero) {
  std::vector<std::string> weights, biases;
  for (const std::string& name : names) {
    weights.push_back(prefix + name + ".weight");
    biases.push_back(prefix + name + ".bias");
  }
  Affine affine;
  affine.weight = add(weights, Kind::kMatrix, out, in, zero);
  affine.bias = add(biases, Kind::kBias, out, 1, zero);
  return affine;
}

Norm Parameters::norm(const std::string& name, std::int64_t width) {
  return {add({name + ".weight"}, Kind::kGamma, width, 1),
          add({name + ".bias"}, Kind::kBeta, width, 1)};
}

std::int64_t Parameters::count() const {
  std::int64_t total = 0;
  for (const Parameter& parameter : all_) total += parameter.value.numel();
  return total;
}

void Parameters::refresh_leaves(bool averaged) {
  torch::NoGradGuard no_grad;
  for (Parameter& parameter : all_)
    parameter.leaf.copy_(averaged ? parameter.averaged : parameter.value);
  refresh_table();
}

void Parameters::clear_gradients() {
  for (Parameter& parameter : all_) parameter.leaf.mutable_grad().reset();
}

}  // namespace fovea::fit
