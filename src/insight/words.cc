#include <algorithm>
#include <cstddef>

#include "fovea/alignment.h"
#include "fovea/text.h"
#include "fovea/tokenizer.h"

namespace fovea {
namespace {

bool only_punctuation(const Word& word) {
  const std::u32string text = code_points(word.text);
  return std::all_of(text.begin(), text.end(), is_punctuation);
}

// For every word the pieces that speak for it: those of its core, or all if none lies there.
std::vector<std::vector<std::size_t>> speakers_of(const PieceOwners& owners, std::size_t words) {
  std::vector<std::vector<std::size_t>> core(words), all(words);
  for (std::size_t i = 0; i < owners.word.size(); ++i) {
    if (owners.word[i] < 0) continue;
    const auto word = static_cast<std::size_t>(owners.word[i]);
    all[word].push_back(i);
    if (owners.in_core[i] != 0) core[word].push_back(i);
  }
  for (std::size_t w = 0; w < words; ++w) {
    if (core[w].empty()) core[w] = all[w];
  }
  return core;
}

}  // namespace

PieceOwners owners_of(const std::vector<Span>& pieces, const std::vector<Word>& words) {
  PieceOwners owners;
  owners.word = words_of_pieces(pieces, words);
  owners.in_core.reserve(pieces.size());
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    bool core = false;
    if (owners.word[i] >= 0) {
      const Span word = words[static_cast<std::size_t>(owners.word[i])].core;
      // An empty span is the mark before a word: it speaks for the word.
      core = pieces[i].begin == pieces[i].end ||
             (pieces[i].begin < word.end && pieces[i].end > word.begin);
    }
    owners.in_core.push_back(core ? 1 : 0);
  }
  return owners;
}

WordAttention word_attention(const std::vector<double>& shares, const PieceOwners& source,
                             const PieceOwners& target, std::size_t target_words) {
  const std::size_t keys = source.word.size();
  std::int32_t last_word = -1;
  for (const std::int32_t word : source.word) last_word = std::max(last_word, word);
  const auto source_words = static_cast<std::size_t>(last_word + 1);
  const auto speakers = speakers_of(target, target_words);
  WordAttention result;
  for (std::size_t w = 0; w < target_words; ++w) {
    std::vector<double> sums(source_words);
    double punctuation = 0;
    double end = 0;
    for (const std::size_t piece : speakers[w]) {
      for (std::size_t j = 0; j < keys; ++j) {
        const double share = shares[piece * keys + j] / static_cast<double>(speakers[w].size());
        if (source.word[j] < 0) {
          end += share;
        } else if (source.in_core[j] == 0) {
          punctuation += share;
        } else {
          sums[static_cast<std::size_t>(source.word[j])] += share;
        }
      }
    }
    std::vector<WordWeight> weights;
    for (std::size_t s = 0; s < source_words; ++s) {
      if (sums[s] > 0) weights.push_back({static_cast<std::int32_t>(s), sums[s]});
    }
    std::stable_sort(weights.begin(), weights.end(),
                     [](const WordWeight& a, const WordWeight& b) { return a.weight > b.weight; });
    result.weights.push_back(std::move(weights));
    result.punctuation_weight.push_back(punctuation);
    result.end_weight.push_back(end);
  }
  return result;
}

std::vector<Link> links_of(const WordAttention& attention, const std::vector<Word>& source,
                           const std::vector<Word>& target, double threshold) {
  std::vector<char> source_signs;
  for (const Word& word : source) source_signs.push_back(only_punctuation(word) ? 1 : 0);
  std::vector<Link> links;
  for (std::size_t t = 0; t < attention.weights.size(); ++t) {
    const char sign = only_punctuation(target[t]) ? 1 : 0;
    const auto& weights = attention.weights[t];
    const auto best = std::find_if(weights.begin(), weights.end(), [&](const WordWeight& w) {
      return source_signs[static_cast<std::size_t>(w.word)] == sign;
    });
    if (best != weights.end() && best->weight >= threshold) {
      links.push_back({best->word, static_cast<std::int32_t>(t)});
    }
  }
  std::stable_sort(links.begin(), links.end(),
                   [](const Link& a, const Link& b) { return a.source < b.source; });
  return links;
}

}  // namespace fovea
