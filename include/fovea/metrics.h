// BLEU and chrF, equal to the sacrebleu package: the same n-gram counts, scores within 1e-9.
//
//   BLEU   100 bp exp(1/4 sum_n log p_n)
//          p_n = matched / total n-grams (clipped by the references)
//          bp = min(1, exp(1 - reference length / hypothesis length))
//   chrF   100 (1 + b^2) P R / (b^2 P + R)
//          P and R means over the orders of character (and word) n-grams that both sides have
//
// Text     hypotheses[line], references[set][line]; UTF-8. White space and lower case as Python has
//          them.
// Edge     no matched n-gram at all: 0. BLEU of a corpus without 4-grams is 0 unless
//          `effective_order`. Several references: BLEU clips by the largest count and takes the
//          closest length (ties: the shorter); chrF takes each line's best reference.
// Throws   Error: no lines, no references, sets of different length, a line that is not UTF-8.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace fovea {

enum class BleuTokens { k13a, kNone, kChar };
enum class BleuSmoothing { kExp, kFloor, kAddK, kNone };

struct BleuOptions {
  BleuTokens tokens = BleuTokens::k13a;
  BleuSmoothing smoothing = BleuSmoothing::kExp;
  std::optional<double> smooth_value;  // of kFloor (0.1 unless given) and kAddK (1 unless given)
  bool lowercase = false;
  bool effective_order = false;  // for single sentences: only the orders that they have
};

// What resampling the lines says of a score: the mean of the samples' scores, and between which
// values the middle 95 % of them lie. See fovea/evaluation.h, which fills it.
struct Interval {
  double mean = 0, low = 0, high = 0;
};

// The same of the difference between a system and a baseline, on the same samples.
struct PairedTest {
  double difference = 0;  // score of the system - score of the baseline
  Interval interval;
  double p_value = 1;  // that chance alone makes a difference of this size
};

// Sums over lines; two of them add up.
struct BleuCounts {
  std::array<std::int64_t, 4> matched{};
  std::array<std::int64_t, 4> total{};
  std::int64_t hypothesis_length = 0;
  std::int64_t reference_length = 0;

  BleuCounts& operator+=(const BleuCounts& other);
};

struct BleuScore {
  double score = 0;
  std::array<double, 4> precisions{};  // in percent, smoothed
  double brevity_penalty = 1;
  BleuCounts counts;
  std::string signature;  // nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0+fovea
  std::optional<Interval> interval;
  std::optional<PairedTest> test;
};

struct ChrfOptions {
  int character_order = 6;
  int word_order = 0;  // 2: chrF++
  int beta = 2;
  bool lowercase = false;
};

// Per order, characters first: n-grams of the hypotheses (where the reference has that order), of
// the references, of both. Sums over lines.
using ChrfCounts = std::vector<std::array<std::int64_t, 3>>;

struct ChrfScore {
  double score = 0;
  ChrfCounts counts;
  std::string signature;  // nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.6.0+fovea
  std::optional<Interval> interval;
  std::optional<PairedTest> test;
};

using Lines = std::span<const std::string>;
using ReferenceSets = std::span<const std::vector<std::string>>;

BleuScore bleu(Lines hypotheses, ReferenceSets references, const BleuOptions& options = {});
ChrfScore chrf(Lines hypotheses, ReferenceSets references, const ChrfOptions& options = {});

// The parts of both, line by line, for scores of subsets (by length, samples) without counting
// again.
std::vector<BleuCounts> bleu_counts(Lines hypotheses, ReferenceSets references,
                                    const BleuOptions& options = {});
BleuScore bleu_of(const BleuCounts& counts, const BleuOptions& options = {}, int references = 1);
std::vector<ChrfCounts> chrf_counts(Lines hypotheses, ReferenceSets references,
                                    const ChrfOptions& options = {});
ChrfScore chrf_of(const ChrfCounts& counts, const ChrfOptions& options = {}, int references = 1);

// `line` as BLEU sees it: tokens with one space between.
std::string bleu_tokens(const std::string& line, BleuTokens tokens);

}  // namespace fovea
