// Where a command's text comes from: the command line, a file, or standard input as it is read.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/lines.h"

namespace fovea::cli {

class TextInput {
 public:
  // `given`: nothing or "-" is standard input, the name of a file is that file, anything else is
  // text. `command` is named in what it says and throws.
  TextInput(const std::vector<std::string>& given, const std::string& command);

  const std::string& name() const { return name_; }
  // As LineSource::next.
  std::vector<std::string> next(std::size_t most);

 private:
  void take(const std::string& text);

  std::optional<LineSource> source_;
  std::vector<std::string> lines_;
  std::string name_;
};

}  // namespace fovea::cli
