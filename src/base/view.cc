#include "fovea/view.h"

namespace fovea {

std::size_t size_of(DataType type) {
  switch (type) {
    case DataType::kFloat64: return 8;
    case DataType::kFloat32:
    case DataType::kInt32: return 4;
    case DataType::kFloat16:
    case DataType::kBFloat16: return 2;
    case DataType::kBool: return 1;
  }
  return 0;
}

const char* name_of(DataType type) {
  switch (type) {
    case DataType::kFloat32: return "float32";
    case DataType::kFloat64: return "float64";
    case DataType::kFloat16: return "float16";
    case DataType::kBFloat16: return "bfloat16";
    case DataType::kInt32: return "int32";
    case DataType::kBool: return "bool";
  }
  return "?";
}

std::string shape_text(const View& view) {
  std::string text = "[";
  for (int d = 0; d < view.rank; ++d) {
    if (d > 0) text += ", ";
    text += std::to_string(view.size(d));
  }
  return text + "]";
}

}  // namespace fovea
