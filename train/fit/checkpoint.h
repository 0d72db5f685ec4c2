// All that a training needs to go on as if it had never stopped.
#pragma once

#include <optional>
#include <string>

#include "batches.h"
#include "parameters.h"

namespace fovea::fit {

struct State {
  std::int64_t step = 0;
  Place place;
  double seconds = 0;  // spent in training so far
  double best_loss = 1e30;
  std::int64_t validations_without_gain = 0;
};

// Writes FOLDER/checkpoint-STEP.bin and removes all but the newest two.
void save_checkpoint(const std::string& folder, const Parameters& parameters, const State& state);
// Loads the newest whole checkpoint of the folder, if it has one; a broken one is named and passed
// over.
std::optional<State> load_checkpoint(const std::string& folder, Parameters& parameters);
bool has_checkpoint(const std::string& folder);

}  // namespace fovea::fit
