#include "attention.h"

#include <ATen/Parallel.h>

#include <span>
#include <type_traits>

#include "fovea/attend.h"
#include "fovea/backward.h"

namespace fovea::fit {
namespace {

// One side of the spans as a packed batch, counted from the first one's first row.
struct Packed {
  std::int64_t first = 0, rows = 0;
  std::vector<std::int32_t> offsets;
  std::vector<std::int32_t> lengths;  // empty where every sequence ends where the next one begins
};

Packed packed(std::span<const Span> spans, std::int32_t Span::*start, std::int32_t Span::*length) {
  Packed side;
  side.first = spans.front().*start;
  bool dense = true;
  for (const Span& span : spans) {
    const auto begin = static_cast<std::int32_t>(span.*start - side.first);
    dense = dense && begin == side.rows;
    side.rows = begin + span.*length;
    side.offsets.push_back(begin);
    side.lengths.push_back(span.*length);
  }
  side.offsets.push_back(static_cast<std::int32_t>(side.rows));
  if (dense) side.lengths.clear();
  return side;
}

// What forward and backward have in common.
struct Problem {
  Problem(std::span<const Span> spans, int heads_, int width_, bool causal)
      : heads(heads_),
        width(width_),
        queries(packed(spans, &Span::query_start, &Span::query_length)),
        keys(packed(spans, &Span::key_start, &Span::key_length)) {
    inputs.query_offsets = queries.offsets;
    inputs.query_lengths = queries.lengths;
    inputs.key_offsets = keys.offsets;
    inputs.key_lengths = keys.lengths;
    if (causal) options.causal = Causal::kTopLeft;
  }

  // ViewType: View of what is read, MutableView of what is written.
  template <class ViewType, typename S>
  ViewType rows(Rows<S> from, const Packed& side) const {
    ViewType view;
    view.data = from.data + side.first * from.stride;
    view.type =
        std::is_same_v<std::remove_const_t<S>, Bf16> ? DataType::kBFloat16 : DataType::kFloat32;
    view.rank = 3;
    view.shape = {side.rows, heads, width};
    view.strides = {from.stride, width, 1};
    return view;
  }
  template <class ViewType, typename S>
  ViewType sums(S* lse) const {
    ViewType view;
    view.data = lse + queries.first * heads;
    view.type = DataType::kFloat32;
    view.rank = 2;
    view.shape = {queries.rows, heads};
    view.strides = {heads, 1};
    return view;
  }

  int heads, width;
  Packed queries, keys;
  Inputs inputs;
  Options options;
};

// Shares the spans out among torch's own threads, one call of the engine each: its threads beside
// torch's, which look out for work for a while before they sleep, would be too many for the cores.
template <typename Body>
void each_part(const std::vector<Span>& spans, const Body& body) {
  at::parallel_for(0, static_cast<std::int64_t>(spans.size()), 1,
                   [&](std::int64_t begin, std::int64_t end) {
                     thread_local Threads one(1);
                     body(std::span(spans).subspan(begin, end - begin), one);
                   });
}

}  // namespace

template <typename S>
void attention_forward(Rows<const S> q, Rows<const S> k, Rows<const S> v,
                       const std::vector<Span>& spans, int heads, int head_width, bool causal,
                       Rows<S> out, float* lse) {
  each_part(spans, [&](std::span<const Span> part, Threads& threads) {
    Problem problem(part, heads, head_width, causal);
    problem.inputs.q = problem.rows<View>(q, problem.queries);
    problem.inputs.k = problem.rows<View>(k, problem.keys);
    problem.inputs.v = problem.rows<View>(v, problem.keys);
    Outputs outputs;
    outputs.out = problem.rows<MutableView>(out, problem.queries);
    outputs.lse = problem.sums<MutableView>(lse);
    attend(problem.inputs, problem.options, outputs, threads);
  });
}

template <typename S>
void attention_backward(Rows<const S> q, Rows<const S> k, Rows<const S> v, Rows<const S> out,
                        const float* lse, Rows<const S> out_grad, const std::vector<Span>& spans,
                        int heads, int head_width, bool causal, Rows<S> q_grad, Rows<S> k_grad,
                        Rows<S> v_grad) {
  each_part(spans, [&](std::span<const Span> part, Threads& threads) {
    Problem problem(part, heads, head_width, causal);
    problem.inputs.q = problem.rows<View>(q, problem.queries);
    problem.inputs.k = problem.rows<View>(k, problem.keys);
    problem.inputs.v = problem.rows<View>(v, problem.keys);
    const Forward forward{problem.rows<View>(out, problem.queries), problem.sums<View>(lse)};
    Gradients gradients;
    gradients.dq = problem.rows<MutableView>(q_grad, problem.queries);
    gradients.dk = problem.rows<MutableView>(k_grad, problem.keys);
    gradients.dv = problem.rows<MutableView>(v_grad, problem.keys);
    attend_backward(problem.inputs, problem.options, forward,
                    problem.rows<View>(out_grad, problem.queries), gradients, threads);
  });
}

#define FOVEA_FIT_INSTANTIATE(S)                                                                  \
  template void attention_forward<S>(Rows<const S>, Rows<const S>, Rows<const S>,                 \
                                     const std::vector<Span>&, int, int, bool, Rows<S>, float*);  \
  template void attention_backward<S>(Rows<const S>, Rows<const S>, Rows<const S>, Rows<const S>, \
                                      const float*, Rows<const S>, const std::vector<Span>&, int, \
                                      int, bool, Rows<S>, Rows<S>, Rows<S>);

FOVEA_FIT_INSTANTIATE(float)
FOVEA_FIT_INSTANTIATE(Bf16)

}  // namespace fovea::fit
