// Memory for kernels: aligned to a cache line and freed by itself. Contents start undefined.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace fovea {

inline constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector

struct AlignedDelete {
  void operator()(void* p) const { ::operator delete (p, std::align_val_t{kAlignment}); }
};

// For trivial T only: nothing is constructed.
template <class T>
using AlignedArray = std::unique_ptr<T[], AlignedDelete>;

template <class T>
AlignedArray<T> aligned_array(std::size_t count) {
  void* p = ::operator new (count * sizeof(T), std::align_val_t{kAlignment});
  return AlignedArray<T>(static_cast<T*>(p));
}

// Asks the system for pages of 2 MiB, before the memory is first touched; it may not have them. Large
// memory that is read straight through (kept keys and values) is read up to twice as fast with them.
void ask_for_huge_pages(void* memory, std::size_t bytes);

}  // namespace fovea
