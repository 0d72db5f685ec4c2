// fovea-fit: see kHelp in arguments.cc.
#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "arguments.h"
#include "loop.h"

namespace {

// Every step takes and gives back the same hundreds of tensors. Returned to the kernel each time,
// they cost a page fault for every 4 KiB; kept, they cost nothing.
void keep_memory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
  // Ragged batches have ever new shapes, and oneDNN keeps code for each: keep few.
  setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256", 0);
}

}  // namespace

int main(int argc, char** argv) {
  keep_memory();
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.empty() || std::find(words.begin(), words.end(), "--help") != words.end()) {
    std::fputs(fovea::fit::kHelp, words.empty() ? stderr : stdout);
    return words.empty() ? 2 : 0;
  }
  try {
    return fovea::fit::fit(fovea::fit::parse_arguments(words));
  } catch (const fovea::fit::Misuse& error) {
    std::fprintf(stderr, "fovea-fit: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fovea-fit: %s\n", error.what());
    return 1;
  }
}
