// Scores of a system, and of a baseline beside it: how sure they are, and by length of the source.
//
//   sample     as many lines as there are, drawn with replacement; its score is of their counts
//   interval   mean of the samples' scores, and the scores ranked samples/40 from either end
//   p_value    (1 + #{s: d_s - mean(d) >= d_0}) / (1 + samples), with d_s = |score of the system -
//              score of the baseline| on sample s, and d_0 the same on the lines themselves
//
// These are sacreBLEU's, drawn from numpy.random.default_rng(seed), so the same lines give the same
// intervals and p-values. (It counts with > where >= stands here, which calls a system
// significantly different from itself.) Systems, metrics and groups by length of one size see the
// same samples.
//
// Edge     a few lines make poor samples: below some hundred, intervals are too narrow.
// Throws   Error: as bleu and chrf; a baseline or sources of another length; samples below 2.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "fovea/metrics.h"

namespace fovea {

struct Bootstrap {
  int samples = 1000;
  std::uint64_t seed = 12345;
};

struct EvaluationOptions {
  BleuOptions bleu;  // its `lowercase` is chrF's too
  std::optional<Bootstrap> bootstrap;
};

struct Scores {
  BleuScore bleu;
  ChrfScore chrf;        // chrF2
  ChrfScore chrf_words;  // chrF2++
};

// Some of the lines, all systems' scores on them.
struct ScoredLines {
  std::int64_t lines = 0;
  int least_words = 0;  // of their sources
  std::optional<int> most_words;
  Scores system;
  std::optional<Scores> baseline;
};

struct Evaluation {
  ScoredLines all;
  std::vector<ScoredLines> by_length;  // 1-9, 10-19, 20-29, 30-39, 40 or more; those that there are
};

// `baseline` and `sources` may be empty: no comparison, no groups. With a bootstrap, scores have an
// interval, and those of a system beside a baseline a test.
Evaluation evaluate(Lines hypotheses, ReferenceSets references,
                    const EvaluationOptions& options = {}, Lines baseline = {}, Lines sources = {});

}  // namespace fovea
