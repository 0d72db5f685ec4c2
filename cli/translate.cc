// fovea translate: lines of text in, translations and what the model looked at out.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "app/lines.h"
#include "app/model_path.h"
#include "base/file.h"
#include "commands.h"
#include "fovea/error.h"
#include "fovea/render.h"
#include "fovea/text.h"
#include "fovea/threads.h"
#include "fovea/translator.h"
#include "output.h"
#include "reading_options.h"
#include "terminal.h"
#include "text_input.h"

namespace fovea::cli {
namespace {

// clang-format off: the text as it is printed
constexpr const char* kHelp =
    R"help(fovea translate: lines of text in, their translations out, and what the model looked at

Usage: fovea translate [options] [TEXT | FILE | -]

Try it:
  fovea translate "Je ne sais pas pourquoi il pleut."
  fovea translate --highlight "Warum hast du gestern nicht angerufen?"
  fovea translate --alignment < news.fr > news.en

A name of a file is read as a file, anything else is text; - is standard input, and so is nothing.
One line comes out for each line that goes in. Text that is too long for the model is cut at
sentence ends, else at clauses, else at spaces, its parts are translated one by one, and a word on
standard error says so.

The model
  --model DIR      a MarianMT folder; without it FOVEA_MODEL, else the model that came with fovea
  --beam N         hypotheses kept in the search (the model's own number, mostly 4); 1 is greedy
  --batch N        sentences translated together (32); changes speed and memory only
  --threads T      0, the default: one for each processor
What it looked at
  --highlight      under the translation, for each of its words, the words that the model looked at
                   and their shares, the stronger the deeper the colour
  --alignment      after each line " ||| 0-0 1-2": for each word of the translation (right) the
                   source word (left) that it looked at most; words are counted from 0
  --layer N        which decoder layer is read (from 1), instead of the model's own choice
  --head N         which head is read (from 1), or mean
  --reading R      input-norm, input-raw, output-norm, output-raw: the row where the word is the
                   decoder's input or its output; weights alone, or times the size of the value
                   that they bring
Output
  --n-best N       the N best of the beam, each as "line ||| text ||| score"; lines from 0
  --json           one JSON object a line, with all of it (docs/record.md)
  --svg FILE       also a picture of the first line and its links
  --color WHEN     auto, always, never; auto: on a terminal, unless NO_COLOR is set
  -h, --help       this text
)help";
// clang-format on

struct Arguments {
  std::vector<std::string> text;
  std::string model;
  ReadingOptions reading;
  std::string svg;
  std::string color = "auto";
  int beam = 0;
  int n_best = 0;
  int batch = 32;
  int threads = 0;
  bool highlight = false;
  bool alignment = false;
  bool json = false;
};

volatile std::sig_atomic_t interrupted = 0;

void on_interrupt(int) { interrupted = 1; }

// The first Ctrl-C ends after the lines that are finished; a second one ends at once.
void watch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  ::sigaction(SIGINT, &action, nullptr);
}

[[noreturn]] void misuse(const std::string& text) {
  throw CLI::ValidationError("translate: " + text + " (see fovea translate --help)");
}

void say(const std::string& text) { std::cerr << "fovea translate: " << text << "\n"; }

// How fast it goes, on a terminal, where nothing else is printed.
class Progress {
 public:
  Progress() : shown_(errors_are_terminal() && !output_is_terminal()) {}
  ~Progress() {
    if (drawn_) std::fputs("\r\x1b[K", stderr);
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void draw(std::size_t lines) {
    const auto now = std::chrono::steady_clock::now();
    if (!shown_ || now - last_ < std::chrono::milliseconds(200)) return;
    last_ = now;
    const double seconds = std::chrono::duration<double>(now - begin_).count();
    std::fprintf(stderr, "\r%zu lines, %.1f a second\x1b[K", lines,
                 static_cast<double>(lines) / seconds);
    drawn_ = true;
  }

 private:
  bool shown_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point last_ = begin_;
};

std::string score_text(double score) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4f", score);
  return text;
}

class Writer {
 public:
  explicit Writer(const Arguments& arguments) : arguments_(arguments) {
    style_.colors = colors_of_output(arguments.color);
    style_.width = width_of_output();
  }

  void write(const Translation& translation, std::size_t line) {
    write_out(text_of(translation, line));
    if (!arguments_.svg.empty() && !translation.target_words.empty()) draw(translation, line);
  }

 private:
  std::string text_of(const Translation& translation, std::size_t line) const {
    if (arguments_.json) return json_of(translation) + "\n";
    if (arguments_.highlight) return (line > 0 ? "\n" : "") + terminal_of(translation, style_);
    if (arguments_.n_best > 0) {
      std::string text;
      for (const Hypothesis& one : translation.hypotheses) {
        text += std::to_string(line) + " ||| " + one.text + " ||| " + score_text(one.score) + "\n";
      }
      return text;
    }
    std::string text = translation.hypotheses[0].text;
    if (arguments_.alignment) text += " ||| " + pharaoh_of(translation.alignment);
    return text + "\n";
  }
  void draw(const Translation& translation, std::size_t line) {
    if (!drawn_) {
      write_file(arguments_.svg, svg_of(translation));
      drawn_ = true;
    } else if (!said_) {
      say("line " + std::to_string(line + 1) + " and what follows are not in " + arguments_.svg +
          ", which shows the first line only");
      said_ = true;
    }
  }

  const Arguments& arguments_;
  TerminalStyle style_;
  bool drawn_ = false;
  bool said_ = false;
};

// What the reader should know of a line; the first of each kind one by one, then only how many.
class Warnings {
 public:
  explicit Warnings(int longest_source) : longest_source_(longest_source) {}
  ~Warnings() {
    if (cut_ > kMost) say(std::to_string(cut_ - kMost) + " more reached the longest output");
    if (split_ > kMost) say(std::to_string(split_ - kMost) + " more were translated in parts");
  }
  Warnings(const Warnings&) = delete;
  Warnings& operator=(const Warnings&) = delete;

  void look_at(const Translation& translation, std::size_t line) {
    const std::string where = "line " + std::to_string(line + 1) + " ";
    if (translation.parts.size() > 1 && ++split_ <= kMost) {
      say(where + "is longer than the " + std::to_string(longest_source_) +
          " pieces that the model takes: translated in " +
          std::to_string(translation.parts.size()) + " parts");
    }
    if (translation.hypotheses[0].cut && ++cut_ <= kMost) {
      say(where + "has a translation that reached the longest output; its end may be missing");
    }
  }

 private:
  static constexpr int kMost = 5;
  int longest_source_;
  int split_ = 0;
  int cut_ = 0;
};

void translate(const Arguments& arguments) {
  const Translator translator = Translator::load(find_model(arguments.model));
  TranslateOptions options;
  if (arguments.beam > 0) options.search.beams = arguments.beam;
  options.search.n_best = std::max(arguments.n_best, 1);
  options.batch = arguments.batch;
  options.attention =
      arguments.highlight || arguments.alignment || arguments.json || !arguments.svg.empty();
  options.reading = reading_of(arguments.reading, translator, "translate");
  const int beams = options.search.beams.value_or(translator.info().beams);
  if (options.search.n_best > beams) {
    misuse("--n-best is " + std::to_string(options.search.n_best) + ", but the beam keeps only " +
           std::to_string(beams));
  }
  TextInput input(arguments.text, "translate");
  Threads threads(arguments.threads);
  Writer writer(arguments);
  Progress progress;
  Warnings warnings(translator.longest_source());
  std::size_t done = 0;
  watch_interrupts();
  options.progress = [&](std::size_t, std::size_t) { return interrupted == 0; };
  // Enough lines at a time to find neighbours of one length for every batch.
  const std::size_t window = 8 * static_cast<std::size_t>(arguments.batch);
  try {
    for (;;) {
      const std::vector<std::string> lines = input.next(window);
      if (lines.empty()) return;
      for (std::size_t i = 0; i < lines.size(); ++i)
        check_utf8(lines[i], input.name(), done + i + 1);
      for (const Translation& one : translator.translate(lines, options, threads)) {
        writer.write(one, done);
        warnings.look_at(one, done);
        progress.draw(++done);
      }
    }
  } catch (const Error&) {
    if (interrupted == 0) throw;
    throw Error("translate: interrupted after " + std::to_string(done) + " lines");
  }
}

void check(const Arguments& arguments) {
  if (arguments.text.size() > 1) {
    misuse("expected one text or file, found " + std::to_string(arguments.text.size()) +
           "; put the text in quotes");
  }
  const int forms = (arguments.highlight ? 1 : 0) + (arguments.alignment ? 1 : 0) +
                    (arguments.n_best > 0 ? 1 : 0);
  if (forms > 1 && !arguments.json) {
    misuse(
        "--highlight, --alignment and --n-best are three forms of output: take one, or --json, "
        "which has all");
  }
}

}  // namespace

void add_translate(CLI::App& app) {
  auto* command = app.add_subcommand("translate", "lines of text in, translations out; highlights");
  command->formatter_fn([](const CLI::App*, std::string, CLI::AppFormatMode) { return kHelp; });
  auto arguments = std::make_shared<Arguments>();
  command->add_option("text", arguments->text);
  command->add_option("--model", arguments->model);
  command->add_option("--beam", arguments->beam)->check(CLI::Range(1, 256));
  command->add_option("--n-best", arguments->n_best)->check(CLI::Range(1, 256));
  command->add_option("--batch", arguments->batch)->check(CLI::Range(1, 4096));
  command->add_option("--threads", arguments->threads)->check(CLI::Range(0, 4096));
  add_reading_options(*command, arguments->reading);
  command->add_option("--svg", arguments->svg);
  command->add_option("--color", arguments->color)
      ->check(CLI::IsMember({"auto", "always", "never"}));
  command->add_flag("--highlight", arguments->highlight);
  command->add_flag("--alignment", arguments->alignment);
  command->add_flag("--json", arguments->json);
  command->callback([arguments] {
    check(*arguments);
    translate(*arguments);
  });
}

}  // namespace fovea::cli
