// What the command lines of fovea-prepare share.
#pragma once

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

namespace fovea::train {

struct Misuse : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline double number(const std::string& name, const std::string& text, double least, double most) {
  std::size_t end = 0;
  double value = 0;
  try {
    value = std::stod(text, &end);
  } catch (const std::exception&) {
    end = 0;
  }
  if (end == 0 || end != text.size() || !(value >= least && value <= most)) {
    throw Misuse(name + " " + text + ": give a number from " + std::to_string(least) + " to " +
                 std::to_string(most));
  }
  return value;
}

// Does what the words of the command line ask for, or prints `help`; an error becomes one line. Returns the exit code.
template <typename Run>
int run_command(const std::vector<std::string>& words, const char* help, const Run& run) {
  if (words.empty() || std::find(words.begin(), words.end(), "--help") != words.end()) {
    std::fputs(help, words.empty() ? stderr : stdout);
    return words.empty() ? 2 : 0;
  }
  try {
    run(words);
  } catch (const Misuse& error) {
    std::fprintf(stderr, "fovea-prepare: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fovea-prepare: %s\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace fovea::train
