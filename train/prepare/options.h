// What the command lines of fovea-prepare share.
#pragma once

#include <stdexcept>
#include <string>

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

}  // namespace fovea::train
