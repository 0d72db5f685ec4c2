#include "insight/lines.h"

#include "fovea/error.h"
#include "fovea/text.h"

namespace fovea {

void check_lines(const char* metric, Lines hypotheses, ReferenceSets references) {
  const std::string where = std::string(metric) + ": ";
  if (references.empty()) throw Error(where + "no references; give at least one set of lines");
  if (hypotheses.empty()) throw Error(where + "no lines to score");
  for (std::size_t set = 0; set < references.size(); ++set) {
    if (references[set].size() != hypotheses.size()) {
      throw Error(where + std::to_string(hypotheses.size()) + " hypotheses but " +
                  std::to_string(references[set].size()) + " lines in reference " +
                  std::to_string(set + 1) + "; line i of each must belong together");
    }
  }
}

std::u32string read_line(const std::string& text, bool lowercase, const char* what,
                         std::size_t line) {
  if (const auto bad = invalid_utf8(text)) {
    throw Error(std::string(what) + ": line " + std::to_string(line + 1) + ", byte " +
                std::to_string(*bad + 1) + " is not UTF-8; convert the file to UTF-8");
  }
  return code_points(lowercase ? lower(text) : text);
}

std::vector<std::u32string_view> split(std::u32string_view text) {
  std::vector<std::u32string_view> parts;
  for (std::size_t at = 0; at < text.size();) {
    if (is_space(text[at])) {
      ++at;
      continue;
    }
    const std::size_t begin = at;
    while (at < text.size() && !is_space(text[at])) ++at;
    parts.push_back(text.substr(begin, at - begin));
  }
  return parts;
}

}  // namespace fovea
