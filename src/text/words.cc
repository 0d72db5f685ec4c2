#include <algorithm>

#include "fovea/text.h"

namespace fovea {
namespace {

Span core_of(std::u32string_view text, Span word) {
  Span core = word;
  const auto at = [&](std::int32_t i) { return text[static_cast<std::size_t>(i)]; };
  while (core.begin < core.end && is_punctuation(at(core.begin))) ++core.begin;
  while (core.end > core.begin && is_punctuation(at(core.end - 1))) --core.end;
  return core.begin < core.end ? core : word;
}

}  // namespace

std::vector<Word> words(std::string_view utf8) {
  const std::u32string text = code_points(utf8);
  std::vector<Word> found;
  for (std::size_t at = 0; at < text.size();) {
    if (is_space(text[at])) {
      ++at;
      continue;
    }
    const std::size_t begin = at;
    while (at < text.size() && !is_space(text[at])) ++at;
    const Span span{static_cast<std::int32_t>(begin), static_cast<std::int32_t>(at)};
    found.push_back(
        {to_utf8(std::u32string_view(text).substr(begin, at - begin)), span, core_of(text, span)});
  }
  return found;
}

}  // namespace fovea
