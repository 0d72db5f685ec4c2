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

// clang-format off: the text as it is printed
constexpr const char* kHelp =
    R"help(fovea evaluate: BLEU and chrF of translations, equal to sacreBLEU's

Usage: fovea evaluate --hypotheses FILE --references FILE... [options]

Try it:
  printf 'The black cat sleeps.\n' > hyp.en && printf 'The black cat is sleeping.\n' > ref.en
  fovea evaluate --hypotheses hyp.en --references ref.en

Line i of every file belongs to one sentence. Each score comes with the signature of how it was
computed; scores compare only where the signatures are the same.

  --hypotheses FILE     the translations; - is standard input
  --references FILE...  one or more reference translations of each line
  --lowercase           compare without case
  --tokenize T          BLEU's tokens: 13a (the field's own, the default), none, char
  --smooth S            of orders without a match: exp (the default), floor, add-k, none
  --smooth-value X      of floor (0.1) and add-k (1)
  --effective-order     only the orders that there are: for single sentences
  --json                one JSON object, with every count
  -h, --help            this text
)help";
// clang-format on

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
  command->formatter_fn([](const CLI::App*, std::string, CLI::AppFormatMode) { return kHelp; });
  auto arguments = std::make_shared<Arguments>();
  command->add_option("--hypotheses,--hyp", arguments->hypotheses)->required();
  command->add_option("--references,--ref", arguments->references)->required();
  command->add_flag("--lowercase", arguments->options.lowercase);
  const std::map<std::string, BleuTokens> tokens{
      {"13a", BleuTokens::k13a}, {"none", BleuTokens::kNone}, {"char", BleuTokens::kChar}};
  command->add_option("--tokenize", arguments->options.tokens)
      ->transform(CLI::CheckedTransformer(tokens));
  const std::map<std::string, BleuSmoothing> smoothing{{"exp", BleuSmoothing::kExp},
                                                       {"floor", BleuSmoothing::kFloor},
                                                       {"add-k", BleuSmoothing::kAddK},
                                                       {"none", BleuSmoothing::kNone}};
  command->add_option("--smooth", arguments->options.smoothing)
      ->transform(CLI::CheckedTransformer(smoothing));
  command->add_option("--smooth-value", arguments->options.smooth_value);
  command->add_flag("--effective-order", arguments->options.effective_order);
  command->add_flag("--json", arguments->json);
  command->callback([arguments] { evaluate(*arguments); });
}

}  // namespace fovea::cli
