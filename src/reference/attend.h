// The truth: fovea::attend's contract (fovea/attend.h) in fp64, as plain loops over the formulas.
//
// Takes the same Inputs and Options; float32 and float64 views alike. Every output is float64,
// except top_index (int32). It checks nothing, shares no code with the kernels and is never
// optimised: what it says must be seen to be right by reading it beside the contract.
#pragma once

#include <cstdint>

#include "fovea/attend.h"

namespace fovea::reference {

// One query of one head of one sequence.
struct Query {
  std::int64_t b = 0;
  std::int64_t h = 0;
  std::int64_t i = 0;
};

// True when the query may see key j: lengths, causal, window, mask and a bias of -inf, in this order.
bool visible(const Inputs& inputs, const Options& options, const Query& query, std::int64_t j);

// scale <q_i, k_j> + bias_ij, for a visible key.
double score(const Inputs& inputs, const Options& options, const Query& query, std::int64_t j);

void attend(const Inputs& inputs, const Options& options, const Outputs& outputs);

}  // namespace fovea::reference
