#include "base/aligned.h"

#include <memory>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace fovea {

void ask_for_huge_pages(void* memory, std::size_t bytes) {
#if defined(MADV_HUGEPAGE)
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* first = memory;  // of the whole pages
  std::size_t size = bytes;
  if (std::align(page, page, first, size) != nullptr) {
    static_cast<void>(madvise(first, size / page * page, MADV_HUGEPAGE));
  }
#else
  static_cast<void>(memory);
  static_cast<void>(bytes);
#endif
}

}  // namespace fovea
