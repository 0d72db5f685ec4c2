// Greedy translation, to watch a training: quick, not the search that users get.
#pragma once

#include <vector>

#include "batches.h"
#include "model.h"

namespace fovea::fit {

// Hypotheses without the end of sentence, one for each pair of the corpus, in order.
std::vector<std::vector<std::int32_t>> translate(const Model& model, const Corpus& corpus,
                                                 const std::vector<std::int64_t>& chosen,
                                                 torch::Device device);

}  // namespace fovea::fit
