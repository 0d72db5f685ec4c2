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

}  // namespace fovea
