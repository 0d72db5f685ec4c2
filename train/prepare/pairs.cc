#include "pairs.h"

#include "lines.h"

namespace fovea::train {
namespace {

bool blank(const std::string& text) { return text.find_first_not_of(" \t\r") == std::string::npos; }

}  // namespace

std::vector<TextPair> read_tsv(const std::vector<std::string>& paths) {
  std::vector<TextPair> pairs;
  for (const std::string& path : paths) {
    Lines lines(path);
    std::string line;
    while (lines.next(line)) {
      const std::size_t tab = line.find('\t');
      if (tab == std::string::npos) lines.fail_here("no tab; a line is `source TAB target`");
      const std::size_t end = line.find('\t', tab + 1);
      TextPair pair{line.substr(0, tab),
                    line.substr(tab + 1, end == std::string::npos ? end : end - tab - 1)};
      if (blank(pair.source)) lines.fail_here("the source side is empty; remove the line");
      if (blank(pair.target)) lines.fail_here("the target side is empty; remove the line");
      pairs.push_back(std::move(pair));
    }
  }
  return pairs;
}

std::vector<TextPair> read_aligned(const std::string& source_path, const std::string& target_path) {
  std::vector<TextPair> pairs;
  Lines sources(source_path), targets(target_path);
  TextPair pair;
  while (true) {
    const bool more_source = sources.next(pair.source);
    const bool more_target = targets.next(pair.target);
    if (!more_source && !more_target) return pairs;
    if (!more_target)
      sources.fail_here(target_path + " has no such line; the files must be aligned");
    if (!more_source)
      targets.fail_here(source_path + " has no such line; the files must be aligned");
    if (blank(pair.source))
      sources.fail_here("the source side is empty; remove the line from both files");
    if (blank(pair.target))
      targets.fail_here("the target side is empty; remove the line from both files");
    pairs.push_back(pair);
  }
}

}  // namespace fovea::train
