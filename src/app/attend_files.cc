#include "app/attend_files.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "fovea/error.h"

namespace fovea {
namespace {

constexpr std::int64_t kMaxSize = std::numeric_limits<std::int32_t>::max();  // indices are int32

using Shape = std::vector<std::int64_t>;

NpyArray open_array(const std::string& path) {
  NpyArray array = read_npy(path == "-" ? FileBytes::standard_input() : FileBytes::open(path));
  for (const std::int64_t size : array.header.shape) {
    if (size > kMaxSize) {
      throw Error(array.name() + ": has shape " + shape_text(array.header.shape) +
                  "; a size may be at most " + std::to_string(kMaxSize));
    }
  }
  return array;
}

bool is_float(NpyType type) {
  return type == NpyType::kFloat16 || type == NpyType::kFloat32 || type == NpyType::kFloat64;
}

std::string several(std::int64_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

// How to make `type` of an array, for a message.
std::string save_as(const std::string& letter, const char* type) {
  return "numpy.save('" + letter + ".npy', " + letter + ".astype('" + type + "'))";
}

// Fills the engine's four dimensions from the right: what the file lacks on the left is 1.
View four_dimensions(const void* data, DataType type, const Shape& shape) {
  View view;
  view.data = data;
  view.type = type;
  view.rank = kMaxRank;
  std::int64_t step = 1;
  for (std::size_t n = 0; n < static_cast<std::size_t>(kMaxRank); ++n) {
    const std::size_t d = static_cast<std::size_t>(kMaxRank) - 1 - n;
    view.shape[d] = n < shape.size() ? shape[shape.size() - 1 - n] : 1;
    view.strides[d] = step;
    step *= std::max<std::int64_t>(view.shape[d], 1);
  }
  return view;
}

// Something to point at when there is no data: a view without a pointer would mean "not given".
const float kNothing = 0;

class Reader {
 public:
  explicit Reader(AttendArrays* arrays) : arrays_(*arrays) {}

  // q, k, v and bias. `minus_infinity`: it is a word of its own there (hidden), not worth a note.
  View floats(const std::string& path, const std::string& letter, bool minus_infinity) {
    const NpyArray& array = arrays_.files.emplace_back(open_array(path));
    const NpyHeader& header = array.header;
    if (!is_float(header.type)) {
      throw Error(array.name() + ": holds " + name_of(header.type) + ", but " + letter +
                  " is floats; save it as such, as in " + save_as(letter, "float32"));
    }
    const float* data = &kNothing;
    if (header.count > 0)
      data = header.type == NpyType::kFloat32 && array.is_plain()
                 ? reinterpret_cast<const float*>(array.data())
                 : copied(array);
    note_not_finite(array, data, minus_infinity);
    return four_dimensions(data, DataType::kFloat32, header.shape);
  }

  View mask(const std::string& path) {
    const NpyArray& array = arrays_.files.emplace_back(open_array(path));
    const NpyHeader& header = array.header;
    if (header.type != NpyType::kBool && header.type != NpyType::kUInt8) {
      throw Error(array.name() + ": holds " + name_of(header.type) +
                  ", but a mask is bool (true: may see); save it as such, as in " +
                  save_as("mask", "bool") + ". Numbers to add to the scores go to --bias");
    }
    for (std::int64_t i = 0; i < header.count; ++i) {
      if (std::to_integer<unsigned>(array.data()[i]) > 1) {
        throw Error(array.name() + ": holds a byte of " +
                    std::to_string(std::to_integer<unsigned>(array.data()[i])) +
                    ", but a mask is 0 (hidden) or 1 (may see); save it as bool, as in " +
                    save_as("mask", "bool"));
      }
    }
    if (header.count == 0) return four_dimensions(&kNothing, DataType::kBool, header.shape);
    if (array.is_plain()) return four_dimensions(array.data(), DataType::kBool, header.shape);
    std::vector<std::int64_t> values(static_cast<std::size_t>(header.count));
    copy_to_int64(array, values.data());
    AlignedArray<bool>& copy = arrays_.flags.emplace_back(aligned_array<bool>(values.size()));
    for (std::size_t i = 0; i < values.size(); ++i) copy[i] = values[i] != 0;
    note_copy(array);
    return four_dimensions(copy.get(), DataType::kBool, header.shape);
  }

  // [B] lengths in [0, limit]; `letter` names the limit's size.
  std::vector<std::int32_t> lengths(const std::string& path, std::int64_t limit, char letter) {
    const NpyArray array = open_array(path);
    const NpyHeader& header = array.header;
    if (header.type != NpyType::kInt32 && header.type != NpyType::kInt64) {
      throw Error(array.name() + ": holds " + name_of(header.type) +
                  ", but lengths are int32 or int64; save them as such, as in " +
                  save_as("lengths", "int32"));
    }
    const std::int64_t sequences = arrays_.sizes.B;
    const bool fits = header.shape == Shape{sequences} || (sequences == 1 && array.rank() == 0);
    if (!fits) {
      throw Error(
          array.name() + ": has shape " + shape_text(header.shape) + ", but there " +
          (sequences == 1 ? "is 1 sequence" : "are " + several(sequences, "", "sequences")) +
          ": one length each, [" + std::to_string(sequences) + "]");
    }
    std::vector<std::int64_t> values(static_cast<std::size_t>(header.count));
    copy_to_int64(array, values.data());
    std::vector<std::int32_t> result;
    for (const std::int64_t value : values) {
      if (value < 0 || value > limit) {
        throw Error(array.name() + ": length " + std::to_string(value) + " of sequence " +
                    std::to_string(result.size()) + " is not in [0, " + std::to_string(limit) +
                    "] (" + letter + " = " + std::to_string(limit) + ")");
      }
      result.push_back(static_cast<std::int32_t>(value));
    }
    return result;
  }

 private:
  const float* copied(const NpyArray& array) {
    const auto count = static_cast<std::size_t>(array.header.count);
    AlignedArray<float>& copy = arrays_.floats.emplace_back(aligned_array<float>(count));
    copy_to_float(array, copy.get());
    note_copy(array);
    return copy.get();
  }

  void note_copy(const NpyArray& array) {
    if (!array.header.fortran_order || array.is_plain()) return;
    arrays_.notes.push_back(array.name() + ": is in Fortran order; copied once to rows (" +
                            "numpy.ascontiguousarray before numpy.save spares the copy)");
  }

  void note_not_finite(const NpyArray& array, const float* data, bool minus_infinity) {
    const std::int64_t count = array.header.count;
    std::int64_t found = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const bool word = minus_infinity && data[i] == -std::numeric_limits<float>::infinity();
      found += std::isfinite(data[i]) || word ? 0 : 1;
    }
    if (found == 0) return;
    std::string note = array.name() + ": " + std::to_string(found) + " of " +
                       several(count, "value is", "values are") + " NaN or infinite" +
                       "; what sees one of them becomes NaN";
    if (array.header.type == NpyType::kFloat64) {
      std::int64_t overflow = 0;
      for (std::int64_t i = 0; i < count; ++i) {
        double value;
        std::memcpy(&value, array.data() + i * 8, sizeof value);
        overflow += std::isfinite(value) && !std::isfinite(static_cast<float>(value)) ? 1 : 0;
      }
      if (overflow > 0) note += " (" + std::to_string(overflow) + " of them beyond float32)";
    }
    arrays_.notes.push_back(note);
  }

  AttendArrays& arrays_;
};

const Shape& shape_of(const AttendArrays& arrays, std::size_t file) {
  return arrays.files[file].header.shape;
}

void check_ranks(const AttendArrays& arrays) {
  const Shape& q = shape_of(arrays, 0);
  if (q.size() < 2 || q.size() > 4) {
    throw Error(arrays.files[0].name() + ": has shape " + shape_text(q) +
                ", but q is [N, D], [H, N, D] or [B, H, N, D]");
  }
  for (std::size_t file : {1u, 2u}) {
    const Shape& other = shape_of(arrays, file);
    if (other.size() == q.size()) continue;
    throw Error("attend: " + std::string(file == 1 ? "k" : "v") + " is " + shape_text(other) +
                " but q is " + shape_text(q) + ": q, k and v need the same number of dimensions");
  }
}

// k against q and v against k, in the reader's own shapes.
void check_shapes(const AttendArrays& arrays) {
  const Shape& q = shape_of(arrays, 0);
  const Shape& k = shape_of(arrays, 1);
  const Shape& v = shape_of(arrays, 2);
  const std::size_t last = q.size() - 1;
  const std::string width = std::to_string(q[last]);
  const std::string rows = "fovea takes keys as rows [M, " + width + "]";
  if (k[last] != q[last]) {
    const std::string found = "attend: k is " + shape_text(k) + " but q has width " + width;
    throw Error(k[last - 1] == q[last] ? found + ": did you pass k transposed? " + rows
                                       : found + "; " + rows);
  }
  if (v[last - 1] != k[last - 1]) {
    const std::string keys = std::to_string(k[last - 1]);
    const std::string found = "attend: v is " + shape_text(v) + " but k has " + keys + " keys";
    const std::string wanted = "fovea takes values as rows [" + keys + ", E]";
    throw Error(v[last] == k[last - 1] ? found + ": did you pass v transposed? " + wanted
                                       : found + "; " + wanted);
  }
  const std::string all =
      " (q " + shape_text(q) + ", k " + shape_text(k) + ", v " + shape_text(v) + ")";
  if (q[last] == 0 || v[last] == 0) throw Error("attend: a width is 0" + all);
  if (last >= 2) {
    if (v[last - 2] != k[last - 2]) throw Error("attend: k and v differ in heads" + all);
    const std::int64_t H = q[last - 2];
    const std::int64_t G = k[last - 2];
    if (H == 0 || G == 0) throw Error("attend: there are no heads" + all);
    if (H % G != 0) {
      throw Error("attend: " + several(H, "query head", "query heads") + " cannot share " +
                  several(G, "key head", "key heads") +
                  "; the first must be a multiple of the second" + all);
    }
  }
  if (last == 3 && (k[0] != q[0] || v[0] != q[0])) throw Error("attend: the batches differ" + all);
}

// Whether `view`, filled with 1 on the left, broadcasts to the scores.
void check_broadcast(const AttendArrays& arrays, const NpyArray& array) {
  const AttendSizes& sizes = arrays.sizes;
  const Shape scores = {sizes.B, sizes.H, sizes.N, sizes.M};
  const Shape& shape = array.header.shape;
  bool fits = shape.size() <= scores.size();
  for (std::size_t n = 1; fits && n <= shape.size(); ++n) {
    const std::int64_t size = shape[shape.size() - n];
    fits = size == 1 || size == scores[scores.size() - n];
  }
  if (fits) return;
  throw Error(array.name() + ": has shape " + shape_text(shape) +
              ", which does not broadcast to the scores " +
              shape_text(ranked(arrays, {sizes.N, sizes.M})) + " (queries, keys last)");
}

void check_rows(const AttendArrays& arrays, const std::vector<std::int32_t>& rows) {
  for (const std::int32_t query : rows) {
    if (query >= 0 && query < arrays.sizes.N) continue;
    throw Error("attend: --rows asks for query " + std::to_string(query) + ", but there " +
                (arrays.sizes.N == 1 ? "is 1 query (0)"
                 : arrays.sizes.N == 0
                     ? "are none"
                     : "are " + std::to_string(arrays.sizes.N) + " queries (0 to " +
                           std::to_string(arrays.sizes.N - 1) + ")"));
  }
}

std::size_t product(std::initializer_list<std::int64_t> sizes) {
  std::int64_t result = 1;
  for (const std::int64_t size : sizes) {
    if (__builtin_mul_overflow(result, size, &result))
      throw Error("attend: the result is too large");
  }
  return static_cast<std::size_t>(result);
}

}  // namespace

double scale_of(const Options& options, std::int64_t width) {
  return options.scale ? static_cast<double>(*options.scale)
                       : 1 / std::sqrt(static_cast<double>(width));
}

std::vector<std::int64_t> ranked(const AttendArrays& arrays, std::vector<std::int64_t> last) {
  if (arrays.rank >= 3) last.insert(last.begin(), arrays.sizes.H);
  if (arrays.rank >= 4) last.insert(last.begin(), arrays.sizes.B);
  return last;
}

AttendArrays read_attend(const AttendRequest& request) {
  AttendArrays arrays;
  arrays.files.reserve(5);  // q, k, v, mask, bias: references to them stay good
  Reader reader(&arrays);
  Inputs& inputs = arrays.inputs;
  inputs.q = reader.floats(request.q, "q", false);
  inputs.k = reader.floats(request.k, "k", false);
  inputs.v = reader.floats(request.v, "v", false);
  check_ranks(arrays);
  check_shapes(arrays);
  arrays.rank = static_cast<int>(shape_of(arrays, 0).size());
  arrays.sizes = {inputs.q.size(0), inputs.q.size(1), inputs.k.size(1), inputs.q.size(2),
                  inputs.k.size(2), inputs.q.size(3), inputs.v.size(3)};
  if (!request.key_lengths.empty()) {
    arrays.key_lengths = reader.lengths(request.key_lengths, arrays.sizes.M, 'M');
    inputs.key_lengths = arrays.key_lengths;
  }
  if (!request.query_lengths.empty()) {
    arrays.query_lengths = reader.lengths(request.query_lengths, arrays.sizes.N, 'N');
    inputs.query_lengths = arrays.query_lengths;
  }
  if (!request.mask.empty()) {
    inputs.mask = reader.mask(request.mask);
    check_broadcast(arrays, arrays.files.back());
  }
  if (!request.bias.empty()) {
    inputs.bias = reader.floats(request.bias, "bias", true);
    check_broadcast(arrays, arrays.files.back());
  }
  check_rows(arrays, request.rows);
  return arrays;
}

AttendResult run_attend(const AttendArrays& arrays, const AttendRequest& request,
                        Threads& threads) {
  const AttendSizes& s = arrays.sizes;
  AttendResult result;
  Inputs inputs = arrays.inputs;
  Outputs outputs;
  result.out.resize(product({s.B, s.H, s.N, s.E}));
  result.lse.resize(product({s.B, s.H, s.N}));
  if (request.top > 0) {
    result.top = std::min(request.top, std::max<std::int64_t>(s.M, 1));
    result.top_index.resize(product({s.B, s.H, s.N, result.top}));
    result.top_weight.resize(result.top_index.size());
    outputs.top_index = MutableView(result.top_index.data(), {s.B, s.H, s.N, result.top});
    outputs.top_weight = MutableView(result.top_weight.data(), {s.B, s.H, s.N, result.top});
  }
  if (request.received) {
    result.received.resize(product({s.B, s.H, s.M}));
    outputs.received = MutableView(result.received.data(), {s.B, s.H, s.M});
  }
  if (request.entropy) {
    result.entropy.resize(product({s.B, s.H, s.N}));
    outputs.entropy = MutableView(result.entropy.data(), {s.B, s.H, s.N});
  }
  if (!request.rows.empty()) {
    result.row_queries = request.rows;
    const auto kept = static_cast<std::int64_t>(request.rows.size());
    result.rows.resize(product({s.B, s.H, kept, s.M}));
    outputs.rows = MutableView(result.rows.data(), {s.B, s.H, kept, s.M});
    inputs.row_queries = result.row_queries;
  }
  // Without queries nothing is left to compute; what keys received is the zeros that are there.
  if (s.B == 0 || s.N == 0) return result;
  outputs.out = MutableView(result.out.data(), {s.B, s.H, s.N, s.E});
  outputs.lse = MutableView(result.lse.data(), {s.B, s.H, s.N});
  attend(inputs, request.options, outputs, threads);
  return result;
}

}  // namespace fovea
