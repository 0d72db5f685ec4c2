// Attention over parts of the keys, put together exactly.
//
// Attend once for each part (Options::key_begin, key_end), each time storing out and lse; then, with w_a
// = exp(lse_a - lse):
//   lse = log sum_a exp(lse_a)    out = sum_a w_a out_a    entropy = sum_a w_a (entropy_a + lse - lse_a)
//   top: the K best of all parts' keys, their weights times w_a
// `received` and `rows` are sums and rows of final weights: ask fovea/highlights.h for them, with the
// merged lse.
//
// Shapes    as attend's outputs, packed or not, each part's equal to the merged one's; out and lse are
//           asked of every part (out only if it is merged), entropy and top where they are merged
// Parts     in the order of their keys: ties of `top` go to the part that comes first. No two parts may
//           share a key.
// Edge      A query that sees no key in a part has lse -inf there, and the part adds nothing.
// In place  the merged outputs may be the first part's own
// Accuracy  some 2e-7 relative for each part; parts in bfloat16 or float16 are rounded already: store
//           float32
// Throws    Error, before anything is written
#pragma once

#include <span>

#include "fovea/attend.h"

namespace fovea {

// inputs: those of the parts' calls, where top was ranked with a factor: factor and offsets are read.
void merge(std::span<const Outputs> parts, const Outputs& merged, Threads& threads,
           const Inputs& inputs = {});

}  // namespace fovea
