// What was attended to, asked for later: from q, k and the lse that attend stored.
//
//   p_ij = exp(s_ij - lse_i)
//
// s_ij, shapes, visibility and the highlights (top, received, entropy, rows) are those of
// fovea/attend.h, for the same inputs and options; v is not needed. So attend itself may run without
// highlights, and they are computed when somebody looks: one product, no values, no n x n matrix.
// With the lse of a whole and key_begin, key_end of a part, the weights of the whole: entropy is then
// the part's share of the sum, and weights sum to less than 1.
//
// Edge      lse = -inf: the query saw no key, and gives what attend gives for it
// Accuracy  of p: relative 1.2e-7 |lse_i| for the rounding of lse, besides that of attend
// Throws    Error, before anything is written
#pragma once

#include "fovea/attend.h"

namespace fovea {

// lse: float32, as attend's output. outputs.out and outputs.lse must not be given.
void highlights(const Inputs& inputs, const View& lse, const Options& options,
                const Outputs& outputs, Threads& threads);

}  // namespace fovea
