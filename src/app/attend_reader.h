// fovea attend: one .npy file after the other, each checked alone. What is checked between arrays is
// in attend_files.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/attend_files.h"

namespace fovea {

// Keeps the files that its views point into, and its notes, in `arrays`. Throws  Error naming the file.
class AttendReader {
 public:
  explicit AttendReader(AttendArrays* arrays) : arrays_(*arrays) {}

  // q, k and v, rounded to `type` where the file holds another. The view has `rank` dimensions: what
  // the file lacks on the left is 1.
  View numbers(const std::string& path, const std::string& letter, DataType type, int rank);
  View bias(const std::string& path);
  View mask(const std::string& path);
  // float32 of any shape, the view with the engine's four dimensions. -infinity is a word there.
  View lse(const std::string& path);

  // [B] lengths in [0, limit], or where the arrays are packed in what their sequence has; `letter`
  // names the limit's size.
  std::vector<std::int32_t> lengths(const std::string& path, std::span<const std::int32_t> offsets,
                                    std::int64_t limit, char letter);
  // [B + 1], ascending from 0 to `rows`, the rows of `letter`.
  std::vector<std::int32_t> offsets(const std::string& path, std::int64_t rows,
                                    const std::string& letter);
  // [H] or [B, H], finite.
  std::vector<float> slopes(const std::string& path);

 private:
  View floats(const std::string& path, const std::string& letter, bool minus_infinity);
  const float* copied(const NpyArray& array);
  void note_copy(const NpyArray& array);
  void note_not_finite(const NpyArray& array, const void* data, DataType type, bool minus_infinity);

  AttendArrays& arrays_;
};

// The last file that was read.
inline const NpyArray& last_file(const AttendArrays& arrays) { return arrays.files.back(); }

// "2 heads", "1 head".
std::string several(std::int64_t count, const char* one, const char* many);

}  // namespace fovea
