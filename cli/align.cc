// fovea align: word alignments of a parallel text, and their error rate against gold.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "app/aligner.h"
#include "app/lines.h"
#include "app/model_path.h"
#include "commands.h"
#include "fovea/alignment.h"
#include "fovea/error.h"
#include "fovea/render.h"
#include "fovea/threads.h"
#include "fovea/translator.h"
#include "output.h"
#include "reading_options.h"

namespace fovea::cli {
namespace {

// clang-format off: the text as it is printed
constexpr const char* kHelp =
    R"help(fovea align: word alignments of a parallel text, read out of the translator's attention

Usage: fovea align SOURCE TARGET [--gold GOLD] [options]

Try it:
  printf 'Le chat noir dort .\n' > a.fr && printf 'The black cat sleeps .\n' > a.en
  fovea align a.fr a.en

Line i of SOURCE and of TARGET belong together; words are what white space separates. Each line out
holds the links "source-target", counted from 0: for every target word the source word that the
model looks at most when it reads that word.

  --gold GOLD      links by hand, a line for each pair: 3-4 sure, 3p4 possible. Prints precision,
                   recall and alignment error rate instead of the links
  --sweep          with --gold: these for every layer, head, step and weighting, best first
  --tokens         the files hold tokens ("l' homme ."): links count these, but the model reads the
                   text as people write it ("l'homme.")
  --model DIR      a MarianMT folder; without it FOVEA_MODEL, else the model that came with fovea
  --layer N        which decoder layer is read (from 1), instead of the model's own choice
  --head N         which head is read (from 1), or mean
  --reading R      input-norm, input-raw, output-norm, output-raw
  --threads T      0, the default: one for each processor
  -h, --help       this text
)help";
// clang-format on

struct Arguments {
  std::string source, target, gold, model;
  ReadingOptions reading;
  int threads = 0;
  bool sweep = false;
  bool tokens = false;
};

struct Scored {
  Reading reading;
  AlignmentCounts counts;
};

std::string score_line(const Scored& scored) {
  char text[160];
  std::snprintf(text, sizeof text, "AER %5.1f  precision %5.1f  recall %5.1f  links %lld  ",
                100 * error_rate_of(scored.counts), 100 * precision_of(scored.counts),
                100 * recall_of(scored.counts), static_cast<long long>(scored.counts.links));
  return text + name_of(scored.reading) + "\n";
}

void check_lengths(const Arguments& arguments, std::size_t source, std::size_t target) {
  if (source != target) {
    throw Error("align: " + arguments.source + " has " + std::to_string(source) + " lines, " +
                arguments.target + " has " + std::to_string(target) +
                "; line i of each must belong together");
  }
}

void align(const Arguments& arguments) {
  const Translator translator = Translator::load(find_model(arguments.model));
  const Reading chosen = reading_of(arguments.reading, translator, "align");
  const std::vector<std::string> source = read_lines(arguments.source);
  const std::vector<std::string> target = read_lines(arguments.target);
  check_lengths(arguments, source.size(), target.size());
  std::vector<GoldLinks> gold;
  if (!arguments.gold.empty()) {
    for (const std::string& line : read_lines(arguments.gold)) gold.push_back(parse_links(line));
    check_lengths(arguments, source.size(), gold.size());
  }
  std::vector<Scored> scores;
  const std::vector<Reading> readings =
      arguments.sweep ? readings_of(translator.info()) : std::vector<Reading>{chosen};
  for (const Reading& reading : readings) scores.push_back({reading, {}});
  Threads threads(arguments.threads);
  for (std::size_t i = 0; i < source.size(); ++i) {
    const auto read = [&](const std::string& line) {
      return arguments.tokens ? joined_text(line) : plain_text(line);
    };
    const WordText from = read(source[i]);
    const WordText to = read(target[i]);
    const PieceAttention pair = translator.attention(from.text, to.text, threads);
    for (Scored& scored : scores) {
      const std::vector<Link> links = align_words(pair, from, to, scored.reading);
      if (gold.empty()) {
        write_out(pharaoh_of(links) + "\n");
      } else {
        scored.counts = scored.counts + count_links(links, gold[i]);
      }
    }
  }
  if (gold.empty()) return;
  std::stable_sort(scores.begin(), scores.end(), [](const Scored& a, const Scored& b) {
    return error_rate_of(a.counts) < error_rate_of(b.counts);
  });
  for (const Scored& scored : scores) write_out(score_line(scored));
}

}  // namespace

void add_align(CLI::App& app) {
  auto* command = app.add_subcommand("align", "word alignments of a parallel text; with gold, AER");
  command->formatter_fn([](const CLI::App*, std::string, CLI::AppFormatMode) { return kHelp; });
  auto arguments = std::make_shared<Arguments>();
  command->add_option("source", arguments->source)->required();
  command->add_option("target", arguments->target)->required();
  command->add_option("--gold", arguments->gold);
  command->add_option("--model", arguments->model);
  command->add_option("--threads", arguments->threads)->check(CLI::Range(0, 4096));
  command->add_flag("--sweep", arguments->sweep);
  command->add_flag("--tokens", arguments->tokens);
  add_reading_options(*command, arguments->reading);
  command->callback([arguments] {
    if (arguments->sweep && arguments->gold.empty()) {
      throw CLI::ValidationError("align: --sweep needs --gold (see fovea align --help)");
    }
    align(*arguments);
  });
}

}  // namespace fovea::cli
