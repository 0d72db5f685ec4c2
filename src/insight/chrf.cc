#include <algorithm>
#include <string>
#include <vector>

#include "fovea/error.h"
#include "fovea/metrics.h"
#include "insight/lines.h"

namespace fovea {
namespace {

using Text = std::u32string;
using Grams = std::vector<std::u32string_view>;  // sorted, repeated as often as they occur

// A line made ready: its characters without white space, and its words one after the other with a
// space between, so that a word n-gram is one stretch of text.
struct Line {
  Text characters;
  Text words;
  std::vector<std::size_t> begins, ends;  // of each word in `words`
};

bool ascii_punctuation(char32_t c) {
  return (c >= U'!' && c <= U'/') || (c >= U':' && c <= U'@') || (c >= U'[' && c <= U'`') ||
         (c >= U'{' && c <= U'~');
}

void add_word(Line& line, std::u32string_view word) {
  if (!line.begins.empty()) line.words += U' ';
  line.begins.push_back(line.words.size());
  line.words += word;
  line.ends.push_back(line.words.size());
}

Line prepare(const Text& text) {
  Line line;
  for (const std::u32string_view word : split(text)) {
    line.characters += word;
    const std::size_t size = word.size();
    // One sign is split off: the last, else the first (chrF++ splits "(hi)" into "(hi" and ")").
    if (size > 1 && ascii_punctuation(word.back())) {
      add_word(line, word.substr(0, size - 1));
      add_word(line, word.substr(size - 1));
    } else if (size > 1 && ascii_punctuation(word.front())) {
      add_word(line, word.substr(0, 1));
      add_word(line, word.substr(1));
    } else {
      add_word(line, word);
    }
  }
  return line;
}

Grams sorted(Grams grams) {
  std::sort(grams.begin(), grams.end());
  return grams;
}

Grams character_grams(const Line& line, std::size_t n) {
  Grams grams;
  const std::u32string_view text = line.characters;
  for (std::size_t i = 0; i + n <= text.size(); ++i) grams.push_back(text.substr(i, n));
  return sorted(std::move(grams));
}

Grams word_grams(const Line& line, std::size_t n) {
  Grams grams;
  const std::u32string_view text = line.words;
  for (std::size_t i = 0; i + n <= line.begins.size(); ++i) {
    grams.push_back(text.substr(line.begins[i], line.ends[i + n - 1] - line.begins[i]));
  }
  return sorted(std::move(grams));
}

// Size of the intersection with repetition.
std::int64_t common(const Grams& a, const Grams& b) {
  std::int64_t count = 0;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const int order = a[i].compare(b[j]);
    count += order == 0 ? 1 : 0;
    i += order <= 0 ? 1 : 0;
    j += order >= 0 ? 1 : 0;
  }
  return count;
}

ChrfCounts compare(const Line& hypothesis, const Line& reference, const ChrfOptions& options) {
  ChrfCounts counts;
  const auto add = [&](const Grams& h, const Grams& r) {
    // n-grams that the reference has none of are not counted against the hypothesis
    counts.push_back({r.empty() ? 0 : static_cast<std::int64_t>(h.size()),
                      static_cast<std::int64_t>(r.size()), common(h, r)});
  };
  for (int n = 1; n <= options.character_order; ++n) {
    const auto order = static_cast<std::size_t>(n);
    add(character_grams(hypothesis, order), character_grams(reference, order));
  }
  for (int n = 1; n <= options.word_order; ++n) {
    const auto order = static_cast<std::size_t>(n);
    add(word_grams(hypothesis, order), word_grams(reference, order));
  }
  return counts;
}

double f_score(const ChrfCounts& counts, int beta) {
  double precision = 0;
  double recall = 0;
  int orders = 0;
  for (const auto& [hypothesis, reference, both] : counts) {
    if (hypothesis == 0 || reference == 0) continue;
    precision += static_cast<double>(both) / static_cast<double>(hypothesis);
    recall += static_cast<double>(both) / static_cast<double>(reference);
    ++orders;
  }
  if (orders == 0 || precision + recall == 0) return 0;
  precision /= orders;
  recall /= orders;
  const double factor = static_cast<double>(beta) * beta;
  return 100 * ((1 + factor) * precision * recall / (factor * precision + recall));
}

}  // namespace

std::vector<ChrfCounts> chrf_counts(Lines hypotheses, ReferenceSets references,
                                    const ChrfOptions& options) {
  check_lines("chrf", hypotheses, references);
  if (options.character_order < 1 || options.word_order < 0 || options.beta < 1) {
    throw Error("chrf: character order and beta must be at least 1, word order at least 0");
  }
  std::vector<ChrfCounts> result(hypotheses.size());
  for (std::size_t i = 0; i < hypotheses.size(); ++i) {
    const Line hypothesis = prepare(read_line(hypotheses[i], options.lowercase, "hypotheses", i));
    double best_score = -1;
    for (const std::vector<std::string>& set : references) {
      const Line reference = prepare(read_line(set[i], options.lowercase, "references", i));
      ChrfCounts counts = compare(hypothesis, reference, options);
      const double score = f_score(counts, options.beta);
      if (score > best_score) {
        best_score = score;
        result[i] = std::move(counts);
      }
    }
  }
  return result;
}

ChrfScore chrf_of(const ChrfCounts& counts, const ChrfOptions& options, int references) {
  ChrfScore result;
  result.counts = counts;
  result.score = f_score(counts, options.beta);
  result.signature =
      "nrefs:" + std::to_string(references) + "|case:" + (options.lowercase ? "lc" : "mixed") +
      "|eff:yes|nc:" + std::to_string(options.character_order) +
      "|nw:" + std::to_string(options.word_order) + "|space:no|version:" + kMetricVersion;
  return result;
}

ChrfScore chrf(Lines hypotheses, ReferenceSets references, const ChrfOptions& options) {
  const std::vector<ChrfCounts> lines = chrf_counts(hypotheses, references, options);
  ChrfCounts sum(lines.front().size());
  for (const ChrfCounts& line : lines) {
    for (std::size_t n = 0; n < sum.size(); ++n) {
      for (std::size_t part = 0; part < 3; ++part) sum[n][part] += line[n][part];
    }
  }
  return chrf_of(sum, options, static_cast<int>(references.size()));
}

}  // namespace fovea
