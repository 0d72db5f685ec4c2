// NumPy's .npy files: versions 1.0, 2.0 and 3.0, little-endian numbers, any rank up to kNpyMaxRank.
//
// The header is read by an exact parser of the one dictionary that NumPy writes, never evaluated.
// Nothing in a file can make it read outside the file or ask for memory: an array is a view into
// the file's bytes until a caller copies it. Throws  Error that names the file, what is wrong with
// it, and the line of Python that mends it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "fovea/view.h"

namespace fovea {

inline constexpr std::size_t kNpyMaxRank = 32;  // far over what attention needs

enum class NpyType : std::uint8_t { kBool, kUInt8, kInt32, kInt64, kFloat16, kFloat32, kFloat64 };

const char* name_of(NpyType type);  // "float32": NumPy's name
std::size_t size_of(NpyType type);  // bytes of one element

// What a file's header says; all of it has been checked against the file's size.
struct NpyHeader {
  NpyType type = NpyType::kFloat32;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
  std::int64_t count = 1;       // elements: the product of shape
  std::size_t data_offset = 0;  // of the first element, from the start of the file
};

// `file` is a whole file; `name` is what messages call it.
NpyHeader parse_npy(std::string_view file, const std::string& name);

struct NpyArray {
  FileBytes file;
  NpyHeader header;

  const std::string& name() const { return file.name(); }
  const std::byte* data() const { return file.bytes().data() + header.data_offset; }
  std::size_t rank() const { return header.shape.size(); }
  // In elements: row-major, or column-major for a file in Fortran order.
  std::vector<std::int64_t> strides() const;
  // The data lie in memory as row-major elements of their type, aligned for it.
  bool is_plain() const;
};

NpyArray read_npy(FileBytes file);

// "[2, 3]", for messages.
std::string shape_text(std::span<const std::int64_t> shape);

// Row-major copies, array.header.count elements. `to_float` takes any of the three float types
// (float64 is rounded to nearest; beyond float32's range that is infinity), the others any integer
// type or bool.
void copy_to_float(const NpyArray& array, float* result);
void copy_to_int64(const NpyArray& array, std::int64_t* result);

// Exact: every half, the subnormal ones too, is a float.
float half_to_float(std::uint16_t half);

// A whole .npy file, version 1.0, row-major: float32, int32 or bool views of any strides.
void write_npy(FileWriter& writer, const View& array);

// What such a file begins with; dense row-major elements follow it.
std::string npy_header(const View& array);

}  // namespace fovea
