#include "app/train.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "app/child.h"
#include "app/lines.h"
#include "base/file.h"
#include "fovea/error.h"
#include "fovea/metrics.h"
#include "fovea/tokenizer.h"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::string tool(const std::string& name, const char* variable, const std::string& cure) {
  const std::string path = find_tool(name, variable);
  if (path.empty()) throw Error("train: " + name + " is not here: " + cure);
  return path;
}

void append(std::vector<std::string>& words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
}

void run_prepare(const TrainRequest& request, const std::string& ids) {
  std::vector<std::string> words = {
      tool("fovea-prepare", "FOVEA_PREPARE", "it is built and installed with fovea"), "--out", ids};
  if (request.task == TrainTask::kClassify) append(words, {"--task", "classify"});
  auto files = [&](const char* option, const std::vector<std::string>& paths) {
    if (paths.empty()) return;
    words.push_back(option);
    append(words, paths);
  };
  auto file = [&](const char* option, const std::string& path) {
    if (!path.empty()) append(words, {option, path});
  };
  files("--train", request.train);
  files("--valid", request.valid);
  files("--test", request.test);
  files("--guided-alignment", request.guided_alignment);
  file("--source", request.source);
  file("--target", request.target);
  file("--valid-source", request.valid_source);
  file("--valid-target", request.valid_target);
  append(words, request.prepare_options);
  const int status = run_child(words, [](const std::string&) {});
  if (status != 0) throw Error("train: the text could not be prepared; the reason stands above");
}

std::string decoded(const MarianTokenizer& tokenizer, const std::vector<std::int32_t>& ids) {
  return tokenizer.decode(ids).text;
}

// What fit says, with the validation text that its ids stand for.
class Interpreter {
 public:
  Interpreter(TrainTask task, const std::string& ids, TrainListener& listener)
      : listener_(listener) {
    if (task == TrainTask::kClassify) return;  // a reader's numbers speak for themselves
    tokenizer_ = MarianTokenizer::load(ids);
    sources_ = read_lines(ids + "/valid.source");
    references_ = read_lines(ids + "/valid.target");
  }

  void take(const std::string& line) {
    const Json event = Json::parse(line, nullptr, false);
    if (!event.is_object()) return;
    const std::string kind = event.value("event", "");
    if (kind == "progress") progress(event);
    if (kind == "valid") validation(event);
    if (kind == "sample") sample(event);
    if (kind == "end") complete_ = event.value("complete", 0) != 0;
  }
  bool complete() const { return complete_; }

 private:
  void progress(const Json& event) {
    TrainProgress p;
    p.step = event.value("step", std::int64_t{0});
    p.steps = event.value("steps", std::int64_t{0});
    p.epoch = event.value("epoch", 0.0);
    p.loss = event.value("loss", 0.0);
    p.tokens_per_second = event.value("tokens_per_second", 0.0);
    p.seconds_left = event.value("eta", 0.0);
    listener_.progress(p);
  }

  void validation(const Json& event) {
    TrainValidation v;
    v.step = event.value("step", std::int64_t{0});
    v.loss = event.value("loss", 0.0);
    v.accuracy = event.value("accuracy", 0.0);
    if (!tokenizer_) return listener_.validation(v);
    std::vector<std::string> hypotheses;
    for (const std::string& line : read_lines(event.value("hypotheses", ""))) {
      std::istringstream numbers(line);
      std::vector<std::int32_t> ids;
      for (std::int32_t id; numbers >> id;) ids.push_back(id);
      hypotheses.push_back(decoded(*tokenizer_, ids));
    }
    const std::vector<std::vector<std::string>> references = {references_};
    v.bleu = bleu(hypotheses, references).score;
    v.chrf = chrf(hypotheses, references).score;
    listener_.validation(v);
  }

  void sample(const Json& event) {
    const auto pair = event.value("pair", std::size_t{0});
    if (!tokenizer_ || pair >= sources_.size() || pair >= references_.size()) return;
    listener_.sample({event.value("step", std::int64_t{0}), sources_[pair], references_[pair],
                      decoded(*tokenizer_, event.value("hypothesis", std::vector<std::int32_t>()))});
  }

  std::optional<MarianTokenizer> tokenizer_;  // of a translator
  std::vector<std::string> sources_, references_;
  TrainListener& listener_;
  bool complete_ = false;
};

// The options of the first start lie beside the checkpoints, so that resuming needs none of them;
// what is given again counts more, for it comes later.
std::vector<std::string> remembered(const TrainRequest& request, const std::string& path) {
  std::vector<std::string> words;
  if (request.resume && fs::exists(path)) words = read_lines(path);
  append(words, request.fit_options);
  std::string text;
  for (const std::string& word : words) text += word + "\n";
  write_file(path, text);
  return words;
}

}  // namespace

bool train(const TrainRequest& request, TrainListener& listener) {
  const std::string work = request.out + "/work", ids = work + "/ids";
  // Before an hour of preparing: is there a trainer at all?
  std::string fit;
  if (request.stage != "prepare") {
    fit = tool("fovea-fit", "FOVEA_FIT",
               "`./run trainer` in fovea's source tree builds it (and fetches PyTorch), or name it "
               "with FOVEA_FIT=/path/to/fovea-fit");
  }
  const bool prepared = fs::exists(ids + "/train.ids");
  if (!request.resume && prepared && request.stage != "fit") {
    throw Error(request.out + ": holds a training already; --resume goes on with it");
  }
  if (!prepared && request.stage == "fit") {
    throw Error(ids + ": no train.ids; --stage prepare writes it");
  }
  const bool of_labels = fs::exists(ids + "/labels.txt");
  if (prepared && of_labels != (request.task == TrainTask::kClassify)) {
    throw Error(ids + ": holds the ids of a " + (of_labels ? "reader; give --task classify" : "translator; leave out --task classify"));
  }
  if (!prepared) run_prepare(request, ids);
  if (request.stage == "prepare") return true;

  std::vector<std::string> words = {fit,           "--ids",   ids,        "--run",
                                    work + "/run", "--model", request.out};
  if (request.task == TrainTask::kClassify) append(words, {"--task", "classify"});
  if (request.resume) words.push_back("--resume");
  append(words, remembered(request, work + "/options.txt"));
  Interpreter interpreter(request.task, ids, listener);
  const int status = run_child(words, [&](const std::string& line) { interpreter.take(line); });
  if (status != 0) {
    throw Error("train: fovea-fit ended with status " + std::to_string(status) +
                (status > 128 ? "; --resume goes on from its last checkpoint"
                              : "; the reason stands above"));
  }
  return interpreter.complete();
}

}  // namespace fovea
