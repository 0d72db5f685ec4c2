// A translator from parallel text, or a reader from labelled text: runs fovea-prepare (text to ids)
// and fovea-fit (ids to weights), and turns what fit says into text and scores.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace fovea {

enum class TrainTask {
  kTranslate,
  kClassify,
};

struct TrainRequest {
  TrainTask task = TrainTask::kTranslate;
  std::vector<std::string> train, valid, test;  // .tsv, .tsv.gz
  std::vector<std::string> guided_alignment;    // links between words, a line for each pair
  std::string source, target, valid_source, valid_target;
  std::string out;            // gets the model; its folder work/ the ids and checkpoints
  std::string stage = "all";  // prepare: ids only; fit: from ids that are there
  bool resume = false;
  std::vector<std::string> prepare_options, fit_options;  // words handed on
};

struct TrainProgress {
  std::int64_t step = 0, steps = 0;
  double epoch = 0, loss = 0, tokens_per_second = 0, seconds_left = 0;
};

struct TrainValidation {
  std::int64_t step = 0;
  double loss = 0;  // nats a piece, or a text of a reader
  double bleu = 0, chrf = 0;  // of a translator
  double accuracy = 0;        // of a reader: share of the validation texts with the right label
};

struct TrainSample {
  std::int64_t step = 0;
  std::string source, reference, hypothesis;
};

class TrainListener {
 public:
  virtual ~TrainListener() = default;
  virtual void progress(const TrainProgress& progress) = 0;
  virtual void validation(const TrainValidation& validation) = 0;
  virtual void sample(const TrainSample& sample) = 0;
};

// True when the training came to its end; false when it was stopped and can be resumed. Throws
// Error when a tool is missing or fails.
bool train(const TrainRequest& request, TrainListener& listener);

}  // namespace fovea
