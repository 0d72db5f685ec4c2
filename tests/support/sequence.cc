#include "support/sequence.h"

#include <numeric>

namespace fovea::testing {
namespace {

// [b] of a view, as a batch of one.
void pick(View& view, std::int64_t b, std::int64_t first, std::int64_t positions, bool packed) {
  if (!view.given()) return;
  const std::int64_t at = packed ? first : b;
  view.data = static_cast<const char*>(view.data) +
              static_cast<std::size_t>(at * view.step(0)) * size_of(view.type);
  if (!packed) {
    view.shape[0] = 1;
    return;
  }
  const View all = view;  // [positions, H, width] becomes [1, H, positions, width]
  view.rank = all.rank + 1;
  view.shape = {1, all.size(1), positions, all.size(2)};
  view.strides = {0, all.step(1), all.step(0), all.step(2)};
}

}  // namespace

Sequence::Sequence(const Problem& batch, std::int64_t b)
    : c(batch.c),
      inputs(batch.inputs()),
      options(batch.options()),
      b_(b),
      first_query_(0),
      packed_queries_(!batch.places.query_offsets.empty()) {
  const auto x = static_cast<std::size_t>(b);
  const Places& places = batch.places;
  if (packed_queries_) first_query_ = places.query_offsets[x];
  c.B = 1;
  c.N = places.queries(b);
  c.M = places.keys(b);
  c.packed_queries = c.packed_keys = false;
  const bool queries = !places.query_offsets.empty(), keys = !places.key_offsets.empty();
  for (View* view : {&inputs.q, &inputs.received_weights}) {
    pick(*view, b, queries ? places.query_offsets[x] : 0, c.N, queries);
  }
  for (View* view : {&inputs.k, &inputs.v, &inputs.factor}) {
    pick(*view, b, keys ? places.key_offsets[x] : 0, c.M, keys);
  }
  for (View* view : {&inputs.mask, &inputs.bias, &inputs.alibi_slopes}) {
    if (view->size(0) > 1) pick(*view, b, 0, 0, false);
  }
  // Mask and bias are as large as the longest sequence: the upper left corner.
  for (View* view : {&inputs.mask, &inputs.bias}) {
    if (view->size(2) > 1) view->shape[2] = c.N;
    if (view->size(3) > 1) view->shape[3] = c.M;
  }
  inputs.query_offsets = inputs.key_offsets = {};
  if (!inputs.key_lengths.empty()) inputs.key_lengths = inputs.key_lengths.subspan(x, 1);
  if (!inputs.query_lengths.empty()) inputs.query_lengths = inputs.query_lengths.subspan(x, 1);
  if (options.key_begin && *options.key_begin > c.M) options.key_begin = c.M;
  if (options.key_end && *options.key_end > c.M) options.key_end = c.M;
  all_rows();
}

void Sequence::cut() {
  if (!inputs.query_lengths.empty()) c.N = inputs.query_lengths[0];
  if (!inputs.key_lengths.empty()) c.M = inputs.key_lengths[0];
  inputs.query_lengths = inputs.key_lengths = {};
  inputs.q.shape[2] = inputs.received_weights.shape[2] = c.N;
  inputs.k.shape[2] = inputs.v.shape[2] = inputs.factor.shape[2] = c.M;
  for (View* view : {&inputs.mask, &inputs.bias}) {
    if (view->size(2) > 1) view->shape[2] = c.N;
    if (view->size(3) > 1) view->shape[3] = c.M;
  }
  if (options.key_begin && *options.key_begin > c.M) options.key_begin = c.M;
  if (options.key_end && *options.key_end > c.M) options.key_end = c.M;
  all_rows();
}

View Sequence::of_queries(View view) const {
  pick(view, b_, first_query_, c.N, packed_queries_);
  view.shape[2] = c.N;
  return view;
}

void Sequence::all_rows() {
  everyone_.resize(static_cast<std::size_t>(c.N));
  std::iota(everyone_.begin(), everyone_.end(), 0);
  inputs.row_queries = everyone_;
  c.R = c.N;
}

}  // namespace fovea::testing
