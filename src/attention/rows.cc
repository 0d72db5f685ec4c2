#include "attention/rows.h"

#include <algorithm>
#include <cmath>

namespace fovea::attention {
namespace {

// Where view[b, h, i] begins; a size of 1 is repeated.
std::int64_t offset(const View& view, std::int64_t b, std::int64_t h, std::int64_t i) {
  const auto part = [&](int dim, std::int64_t at) {
    return view.size(dim) == 1 ? 0 : at * view.step(dim);
  };
  return part(0, b) + part(1, h) + part(2, i);
}

template <class T>
const T* read_at(const View& view, std::int64_t b, std::int64_t h, std::int64_t i) {
  if (!view.given()) return nullptr;
  return static_cast<const T*>(view.data) + offset(view, b, h, i);
}

template <class T>
T* write_at(const MutableView& view, std::int64_t b, std::int64_t h, std::int64_t i) {
  if (!view.given()) return nullptr;
  return static_cast<T*>(view.data) + offset(view, b, h, i);
}

kernels::Row reading(const Call& call, std::int64_t b, std::int64_t h, std::int64_t i) {
  kernels::Row row;
  row.q = read_at<float>(call.inputs.q, b, h, i);
  row.mask = read_at<bool>(call.inputs.mask, b, h, i);
  row.bias = read_at<float>(call.inputs.bias, b, h, i);
  const KeyRange seen = visible_keys(call, b, i);
  row.first = seen.first;
  row.visible = seen.end;
  return row;
}

}  // namespace

KeyRange visible_keys(const Call& call, std::int64_t b, std::int64_t i) {
  const auto at = static_cast<std::size_t>(b);
  const Options& options = call.options;
  const std::int64_t n =
      call.inputs.query_lengths.empty() ? call.z.N : call.inputs.query_lengths[at];
  const std::int64_t m = call.inputs.key_lengths.empty() ? call.z.M : call.inputs.key_lengths[at];
  if (i >= n) return {};
  const std::int64_t place = options.causal == Causal::kTopLeft ? i : i + m - n;
  // Reach beyond all keys, and sums with it overflow: as far as there are keys is far enough.
  const auto reach = [&](const std::optional<std::int64_t>& window) {
    return std::min(window.value_or(INT32_MAX), std::int64_t{INT32_MAX});
  };
  std::int64_t first = 0;
  std::int64_t end = m;
  if (options.causal != Causal::kNone) end = std::min(end, place + 1);
  if (options.window_after) end = std::min(end, place + reach(options.window_after) + 1);
  if (options.window_before) first = std::max(first, place - reach(options.window_before));
  return first < end ? KeyRange{first, end} : KeyRange{};
}

kernels::Row row_of(const Call& call, std::int64_t b, std::int64_t h, std::int64_t i) {
  const Outputs& outputs = call.outputs;
  kernels::Row row = reading(call, b, h, i);
  if (call.inputs.received_weights.given()) {
    row.weight = *read_at<float>(call.inputs.received_weights, b, h, i);
  }
  row.out = write_at<float>(outputs.out, b, h, i);
  row.lse = write_at<float>(outputs.lse, b, h, i);
  row.entropy = write_at<float>(outputs.entropy, b, h, i);
  row.top_index = write_at<std::int32_t>(outputs.top_index, b, h, i);
  row.top_weight = write_at<float>(outputs.top_weight, b, h, i);
  return row;
}

kernels::Row whole_row_of(const Call& call, std::int64_t b, std::int64_t h, std::int64_t r) {
  const std::int64_t i = call.inputs.row_queries[static_cast<std::size_t>(r)];
  kernels::Row row = reading(call, b, h, i);
  row.whole = write_at<float>(call.outputs.rows, b, h, r);
  return row;
}

kernels::Sweep sweep_of(const Call& call, std::int64_t b, std::int64_t g) {
  const Inputs& in = call.inputs;
  kernels::Sweep sweep;
  sweep.k = read_at<float>(in.k, b, g, 0);
  sweep.k_step = in.k.step(2);
  sweep.width = call.z.D;
  if (call.outputs.out.given()) {
    sweep.v = read_at<float>(in.v, b, g, 0);
    sweep.v_step = in.v.step(2);
    sweep.value_width = call.z.E;
  }
  sweep.scale =
      call.options.scale.value_or(static_cast<float>(1 / std::sqrt(static_cast<double>(call.z.D))));
  sweep.masked = in.mask.given();
  sweep.biased = in.bias.given();
  if (sweep.masked && in.mask.size(3) > 1) sweep.mask_step = in.mask.step(3);
  if (sweep.biased && in.bias.size(3) > 1) sweep.bias_step = in.bias.step(3);
  sweep.entropy = call.outputs.entropy.given();
  sweep.top = call.z.K;
  return sweep;
}

}  // namespace fovea::attention
