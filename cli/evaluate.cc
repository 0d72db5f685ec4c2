// fovea evaluate: BLEU and chrF of translations.
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "app/lines.h"
#include "commands.h"
#include "fovea/error.h"
#include "fovea/evaluation.h"
#include "fovea/render.h"
#include "output.h"

namespace fovea::cli {
namespace {

// clang-format off: the text as it is printed
constexpr const char* kHelp =
    R"help(fovea evaluate: BLEU and chrF of translations, equal to sacreBLEU's

Usage: fovea evaluate --hypotheses FILE --references FILE... [options]

Try it:
  printf 'The black cat sleeps.\nIt rains.\n' > hyp.en
  printf 'The black cat is sleeping.\nIt is raining.\n' > ref.en
  printf 'Le chat noir dort.\nIl pleut.\n' > src.fr
  fovea evaluate --hypotheses hyp.en --references ref.en
  fovea evaluate --hypotheses hyp.en --references ref.en --bootstrap --by-length --source src.fr

Line i of every file belongs to one sentence. Each score comes with the signature of how it was
computed; scores compare only where the signatures are the same.

Files
  --hypotheses FILE     the translations; - is standard input
  --references FILE...  one or more reference translations of each line
  --baseline FILE       translations of another system, to compare with: a paired bootstrap test
  --by-length           scores by words of the source too: 1-9, 10-19, 20-29, 30-39, 40 and more
  --source FILE         with --by-length: what was translated
BLEU and chrF
  --lowercase           compare without case
  --tokenize T          BLEU's tokens: 13a (the field's own, the default), none, char
  --smooth S            of orders without a match: exp (the default), floor, add-k, none
  --smooth-value X      of floor (0.1) and add-k (1)
  --effective-order     only the orders that there are: for single sentences
How sure
  --bootstrap           where the middle 95 % of the scores of resampled lines lie
  --samples N           how many times the lines are drawn anew (1000)
  --seed S              of the drawing (12345); the same as sacreBLEU's draws the same lines
Else
  --json                one JSON object, with every count (docs/evaluate.md)
  -h, --help            this text

p is the chance that samples stray from their mean difference as far as the two systems differ:
(1 + #{s: |d_s| - mean |d| >= |d_0|}) / (1 + samples), d_s of sample s, d_0 of all lines.
)help";
// clang-format on

struct Arguments {
  std::string hypotheses, baseline, source;
  std::vector<std::string> references;
  EvaluationOptions options;
  Bootstrap sampling;
  bool bootstrap = false;
  bool by_length = false;
  bool json = false;
};

std::string number(double value, const char* format) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string range(const std::optional<Interval>& interval, const char* format = "%.2f") {
  if (!interval) return "";
  return " [" + number(interval->low, format) + ", " + number(interval->high, format) + "]";
}

std::string details(const BleuScore& score) {
  std::string precisions;
  for (const double p : score.precisions) {
    precisions += (precisions.empty() ? "" : "/") + number(p, "%.1f");
  }
  return precisions + ", brevity " + number(score.brevity_penalty, "%.3f") + ", length " +
         std::to_string(score.counts.hypothesis_length) + " of " +
         std::to_string(score.counts.reference_length);
}

template <class Score>
std::string comparison(const Score& system, const Score& baseline) {
  const PairedTest& test = *system.test;
  return "        " + number(baseline.score, "%6.2f") + range(baseline.interval) +
         "   the baseline\n        " + number(test.difference, "%+6.2f") +
         range(test.interval, "%+.2f") + "   the difference, p = " + number(test.p_value, "%.4f") +
         "\n";
}

template <class Score>
std::string lines_of(const char* name, const ScoredLines& all, Score Scores::*metric,
                     const std::string& more) {
  const Score& score = all.system.*metric;
  std::string text = name + number(score.score, "%6.2f") + range(score.interval);
  if (!more.empty()) text += "   " + more + "\n                ";
  text += " " + std::string(more.empty() ? "  " : "") + score.signature + "\n";
  return all.baseline ? text + comparison(score, (*all.baseline).*metric) : text;
}

std::string words_of(const ScoredLines& group) {
  if (!group.most_words) return std::to_string(group.least_words) + "+";
  if (*group.most_words == group.least_words) return std::to_string(group.least_words);
  return std::to_string(group.least_words) + "-" + std::to_string(*group.most_words);
}

template <class Score>
std::string row_of(const char* name, const ScoredLines& group, Score Scores::*metric) {
  const Score& score = group.system.*metric;
  const std::string text =
      std::string("  ") + name + number(score.score, "%6.2f") + range(score.interval);
  if (!group.baseline) return text + "\n";
  const Score& baseline = (*group.baseline).*metric;
  return text + "   baseline " + number(baseline.score, "%.2f") + range(baseline.interval) +
         "   difference " + number(score.test->difference, "%+.2f") +
         range(score.test->interval, "%+.2f") + ", p = " + number(score.test->p_value, "%.4f") +
         "\n";
}

std::string text_of(const Evaluation& evaluation) {
  const ScoredLines& all = evaluation.all;
  std::string text = lines_of("BLEU    ", all, &Scores::bleu, details(all.system.bleu)) +
                     lines_of("chrF2   ", all, &Scores::chrf, "") +
                     lines_of("chrF2++ ", all, &Scores::chrf_words, "");
  for (const ScoredLines& group : evaluation.by_length) {
    text += "\nsources of " + words_of(group) + " words: " + std::to_string(group.lines) +
            (group.lines == 1 ? " line\n" : " lines\n") + row_of("BLEU    ", group, &Scores::bleu) +
            row_of("chrF2   ", group, &Scores::chrf) +
            row_of("chrF2++ ", group, &Scores::chrf_words);
  }
  return text;
}

[[noreturn]] void misuse(const std::string& text) {
  throw CLI::ValidationError("evaluate: " + text + " (see fovea evaluate --help)");
}

void check(const Arguments& arguments) {
  if (arguments.by_length && arguments.source.empty()) {
    misuse("--by-length groups by the words of what was translated: give it with --source FILE");
  }
  if (!arguments.source.empty() && !arguments.by_length) {
    misuse("--source is read for --by-length only: give both or neither");
  }
  int from_input = arguments.hypotheses == "-" ? 1 : 0;
  from_input += arguments.baseline == "-" ? 1 : 0;
  from_input += arguments.source == "-" ? 1 : 0;
  for (const std::string& path : arguments.references) from_input += path == "-" ? 1 : 0;
  if (from_input > 1) misuse("standard input can be only one of the files");
}

// Lines of a file that must have as many as the hypotheses.
std::vector<std::string> read_beside(const std::string& path, const Arguments& arguments,
                                     std::size_t lines) {
  std::vector<std::string> read = read_lines(path);
  if (read.size() == lines) return read;
  throw Error("evaluate: " + arguments.hypotheses + " has " + std::to_string(lines) +
              " lines but " + path + " has " + std::to_string(read.size()) +
              ": line i of both must be the same sentence. Is one file cut, or is a sentence "
              "broken over two lines?");
}

void evaluate(const Arguments& arguments) {
  check(arguments);
  const std::vector<std::string> hypotheses = read_lines(arguments.hypotheses);
  std::vector<std::vector<std::string>> references;
  for (const std::string& path : arguments.references) {
    references.push_back(read_beside(path, arguments, hypotheses.size()));
  }
  std::vector<std::string> baseline, sources;
  if (!arguments.baseline.empty()) {
    baseline = read_beside(arguments.baseline, arguments, hypotheses.size());
  }
  if (arguments.by_length) {
    sources = read_beside(arguments.source, arguments, hypotheses.size());
  }
  EvaluationOptions options = arguments.options;
  if (arguments.bootstrap || !baseline.empty()) options.bootstrap = arguments.sampling;
  const Evaluation evaluation = fovea::evaluate(hypotheses, references, options, baseline, sources);
  write_out(arguments.json ? json_of(evaluation) + "\n" : text_of(evaluation));
}

}  // namespace

void add_evaluate(CLI::App& app) {
  auto* command = app.add_subcommand("evaluate", "BLEU and chrF, equal to sacreBLEU's");
  command->formatter_fn([](const CLI::App*, std::string, CLI::AppFormatMode) { return kHelp; });
  auto arguments = std::make_shared<Arguments>();
  BleuOptions& bleu = arguments->options.bleu;
  command->add_option("--hypotheses,--hyp", arguments->hypotheses)->required();
  command->add_option("--references,--ref", arguments->references)->required();
  command->add_option("--baseline", arguments->baseline);
  command->add_flag("--by-length", arguments->by_length);
  command->add_option("--source", arguments->source);
  command->add_flag("--lowercase", bleu.lowercase);
  const std::map<std::string, BleuTokens> tokens{
      {"13a", BleuTokens::k13a}, {"none", BleuTokens::kNone}, {"char", BleuTokens::kChar}};
  command->add_option("--tokenize", bleu.tokens)->transform(CLI::CheckedTransformer(tokens));
  const std::map<std::string, BleuSmoothing> smoothing{{"exp", BleuSmoothing::kExp},
                                                       {"floor", BleuSmoothing::kFloor},
                                                       {"add-k", BleuSmoothing::kAddK},
                                                       {"none", BleuSmoothing::kNone}};
  command->add_option("--smooth", bleu.smoothing)->transform(CLI::CheckedTransformer(smoothing));
  command->add_option("--smooth-value", bleu.smooth_value)->check(CLI::NonNegativeNumber);
  command->add_flag("--effective-order", bleu.effective_order);
  command->add_flag("--bootstrap", arguments->bootstrap);
  command->add_option("--samples", arguments->sampling.samples)->check(CLI::Range(2, 1000000));
  command->add_option("--seed", arguments->sampling.seed)->check(CLI::NonNegativeNumber);
  command->add_flag("--json", arguments->json);
  command->callback([arguments] { evaluate(*arguments); });
}

}  // namespace fovea::cli
