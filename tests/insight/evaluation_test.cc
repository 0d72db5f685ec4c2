// Intervals, the paired test and groups by length, each against its definition done over again on
// the lines themselves. tests/oracles/metrics_oracle.py holds them against sacreBLEU's.
#include "fovea/evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "fovea/error.h"
#include "insight/numpy_random.h"

namespace fovea {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Text = std::vector<std::string>;

const Text kReference = {"the cat sat on the mat", "a dog barked at me", "it rains in the north",
                         "we will see each other", "nobody knows the way home"};
const Text kSystem = {"the cat sat on a mat", "a dog barked at me", "it rains in north",
                      "we shall see each other", "no one knows the way home"};
const Text kBaseline = {"cat sat on the mat", "the dog barked at us", "it rains in the north",
                        "we will see each other", "who knows the way"};

EvaluationOptions with_samples(int samples, std::uint64_t seed = 12345) {
  EvaluationOptions options;
  options.bootstrap = Bootstrap{samples, seed};
  return options;
}

Evaluation evaluate_one(const Text& hypotheses, const Text& reference,
                        const EvaluationOptions& options = {}, const Text& baseline = {},
                        const Text& sources = {}) {
  return evaluate(hypotheses, std::vector<Text>{reference}, options, baseline, sources);
}

// The score of each sample, by drawing whole lines and scoring them.
template <class ScoreOf>
std::vector<double> scores_of_samples(const Text& lines, int samples, const ScoreOf& score_of) {
  NumpyRandom random(12345);
  std::vector<double> scores;
  for (int s = 0; s < samples; ++s) {
    Text drawn, reference;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const std::uint32_t line = random.below(static_cast<std::uint32_t>(lines.size()));
      drawn.push_back(lines[line]);
      reference.push_back(kReference[line]);
    }
    scores.push_back(score_of(drawn, std::vector<Text>{reference}));
  }
  return scores;
}

double bleu_score(const Text& lines, const std::vector<Text>& references) {
  return bleu(lines, references).score;
}

double chrf_words_score(const Text& lines, const std::vector<Text>& references) {
  ChrfOptions options;
  options.word_order = 2;
  return chrf(lines, references, options).score;
}

void expect_interval(const std::optional<Interval>& interval, std::vector<double> scores,
                     std::size_t cut) {
  ASSERT_TRUE(interval);
  std::sort(scores.begin(), scores.end());
  double sum = 0;
  for (const double score : scores) sum += score;
  EXPECT_NEAR(interval->mean, sum / static_cast<double>(scores.size()), 1e-9);
  EXPECT_NEAR(interval->low, scores[cut], 1e-9);
  EXPECT_NEAR(interval->high, scores[scores.size() - 1 - cut], 1e-9);
  EXPECT_LT(interval->low, interval->high);  // else the case tells nothing
}

TEST(Evaluate, ScoresAreThoseOfBleuAndChrf) {
  const Evaluation result = evaluate_one(kSystem, kReference);
  EXPECT_EQ(result.all.lines, 5);
  EXPECT_EQ(result.all.system.bleu.score, bleu_score(kSystem, {kReference}));
  EXPECT_EQ(result.all.system.bleu.signature,
            bleu(kSystem, std::vector<Text>{kReference}).signature);
  EXPECT_EQ(result.all.system.chrf.score, chrf(kSystem, std::vector<Text>{kReference}).score);
  EXPECT_EQ(result.all.system.chrf_words.score, chrf_words_score(kSystem, {kReference}));
  EXPECT_FALSE(result.all.system.bleu.interval);
  EXPECT_FALSE(result.all.baseline);
  EXPECT_TRUE(result.by_length.empty());
}

TEST(Evaluate, IntervalsAreOfScoresOfDrawnLines) {
  const Evaluation result = evaluate_one(kSystem, kReference, with_samples(80));
  const Scores& system = result.all.system;
  expect_interval(system.bleu.interval, scores_of_samples(kSystem, 80, bleu_score), 2);
  expect_interval(system.chrf_words.interval, scores_of_samples(kSystem, 80, chrf_words_score), 2);
  EXPECT_THAT(system.bleu.signature, StartsWith("nrefs:1|bs:80|seed:12345|case:mixed|eff:no|tok"));
  EXPECT_THAT(system.chrf.signature, StartsWith("nrefs:1|bs:80|seed:12345|case:mixed|eff:yes|nc"));
  // 39 samples: nothing is cut off.
  expect_interval(evaluate_one(kSystem, kReference, with_samples(39)).all.system.bleu.interval,
                  scores_of_samples(kSystem, 39, bleu_score), 0);
}

TEST(Evaluate, ThePairedTestIsItsFormula) {
  const Evaluation result = evaluate_one(kSystem, kReference, with_samples(200), kBaseline);
  ASSERT_TRUE(result.all.system.bleu.test && result.all.baseline);
  const PairedTest& test = *result.all.system.bleu.test;
  const auto system = scores_of_samples(kSystem, 200, bleu_score);
  const auto baseline = scores_of_samples(kBaseline, 200, bleu_score);
  const double whole = bleu_score(kSystem, {kReference}) - bleu_score(kBaseline, {kReference});
  std::vector<double> differences;
  double mean = 0;
  for (std::size_t s = 0; s < 200; ++s) {
    differences.push_back(system[s] - baseline[s]);
    mean += std::abs(differences.back()) / 200;
  }
  int as_far = 0;
  for (const double d : differences) as_far += std::abs(d) - mean >= std::abs(whole) ? 1 : 0;
  EXPECT_NEAR(test.difference, whole, 1e-9);
  EXPECT_EQ(test.p_value, (1.0 + as_far) / 201);
  EXPECT_GT(as_far, 10);
  EXPECT_LT(as_far, 190);
  expect_interval(test.interval, differences, 5);
  expect_interval(result.all.baseline->bleu.interval, baseline, 5);
  EXPECT_FALSE(result.all.baseline->bleu.test);
  EXPECT_EQ(result.all.baseline->bleu.score, bleu_score(kBaseline, {kReference}));
}

TEST(Evaluate, TheTestOfASystemBesideItselfAndBesideNothing) {
  const Evaluation same = evaluate_one(kSystem, kReference, with_samples(50), kSystem);
  EXPECT_EQ(same.all.system.bleu.test->difference, 0);
  EXPECT_EQ(same.all.system.bleu.test->p_value, 1);
  // Right on every line, beside wrong on every line: 100 in every sample, none strays.
  const Evaluation all = evaluate_one(kReference, kReference, with_samples(99), Text(5, "xyz"));
  EXPECT_NEAR(all.all.system.bleu.test->difference, 100, 1e-9);
  EXPECT_NEAR(all.all.system.bleu.interval->low, 100, 1e-9);
  EXPECT_EQ(all.all.system.bleu.test->p_value, 0.01);
  EXPECT_LT(evaluate_one(Text(5, "xyz"), kReference, with_samples(9), kReference)
                .all.system.bleu.test->difference,
            -99);  // the system less the baseline
}

TEST(Evaluate, TheSeedDecides) {
  const auto low = [](std::uint64_t seed) {
    return evaluate_one(kSystem, kReference, with_samples(20, seed)).all.system.bleu.interval->mean;
  };
  EXPECT_EQ(low(1), low(1));
  EXPECT_NE(low(1), low(2));
}

Text sources_of(const std::vector<int>& words) {
  Text sources;
  for (const int count : words) {
    std::string line;
    for (int i = 0; i < count; ++i) line += i % 2 == 0 ? "mot\xC2\xA0" : "\tmot  ";
    sources.push_back(line);
  }
  return sources;
}

TEST(Evaluate, GroupsByWordsOfTheSource) {
  const std::vector<int> words = {9, 10, 1, 19, 40, 0, 39, 400, 30, 20, 29};
  Text hypotheses, reference;
  for (std::size_t i = 0; i < words.size(); ++i) {
    hypotheses.push_back("a b c d e f" + std::string(i % 3 == 0 ? " x" : ""));
    reference.push_back("a b c d e g h " + std::to_string(i));
  }
  const Evaluation result =
      evaluate_one(hypotheses, reference, with_samples(20), {}, sources_of(words));
  struct Expected {
    int least;
    std::optional<int> most;
    std::vector<std::size_t> lines;
  };
  const Expected groups[] = {{0, 0, {5}},       {1, 9, {0, 2}},   {10, 19, {1, 3}},
                             {20, 29, {9, 10}}, {30, 39, {6, 8}}, {40, {}, {4, 7}}};
  ASSERT_EQ(result.by_length.size(), std::size(groups));
  for (std::size_t g = 0; g < std::size(groups); ++g) {
    const ScoredLines& group = result.by_length[g];
    EXPECT_EQ(group.least_words, groups[g].least);
    EXPECT_EQ(group.most_words, groups[g].most);
    Text some, beside;
    for (const std::size_t line : groups[g].lines) {
      some.push_back(hypotheses[line]);
      beside.push_back(reference[line]);
    }
    EXPECT_EQ(group.lines, static_cast<std::int64_t>(some.size()));
    const Evaluation alone = evaluate_one(some, beside, with_samples(20));
    EXPECT_EQ(group.system.bleu.counts.matched, alone.all.system.bleu.counts.matched);
    EXPECT_EQ(group.system.bleu.score, alone.all.system.bleu.score);
    EXPECT_EQ(group.system.bleu.interval->mean, alone.all.system.bleu.interval->mean);
    EXPECT_EQ(group.system.chrf.score, alone.all.system.chrf.score);
  }
  EXPECT_EQ(result.all.lines, 11);
}

TEST(Evaluate, OptionsReachEveryMetricAndReference) {
  EvaluationOptions options;
  options.bleu.lowercase = true;
  options.bleu.tokens = BleuTokens::kChar;
  const Text upper = {"DAS IST SO"}, lower = {"das ist so"}, other = {"nichts davon"};
  const Evaluation result = evaluate(upper, std::vector<Text>{other, lower}, options);
  EXPECT_NEAR(result.all.system.bleu.score, 100, 1e-9);
  EXPECT_NEAR(result.all.system.chrf.score, 100, 1e-9);
  EXPECT_NEAR(result.all.system.chrf_words.score, 100, 1e-9);
  EXPECT_THAT(result.all.system.bleu.signature, StartsWith("nrefs:2|case:lc|eff:no|tok:char"));
  EXPECT_THAT(result.all.system.chrf.signature, StartsWith("nrefs:2|case:lc"));
}

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Evaluate, SaysWhatIsWrong) {
  const Text short_one = {"a"};
  EXPECT_THAT(message_of([&] { evaluate_one(kSystem, short_one); }),
              HasSubstr("evaluate: 5 hypotheses but 1 lines in reference 1"));
  EXPECT_THAT(message_of([&] { evaluate_one(kSystem, kReference, {}, short_one); }),
              HasSubstr("evaluate: 5 hypotheses but 1 lines in the baseline"));
  EXPECT_THAT(message_of([&] { evaluate_one(kSystem, kReference, {}, {}, short_one); }),
              HasSubstr("evaluate: 5 hypotheses but 1 lines in the sources"));
  EXPECT_THAT(message_of([&] { evaluate_one(kSystem, kReference, with_samples(1)); }),
              HasSubstr("evaluate: 1 samples; a bootstrap needs 2 or more"));
  Text bad = kReference;
  bad[3] = "a\xFF";
  EXPECT_THAT(message_of([&] { evaluate_one(kSystem, kReference, {}, {}, bad); }),
              HasSubstr("sources: line 4, byte 2 is not UTF-8"));
}

}  // namespace
}  // namespace fovea
