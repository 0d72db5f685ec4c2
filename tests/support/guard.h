// Rows of numbers, each ending at the end of a page, each between pages that cannot be touched:
// reading or writing one element past a row, or any element of a closed row, ends the program.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <new>

#include "fovea/view.h"

namespace fovea::testing {

// Logical shape [1, 1, rows, width]; the row step is two pages.
class GuardedRows {
 public:
  GuardedRows(std::int64_t rows, std::int64_t width, DataType type = DataType::kFloat32)
      : rows_(rows),
        width_(width),
        type_(type),
        page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))) {
    bytes_ = (2 * static_cast<std::size_t>(rows) + 1) * page_;
    void* memory = mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    memory_ = static_cast<char*>(memory);
    for (std::int64_t r = 0; r < rows; ++r) protect(r, PROT_READ | PROT_WRITE);
  }
  ~GuardedRows() { munmap(memory_, bytes_); }
  GuardedRows(const GuardedRows&) = delete;
  GuardedRows& operator=(const GuardedRows&) = delete;

  // Of float32 rows.
  float* row(std::int64_t r) { return reinterpret_cast<float*>(page_of(r) + page_) - width_; }

  // Rounded to the type.
  void set(std::int64_t r, std::int64_t d, float x) {
    if (type_ == DataType::kFloat32) {
      row(r)[d] = x;
      return;
    }
    auto* bits = reinterpret_cast<std::uint16_t*>(page_of(r) + page_) - width_;
    bits[d] = type_ == DataType::kBFloat16 ? BFloat16(x).bits : Float16(x).bits;
  }

  // From now on any touch of row r ends the program.
  void close(std::int64_t r) { protect(r, PROT_NONE); }

  MutableView view() {
    const auto step = static_cast<std::int64_t>(2 * page_ / size_of(type_));
    MutableView all(row(0), {1, 1, rows_, width_}, {rows_ * step, rows_ * step, step, 1});
    all.data = page_of(0) + page_ - static_cast<std::size_t>(width_) * size_of(type_);
    all.type = type_;
    return all;
  }

 private:
  char* page_of(std::int64_t r) { return memory_ + (2 * static_cast<std::size_t>(r) + 1) * page_; }
  void protect(std::int64_t r, int access) {
    if (mprotect(page_of(r), page_, access) != 0) throw std::bad_alloc();
  }

  std::int64_t rows_;
  std::int64_t width_;
  DataType type_;
  std::size_t page_;
  std::size_t bytes_;
  char* memory_;
};

}  // namespace fovea::testing
