// A borrowed array: pointer, element type, shape, strides. It owns nothing and computes nothing.
//
// Letters, everywhere in fovea:  B batch   H query heads   G key heads   N queries   M keys
//                                D width of a key   E width of a value   K keys kept   R rows kept
// Strides count elements, not bytes. A stride of 0 repeats one element (a broadcast mask or bias).
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>

#include "fovea/half.h"

namespace fovea {

enum class DataType : std::uint8_t { kFloat32, kFloat64, kFloat16, kBFloat16, kInt32, kBool };

// Bytes of one element.
std::size_t size_of(DataType type);

// "float32", "bool", ...: the names that NumPy uses.
const char* name_of(DataType type);

// The DataType of a C++ type: float, double, Float16, BFloat16, int32_t, bool.
template <class T>
constexpr DataType data_type_of() {
  using U = std::remove_const_t<T>;
  if constexpr (std::is_same_v<U, float>) {
    return DataType::kFloat32;
  } else if constexpr (std::is_same_v<U, double>) {
    return DataType::kFloat64;
  } else if constexpr (std::is_same_v<U, std::int32_t>) {
    return DataType::kInt32;
  } else if constexpr (std::is_same_v<U, Float16>) {
    return DataType::kFloat16;
  } else if constexpr (std::is_same_v<U, BFloat16>) {
    return DataType::kBFloat16;
  } else {
    static_assert(std::is_same_v<U, bool>, "fovea::View: no data type for this C++ type");
    return DataType::kBool;
  }
}

inline constexpr int kMaxRank = 4;

// Pointer is `const void*` (View) or `void*` (MutableView). A view without data is "not given".
template <class Pointer>
struct BasicView {
  Pointer data = nullptr;
  DataType type = DataType::kFloat32;
  int rank = 0;
  std::array<std::int64_t, kMaxRank> shape{};
  std::array<std::int64_t, kMaxRank> strides{};  // in elements

  BasicView() = default;

  // Dense, row-major: view(p, {B, H, N, D}).
  template <class T>
  BasicView(T* pointer, std::initializer_list<std::int64_t> dims)
      : data(pointer), type(data_type_of<T>()), rank(static_cast<int>(dims.size())) {
    int d = 0;
    for (std::int64_t size : dims) shape[static_cast<std::size_t>(d++)] = size;
    std::int64_t step = 1;
    for (int i = rank - 1; i >= 0; --i) {
      strides[static_cast<std::size_t>(i)] = step;
      step *= shape[static_cast<std::size_t>(i)];
    }
  }

  // Any strides: view(p, {B, H, N, D}, {N * H * D, D, H * D, 1}) reads a [B, N, H, D] array.
  template <class T>
  BasicView(T* pointer, std::initializer_list<std::int64_t> dims,
            std::initializer_list<std::int64_t> steps)
      : BasicView(pointer, dims) {
    std::size_t d = 0;
    for (std::int64_t step : steps) strides[d++] = step;
  }

  // A MutableView is a View.
  template <class Other>
  requires std::is_convertible_v<Other, Pointer> BasicView(
      const BasicView<Other>& other)  // NOLINT(google-explicit-constructor)
      : data(other.data),
        type(other.type),
        rank(other.rank),
        shape(other.shape),
        strides(other.strides) {}

  bool given() const { return data != nullptr; }
  std::int64_t size(int dim) const { return shape[static_cast<std::size_t>(dim)]; }
  std::int64_t step(int dim) const { return strides[static_cast<std::size_t>(dim)]; }
};

using View = BasicView<const void*>;
using MutableView = BasicView<void*>;

// "[2, 8, 10, 64]", for messages.
std::string shape_text(const View& view);

}  // namespace fovea
