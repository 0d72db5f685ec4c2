// safetensors files: named arrays in one file, read in place.
//
//   8 bytes   N, little-endian
//   N bytes   JSON: {"name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [begin, end]}, ...},
//             at will also "__metadata__": {"key": "text"}
//   the rest  the data; offsets count from here and cover all of it, without overlap or hole
//
// Everything the header says is checked against the file before anything is handed out, so a tensor
// can be read without further checks. Throws  Error naming file, tensor and byte offset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace fovea {

// What is stored; of these, weights may be kF32, kF16 and kBF16.
struct TensorType {
  std::string_view name;  // "F32"
  std::int64_t bytes = 0;
};

struct Tensor {
  std::string name;
  TensorType type;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  // in the data
  std::uint64_t end = 0;
  std::int64_t count = 0;  // elements: the product of shape
  const std::byte* data = nullptr;
};

class Safetensors {
 public:
  static Safetensors open(const std::filesystem::path& path);
  static Safetensors parse(FileBytes file);

  const std::string& name() const { return file_.name(); }
  std::span<const Tensor> tensors() const { return tensors_; }  // in the order of their data
  const Tensor* find(std::string_view name) const;              // null: none of that name

  // The values as float32. F16 and BF16 convert without loss. Throws Error for any other type.
  std::vector<float> floats(const Tensor& tensor) const;

 private:
  FileBytes file_;
  std::vector<Tensor> tensors_;
};

}  // namespace fovea
