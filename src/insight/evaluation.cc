#include "fovea/evaluation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>

#include "fovea/error.h"
#include "insight/lines.h"
#include "insight/numpy_random.h"

namespace fovea {
namespace {

using Numbers = std::vector<std::int64_t>;

// The counts of one metric as numbers that add up over lines.
struct Counts {
  std::size_t width = 0;
  std::vector<Numbers>
      systems;  // the system's and, if there is one, the baseline's: [lines, width]
};

Numbers numbers_of(const std::vector<BleuCounts>& lines) {
  Numbers numbers;
  for (const BleuCounts& line : lines) {
    numbers.insert(numbers.end(), line.matched.begin(), line.matched.end());
    numbers.insert(numbers.end(), line.total.begin(), line.total.end());
    numbers.insert(numbers.end(), {line.hypothesis_length, line.reference_length});
  }
  return numbers;
}

BleuCounts bleu_counts_of(const Numbers& sum) {
  BleuCounts counts;
  std::copy_n(sum.begin(), 4, counts.matched.begin());
  std::copy_n(sum.begin() + 4, 4, counts.total.begin());
  counts.hypothesis_length = sum[8];
  counts.reference_length = sum[9];
  return counts;
}

Numbers numbers_of(const std::vector<ChrfCounts>& lines) {
  Numbers numbers;
  for (const ChrfCounts& line : lines) {
    for (const auto& order : line) numbers.insert(numbers.end(), order.begin(), order.end());
  }
  return numbers;
}

ChrfCounts chrf_counts_of(const Numbers& sum) {
  ChrfCounts counts(sum.size() / 3);
  for (std::size_t i = 0; i < sum.size(); ++i) counts[i / 3][i % 3] = sum[i];
  return counts;
}

Numbers sum_of(const Counts& counts, std::size_t system, const std::vector<std::uint32_t>& lines) {
  Numbers sum(counts.width, 0);
  for (const std::uint32_t line : lines) {
    const std::int64_t* row = &counts.systems[system][line * counts.width];
    for (std::size_t i = 0; i < counts.width; ++i) sum[i] += row[i];
  }
  return sum;
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

Interval interval_of(std::vector<double> scores) {
  std::sort(scores.begin(), scores.end());
  const std::size_t cut = scores.size() / 40;  // 2.5 %
  return {mean_of(scores), scores[cut], scores[scores.size() - 1 - cut]};
}

// The scores of all samples of `lines`: [system][sample].
std::vector<std::vector<double>> resample(const Counts& counts,
                                          const std::vector<std::uint32_t>& lines,
                                          const Bootstrap& bootstrap,
                                          const std::function<double(const Numbers&)>& score) {
  NumpyRandom random(bootstrap.seed);
  std::vector<std::vector<double>> scores(counts.systems.size());
  std::vector<std::uint32_t> sample(lines.size());
  for (int s = 0; s < bootstrap.samples; ++s) {
    for (std::uint32_t& line : sample) {
      line = lines[random.below(static_cast<std::uint32_t>(lines.size()))];
    }
    for (std::size_t system = 0; system < scores.size(); ++system) {
      scores[system].push_back(score(sum_of(counts, system, sample)));
    }
  }
  return scores;
}

PairedTest test_of(const std::vector<double>& system, const std::vector<double>& baseline,
                   double difference) {
  std::vector<double> differences(system.size()), sizes(system.size());
  for (std::size_t s = 0; s < system.size(); ++s) {
    differences[s] = system[s] - baseline[s];
    sizes[s] = std::abs(differences[s]);
  }
  const double mean = mean_of(sizes), found = std::abs(difference);
  const auto as_far =
      std::count_if(sizes.begin(), sizes.end(), [&](double d) { return d - mean >= found; });
  return {difference, interval_of(differences),
          static_cast<double>(1 + as_far) / static_cast<double>(1 + sizes.size())};
}

// sacreBLEU's signature of a resampled score names the samples after the references.
std::string with_bootstrap(std::string signature, const Bootstrap& bootstrap) {
  return signature.insert(signature.find('|'), "|bs:" + std::to_string(bootstrap.samples) +
                                                   "|seed:" + std::to_string(bootstrap.seed));
}

class Evaluator {
 public:
  Evaluator(Lines hypotheses, ReferenceSets references, const EvaluationOptions& options,
            Lines baseline)
      : options_(options), references_(static_cast<int>(references.size())) {
    chrf_.lowercase = chrf_words_.lowercase = options.bleu.lowercase;
    chrf_words_.word_order = 2;
    add_system(hypotheses, references);
    if (!baseline.empty()) add_system(baseline, references);
  }

  ScoredLines on(const std::vector<std::uint32_t>& lines) const {
    ScoredLines result;
    result.lines = static_cast<std::int64_t>(lines.size());
    if (counts_[0].systems.size() > 1) result.baseline.emplace();
    score(counts_[0], lines, result, &Scores::bleu, [&](const Numbers& sum) {
      return bleu_of(bleu_counts_of(sum), options_.bleu, references_);
    });
    score(counts_[1], lines, result, &Scores::chrf,
          [&](const Numbers& sum) { return chrf_of(chrf_counts_of(sum), chrf_, references_); });
    score(counts_[2], lines, result, &Scores::chrf_words, [&](const Numbers& sum) {
      return chrf_of(chrf_counts_of(sum), chrf_words_, references_);
    });
    return result;
  }

 private:
  void add_system(Lines lines, ReferenceSets references) {
    counts_[0].systems.push_back(numbers_of(bleu_counts(lines, references, options_.bleu)));
    counts_[1].systems.push_back(numbers_of(chrf_counts(lines, references, chrf_)));
    counts_[2].systems.push_back(numbers_of(chrf_counts(lines, references, chrf_words_)));
    for (Counts& counts : counts_) counts.width = counts.systems[0].size() / lines.size();
  }

  // One metric's scores of `lines`, for every system.
  template <class Score, class ScoreOf>
  void score(const Counts& counts, const std::vector<std::uint32_t>& lines, ScoredLines& result,
             Score Scores::*metric, const ScoreOf& score_of) const {
    std::vector<Score*> scores = {&(result.system.*metric)};
    if (result.baseline) scores.push_back(&((*result.baseline).*metric));
    for (std::size_t i = 0; i < scores.size(); ++i) *scores[i] = score_of(sum_of(counts, i, lines));
    if (!options_.bootstrap) return;
    const auto samples = resample(counts, lines, *options_.bootstrap,
                                  [&](const Numbers& sum) { return score_of(sum).score; });
    for (std::size_t i = 0; i < scores.size(); ++i) {
      scores[i]->interval = interval_of(samples[i]);
      scores[i]->signature = with_bootstrap(scores[i]->signature, *options_.bootstrap);
    }
    if (result.baseline) {
      scores[0]->test = test_of(samples[0], samples[1], scores[0]->score - scores[1]->score);
    }
  }

  const EvaluationOptions& options_;
  int references_;
  ChrfOptions chrf_, chrf_words_;
  std::array<Counts, 3> counts_;  // BLEU, chrF2, chrF2++
};

void check_length(Lines lines, Lines hypotheses, const char* what) {
  if (lines.empty() || lines.size() == hypotheses.size()) return;
  throw Error("evaluate: " + std::to_string(hypotheses.size()) + " hypotheses but " +
              std::to_string(lines.size()) + " lines in the " + what +
              "; line i of each must belong together");
}

}  // namespace

Evaluation evaluate(Lines hypotheses, ReferenceSets references, const EvaluationOptions& options,
                    Lines baseline, Lines sources) {
  check_lines("evaluate", hypotheses, references);
  check_length(baseline, hypotheses, "baseline");
  check_length(sources, hypotheses, "sources");
  if (options.bootstrap && options.bootstrap->samples < 2) {
    throw Error("evaluate: " + std::to_string(options.bootstrap->samples) +
                " samples; a bootstrap needs 2 or more, 1000 are usual");
  }
  const Evaluator evaluator(hypotheses, references, options, baseline);
  Evaluation result;
  std::vector<std::uint32_t> all(hypotheses.size());
  std::iota(all.begin(), all.end(), 0u);
  result.all = evaluator.on(all);
  if (sources.empty()) return result;
  std::vector<int> words;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    words.push_back(static_cast<int>(split(read_line(sources[i], false, "sources", i)).size()));
  }
  constexpr int kLeast[] = {0, 1, 10, 20, 30, 40};  // 0: lines without a word stand apart
  for (std::size_t group = 0; group < std::size(kLeast); ++group) {
    const int least = kLeast[group];
    std::optional<int> most;
    if (group + 1 < std::size(kLeast)) most = kLeast[group + 1] - 1;
    std::vector<std::uint32_t> lines;
    for (const std::uint32_t line : all) {
      if (words[line] >= least && (!most || words[line] <= *most)) lines.push_back(line);
    }
    if (lines.empty()) continue;
    result.by_length.push_back(evaluator.on(lines));
    result.by_length.back().least_words = least;
    result.by_length.back().most_words = most;
  }
  return result;
}

}  // namespace fovea
