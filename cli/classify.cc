// fovea classify: texts in, their labels and the words that decided out.
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "app/lines.h"
#include "app/model_path.h"
#include "commands.h"
#include "fovea/classifier.h"
#include "fovea/render.h"
#include "fovea/threads.h"
#include "output.h"
#include "terminal.h"
#include "text_input.h"

namespace fovea::cli {
namespace {

// clang-format off: the text as it is printed
constexpr const char* kHelp =
    R"help(fovea classify: what a text says of its subject, good or bad, and which words say so

Usage: fovea classify [options] [TEXT | FILE | -]

Try it:
  fovea classify "A warm, funny film that never runs out of ideas."
  fovea classify --highlight "The plot is dull, but the music saves it."
  fovea classify --whole review.txt
  cut -f 2 reviews.tsv | fovea classify - > labels.txt

A name of a file is read as a file, anything else is text; - is standard input, and so is nothing.
Each line is a text, and one line comes out for it: its label, a tab, and the label's probability
(which is what the model says, not how often it is right). A line without words gives an empty
line. However long a text is, all of it is read: the encoder in windows, the pooling as a whole.

The model
  --model DIR      a BERT folder that fovea train --task classify wrote; without it FOVEA_MODEL,
                   else the reader that came with fovea (English film reviews: positive, negative)
  --whole          all of the input is one text
  --batch N        texts read together (64); changes speed and memory only
  --threads T      0, the default: one for each processor
Output
  --highlight      the text, its words the stronger the more of the pooling attention they have; the
                   words that have most, and what each adds to the label's score (or takes from it)
  --json           one JSON object a line, with all of it (docs/classify.md)
  --color WHEN     auto, always, never; auto: on a terminal, unless NO_COLOR is set
  -h, --help       this text
)help";
// clang-format on

struct Arguments {
  std::vector<std::string> text;
  std::string model;
  std::string color = "auto";
  int batch = 64;
  int threads = 0;
  bool whole = false;
  bool highlight = false;
  bool json = false;
};

[[noreturn]] void misuse(const std::string& text) {
  throw CLI::ValidationError("classify: " + text + " (see fovea classify --help)");
}

std::string line_of(const Classification& one) {
  if (one.labels.empty()) return "\n";
  char probability[32];
  std::snprintf(probability, sizeof probability, "\t%.4f\n", one.labels[0].probability);
  return one.labels[0].label + probability;
}

std::vector<std::string> joined(TextInput& input, std::size_t most) {
  std::string text;
  for (std::vector<std::string> lines = input.next(most); !lines.empty();
       lines = input.next(most)) {
    for (const std::string& line : lines) text += line + '\n';
  }
  if (!text.empty()) text.pop_back();
  return {text};
}

void classify(const Arguments& arguments) {
  const Classifier classifier =
      Classifier::load(find_model(arguments.model, ModelKind::kReader));
  TextInput input(arguments.text, "classify");
  Threads threads(arguments.threads);
  TerminalStyle style;
  style.colors = colors_of_output(arguments.color);
  style.width = width_of_output();
  const auto batch = static_cast<std::size_t>(arguments.batch);
  std::size_t done = 0;
  for (;;) {
    const std::vector<std::string> texts =
        arguments.whole ? joined(input, batch) : input.next(batch);
    if (texts.empty()) return;
    for (std::size_t i = 0; i < texts.size(); ++i) check_utf8(texts[i], input.name(), done + i + 1);
    for (const Classification& one : classifier.classify(texts, threads)) {
      if (arguments.json) {
        write_out(json_of(one) + "\n");
      } else if (arguments.highlight) {
        write_out((done > 0 ? "\n" : "") + terminal_of(one, style));
      } else {
        write_out(line_of(one));
      }
      ++done;
    }
    if (arguments.whole) return;
  }
}

void check(const Arguments& arguments) {
  if (arguments.text.size() > 1) {
    misuse("expected one text or file, found " + std::to_string(arguments.text.size()) +
           "; put the text in quotes");
  }
  if (arguments.highlight && arguments.json) {
    misuse("--highlight and --json are two forms of output: take one; --json has all");
  }
}

}  // namespace

void add_classify(CLI::App& app) {
  auto* command = app.add_subcommand("classify", "texts in, labels out; which words decided");
  command->formatter_fn([](const CLI::App*, std::string, CLI::AppFormatMode) { return kHelp; });
  auto arguments = std::make_shared<Arguments>();
  command->add_option("text", arguments->text);
  command->add_option("--model", arguments->model);
  command->add_option("--batch", arguments->batch)->check(CLI::Range(1, 4096));
  command->add_option("--threads", arguments->threads)->check(CLI::Range(0, 4096));
  command->add_option("--color", arguments->color)
      ->check(CLI::IsMember({"auto", "always", "never"}));
  command->add_flag("--whole", arguments->whole);
  command->add_flag("--highlight", arguments->highlight);
  command->add_flag("--json", arguments->json);
  command->callback([arguments] {
    check(*arguments);
    classify(*arguments);
  });
}

}  // namespace fovea::cli
