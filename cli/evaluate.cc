// fovea evaluate: BLEU and chrF of translations.
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "app/lines.h"
#include "commands.h"
#include "fovea/metrics.h"
#include "fovea/render.h"
#include "output.h"

namespace fovea::cli {
namespace {

struct Arguments {
  std::string hypotheses;
  std::vector<std::string> references;
  BleuOptions options;
  bool json = false;
};

std::string percent(double value, const char* format) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string lines_of(const BleuScore& score) {
  std::string precisions;
  for (const double p : score.precisions) {
    precisions += (precisions.empty() ? "" : "/") + percent(p, "%.1f");
  }
  const BleuCounts& counts = score.counts;
  return "BLEU    " + percent(score.score, "%6.2f") + "   " + precisions + ", brevity " +
         percent(score.brevity_penalty, "%.3f") + ", length " +
         std::to_string(counts.hypothesis_length) + " of " +
         std::to_string(counts.reference_length) + "\n                 " + score.signature + "\n";
}

std::string lines_of(const ChrfScore& score, const char* name) {
  return std::string(name) + percent(score.score, "%6.2f") + "   " + score.signature + "\n";
}

void evaluate(const Arguments& arguments) {
  const std::vector<std::string> hypotheses = read_lines(arguments.hypotheses);
  std::vector<std::vector<std::string>> references;
  for (const std::string& path : arguments.references) references.push_back(read_lines(path));
  const BleuScore bleu_score = bleu(hypotheses, references, arguments.options);
  ChrfOptions plain;
  plain.lowercase = arguments.options.lowercase;
  ChrfOptions with_words = plain;
  with_words.word_order = 2;
  const std::vector<ChrfScore> chrf_scores = {chrf(hypotheses, references, plain),
                                              chrf(hypotheses, references, with_words)};
  if (arguments.json) {
    write_out(json_of(bleu_score, chrf_scores) + "\n");
  } else {
    write_out(lines_of(bleu_score) + lines_of(chrf_scores[0], "chrF2   ") +
              lines_of(chrf_scores[1], "chrF2++ "));
  }
}

}  // namespace

void add_evaluate(CLI::App& app) {
  auto* command = app.add_subcommand("evaluate", "BLEU and chrF, equal to sacreBLEU's");
  command->footer(
      "Example:\n  fovea translate news.de > news.en && fovea evaluate "
      "--hypotheses news.en --references news.reference.en");
  auto arguments = std::make_shared<Arguments>();
  command
      ->add_option("--hypotheses,--hyp", arguments->hypotheses,
                   "translations, one a line; - is standard input")
      ->required();
  command
      ->add_option("--references,--ref", arguments->references,
                   "one or more files of reference translations, line by line")
      ->required();
  command->add_flag("--lowercase", arguments->options.lowercase, "compare without case");
  const std::map<std::string, BleuTokens> tokens{
      {"13a", BleuTokens::k13a}, {"none", BleuTokens::kNone}, {"char", BleuTokens::kChar}};
  command->add_option("--tokenize", arguments->options.tokens, "tokens of BLEU: 13a, none, char")
      ->transform(CLI::CheckedTransformer(tokens));
  const std::map<std::string, BleuSmoothing> smoothing{{"exp", BleuSmoothing::kExp},
                                                       {"floor", BleuSmoothing::kFloor},
                                                       {"add-k", BleuSmoothing::kAddK},
                                                       {"none", BleuSmoothing::kNone}};
  command
      ->add_option("--smooth", arguments->options.smoothing,
                   "of BLEU's empty orders: exp, floor, add-k, none")
      ->transform(CLI::CheckedTransformer(smoothing));
  command->add_option("--smooth-value", arguments->options.smooth_value,
                      "of floor (0.1) and add-k (1)");
  command->add_flag("--effective-order", arguments->options.effective_order,
                    "only the orders that there are: for single sentences");
  command->add_flag("--json", arguments->json, "one JSON object, with every count");
  command->callback([arguments] { evaluate(*arguments); });
}

}  // namespace fovea::cli
