#include "attention/rows.h"

#include <algorithm>
#include <cmath>

namespace fovea::attention {
namespace {

using Offsets = std::span<const std::int32_t>;

// One array of the call, walked query by query from [b, h, i]: [B, H, N, ...], or packed [T, H, ...].
struct Walk {
  char* at = nullptr;  // null: not given
  std::int64_t step = 0;

  Walk(const View& view, const Offsets& offsets, std::int64_t b, std::int64_t h, std::int64_t i) {
    if (!view.given()) return;
    const std::int64_t first =
        offsets.empty()
            ? b * view.step(0) + h * view.step(1) + i * view.step(2)
            : (offsets[static_cast<std::size_t>(b)] + i) * view.step(0) + h * view.step(1);
    start(view, first, view.step(offsets.empty() ? 2 : 0));
  }

  // A mask or bias, where a size of 1 is repeated.
  Walk(const View& view, std::int64_t b, std::int64_t h, std::int64_t i) {
    if (!view.given()) return;
    const auto part = [&](int dim, std::int64_t index) {
      return view.size(dim) == 1 ? 0 : index * view.step(dim);
    };
    start(view, part(0, b) + part(1, h) + part(2, i), view.size(2) == 1 ? 0 : view.step(2));
  }

  template <class T>
  T* here() const {
    return static_cast<T*>(static_cast<void*>(at));
  }

  // What is here, and on to the next query. (Where nothing was given the step is 0.)
  template <class T>
  T* next() {
    T* const now = here<T>();
    at += step;
    return now;
  }

 private:
  void start(const View& view, std::int64_t first, std::int64_t elements) {
    const auto size = static_cast<std::int64_t>(size_of(view.type));
    at = static_cast<char*>(const_cast<void*>(view.data)) + first * size;
    step = elements * size;
  }
};

std::int64_t room(const Offsets& offsets, std::int64_t padded, std::int64_t b) {
  if (offsets.empty()) return padded;
  const auto at = static_cast<std::size_t>(b);
  return offsets[at + 1] - offsets[at];
}

// Own length of sequence b: as given, or all that it has room for.
std::int64_t length(const Offsets& lengths, std::int64_t room, std::int64_t b) {
  return lengths.empty() ? room : lengths[static_cast<std::size_t>(b)];
}

std::int64_t query_length(const Call& call, std::int64_t b) {
  return length(call.inputs.query_lengths, query_room(call, b), b);
}

std::int64_t key_length(const Call& call, std::int64_t b) {
  return length(call.inputs.key_lengths, key_room(call, b), b);
}

// What the queries of sequence b see by lengths, causality, window and part.
class Sight {
 public:
  Sight(const Call& call, std::int64_t b) : n_(query_length(call, b)) {
    const Options& options = call.options;
    const std::int64_t m = key_length(call, b);
    shift_ = options.causal == Causal::kTopLeft ? 0 : m - n_;
    first_ = options.key_begin.value_or(0);
    end_ = std::min(m, options.key_end.value_or(m));
    // Reach beyond all keys, and sums with it overflow: as far as there are keys is far enough.
    const auto reach = [](const std::optional<std::int64_t>& window) {
      return std::min<std::int64_t>(window.value_or(INT32_MAX), INT32_MAX);
    };
    before_ = reach(options.window_before);
    after_ = options.causal != Causal::kNone ? 0 : reach(options.window_after);
  }

  // Where query i stands among the keys: causality, windows and ALiBi count from there.
  std::int64_t place(std::int64_t i) const { return i + shift_; }

  // Its keys [first, visible), both 0 when there are none.
  void look(std::int64_t i, kernels::Row& row) const {
    const std::int64_t first = std::max(first_, place(i) - before_);
    const std::int64_t end = std::min(end_, place(i) + after_ + 1);
    const bool sees = i < n_ && first < end;
    row.first = sees ? first : 0;
    row.visible = sees ? end : 0;
    row.place = place(i);
  }

 private:
  std::int64_t n_, shift_, first_, end_, before_, after_;
};

// What queries [i, ...) of a head read.
class Reading {
 public:
  Reading(const Call& call, std::int64_t b, std::int64_t h, std::int64_t i)
      : sight_(call, b),
        i_(i),
        head_(b * call.z.H + h),
        q_(call.inputs.q, call.inputs.query_offsets, b, h, i),
        lse_(call.lse, call.inputs.query_offsets, b, h, i),
        mask_(call.inputs.mask, b, h, i),
        bias_(call.inputs.bias, b, h, i) {
    const View& slopes = call.inputs.alibi_slopes;
    if (!slopes.given()) return;
    const std::int64_t at = (slopes.size(0) == 1 ? 0 : b * slopes.step(0)) + h * slopes.step(1);
    slope_ = static_cast<const float*>(slopes.data)[at];
  }

  void next(kernels::Row& row) {
    row.q = q_.next<const void>();
    row.mask = mask_.next<const bool>();
    row.bias = bias_.next<const float>();
    row.slope = slope_;
    row.query = static_cast<std::uint32_t>(i_);
    row.head = static_cast<std::uint32_t>(head_);
    sight_.look(i_++, row);
    row.known_lse = 0;
    if (const auto* lse = lse_.next<const float>()) {
      // Where lse says that nothing was seen, that is so.
      if (*lse == -HUGE_VALF) row.first = row.visible = 0;
      if (row.visible > 0) row.known_lse = *lse;
    }
  }

 private:
  Sight sight_;
  std::int64_t i_, head_;
  Walk q_, lse_, mask_, bias_;
  float slope_ = 0;
};

// The threshold is below 2^32: the largest float below 1 is 1 - 2^-24.
kernels::Dropping dropping_of(const Dropout& dropout) {
  const double rate = dropout.rate;
  return {.threshold = static_cast<std::uint32_t>(std::round(rate * 0x1.0p32)),
          .offset = dropout.offset,
          .seed = dropout.seed,
          .scale = static_cast<float>(1 / (1 - rate))};
}

}  // namespace

kernels::Number number_of(DataType type) {
  switch (type) {
    case DataType::kBFloat16: return kernels::Number::kBFloat16;
    case DataType::kFloat16: return kernels::Number::kFloat16;
    default: return kernels::Number::kFloat32;
  }
}

std::int64_t query_room(const Call& call, std::int64_t b) {
  return room(call.inputs.query_offsets, call.z.N, b);
}
std::int64_t key_room(const Call& call, std::int64_t b) {
  return room(call.inputs.key_offsets, call.z.M, b);
}

void add_rows(const Call& call, std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t count,
              float* received, Rows& rows) {
  const Outputs& outputs = call.outputs;
  const auto walk = [&](const View& view) {
    return Walk(view, call.inputs.query_offsets, b, h, i);
  };
  Reading reading(call, b, h, i);
  Walk weight = walk(call.inputs.received_weights);
  Walk out = walk(outputs.out);
  Walk lse = walk(outputs.lse);
  Walk entropy = walk(outputs.entropy);
  Walk top_index = walk(outputs.top_index);
  Walk top_weight = walk(outputs.top_weight);
  for (kernels::Row& row : rows.add(count)) {
    reading.next(row);
    const auto* w = weight.next<const float>();
    row.weight = w == nullptr ? 1 : *w;
    row.received = received;
    row.out = out.next<void>();
    row.lse = lse.next<float>();
    row.entropy = entropy.next<float>();
    row.top_index = top_index.next<std::int32_t>();
    row.top_weight = top_weight.next<float>();
    row.whole = nullptr;
  }
}

void add_gradient_rows(const Call& call, std::int64_t b, std::int64_t h,
                       std::vector<kernels::GradientRow>& rows) {
  const BackwardViews& views = *call.backward;
  const auto walk = [&](const View& view) {
    return Walk(view, call.inputs.query_offsets, b, h, 0);
  };
  Reading reading(call, b, h, 0);
  Walk out = walk(views.forward.out);
  Walk out_gradient = walk(views.out_gradient);
  Walk dq = walk(views.gradients.dq);
  Walk dbias(views.gradients.dbias, b, h, 0);
  for (std::int64_t i = 0; i < query_room(call, b); ++i) {
    kernels::GradientRow& row = rows.emplace_back();
    reading.next(row.row);
    row.out = out.next<const void>();
    row.out_gradient = out_gradient.next<const void>();
    row.dq = dq.next<void>();
    row.dbias = dbias.next<float>();
  }
}

kernels::Row whole_row_of(const Call& call, std::int64_t b, std::int64_t h, std::int64_t i,
                          std::int64_t r) {
  const MutableView& rows = call.outputs.rows;
  kernels::Row row;
  Reading(call, b, h, i).next(row);
  const std::int64_t to = call.inputs.query_offsets.empty()
                              ? b * rows.step(0) + h * rows.step(1) + r * rows.step(2)
                              : r * rows.step(0) + h * rows.step(1);
  row.whole = static_cast<float*>(rows.data) + to;
  return row;
}

kernels::Sweep sweep_of(const Call& call, std::int64_t b, std::int64_t h) {
  const Inputs& in = call.inputs;
  const std::int64_t position = in.key_offsets.empty() ? 2 : 0;  // the dimension of keys
  // Without query heads backward still asks, for gradients of keys that are 0.
  const std::int64_t g = h / std::max<std::int64_t>(call.z.H / call.z.G, 1);
  kernels::Sweep sweep;
  sweep.type = number_of(in.q.type);
  sweep.k = Walk(in.k, in.key_offsets, b, g, 0).here<const void>();
  sweep.k_step = in.k.step(static_cast<int>(position));
  sweep.width = call.z.D;
  if (call.outputs.out.given() || call.backward != nullptr) {
    sweep.v = Walk(in.v, in.key_offsets, b, g, 0).here<const void>();
    sweep.v_step = in.v.step(static_cast<int>(position));
    sweep.value_width = call.z.E;
    sweep.out_type = number_of(call.outputs.out.type);
  }
  sweep.scale =
      call.options.scale.value_or(static_cast<float>(1 / std::sqrt(static_cast<double>(call.z.D))));
  sweep.masked = in.mask.given();
  sweep.biased = in.bias.given();
  sweep.sloped = in.alibi_slopes.given();
  sweep.few = query_length(call, b) <= kernels::kFewQueries;
  sweep.lines_in_pairs = kernels::lines_in_pairs();
  sweep.short_keys = key_length(call, b) <= kernels::kShortKeys;
  sweep.known = call.lse.given();
  sweep.dropout = dropping_of(call.options.dropout);
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

void look_ahead(const Call& call, std::int64_t b, std::int64_t h, std::int64_t i,
                kernels::Sweep& sweep) {
  const Inputs& in = call.inputs;
  const std::int64_t g = h / (call.z.H / call.z.G);
  const std::int64_t queries = query_length(call, b) - i;
  const std::int64_t keys = key_length(call, b);
  const auto piece = [](const View& view, const Offsets& offsets, const Walk& walk,
                        std::int64_t rows, std::int64_t width) -> kernels::Sweep::Ahead {
    if (!view.given() || view.step(offsets.empty() ? 2 : 0) != width) return {};
    const std::int64_t bytes = rows * width * static_cast<std::int64_t>(size_of(view.type));
    return {walk.here<const char>(), walk.here<const char>() + bytes};
  };
  const Walk q(in.q, in.query_offsets, b, h, i), out(call.outputs.out, in.query_offsets, b, h, i);
  const Walk k(in.k, in.key_offsets, b, g, 0), v(in.v, in.key_offsets, b, g, 0);
  sweep.ahead[0] = piece(in.k, in.key_offsets, k, keys, call.z.D);
  sweep.ahead[1] = piece(in.q, in.query_offsets, q, queries, call.z.D);
  sweep.ahead[2] = piece(in.v, in.key_offsets, v, keys, call.z.E);
  sweep.ahead[3] = piece(call.outputs.out, in.query_offsets, out, queries, call.z.E);
}

KeyRows key_rows(const Call& call, const View& view, std::int64_t b, std::int64_t h) {
  const Walk keys(view, call.inputs.key_offsets, b, h, 0);
  return {keys.here<void>(), view.step(call.inputs.key_offsets.empty() ? 2 : 0)};
}

float* broadcast_line(const View& view, std::int64_t b, std::int64_t h) {
  return Walk(view, b, h, 0).here<float>();
}

KeyLine key_line(const Call& call, const View& view, std::int64_t b, std::int64_t h) {
  const Walk keys(view, call.inputs.key_offsets, b, h, 0);
  return {keys.here<float>(), view.step(call.inputs.key_offsets.empty() ? 2 : 0)};
}

}  // namespace fovea::attention
