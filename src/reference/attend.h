// The truth: the contracts of fovea/attend.h and fovea/highlights.h in fp64, as plain loops over the
// formulas.
//
// Takes the same Inputs and Options; views of float32, float64, bfloat16 and float16 alike, q, k, v and
// the rest each of its own. Every output is float64, except top_index (int32). It checks nothing, shares
// no code with the kernels and is never optimised: what it says must be seen to be right by reading it
// beside the contract.
#pragma once

#include <cstdint>

#include "fovea/attend.h"

namespace fovea::reference {

// One query of one head of one sequence; i counts in the sequence, packed or not.
struct Query {
  std::int64_t b = 0;
  std::int64_t h = 0;
  std::int64_t i = 0;
};

// True when the query may see key j: lengths, part, causal, window, mask and a bias of -inf, in this
// order.
bool visible(const Inputs& inputs, const Options& options, const Query& query, std::int64_t j);

// scale <q_i, k_j> + bias_ij - slope_h |c_i - j|, for a visible key.
double score(const Inputs& inputs, const Options& options, const Query& query, std::int64_t j);

void attend(const Inputs& inputs, const Options& options, const Outputs& outputs);

// p_ij = exp(s_ij - lse_i); no out, no lse.
void highlights(const Inputs& inputs, const View& lse, const Options& options,
                const Outputs& outputs);

}  // namespace fovea::reference
