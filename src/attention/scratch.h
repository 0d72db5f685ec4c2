// Scratch of a thread, kept from call to call: fresh memory costs a page fault for each 4 KiB.
#pragma once

#include <cstdint>

#include "base/aligned.h"

namespace fovea::attention {

// At least so many floats, aligned to a cache line, of the thread that asks; until it asks again
// for the same kName.
template <int kName = 0>
float* scratch(std::int64_t floats) {
  thread_local AlignedArray<float> memory;
  thread_local std::int64_t size = 0;
  if (size < floats) {
    memory.reset();
    size = 0;
    memory = aligned_array<float>(static_cast<std::size_t>(floats));
    size = floats;
  }
  return memory.get();
}

}  // namespace fovea::attention
