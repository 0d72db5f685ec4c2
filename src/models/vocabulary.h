// From hidden states to the best next ids: logits, log-softmax, rules and selection in one pass
// over the vocabulary, a block at a time, so that the logits of a step are never stored whole.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fovea/threads.h"
#include "models/rules.h"
#include "models/transformer.h"

namespace fovea {

struct NextId {
  std::int32_t id = 0;
  double log_prob = 0;
};

// For each row of hidden [rows, d]: the `keep` best ids under its rules, descending, fewer when
// fewer are allowed. log_prob is that of the model, as transformers counts it: banned ids keep
// their share unless the config says to renormalize. A row whose logits are not all finite or -inf
// has an id of -1.
std::vector<std::vector<NextId>> best_next(const Model& model, std::span<const float> hidden,
                                           std::span<const Rules> rules, int keep,
                                           Threads& threads);

// Plain logits, [rows, V].
std::vector<float> logits_of(const Model& model, std::span<const float> hidden, Threads& threads);

}  // namespace fovea
