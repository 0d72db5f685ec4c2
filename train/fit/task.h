// What is learnt: the loop of the training (loop.h) knows steps, checkpoints and processes; a task
// knows its model, its loss and how it is measured.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arguments.h"
#include "batches.h"
#include "parameters.h"

namespace fovea::fit {

// This process's part of a step's loss.
struct PartLoss {
  double mean = 0;    // over all processes these sum to the mean loss of the step
  double guided = 0;  // of given alignments
};

class Task {
 public:
  virtual ~Task() = default;

  virtual Parameters& parameters() = 0;
  virtual const Corpus& train() const = 0;
  // How many times this pair of the training data counts in the mean loss of its batch.
  virtual std::int64_t weight(std::int64_t pair) const = 0;
  // Ids of this pair that count for the speed.
  virtual std::int64_t tokens(std::int64_t pair) const = 0;
  virtual bool guided() const { return false; }

  // Adds to the leaves' gradients those of the loss of the pairs `own`; `all`: the weight of the
  // step's whole batch. What drops out follows from `seed` and `step`.
  virtual PartLoss learn(const std::vector<std::int64_t>& own, double all, std::uint64_t seed,
                         std::uint64_t step) = 0;

  // Measures the moving averages on the validation data and says so. Returns the loss that decides
  // which model is kept; nothing where there is no such data. The leaves are as before afterwards.
  virtual std::optional<double> validate(std::int64_t step, double seconds) = 0;

  virtual void write_model(const std::string& folder) = 0;
  virtual void write_logits(const std::string& path) = 0;
  virtual void init_from(const std::string& folder) = 0;
};

// From the ids of the folder that the arguments name. Throws std::runtime_error naming what is
// wrong with it. `arguments` must outlive the task; what the ids decide of its shape is filled in.
std::unique_ptr<Task> make_translate_task(Arguments& arguments, torch::Device device,
                                          torch::ScalarType type);
std::unique_ptr<Task> make_classify_task(Arguments& arguments, torch::Device device,
                                         torch::ScalarType type);

}  // namespace fovea::fit
