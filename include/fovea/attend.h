// Exact attention, and what it attended to.
//
//   s_ij = scale <q_i, k_j> + bias_ij                        over the keys j that query i may see
//   p_i  = softmax(s_i)       out_i = sum_j p_ij v_j         lse_i = log sum_j exp(s_ij)
//
//   q [B, H, N, D]    k [B, G, M, D]    v [B, G, M, E]   ->   out [B, H, N, E]    lse [B, H, N]
//
// H is a multiple of G: query head h reads key head h / (H / G). E may differ from D. Any strides with
// the last one 1, so [B, N, H, D] memory works without a copy. No n x n array is ever made.
//
// Highlights are outputs like any other: give them room and they are filled in the same pass, exactly.
//   top       the K visible keys of largest p_ij and those p_ij, descending, ties to the lower index;
//             fewer than K visible: index -1, weight 0. With `factor` it ranks by p_ij factor_j and
//             still gives p_ij.
//   received  r_j = sum_i w_i p_ij (w ones unless given); with `factor`: sum_i w_i p_ij factor_j
//   entropy   -sum_j p_ij log p_ij, in nats
//   rows      p_i whole, for chosen queries i
//
// Edge        A query that sees no key gives zeros, lse = -inf, entropy 0, no top keys, a zero row.
//             Keys hidden from a query never influence it, not even by a NaN; keys hidden from every
//             query are never read. NaN or +inf in a visible score reaches the output as NaN. A bias
//             of -inf hides; a large negative one does not. A score of -inf, wherever it comes from,
//             weighs nothing; a query that has no other counts as seeing no key.
// Range       fp32 throughout: scale |<q, k>| and sums of |v| over the visible keys must stay
//             under 3e38, or infinity is what comes out.
// Accuracy    at most twice the error of a plain fp32 loop against fp64, plus 1e-6 of the largest |v|
// Same bits   for any number of threads, any batch, any padding, on one instruction set
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
  View q;  // [B, H, N, D]  float32
  View k;  // [B, G, M, D]  float32
  View v;  // [B, G, M, E]  float32

  std::span<const std::int32_t> key_lengths;    // [B], each in [0, M]; empty: all M
  std::span<const std::int32_t> query_lengths;  // [B], each in [0, N]; empty: all N.
                                                // Queries past their length see no key.
  View mask;  // bool     [B or 1, H or 1, N or 1, M or 1]; true: may see
  View bias;  // float32  [B or 1, H or 1, N or 1, M or 1]; added to the scaled score

  View factor;                                // float32 [B, H, M]: see `top` and `received`
  View received_weights;                      // float32 [B, H, N]: the w of `received`
  std::span<const std::int32_t> row_queries;  // [R], each in [0, N): the queries of `rows`
};

// What is computed. (What is stored is said by Outputs alone.)
//
// A sliding window counts from the query's own place c among the keys, c = i + m - n (the last query's
// place is the last key), with Causal::kTopLeft c = i:
//   query i sees key j when c - window_before <= j <= c + window_after
// It is no n x n mask: it takes no memory, and whole blocks of keys that it hides are skipped.
struct Options {
  std::optional<float> scale;  // 1 / sqrt(D) unless given
  Causal causal = Causal::kNone;
  std::optional<std::int64_t> window_before;  // keys seen before the place: at least 0, else all
  std::optional<std::int64_t> window_after;   // keys seen after it, likewise
};

// What is stored. A view that is not given is not computed. Highlights cost no n x n memory.
struct Outputs {
  MutableView out;         // [B, H, N, E]  float32
  MutableView lse;         // [B, H, N]     float32
  MutableView top_index;   // [B, H, N, K]  int32, with top_weight
  MutableView top_weight;  // [B, H, N, K]  float32, with top_index
  MutableView received;    // [B, H, M]     float32
  MutableView entropy;     // [B, H, N]     float32
  MutableView rows;        // [B, H, R, M]  float32, for Inputs::row_queries
};

void attend(const Inputs& inputs, const Options& options, const Outputs& outputs, Threads& threads);

}  // namespace fovea
