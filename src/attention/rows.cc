#include "attention/rows.h"

#include <algorithm>
#include <cmath>

namespace fovea::attention {
namespace {

using Offsets = std::span<const std::int32_t>;

// Where [b, h, i] of a view begins, in elements: [B, H, N, ...], or packed [T, H, ...].
std::int64_t offset(const View& view, const Offsets& offsets, std::int64_t b, std::int64_t h,
                    std::int64_t i) {
  if (offsets.empty()) return b * view.step(0) + h * view.step(1) + i * view.step(2);
  return (offsets[static_cast<std::size_t>(b)] + i) * view.step(0) + h * view.step(1);
}

void* place(const View& view, const Offsets& offsets, std::int64_t b, std::int64_t h,
            std::int64_t i) {
  if (!view.given()) return nullptr;
  auto* bytes = static_cast<char*>(const_cast<void*>(view.data));
  return bytes + offset(view, offsets, b, h, i) * static_cast<std::int64_t>(size_of(view.type));
}

// The row [b, h, i] of a mask or bias; a size of 1 is repeated.
template <class T>
const T* broadcast_row(const View& view, std::int64_t b, std::int64_t h, std::int64_t i) {
  if (!view.given()) return nullptr;
  const auto part = [&](int dim, std::int64_t at) {
    return view.size(dim) == 1 ? 0 : at * view.step(dim);
  };
  return static_cast<const T*>(view.data) + part(0, b) + part(1, h) + part(2, i);
}

std::int64_t room(const Offsets& offsets, std::int64_t padded, std::int64_t b) {
  if (offsets.empty()) return padded;
  const auto at = static_cast<std::size_t>(b);
  return offsets[at + 1] - offsets[at];
}

// Own length of sequence b: as given, or all that it has room for.
std::int64_t length(const Offsets& lengths, std::int64_t room, std::int64_t b) {
  return lengths.empty() ? room : lengths[static_cast<std::size_t>(b)];
}

// Where query i stands among the keys: causality, windows and ALiBi count from there.
std::int64_t place_of(const Call& call, std::int64_t b, std::int64_t i) {
  if (call.options.causal == Causal::kTopLeft) return i;
  return i + length(call.inputs.key_lengths, key_room(call, b), b) -
         length(call.inputs.query_lengths, query_room(call, b), b);
}

kernels::Number number_of(DataType type) {
  switch (type) {
    case DataType::kBFloat16: return kernels::Number::kBFloat16;
    case DataType::kFloat16: return kernels::Number::kFloat16;
    default: return kernels::Number::kFloat32;
  }
}

kernels::Row reading(const Call& call, std::int64_t b, std::int64_t h, std::int64_t i) {
  const Inputs& in = call.inputs;
  kernels::Row row;
  row.q = place(in.q, in.query_offsets, b, h, i);
  row.mask = broadcast_row<bool>(in.mask, b, h, i);
  row.bias = broadcast_row<float>(in.bias, b, h, i);
  const KeyRange seen = visible_keys(call, b, i);
  row.first = seen.first;
  row.visible = seen.end;
  if (in.alibi_slopes.given()) {
    const View& slopes = in.alibi_slopes;
    row.place = place_of(call, b, i);
    row.slope = static_cast<const float*>(
        slopes.data)[(slopes.size(0) == 1 ? 0 : b * slopes.step(0)) + h * slopes.step(1)];
  }
  if (call.lse.given()) {
    row.known_lse = *static_cast<const float*>(place(call.lse, in.query_offsets, b, h, i));
    // Where lse says that nothing was seen, that is so.
    if (row.known_lse == -HUGE_VALF) row.first = row.visible = 0;
    if (row.visible == 0) row.known_lse = 0;
  }
  return row;
}

}  // namespace

std::int64_t query_room(const Call& call, std::int64_t b) {
  return room(call.inputs.query_offsets, call.z.N, b);
}
std::int64_t key_room(const Call& call, std::int64_t b) {
  return room(call.inputs.key_offsets, call.z.M, b);
}

KeyRange visible_keys(const Call& call, std::int64_t b, std::int64_t i) {
  const Options& options = call.options;
  const std::int64_t m = length(call.inputs.key_lengths, key_room(call, b), b);
  if (i >= length(call.inputs.query_lengths, query_room(call, b), b)) return {};
  const std::int64_t at = place_of(call, b, i);
  // Reach beyond all keys, and sums with it overflow: as far as there are keys is far enough.
  const auto reach = [&](const std::optional<std::int64_t>& window) {
    return std::min(window.value_or(INT32_MAX), std::int64_t{INT32_MAX});
  };
  std::int64_t first = options.key_begin.value_or(0);
  std::int64_t end = std::min(m, options.key_end.value_or(m));
  if (options.causal != Causal::kNone) end = std::min(end, at + 1);
  if (options.window_after) end = std::min(end, at + reach(options.window_after) + 1);
  if (options.window_before) first = std::max(first, at - reach(options.window_before));
  return first < end ? KeyRange{first, end} : KeyRange{};
}

kernels::Row row_of(const Call& call, std::int64_t b, std::int64_t h, std::int64_t i) {
  const Outputs& outputs = call.outputs;
  const Offsets& packed = call.inputs.query_offsets;
  kernels::Row row = reading(call, b, h, i);
  if (call.inputs.received_weights.given()) {
    row.weight = *static_cast<const float*>(place(call.inputs.received_weights, packed, b, h, i));
  }
  row.out = place(outputs.out, packed, b, h, i);
  row.lse = static_cast<float*>(place(outputs.lse, packed, b, h, i));
  row.entropy = static_cast<float*>(place(outputs.entropy, packed, b, h, i));
  row.top_index = static_cast<std::int32_t*>(place(outputs.top_index, packed, b, h, i));
  row.top_weight = static_cast<float*>(place(outputs.top_weight, packed, b, h, i));
  return row;
}

kernels::Row whole_row_of(const Call& call, std::int64_t b, std::int64_t h, std::int64_t i,
                          std::int64_t r) {
  const MutableView& rows = call.outputs.rows;
  kernels::Row row = reading(call, b, h, i);
  const std::int64_t to = call.inputs.query_offsets.empty()
                              ? b * rows.step(0) + h * rows.step(1) + r * rows.step(2)
                              : r * rows.step(0) + h * rows.step(1);
  row.whole = static_cast<float*>(rows.data) + to;
  return row;
}

kernels::Sweep sweep_of(const Call& call, std::int64_t b, std::int64_t h) {
  const Inputs& in = call.inputs;
  const bool packed = !in.key_offsets.empty();
  const std::int64_t g = h / (call.z.H / call.z.G);
  kernels::Sweep sweep;
  sweep.type = number_of(in.q.type);
  sweep.k = place(in.k, in.key_offsets, b, g, 0);
  sweep.k_step = in.k.step(packed ? 0 : 2);
  sweep.width = call.z.D;
  if (call.outputs.out.given()) {
    sweep.v = place(in.v, in.key_offsets, b, g, 0);
    sweep.v_step = in.v.step(packed ? 0 : 2);
    sweep.value_width = call.z.E;
    sweep.out_type = number_of(call.outputs.out.type);
  }
  sweep.scale =
      call.options.scale.value_or(static_cast<float>(1 / std::sqrt(static_cast<double>(call.z.D))));
  sweep.masked = in.mask.given();
  sweep.biased = in.bias.given();
  sweep.sloped = in.alibi_slopes.given();
  sweep.known = call.lse.given();
  if (sweep.masked && in.mask.size(3) > 1) sweep.mask_step = in.mask.step(3);
  if (sweep.biased && in.bias.size(3) > 1) sweep.bias_step = in.bias.step(3);
  sweep.entropy = call.outputs.entropy.given();
  sweep.top = call.z.K;
  if (in.factor.given()) {
    const KeyLine factor = key_line(call, in.factor, b, h);
    sweep.factor = factor.data;
    sweep.factor_step = factor.step;
  }
  return sweep;
}

KeyLine key_line(const Call& call, const View& view, std::int64_t b, std::int64_t h) {
  const Offsets& packed = call.inputs.key_offsets;
  return {static_cast<float*>(place(view, packed, b, h, 0)), view.step(packed.empty() ? 2 : 0)};
}

}  // namespace fovea::attention
