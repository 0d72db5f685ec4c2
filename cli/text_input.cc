#include "text_input.h"

#include <filesystem>
#include <iostream>
#include <utility>

#include "CLI/CLI.hpp"
#include "terminal.h"

namespace fovea::cli {
namespace {

namespace fs = std::filesystem;

bool looks_like_a_file(const std::string& text) {
  const bool spaces = text.find_first_of(" \t\n") != std::string::npos;
  const std::size_t sign = text.find_last_of("./");
  return !spaces && sign != std::string::npos && sign + 1 < text.size();
}

}  // namespace

TextInput::TextInput(const std::vector<std::string>& given, const std::string& command) {
  const auto say = [&](const std::string& words) {
    std::cerr << "fovea " << command << ": " << words << "\n";
  };
  const std::string text = given.empty() ? "-" : given[0];
  std::error_code ignored;
  if (text == "-") {
    if (input_is_terminal()) say("reading lines from the terminal; Ctrl-D ends");
    source_.emplace("-");
    name_ = "-";
  } else if (fs::is_directory(text, ignored)) {
    throw CLI::ValidationError(command + ": '" + text +
                               "' is a folder; a model is named with --model (see fovea " +
                               command + " --help)");
  } else if (fs::exists(text, ignored)) {
    source_.emplace(text);
    name_ = text;
  } else {
    if (looks_like_a_file(text)) say("no file '" + text + "' here: taken as text");
    take(text);
    name_ = "the text";
  }
}

std::vector<std::string> TextInput::next(std::size_t most) {
  if (source_) return source_->next(most);
  return std::exchange(lines_, {});
}

void TextInput::take(const std::string& text) {
  std::size_t begin = 0;
  for (;;) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    lines_.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  if (begin < text.size() || lines_.empty()) lines_.push_back(text.substr(begin));
}

}  // namespace fovea::cli
