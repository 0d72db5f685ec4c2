#include "app/attend_run.h"

#include <algorithm>
#include <initializer_list>

#include "fovea/error.h"
#include "fovea/highlights.h"

namespace fovea {
namespace {

using Shape = std::vector<std::int64_t>;

std::size_t product(const Shape& sizes) {
  std::int64_t result = 1;
  for (const std::int64_t size : sizes) {
    if (__builtin_mul_overflow(result, size, &result))
      throw Error("attend: the result is too large");
  }
  return static_cast<std::size_t>(result);
}

// Room for an array of `shape`, and the engine's view of it.
template <class T>
MutableView make_room(const Shape& shape, std::vector<T>* values) {
  values->resize(product(shape));
  MutableView view(values->data(), {});
  view.rank = static_cast<int>(shape.size());
  std::int64_t step = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    view.shape[d] = shape[d];
    view.strides[d] = step;
    step *= shape[d];
  }
  return view;
}

}  // namespace

AttendResult run_attend(const AttendArrays& arrays, const AttendRequest& request,
                        Threads& threads) {
  const AttendSizes& s = arrays.sizes;
  const auto kept = static_cast<std::int64_t>(request.rows.size());
  const bool whole = request.from_lse.empty();
  const auto of_queries = [&](const Shape& last) {
    Shape shape = arrays.packed_queries() ? Shape{s.T, s.H} : Shape{s.B, s.H, s.N};
    shape.insert(shape.end(), last.begin(), last.end());
    return shape;
  };
  AttendResult result;
  Inputs inputs = arrays.inputs;
  Outputs outputs;
  if (whole) outputs.out = make_room(of_queries({s.E}), &result.out);
  const MutableView lse = make_room(of_queries({}), &result.lse);
  if (whole) outputs.lse = lse;
  if (request.top > 0) {
    result.top = std::min(request.top, std::max<std::int64_t>(s.M, 1));
    outputs.top_index = make_room(of_queries({result.top}), &result.top_index);
    outputs.top_weight = make_room(of_queries({result.top}), &result.top_weight);
  }
  if (request.received) {
    outputs.received =
        make_room(arrays.packed_keys() ? Shape{s.S, s.H} : Shape{s.B, s.H, s.M}, &result.received);
  }
  if (request.entropy) outputs.entropy = make_room(of_queries({}), &result.entropy);
  if (kept > 0) {
    result.row_queries = request.rows;
    outputs.rows = make_room(
        arrays.packed_queries() ? Shape{kept, s.H, s.M} : Shape{s.B, s.H, kept, s.M}, &result.rows);
    inputs.row_queries = result.row_queries;
  }
  // Without queries nothing is left to compute; what keys received is the zeros that are there.
  if (s.B == 0 || s.N == 0) return result;
  if (whole) {
    attend(inputs, request.options, outputs, threads);
  } else {
    const auto* const given = static_cast<const float*>(arrays.lse.data);
    result.lse.assign(given, given + result.lse.size());
    highlights(inputs, arrays.lse, request.options, outputs, threads);
  }
  return result;
}

AttendPlaces query_places(const AttendArrays& arrays) {
  const AttendSizes& s = arrays.sizes;
  return {s.B, s.H, s.N, arrays.inputs.query_offsets};
}

AttendPlaces key_places(const AttendArrays& arrays) {
  const AttendSizes& s = arrays.sizes;
  return {s.B, s.H, s.M, arrays.inputs.key_offsets};
}

namespace {

// `last` with the leading sizes that q's rank has: rank 3 gives [H, last...].
Shape ranked(const AttendArrays& arrays, Shape last) {
  const bool packed = arrays.packed_queries() || arrays.packed_keys();
  if (packed || arrays.rank >= 3) last.insert(last.begin(), arrays.sizes.H);
  if (packed || arrays.rank >= 4) last.insert(last.begin(), arrays.sizes.B);
  return last;
}

}  // namespace

std::vector<std::int64_t> shape_of_queries(const AttendArrays& arrays, const Shape& last) {
  const AttendSizes& s = arrays.sizes;
  Shape shape = arrays.packed_queries() ? Shape{s.T, s.H} : ranked(arrays, {s.N});
  shape.insert(shape.end(), last.begin(), last.end());
  return shape;
}

std::vector<std::int64_t> shape_of_keys(const AttendArrays& arrays) {
  const AttendSizes& s = arrays.sizes;
  return arrays.packed_keys() ? Shape{s.S, s.H} : ranked(arrays, {s.M});
}

std::vector<std::int64_t> shape_of_rows(const AttendArrays& arrays, std::int64_t count) {
  const AttendSizes& s = arrays.sizes;
  return arrays.packed_queries() ? Shape{count, s.H, s.M} : ranked(arrays, {count, s.M});
}

}  // namespace fovea
