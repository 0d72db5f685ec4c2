// The command line of fovea-fit.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "adam.h"
#include "shape.h"

namespace fovea::fit {

enum class TaskKind { kTranslate, kClassify };

struct Arguments {
  TaskKind task = TaskKind::kTranslate;
  std::string ids, run, model, init_from, export_to, logits;
  bool resume = false;
  Shape shape;
  AdamOptions adam;
  double rate = 1e-3, dropout = 0.1, smoothing = 0.1;
  double piece_dropout = 0;  // share of the pieces that a reader does not see in training
  double query_pace = 1;     // rate of a reader's query, in rates of the others
  std::int64_t steps = 20000, warmup = 1000, decay_steps = 4000;
  std::int64_t batch_tokens = 3000;
  std::int64_t valid_every = 500, checkpoint_every = 200, log_every = 20;
  int patience = 0;  // validations without gain before an early stop; 0 never stops
  double time_limit = 0;
  double guided_weight = -1;  // -1: 0.1 if there are alignments
  int guided_layer = 0;       // from 1; 0: the last
  std::uint64_t seed = 1;
  int threads = 0;
  std::string device = "cpu", precision = "auto";
  bool half = true, plain = false;
};

struct Misuse : std::runtime_error {
  using std::runtime_error::runtime_error;
};

extern const char kHelp[];
Arguments parse_arguments(const std::vector<std::string>& words);

}  // namespace fovea::fit
