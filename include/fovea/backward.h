// The gradients of attention: what training needs.
//
//   L a function of out, G_i = dL / d out_i given ("out_gradient"); s, p, out as in fovea/attend.h;
//   z_ij what dropout makes of a weight: 0 or 1 / (1 - rate), 1 without dropout
//
//   dp_ij = z_ij <G_i, v_j>         delta_i = sum_j p_ij dp_ij = <G_i, out_i>
//   ds_ij = p_ij (dp_ij - delta_i)
//   dq_i  = scale sum_j ds_ij k_j      dk_j = scale sum_i ds_ij q_i      dv_j = sum_i z_ij p_ij G_i
//   dbias_ij = ds_ij
//
// Sums over i run over the queries of every head that reads the key head (grouped heads). A
// dimension of bias that is 1 and so repeated is summed over in dbias. Inputs and options are those
// of the forward call, under any of its rules, dropout's seed and offset among them; out and lse
// are what it gave. Weights are computed again from lse: no n x n array is made, and memory is
// linear in N and M.
//
// Gradient highlights, on request: key_gradient_j = sum_i p_ij dp_ij, per query head: how much the
// loss would rise if every weight that key j receives grew by the same small share, others left
// alone. Large and negative: to attend to the key more would lower the loss.
//
// Parts       With key_begin and key_end, and the lse and out of the whole (fovea/merge.h): dk and
//             dv of these keys (0 for others), and what they give to dq; dq of the parts sum to
//             that of the whole.
// Types       q, k, v and out_gradient of one type: float32, bfloat16 or float16. out: float32 or
//             that type (it enters through delta alone; float32 is the more precise). Gradients of
//             q, k and v: float32 or that type; of the bias float32. Sums are float32. Where the
//             set multiplies bfloat16 itself (avx512_bf16, amx_bf16), p and ds of bfloat16 calls may be rounded
//             to bfloat16 before they meet G, q and k; dbias and key_gradient sum them unrounded.
// Edge        A query that sees no key (lse -inf) has dq = 0 and adds nothing to any gradient,
//             whatever its q, out and out_gradient hold: they are not read. A pair that is hidden
//             adds nothing to any gradient, not even a NaN. Keys hidden from all are not read and
//             have gradient 0. NaN or infinity in a visible pair reaches the gradients of that
//             pair, and of its query, as NaN or infinity.
// Accuracy    given this lse and out: at most twice the error of a plain fp32 loop (in bfloat16 one
//             that rounds p and ds to bfloat16 too) against fp64, plus 1e-6 of what the largest
//             gradient would be if nothing cancelled, dp and delta included, plus the rounding of
//             the gradient to its type. The rounding of lse itself changes p by 6e-8 |lse_i| of it.
// Same bits   for any number of threads, any batch, any padding, packed or not, on one instruction
//             set, with the exception of fovea/attend.h for few keys. Sums over queries run in their
//             order; those over heads of a group by runs of queries.
// Throws      Error, before anything is written: what was expected, what was found, the cure
#pragma once

#include "fovea/attend.h"

namespace fovea {

// What the forward call stored.
struct Forward {
  View out;  // [B, H, N, E]  float32, or q's type
  View lse;  // [B, H, N]     float32
};

// What is stored. A view that is not given is not computed.
struct Gradients {
  MutableView dq;            // [B, H, N, D]  float32, or q's type; packed as q is
  MutableView dk;            // [B, G, M, D]  likewise
  MutableView dv;            // [B, G, M, E]  likewise
  MutableView dbias;         // as Inputs::bias, float32: 1 where that is 1
  MutableView key_gradient;  // [B, H, M]     float32; packed [S, H]
};

// out_gradient: [B, H, N, E], of q's type; packed [T, H, E].
void attend_backward(const Inputs& inputs, const Options& options, const Forward& forward,
                     const View& out_gradient, const Gradients& gradients, Threads& threads);

}  // namespace fovea
