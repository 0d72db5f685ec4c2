// Attention over ragged rows, forward and backward, by fovea's engine (include/fovea/attend.h,
// include/fovea/backward.h): its packed sequences are our spans. S is float or Bf16. The same bits
// for any number of threads.
#pragma once

#include <cstdint>
#include <vector>

#include "bf16.h"
#include "span.h"

namespace fovea::fit {

// Heads stand side by side in a row, [rows, heads x head_width]; `stride`: elements from row to row.
template <typename S>
struct Rows {
  S* data = nullptr;
  std::int64_t stride = 0;
};

// softmax(q k^T / sqrt(head_width)) v per head and span; with `causal`, query i of a span sees keys
// up to i. Spans begin in ascending order, of queries and of keys; rows that lie between two of
// them belong to nobody: out is 0 there. lse [rows, heads] is what the backward pass needs of it.
template <typename S>
void attention_forward(Rows<const S> q, Rows<const S> k, Rows<const S> v,
                       const std::vector<Span>& spans, int heads, int head_width, bool causal,
                       Rows<S> out, float* lse);
template <typename S>
void attention_backward(Rows<const S> q, Rows<const S> k, Rows<const S> v, Rows<const S> out,
                        const float* lse, Rows<const S> out_grad, const std::vector<Span>& spans,
                        int heads, int head_width, bool causal, Rows<S> q_grad, Rows<S> k_grad,
                        Rows<S> v_grad);

}  // namespace fovea::fit
