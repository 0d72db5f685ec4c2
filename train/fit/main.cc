// fovea-fit: see kHelp in arguments.cc.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "arguments.h"
#include "loop.h"

int main(int argc, char** argv) {
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
