// Attention over parts of the keys, put together exactly.
//
// Attend once for each part (Options::key_begin, key_end), each time storing out and lse; then, with w_a
// = exp(lse_a - lse):
//   lse = log sum_a exp(lse_a)    out = sum_a w_a out_a    entropy = sum_a w_a (entropy_a + lse - lse_a)
//   top: the K best of all parts' keys, their weights times w_a
// `received` and `rows` are sums and rows of final weights: ask fovea/highlights.h for them, with the
// merged lse.
//
// Shapes    as attend's outputs, packed or not, each part's equal to the merged one's, K included. lse is
//           asked of every part; out, entropy and top where they are merged. Any of float32, bfloat16 and
//           float16 for each out.
// Parts     in the order of their keys: ties of `top` go to the part that comes first. No two parts may
//           share a key. Indices of top are taken as they stand: where a part is an array of its own, add
//           the number of keys before it first.
// Edge      A query that sees no key in a part has lse -inf there, and nothing else of it is read. One
//           that sees none in any part gives what attend gives for it. NaN in a part's lse makes the
//           whole row NaN (of `top` the weights), and so does +inf; NaN in out or entropy stays where
//           it is.
// In place  the merged outputs may be those of one part
// Accuracy  lse is rounded to float32, which puts w_a off by relative 6e-8 |lse_a|; besides that 1.2e-7
//           of the largest |out_a| for each part, and the rounding of out to its type. Parts in bfloat16
//           or float16 are rounded already: store float32. Keys whose weights differ by no more than
//           that, or that their part stores as 0, may change places in `top`. One part alone gives its
//           own bits.
// Same bits for any number of threads
// Throws    Error, before anything is written
#pragma once

#include <span>

#include "fovea/attend.h"

namespace fovea {

// inputs: those of the parts' calls, where top was ranked with a factor. Of them factor, query_offsets
// and key_offsets are read (an offset where it was packed), nothing else.
void merge(std::span<const Outputs> parts, const Outputs& merged, Threads& threads,
           const Inputs& inputs = {});

}  // namespace fovea
