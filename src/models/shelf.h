// The tensors of a model.safetensors, taken out one by one by name and shape.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "models/linear.h"
#include "models/rows.h"
#include "models/safetensors.h"

namespace fovea {

using Sizes = std::vector<std::int64_t>;

// Knows at the end which tensors nobody asked for. Throws Error naming file and tensor.
class Shelf {
 public:
  explicit Shelf(const std::filesystem::path& path) : file_(Safetensors::open(path)) {}

  bool has(const std::string& name) const { return file_.find(name) != nullptr; }
  std::vector<float> take(const std::string& name, const Sizes& shape);
  void check_all_taken(const std::set<std::string>& harmless) const;
  [[noreturn]] void fail(const std::string& what) const;

 private:
  std::string closest(const std::string& name) const;

  Safetensors file_;
  std::set<std::string> taken_;
};

// One product for several linear layers that read the same input: PREFIX NAME .weight [out, in] and
// .bias [out] of each name.
Linear joined(Shelf& shelf, const std::string& prefix, const std::vector<std::string>& names,
              std::int64_t in, std::int64_t out);

// NAME.weight and NAME.bias, [width].
Norm norm(Shelf& shelf, const std::string& name, std::int64_t width);

}  // namespace fovea
