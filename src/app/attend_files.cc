#include "app/attend_files.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "app/attend_reader.h"
#include "app/attend_run.h"
#include "fovea/error.h"

namespace fovea {
namespace {

using Shape = std::vector<std::int64_t>;

// One of q, k and v as it was read.
struct Given {
  std::string name;  // of its file
  Shape shape;
  bool packed = false;

  std::int64_t width() const { return shape.back(); }
  std::int64_t rows() const { return packed ? shape[0] : shape[shape.size() - 2]; }
  std::int64_t heads() const {
    return packed ? shape[1] : shape.size() >= 3 ? shape[shape.size() - 3] : 1;
  }
  std::string text() const { return shape_text(shape); }
};

struct AllGiven {
  Given q, k, v;
  bool has_values = true;

  std::string text() const {
    return " (q " + q.text() + ", k " + k.text() + (has_values ? ", v " + v.text() : "") + ")";
  }
};

void check_packed_rank(const Given& array, const char* letter, const char* option,
                       const char* shape, const char* plain_shape) {
  const auto one_head = [&] {
    return array.shape.size() == 2 ? "; of one head, numpy.save('" + std::string(letter) +
                                         ".npy', " + letter + "[:, None])"
                                   : "";
  };
  if (array.packed && array.shape.size() != 3) {
    throw Error(array.name + ": has shape " + array.text() + ", but with " + option + " " + letter +
                " is " + shape + ", all sequences end to end" + one_head());
  }
  if (!array.packed && array.shape.size() != 4) {
    throw Error(array.name + ": has shape " + array.text() + ", but " + letter + " is " +
                plain_shape + " where only the other side is packed; or give " + option + " too");
  }
}

void check_ranks(const AllGiven& given) {
  const Given& q = given.q;
  const Given& k = given.k;
  const Given& v = given.v;
  if (q.packed || k.packed) {
    check_packed_rank(q, "q", "--query-offsets", "[T, H, D]", "[B, H, N, D]");
    check_packed_rank(k, "k", "--key-offsets", "[S, G, D]", "[B, G, M, D]");
    if (given.has_values) check_packed_rank(v, "v", "--key-offsets", "[S, G, E]", "[B, G, M, E]");
    return;
  }
  if (q.shape.size() < 2 || q.shape.size() > 4) {
    throw Error(q.name + ": has shape " + q.text() +
                ", but q is [N, D], [H, N, D] or [B, H, N, D]");
  }
  const auto check = [&](const char* letter, const Given& other) {
    if (other.shape.size() == q.shape.size()) return;
    throw Error("attend: " + std::string(letter) + " is " + other.text() + " but q is " + q.text() +
                ": q, k and v need the same number of dimensions");
  };
  check("k", k);
  if (given.has_values) check("v", v);
}

// k against q and v against k, in the reader's own shapes.
void check_shapes(const AllGiven& given) {
  const auto& [q, k, v, has_values] = given;
  const std::string width = std::to_string(q.width());
  const auto rows_of = [](const Given& array, const char* letter, const std::string& size) {
    return array.packed ? std::string("[S, G, ") + size + "]"
                        : std::string("[") + letter + ", " + size + "]";
  };
  const std::string rows = "fovea takes keys as rows " + rows_of(k, "M", width);
  if (k.width() != q.width()) {
    const std::string found = "attend: k is " + k.text() + " but q has width " + width;
    throw Error(!k.packed && k.rows() == q.width() ? found + ": did you pass k transposed? " + rows
                                                   : found + "; " + rows);
  }
  if (has_values && v.rows() != k.rows()) {
    const std::string keys = std::to_string(k.rows());
    const std::string found = "attend: v is " + v.text() + " but k has " + keys + " keys";
    const std::string wanted =
        "fovea takes values as rows " + (k.packed ? "[" + keys + ", G, E]" : "[" + keys + ", E]");
    throw Error(!k.packed && v.width() == k.rows()
                    ? found + ": did you pass v transposed? " + wanted
                    : found + "; " + wanted);
  }
  const std::string all = given.text();
  if (q.width() == 0 || (has_values && v.width() == 0)) throw Error("attend: a width is 0" + all);
  if (has_values && v.heads() != k.heads()) throw Error("attend: k and v differ in heads" + all);
  const std::int64_t H = q.heads();
  const std::int64_t G = k.heads();
  if (H == 0 || G == 0) throw Error("attend: there are no heads" + all);
  if (H % G != 0) {
    throw Error("attend: " + several(H, "query head", "query heads") + " cannot share " +
                several(G, "key head", "key heads") +
                "; the first must be a multiple of the second" + all);
  }
  if (q.shape.size() < 4 && k.shape.size() < 4) return;
  const bool keys_differ = has_values && !k.packed && v.shape[0] != k.shape[0];
  if (keys_differ || (!q.packed && !k.packed && k.shape[0] != q.shape[0])) {
    throw Error("attend: the batches differ" + all);
  }
}

// Whether the last file, filled with 1 on the left, broadcasts to the scores.
void check_broadcast(const AttendArrays& arrays) {
  const AttendSizes& s = arrays.sizes;
  const Shape scores = {s.B, s.H, s.N, s.M};
  const Shape& shape = last_file(arrays).header.shape;
  bool fits = shape.size() <= scores.size();
  for (std::size_t n = 1; fits && n <= shape.size(); ++n) {
    const std::int64_t size = shape[shape.size() - n];
    fits = size == 1 || size == scores[scores.size() - n];
  }
  if (fits) return;
  const bool packed = arrays.packed_queries() || arrays.packed_keys();
  const auto left = static_cast<std::ptrdiff_t>(packed ? 0 : kMaxRank - arrays.rank);
  throw Error(last_file(arrays).name() + ": has shape " + shape_text(shape) +
              ", which does not broadcast to the scores " +
              shape_text(Shape(scores.begin() + left, scores.end())) + " (queries, keys last" +
              (packed ? "; packed: of the longest sequence" : "") + ")");
}

void check_rows(const AttendArrays& arrays, const std::vector<std::int32_t>& rows) {
  const std::int64_t queries = arrays.packed_queries() ? arrays.sizes.T : arrays.sizes.N;
  for (const std::int32_t query : rows) {
    if (query >= 0 && query < queries) continue;
    throw Error("attend: --rows asks for query " + std::to_string(query) + ", but there " +
                (queries == 1   ? "is 1 query (0)"
                 : queries == 0 ? "are none"
                                : "are " + std::to_string(queries) + " queries (0 to " +
                                      std::to_string(queries - 1) + ")"));
  }
}

void check_part(const AttendArrays& arrays, const Options& options) {
  const std::int64_t M = arrays.sizes.M;
  const std::int64_t last = std::max(options.key_begin.value_or(0), options.key_end.value_or(0));
  if (last <= M) return;
  throw Error("attend: --keys goes to " + std::to_string(last) + ", but there " +
              (M == 1 ? "is 1 key" : "are " + std::to_string(M) + " keys") +
              (arrays.packed_keys() ? " in the longest sequence" : ""));
}

std::int64_t longest(const std::vector<std::int32_t>& offsets) {
  std::int64_t result = 0;
  for (std::size_t b = 1; b < offsets.size(); ++b) {
    result = std::max<std::int64_t>(result, offsets[b] - offsets[b - 1]);
  }
  return result;
}

// Offsets, where there are any, and the sizes that follow from them.
void read_sizes(const AttendRequest& request, const AllGiven& given, AttendReader* reader,
                AttendArrays* arrays) {
  const auto& [q, k, v, has_values] = given;
  AttendSizes& s = arrays->sizes;
  arrays->rank = static_cast<int>(q.shape.size());
  s.H = q.heads();
  s.G = k.heads();
  s.N = q.rows();
  s.M = k.rows();
  s.D = q.width();
  if (has_values) s.E = v.width();
  if (q.packed) {
    arrays->query_offsets = reader->offsets(request.query_offsets, q.rows(), "q");
    arrays->inputs.query_offsets = arrays->query_offsets;
    s.T = q.rows();
    s.N = longest(arrays->query_offsets);
  }
  if (k.packed) {
    arrays->key_offsets = reader->offsets(request.key_offsets, k.rows(), "k");
    arrays->inputs.key_offsets = arrays->key_offsets;
    s.S = k.rows();
    s.M = longest(arrays->key_offsets);
  }
  const auto sequences = [](const Given& array, const std::vector<std::int32_t>& offsets) {
    if (array.packed) return static_cast<std::int64_t>(offsets.size()) - 1;
    return array.shape.size() == 4 ? array.shape[0] : std::int64_t{1};
  };
  s.B = sequences(q, arrays->query_offsets);
  const std::int64_t of_keys = sequences(k, arrays->key_offsets);
  if (of_keys == s.B) return;
  const auto told = [](const Given& array, const char* option) {
    return array.packed ? " by " + std::string(option) : " by its shape " + array.text();
  };
  throw Error("attend: q has " + several(s.B, "sequence", "sequences") +
              told(q, "--query-offsets") + " but k has " + std::to_string(of_keys) +
              told(k, "--key-offsets"));
}

void read_slopes(const std::string& given, AttendReader* reader, AttendArrays* arrays) {
  const std::int64_t H = arrays->sizes.H;
  arrays->slopes = given == kAlibiAuto ? alibi_slopes(H) : reader->slopes(given);
  const auto rows = static_cast<std::int64_t>(arrays->slopes.size()) / H;
  // With no sequences there are no slopes and nothing to compute.
  if (rows > 0) arrays->inputs.alibi_slopes = View(arrays->slopes.data(), {rows, H});
}

void read_lse(const std::string& path, AttendReader* reader, AttendArrays* arrays) {
  const View whole = reader->lse(path);
  const Shape wanted = shape_of_queries(*arrays);
  const Shape& shape = last_file(*arrays).header.shape;
  if (shape != wanted) {
    throw Error(last_file(*arrays).name() + ": has shape " + shape_text(shape) +
                ", but the lse that attend --lse stores for this q is " + shape_text(wanted));
  }
  const AttendSizes& s = arrays->sizes;
  const auto* const data = static_cast<const float*>(whole.data);
  arrays->lse = arrays->packed_queries() ? View(data, {s.T, s.H}) : View(data, {s.B, s.H, s.N});
}

}  // namespace

double scale_of(const Options& options, std::int64_t width) {
  return options.scale ? static_cast<double>(*options.scale)
                       : 1 / std::sqrt(static_cast<double>(width));
}

std::vector<float> alibi_slopes(std::int64_t heads) {
  std::int64_t power = 1;
  while (power <= heads / 2) power *= 2;
  std::vector<float> slopes;
  for (std::int64_t h = 0; h < heads; ++h) {
    const double steps = h < power ? 8.0 * static_cast<double>(h + 1)
                                   : 4.0 * static_cast<double>(2 * (h - power) + 1);
    slopes.push_back(static_cast<float>(std::exp2(-steps / static_cast<double>(power))));
  }
  return slopes;
}

AttendArrays read_attend(const AttendRequest& request) {
  AttendArrays arrays;
  arrays.files.reserve(6);  // q, k, v, mask, bias, lse: references to them stay good
  AttendReader reader(&arrays);
  Inputs& inputs = arrays.inputs;
  AllGiven given;
  given.has_values = request.from_lse.empty();
  const auto read = [&](const std::string& path, const char* letter, bool packed, Given* array) {
    const View view = reader.numbers(path, letter, request.type, packed ? 3 : 4);
    *array = {last_file(arrays).name(), last_file(arrays).header.shape, packed};
    return view;
  };
  const bool packed_keys = !request.key_offsets.empty();
  inputs.q = read(request.q, "q", !request.query_offsets.empty(), &given.q);
  inputs.k = read(request.k, "k", packed_keys, &given.k);
  if (given.has_values) inputs.v = read(request.v, "v", packed_keys, &given.v);
  check_ranks(given);
  check_shapes(given);
  read_sizes(request, given, &reader, &arrays);
  const AttendSizes& s = arrays.sizes;
  if (!request.key_lengths.empty()) {
    arrays.key_lengths = reader.lengths(request.key_lengths, arrays.key_offsets, s.M, 'M');
    inputs.key_lengths = arrays.key_lengths;
  }
  if (!request.query_lengths.empty()) {
    arrays.query_lengths = reader.lengths(request.query_lengths, arrays.query_offsets, s.N, 'N');
    inputs.query_lengths = arrays.query_lengths;
  }
  if (!request.mask.empty()) {
    inputs.mask = reader.mask(request.mask);
    check_broadcast(arrays);
  }
  if (!request.bias.empty()) {
    inputs.bias = reader.bias(request.bias);
    check_broadcast(arrays);
  }
  if (!request.alibi.empty()) read_slopes(request.alibi, &reader, &arrays);
  if (!request.from_lse.empty()) read_lse(request.from_lse, &reader, &arrays);
  check_rows(arrays, request.rows);
  check_part(arrays, request.options);
  return arrays;
}

}  // namespace fovea
