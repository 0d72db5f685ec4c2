// Exact attention, and what it attended to.
//
//   s_ij = scale <q_i, k_j> + bias_ij - slope_h |c_i - j|    over the keys j that query i may see
//   p_i  = softmax(s_i)       out_i = sum_j p_ij v_j         lse_i = log sum_j exp(s_ij)
//
//   q [B, H, N, D]    k [B, G, M, D]    v [B, G, M, E]   ->   out [B, H, N, E]    lse [B, H, N]
//
// H is a multiple of G: query head h reads key head h / (H / G). E may differ from D. Any strides with
// the last one 1, so [B, N, H, D] memory works without a copy. No n x n array is ever made.
//
// Packed      Sequences of different lengths without padding, end to end: with `query_offsets`
//             q is [T, H, D], T queries in all, and sequence b is its rows offsets[b] to
//             offsets[b + 1]; with `key_offsets` k is [S, G, D] and v [S, G, E]. One may be packed and
//             the other not (a few new queries a sequence over kept keys). Wherever an array below has
//             [B, H, N] it then is [T, H], and where it has [B, H, M] it is [S, H]; the N and M of mask
//             and bias are those of the longest sequence.
// Types       q, k and v are all float32, all bfloat16 or all float16. Sums are float32 throughout.
//             Where the set multiplies bfloat16 itself (avx512_bf16, amx_bf16), weights of bfloat16
//             calls may be rounded to bfloat16 before they meet the values.
//
// Highlights are outputs like any other: give them room and they are filled in the same pass, exactly.
//   top       the K visible keys of largest p_ij and those p_ij, descending, ties to the lower index;
//             fewer than K visible: index -1, weight 0. With `factor` it ranks by p_ij factor_j and
//             still gives p_ij.
//   received  r_j = sum_i w_i p_ij (w ones unless given); with `factor`: sum_i w_i p_ij factor_j
//   entropy   -sum_j p_ij log p_ij, in nats
//   rows      p_i whole, for chosen queries i
// Rows asked for later: fovea/highlights.h. Attention over a part of the keys: fovea/merge.h.
//
// Edge        A query that sees no key gives zeros, lse = -inf, entropy 0, no top keys, a zero row.
//             Keys hidden from a query never influence it, not even by a NaN; keys hidden from every
//             query are never read. NaN or +inf in a visible score reaches the output as NaN. A bias
//             of -inf hides; a large negative one does not. A score of -inf, wherever it comes from,
//             weighs nothing; a query that has no other counts as seeing no key.
// Range       fp32 throughout: scale |<q, k>| and sums of |v| over the visible keys must stay
//             under 1e36, or infinity is what comes out. bfloat16 products on avx512_bf16 and
//             amx_bf16 may take numbers below 2^-126 for 0, as their instructions do.
// Accuracy    at most twice the error of a plain fp32 loop against fp64 (for bfloat16 one that rounds
//             its weights to bfloat16 too), plus 1e-6 of the largest |v|, plus the rounding of out to
//             its type: docs/numerics.md
// Same bits   for any number of threads, any batch, any padding, packed or not, on one instruction set;
//             sequences of at most 8 queries (decoding), and on amx_bf16 those of at most 32 keys, may
//             differ in bits from longer ones
// Throws      Error, before anything is written: what was expected, what was found, the cure
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "fovea/threads.h"
#include "fovea/view.h"

namespace fovea {

// Which keys precede a query. With key_length m and query_length n of a sequence:
//   kBottomRight  query i sees key j when j <= i + m - n  (the last query sees every key)
//   kTopLeft      query i sees key j when j <= i
enum class Causal : std::uint8_t { kNone, kBottomRight, kTopLeft };

struct Inputs {
  View q;  // [B, H, N, D], or packed [T, H, D]    float32, bfloat16 or float16
  View k;  // [B, G, M, D], or packed [S, G, D]    of q's type
  View v;  // [B, G, M, E], or packed [S, G, E]    of q's type

  // Packed batches: [B + 1], ascending from 0 to T or S; empty: not packed.
  std::span<const std::int32_t> query_offsets;
  std::span<const std::int32_t> key_offsets;

  // [B], each in [0, M] and [0, N] (packed: of its sequence); empty: all. Queries past their length
  // see no key.
  std::span<const std::int32_t> key_lengths;
  std::span<const std::int32_t> query_lengths;

  View mask;          // bool     [B or 1, H or 1, N or 1, M or 1]; true: may see
  View bias;          // float32  [B or 1, H or 1, N or 1, M or 1]; added to the scaled score
  View alibi_slopes;  // float32  [B or 1, H]; each finite

  View factor;            // float32 [B, H, M]: see `top` and `received`
  View received_weights;  // float32 [B, H, N]: the w of `received`
  std::span<const std::int32_t>
      row_queries;  // [R], each in [0, N): the queries of `rows`, of every
                    // sequence; packed: each in [0, T)
};

// Dropout of weights, in training: key j of query i is dropped (weighs 0) with probability `rate`, else
// its weight is p_ij / (1 - rate). Applied where weights meet the values: lse and highlights are those of
// the weights before it. Which keys are dropped is a function of
//   seed, offset, the place b H + h of sequence and head, i, j      (i and j count in the sequence)
// and of nothing else, so attend_backward (fovea/backward.h) drops the same ones, on every machine, packed or
// not: word j mod 4 of Philox 4x32-10 with the key `seed` and the counter (j / 4, i, b H + h, offset);
// dropped where it is less than rate 2^32, rounded. A new seed or offset, a training step's number say,
// drops others.
struct Dropout {
  float rate = 0;  // in [0, 1)
  std::uint64_t seed = 0;
  std::uint32_t offset = 0;
};

// What is computed. (What is stored is said by Outputs alone.)
//
// A sliding window and ALiBi count from the query's own place c among the keys, c = i + m - n (the last
// query's place is the last key), with Causal::kTopLeft c = i:
//   query i sees key j when c - window_before <= j <= c + window_after
//   ALiBi takes slope_h |c - j| from the score
// They are no n x n mask: they take no memory, and whole blocks of keys that a window hides are skipped.
//
// key_begin and key_end leave out all keys but [key_begin, key_end): attention over a part of the keys,
// which fovea/merge.h puts together. Everything else, the places of queries and the indices of `top`
// among it, still counts from key 0.
struct Options {
  std::optional<float> scale;  // 1 / sqrt(D) unless given
  Causal causal = Causal::kNone;
  std::optional<std::int64_t> window_before;  // keys seen before the place: at least 0, else all
  std::optional<std::int64_t> window_after;   // keys seen after it, likewise
  std::optional<std::int64_t> key_begin;      // 0 unless given
  std::optional<std::int64_t> key_end;        // all keys unless given, or where it is more
  Dropout dropout{};
};

// What is stored. A view that is not given is not computed. Highlights cost no n x n memory.
struct Outputs {
  MutableView out;         // [B, H, N, E]  float32, or q's type
  MutableView lse;         // [B, H, N]     float32
  MutableView top_index;   // [B, H, N, K]  int32, with top_weight
  MutableView top_weight;  // [B, H, N, K]  float32, with top_index
  MutableView received;    // [B, H, M]     float32
  MutableView entropy;     // [B, H, N]     float32
  MutableView rows;  // [B, H, R, M]  float32, for Inputs::row_queries; queries packed: [R, H, M]
};

void attend(const Inputs& inputs, const Options& options, const Outputs& outputs, Threads& threads);

}  // namespace fovea
