// fovea train: a translator from parallel text, or a reader from labelled text.
#include "app/train.h"

#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "commands.h"
#include "output.h"

namespace fovea::cli {
namespace {

// clang-format off: the text as it is printed
constexpr const char* kHelp =
    R"help(fovea train: a translator from your own parallel text, or a reader from your labelled text

Usage: fovea train PAIRS.tsv [MORE.tsv.gz ...] --out MODEL [options]
       fovea train --task classify LABELLED.tsv [MORE.tsv.gz ...] --out MODEL [options]

A line of PAIRS.tsv is `source TAB target`. The model goes to MODEL as soon as there is one, and a
better one replaces it; MODEL/work keeps ids and checkpoints. Interrupt it (Ctrl-C, power cut) and
go on with --resume: the weights come out the same.

Try it, with any file of pairs, on a small model for a few minutes:
  fovea train pairs.tsv --out my-model --width 128 --ffn 512 --steps 2000 --decay-steps 500
  fovea train --out my-model --resume --steps 4000
  fovea translate --model my-model "..."

The shipped model (fr+de-en), in about 100 minutes on one core with bfloat16:
  fovea train fr-en.train.tsv.gz de-en.train.tsv.gz --valid fr-en.valid.tsv.gz de-en.valid.tsv.gz
              --out fr+de-en --source-lang fr+de --target-lang en --typographic 0.1
              --batch-tokens 1600 --warmup 600 --steps 5600 --decay-steps 1700 --threads 1
(its card, models/fr+de-en/README.md, has the rest)

A reader: a line of LABELLED.tsv is `label TAB text`; its options stand under A reader below.
  printf 'good\ta fine day\nbad\ta poor day\n' > days.tsv
  fovea train --task classify days.tsv --valid days.tsv --out days --vocab 40 --steps 20
  fovea classify --model days "a fine day"

Text
  --valid FILE ...        pairs to measure with; else a hundredth of the targets is held back
  --source F --target F   two files aligned by line, instead of PAIRS.tsv
  --valid-source F --valid-target F
  --vocab 8000            pieces in the vocabulary, which both languages share
  --max-length 200        longest side in pieces; longer pairs are left out
  --join P                share of the pairs, in every text, that is joined into long ones of 2 to 8
                          (0); --join-seed 1 draws them
  --test FILE ...         text to measure with later: MODEL/work/ids/test.source and test.target
  --guided-alignment F ...   links between words ("0-0 1-2", as fovea align writes them), a line
                          for each training pair, which the first head of a cross-attention is to
                          follow
  --typographic P         share of the sources with ' that get the typographic apostrophe (0)
  --source-lang, --target-lang   names for the model's folder
Model
  --width 256  --heads 4  --ffn 1024  --encoder-layers 4  --decoder-layers 3
  --context attention|mean   mean: the decoder sees the plain mean of the source, to compare
  --init-from FOLDER      start from a model of the same shape, and with its vocabulary
Training
  --steps 20000           in all; --warmup 1000 of them rising, the last --decay-steps 4000 falling
  --guided-alignment-weight 0.1   of the loss for that; --guided-alignment-layer N: which (the last)
  --rate 0.001  --batch-tokens 3000  --dropout 0.1  --smoothing 0.1  --clip 1  --average 0.9995
  --valid-every 500  --checkpoint-every 200  --patience N  --time-limit SECONDS  --seed 1
  --device cpu|cuda  --precision auto|fp32|bf16  --threads N
  --resume                go on; options stay as they were, except those given again
  --stage prepare|fit     only text to ids (no PyTorch needed), or only ids to weights: MODEL/work
                          may move to another machine in between. Several processes, each with a
                          batch of its own: torchrun --no-python --nproc-per-node 2 -- fovea-fit
                          --ids MODEL/work/ids --run MODEL/work/run --model MODEL ...
A reader (--task classify): its encoder reads windows of --positions pieces, its pooling reads all
  --pooling attention|mean   mean: the pooling asks with zeros, so it is the plain mean, to compare
  --hold-out 0.05         share of the texts to measure with, where --valid is not given (0: none)
  --query-rate 10         the pooling's query learns at so many times --rate
  --piece-dropout 0.1     share of the pieces that are left out, at random, in training
  --width 64  --heads 4  --ffn 256  --encoder-layers 2  --positions 128  --steps 1500  --warmup 100
  --decay-steps 1000  --batch-tokens 8000  --average 0.99  --valid-every 250
                          the defaults that differ; --vocab and what stands under Training as above
Else
  --json                  events to standard output, one JSON object a line
  -h, --help              this text

The fitting needs the trainer, fovea-fit: `./run trainer` in the source tree builds it.
)help";
// clang-format on

// Of text to ids, of ids to weights, and those that both stages take.
const std::vector<std::string> kReaderPrepareOptions = {"vocab", "hold-out", "positions"};
const std::vector<std::string> kReaderOptions = {"hold-out", "pooling", "query-rate",
                                                 "piece-dropout"};
const std::vector<std::string> kReaderFitOptions = {"pooling", "query-rate", "piece-dropout"};
const std::vector<std::string> kPrepareOptions = {"vocab",     "max-length",  "typographic", "join",
                                                  "join-seed", "source-lang", "target-lang"};
const std::vector<std::string> kFitOptions = {"width",
                                              "heads",
                                              "ffn",
                                              "encoder-layers",
                                              "decoder-layers",
                                              "positions",
                                              "context",
                                              "init-from",
                                              "steps",
                                              "warmup",
                                              "decay-steps",
                                              "rate",
                                              "batch-tokens",
                                              "dropout",
                                              "smoothing",
                                              "clip",
                                              "guided-alignment-weight",
                                              "guided-alignment-layer",
                                              "average",
                                              "valid-every",
                                              "checkpoint-every",
                                              "log-every",
                                              "patience",
                                              "time-limit",
                                              "seed",
                                              "threads",
                                              "device",
                                              "precision",
                                              "weights"};

struct Arguments {
  TrainRequest request;
  std::string task = "translate";
  std::map<std::string, std::string> handed_on;
  bool json = false;
};

std::string left(double seconds) {
  const long minutes = static_cast<long>(seconds / 60 + 0.5);
  if (minutes < 1) return "less than a minute";
  if (minutes < 60) return std::to_string(minutes) + " min";
  return std::to_string(minutes / 60) + " h " + std::to_string(minutes % 60) + " min";
}

// One line that is written over and over on a terminal; validations and samples stay.
class Screen : public TrainListener {
 public:
  void progress(const TrainProgress& p) override {
    if (!terminal_) return;
    char line[160];
    std::snprintf(line, sizeof line,
                  "step %lld/%lld  epoch %.2f  loss %.3f  %.0f tokens/s  %s left",
                  static_cast<long long>(p.step), static_cast<long long>(p.steps), p.epoch, p.loss,
                  p.tokens_per_second, left(p.seconds_left).c_str());
    std::cerr << "\r\033[K" << line << std::flush;
  }
  explicit Screen(TrainTask task) : task_(task) {}
  void validation(const TrainValidation& v) override {
    char line[160];
    if (task_ == TrainTask::kClassify) {
      std::snprintf(line, sizeof line, "step %lld: loss %.3f, %.1f %% right\n",
                    static_cast<long long>(v.step), v.loss, 100 * v.accuracy);
      clear();
      std::cerr << line;
      return;
    }
    std::snprintf(line, sizeof line, "step %lld: loss %.3f, BLEU %.2f, chrF %.2f (greedy)\n",
                  static_cast<long long>(v.step), v.loss, v.bleu, v.chrf);
    clear();
    std::cerr << line;
  }
  void sample(const TrainSample& s) override {
    clear();
    std::cerr << "  source     " << s.source << "\n  hypothesis " << s.hypothesis
              << "\n  reference  " << s.reference << "\n";
  }
  void clear() {
    if (terminal_) std::cerr << "\r\033[K";
  }

 private:
  TrainTask task_;
  bool terminal_ = ::isatty(STDERR_FILENO) != 0;
};

class JsonLines : public TrainListener {
 public:
  explicit JsonLines(TrainTask task) : task_(task) {}
  void progress(const TrainProgress& p) override {
    say({{"event", "progress"},
         {"step", p.step},
         {"steps", p.steps},
         {"epoch", p.epoch},
         {"loss", p.loss},
         {"tokens_per_second", p.tokens_per_second},
         {"seconds_left", p.seconds_left}});
  }
  void validation(const TrainValidation& v) override {
    if (task_ == TrainTask::kClassify) {
      return say(
          {{"event", "validation"}, {"step", v.step}, {"loss", v.loss}, {"accuracy", v.accuracy}});
    }
    say({{"event", "validation"},
         {"step", v.step},
         {"loss", v.loss},
         {"bleu", v.bleu},
         {"chrf", v.chrf}});
  }
  void sample(const TrainSample& s) override {
    say({{"event", "sample"},
         {"step", s.step},
         {"source", s.source},
         {"reference", s.reference},
         {"hypothesis", s.hypothesis}});
  }

 private:
  static void say(const nlohmann::ordered_json& event) { write_out(event.dump() + "\n"); }

  TrainTask task_;
};

[[noreturn]] void misuse(const std::string& text) {
  throw CLI::ValidationError("train: " + text + " (see fovea train --help)");
}

// An option of the other task would be passed over in silence.
void refuse_foreign(const Arguments& arguments, bool reads) {
  const auto given = [&](const std::string& name) {
    const auto found = arguments.handed_on.find(name);
    return found != arguments.handed_on.end() && !found->second.empty();
  };
  const std::vector<std::string> translators = {"max-length",     "typographic", "join",
                                                "join-seed",      "source-lang", "target-lang",
                                                "decoder-layers", "context"};
  for (const std::string& name : reads ? translators : kReaderOptions) {
    if (given(name)) {
      misuse("--" + name + " is for " + (reads ? "a translator" : "a reader (--task classify)"));
    }
  }
}

void prepare(Arguments& arguments) {
  TrainRequest& request = arguments.request;
  if (request.out.empty()) misuse("--out MODEL is missing");
  if (arguments.task != "translate" && arguments.task != "classify") {
    misuse("--task is translate or classify, not '" + arguments.task + "'");
  }
  const bool reads = arguments.task == "classify";
  if (reads) request.task = TrainTask::kClassify;
  if (request.stage != "all" && request.stage != "prepare" && request.stage != "fit") {
    misuse("--stage is prepare or fit, not '" + request.stage + "'");
  }
  if (request.train.empty() && request.source.empty() && !request.resume &&
      request.stage != "fit") {
    misuse(reads ? "no text to train on: give LABELLED.tsv"
                 : "no text to train on: give PAIRS.tsv, or --source and --target");
  }
  auto hand_on = [&](const std::vector<std::string>& names, std::vector<std::string>& words) {
    for (const std::string& name : names) {
      const auto given = arguments.handed_on.find(name);
      if (given == arguments.handed_on.end() || given->second.empty()) continue;
      words.push_back("--" + name);
      words.push_back(given->second);
    }
  };
  hand_on(reads ? kReaderPrepareOptions : kPrepareOptions, request.prepare_options);
  hand_on(kFitOptions, request.fit_options);
  if (reads) hand_on(kReaderFitOptions, request.fit_options);
  refuse_foreign(arguments, reads);
  if (const std::string& from = arguments.handed_on["init-from"]; !from.empty()) {
    request.prepare_options.insert(request.prepare_options.end(), {"--vocab-from", from});
  }
}

void train_command(const Arguments& arguments) {
  const bool reads = arguments.request.task == TrainTask::kClassify;
  Screen screen(arguments.request.task);
  JsonLines lines(arguments.request.task);
  const bool complete =
      train(arguments.request, arguments.json ? static_cast<TrainListener&>(lines) : screen);
  screen.clear();
  if (arguments.request.stage == "prepare") {
    std::cerr << "prepared: " << arguments.request.out << "/work/ids; next: --stage fit\n";
  } else if (complete) {
    std::cerr << "done. Try: fovea " << (reads ? "classify" : "translate") << " --model "
              << arguments.request.out << " ...\n";
  } else {
    std::cerr << "stopped. Go on: fovea train " << (reads ? "--task classify " : "") << "--out "
              << arguments.request.out << " --resume\n";
  }
}

}  // namespace

void add_train(CLI::App& app) {
  CLI::App* command = app.add_subcommand("train", "a translator or a reader from your own text");
  command->formatter_fn([](const CLI::App*, std::string, CLI::AppFormatMode) { return kHelp; });
  auto arguments = std::make_shared<Arguments>();
  TrainRequest& request = arguments->request;
  command->add_option("--task", arguments->task);
  command->add_option("pairs", request.train);
  command->add_option("--valid", request.valid);
  command->add_option("--test", request.test);
  command->add_option("--guided-alignment", request.guided_alignment);
  command->add_option("--source", request.source);
  command->add_option("--target", request.target);
  command->add_option("--valid-source", request.valid_source);
  command->add_option("--valid-target", request.valid_target);
  command->add_option("--out", request.out);
  command->add_option("--stage", request.stage);
  command->add_flag("--resume", request.resume);
  command->add_flag("--json", arguments->json);
  for (const auto* names : {&kPrepareOptions, &kFitOptions, &kReaderOptions}) {
    for (const std::string& name : *names) {
      command->add_option("--" + name, arguments->handed_on[name]);
    }
  }
  command->callback([arguments] {
    prepare(*arguments);
    train_command(*arguments);
  });
}

}  // namespace fovea::cli
