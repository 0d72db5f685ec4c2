#include "links.h"

#include <stdexcept>

#include "fovea/alignment.h"
#include "fovea/error.h"
#include "fovea/text.h"
#include "lines.h"

namespace fovea::train {
namespace {

// For every word the pieces that speak for it.
std::vector<std::vector<std::int32_t>> pieces_of_words(const Pieces& pieces,
                                                       const std::vector<Word>& words) {
  const PieceOwners owners = owners_of(pieces.spans, words);
  std::vector<std::vector<std::int32_t>> core(words.size()), all(words.size());
  for (std::size_t i = 0; i < owners.word.size(); ++i) {
    if (owners.word[i] < 0) continue;
    const auto word = static_cast<std::size_t>(owners.word[i]);
    all[word].push_back(static_cast<std::int32_t>(i));
    if (owners.in_core[i] != 0) core[word].push_back(static_cast<std::int32_t>(i));
  }
  for (std::size_t word = 0; word < words.size(); ++word) {
    if (core[word].empty()) core[word] = all[word];
  }
  return core;
}

}  // namespace

void read_links(const std::vector<std::string>& paths, std::vector<TextPair>& pairs) {
  std::size_t at = 0;
  for (const std::string& path : paths) {
    Lines lines(path);
    for (std::string line; lines.next(line); ++at) {
      if (at == pairs.size()) {
        lines.fail_here("there are only " + std::to_string(pairs.size()) +
                        " training pairs; give a line of links for each");
      }
      try {
        pairs[at].links = parse_links(line).sure;
      } catch (const Error& error) {
        lines.fail_here(error.what());
      }
      const std::size_t sources = words(pairs[at].source).size();
      const std::size_t targets = words(pairs[at].target).size();
      for (const Link& link : pairs[at].links) {
        if (static_cast<std::size_t>(link.source) < sources &&
            static_cast<std::size_t>(link.target) < targets) {
          continue;
        }
        lines.fail_here("link " + std::to_string(link.source) + "-" + std::to_string(link.target) +
                        ", but the pair has " + std::to_string(sources) + " and " +
                        std::to_string(targets) +
                        " words, counted from 0; links count words as `fovea align` does");
      }
    }
  }
  if (at < pairs.size()) {
    throw std::runtime_error(paths.back() + ": the links end after " + std::to_string(at) + " of " +
                             std::to_string(pairs.size()) +
                             " training pairs; give a line of links for each");
  }
}

std::vector<PieceLink> piece_links(const TextPair& pair, const MarianTokenizer& tokenizer,
                                   const std::vector<std::int32_t>& source_ids,
                                   const std::vector<std::int32_t>& target_ids) {
  if (pair.links.empty()) return {};
  const Pieces source = tokenizer.encode(pair.source),
               target = tokenizer.encode_target(pair.target);
  if (source.ids != source_ids || target.ids != target_ids) return {};
  const auto source_pieces = pieces_of_words(source, words(pair.source));
  const auto target_pieces = pieces_of_words(target, words(pair.target));
  std::vector<PieceLink> links;
  for (const Link& link : pair.links) {
    for (const std::int32_t from : source_pieces[static_cast<std::size_t>(link.source)]) {
      for (const std::int32_t to : target_pieces[static_cast<std::size_t>(link.target)]) {
        links.push_back({from, to});
      }
    }
  }
  return links;
}

}  // namespace fovea::train
