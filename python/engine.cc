// fovea._engine: what Python cannot do itself. It reads arrays as views, lets go of the interpreter's lock,
// and calls the engine. Names, kinds of arrays, shapes of results and their docstrings: fovea/*.py.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fovea/attend.h"
#include "fovea/backward.h"
#include "fovea/cache.h"
#include "fovea/error.h"
#include "fovea/highlights.h"
#include "fovea/isa.h"
#include "fovea/merge.h"
#include "fovea/threads.h"
#include "fovea/view.h"
#include "pool.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace fovea::python {
namespace {

// Something to point at where there is nothing: a view without a pointer would mean "not given".
const double kNothing = 0;

using List = std::vector<std::int32_t>;

DataType type_from_name(const std::string& name) {
  for (const DataType type : {DataType::kFloat32, DataType::kFloat64, DataType::kFloat16,
                              DataType::kBFloat16, DataType::kInt32, DataType::kBool}) {
    if (name == name_of(type)) return type;
  }
  throw Error(name + " is no type of the engine's");  // fovea/*.py let none through
}

// An array of any library, borrowed: kept alive, never copied.
class Array {
 public:
  // `as_bfloat16`: 16-bit numbers are bfloat16 (NumPy has no word for it that travels).
  Array(nb::handle source, bool writable, bool as_bfloat16) {
    nb::ndarray<> changing;
    const bool read =
        writable ? nb::try_cast(source, changing, false) : nb::try_cast(source, memory_, false);
    if (!read) throw nb::buffer_error("not readable through DLPack or the buffer protocol");
    if (writable) memory_ = nb::ndarray<nb::ro>(changing);
    name_ = name_of(memory_.dtype());
    if (as_bfloat16 && name_ == "uint16") name_ = "bfloat16";
    data_ = memory_.size() == 0 || memory_.data() == nullptr ? &kNothing : memory_.data();
    for (std::size_t d = 0; d < memory_.ndim(); ++d) {
      shape_.push_back(static_cast<std::int64_t>(memory_.shape(d)));
      strides_.push_back(memory_.stride(d));
    }
    if (memory_.size() == 0) {  // NumPy gives such an array strides of its own fancy
      strides_.assign(shape_.size(), 1);
    }
  }

  const std::string& dtype() const { return name_; }
  nb::tuple shape() const { return tuple_of(shape_); }
  nb::tuple strides() const { return tuple_of(strides_); }
  std::uintptr_t address() const { return reinterpret_cast<std::uintptr_t>(data_); }
  bool on_cpu() const { return memory_.device_type() == nb::device::cpu::value; }

  // The same memory, read as `shape`: sizes of 1 are repeated, missing ones on the left are 1.
  Array broadcast_to(const std::vector<std::int64_t>& shape) const {
    Array result = *this;
    result.shape_ = shape;
    result.strides_.assign(shape.size(), 0);
    if (shape_.size() > shape.size()) throw nb::value_error("too many dimensions");
    const std::size_t lacking = shape.size() - shape_.size();
    for (std::size_t d = 0; d < shape_.size(); ++d) {
      if (shape_[d] == shape[lacking + d]) {
        result.strides_[lacking + d] = strides_[d];
      } else if (shape_[d] != 1) {
        throw nb::value_error("sizes differ");
      }
    }
    return result;
  }

  // Filled with 1 on the left up to `rank`.
  View view(int rank) const {
    View view;
    view.data = data_;
    view.type = type();
    view.rank = rank;
    const int lacking = rank - static_cast<int>(shape_.size());
    if (lacking < 0 || rank > kMaxRank) throw Error("an array has too many dimensions");
    for (int d = 0; d < rank; ++d) {
      const auto to = static_cast<std::size_t>(d);
      const auto from = static_cast<std::size_t>(d - lacking);
      view.shape[to] = d < lacking ? 1 : shape_[from];
      view.strides[to] = d < lacking ? 0 : strides_[from];
    }
    return view;
  }

  // Only for arrays that were asked for as writable, and for the parts of a merge, which it only reads.
  MutableView mutable_view(int rank) const {
    const View from = view(rank);
    MutableView to;
    to.data = const_cast<void*>(from.data);
    to.type = from.type;
    to.rank = from.rank;
    to.shape = from.shape;
    to.strides = from.strides;
    return to;
  }

 private:
  static std::string name_of(nb::dlpack::dtype type) {
    using Code = nb::dlpack::dtype_code;
    const std::string bits = std::to_string(type.bits);
    if (type.lanes != 1) return "a vector type";
    switch (static_cast<Code>(type.code)) {
      case Code::Bool: return "bool";
      case Code::Int: return "int" + bits;
      case Code::UInt: return "uint" + bits;
      case Code::Float: return "float" + bits;
      case Code::Bfloat: return "bfloat" + bits;
      case Code::Complex: return "complex" + bits;
      default: return "a type that fovea does not know";
    }
  }

  DataType type() const { return type_from_name(name_); }

  static nb::tuple tuple_of(const std::vector<std::int64_t>& sizes) {
    nb::list list;
    for (const std::int64_t size : sizes) list.append(size);
    return nb::tuple(list);
  }

  nb::ndarray<nb::ro> memory_;
  const void* data_ = nullptr;
  std::string name_;
  std::vector<std::int64_t> shape_;
  std::vector<std::int64_t> strides_;
};

View view_of(const Array* array, int rank) { return array == nullptr ? View() : array->view(rank); }

// What is attended to, ready for the engine. Made by Python, read only by this file.
struct Call {
  Call(const Array& q, const Array& k, const Array* v, const Array* mask, const Array* bias,
       const Array* alibi_slopes, const Array* factor, const Array* received_weights,
       List query_offsets_, List key_offsets_, List key_lengths_, List query_lengths_,
       List row_queries_, const Options& options_)
      : query_offsets(std::move(query_offsets_)),
        key_offsets(std::move(key_offsets_)),
        key_lengths(std::move(key_lengths_)),
        query_lengths(std::move(query_lengths_)),
        row_queries(std::move(row_queries_)),
        options(options_) {
    for (const Array* array : {&q, &k, v, mask, bias, alibi_slopes, factor, received_weights}) {
      if (array != nullptr) arrays.push_back(*array);
    }
    queries_packed = !query_offsets.empty();
    keys_packed = !key_offsets.empty();
    inputs.q = q.view(queries_packed ? 3 : 4);
    inputs.k = k.view(keys_packed ? 3 : 4);
    inputs.v = view_of(v, keys_packed ? 3 : 4);
    inputs.mask = view_of(mask, 4);
    inputs.bias = view_of(bias, 4);
    inputs.alibi_slopes = view_of(alibi_slopes, 2);
    inputs.factor = view_of(factor, keys_packed ? 2 : 3);
    inputs.received_weights = view_of(received_weights, queries_packed ? 2 : 3);
    inputs.query_offsets = query_offsets;
    inputs.key_offsets = key_offsets;
    inputs.key_lengths = key_lengths;
    inputs.query_lengths = query_lengths;
    inputs.row_queries = row_queries;
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  std::vector<Array> arrays;
  List query_offsets, key_offsets, key_lengths, query_lengths, row_queries;
  bool queries_packed = false, keys_packed = false;
  Inputs inputs;
  Options options;
};

Outputs outputs_of(const Array* out, const Array* lse, const Array* top_index,
                   const Array* top_weight, const Array* received, const Array* entropy,
                   const Array* rows, bool queries_packed, bool keys_packed) {
  const auto view = [](const Array* array, int rank) {
    return array == nullptr ? MutableView() : array->mutable_view(rank);
  };
  const int rank = queries_packed ? 3 : 4;
  Outputs outputs;
  outputs.out = view(out, rank);
  outputs.lse = view(lse, rank - 1);
  outputs.top_index = view(top_index, rank);
  outputs.top_weight = view(top_weight, rank);
  outputs.received = view(received, keys_packed ? 2 : 3);
  outputs.entropy = view(entropy, rank - 1);
  outputs.rows = view(rows, rank);
  return outputs;
}

void run_attend(const Call& call, const Array* out, const Array* lse, const Array* top_index,
                const Array* top_weight, const Array* received, const Array* entropy,
                const Array* rows, int threads) {
  const Outputs outputs = outputs_of(out, lse, top_index, top_weight, received, entropy, rows,
                                     call.queries_packed, call.keys_packed);
  const nb::gil_scoped_release others_may_run;
  BorrowedThreads pool(threads);
  attend(call.inputs, call.options, outputs, pool.threads());
}

void run_attend_backward(const Call& call, const Array& out, const Array& lse,
                         const Array& out_gradient, const Array* dq, const Array* dk,
                         const Array* dv, const Array* dbias, const Array* key_gradient,
                         int threads) {
  const auto view = [](const Array* array, int rank) {
    return array == nullptr ? MutableView() : array->mutable_view(rank);
  };
  const int rank = call.queries_packed ? 3 : 4;
  const int key_rank = call.keys_packed ? 3 : 4;
  const Forward forward{out.view(rank), lse.view(rank - 1)};
  const View given = out_gradient.view(rank);
  const Gradients gradients{view(dq, rank), view(dk, key_rank), view(dv, key_rank), view(dbias, 4),
                            view(key_gradient, key_rank - 1)};
  const nb::gil_scoped_release others_may_run;
  BorrowedThreads pool(threads);
  attend_backward(call.inputs, call.options, forward, given, gradients, pool.threads());
}

void run_highlights(const Call& call, const Array& lse, const Array* top_index,
                    const Array* top_weight, const Array* received, const Array* entropy,
                    const Array* rows, int threads) {
  const Outputs outputs = outputs_of(nullptr, nullptr, top_index, top_weight, received, entropy,
                                     rows, call.queries_packed, call.keys_packed);
  const View lse_view = lse.view(call.queries_packed ? 2 : 3);
  const nb::gil_scoped_release others_may_run;
  BorrowedThreads pool(threads);
  highlights(call.inputs, lse_view, call.options, outputs, pool.threads());
}

// out, lse, top_index, top_weight, entropy: what can be merged. None: not there.
Outputs outputs_of(nb::handle part, bool packed) {
  const auto array = [&](std::size_t at) { return nb::cast<const Array*>(part[at]); };
  return outputs_of(array(0), array(1), array(2), array(3), nullptr, array(4), nullptr, packed,
                    false);
}

void run_merge(const nb::list& parts, const nb::tuple& merged, bool packed, const Array* factor,
               const List& query_offsets, const List& key_offsets, int threads) {
  std::vector<Outputs> from;
  for (const nb::handle part : parts) from.push_back(outputs_of(part, packed));
  const Outputs to = outputs_of(merged, packed);
  Inputs inputs;
  inputs.factor = view_of(factor, key_offsets.empty() ? 3 : 2);
  inputs.query_offsets = query_offsets;
  inputs.key_offsets = key_offsets;
  const nb::gil_scoped_release others_may_run;
  BorrowedThreads pool(threads);
  merge(from, to, pool.threads(), inputs);
}

Options options_of(std::optional<float> scale, const std::string& causal,
                   std::optional<std::int64_t> before, std::optional<std::int64_t> after,
                   std::optional<std::int64_t> key_begin, std::optional<std::int64_t> key_end,
                   const Dropout& dropout) {
  Options options;
  options.scale = scale;
  options.causal = causal == "bottom-right" ? Causal::kBottomRight
                   : causal == "top-left"   ? Causal::kTopLeft
                                            : Causal::kNone;
  options.window_before = before;
  options.window_after = after;
  options.key_begin = key_begin;
  options.key_end = key_end;
  options.dropout = dropout;
  return options;
}

nb::dlpack::dtype dlpack_type(const std::string& name) {
  using Code = nb::dlpack::dtype_code;
  nb::dlpack::dtype type{};
  type.lanes = 1;
  type.bits = name == "float32" || name == "int32" ? 32 : 16;
  type.code = static_cast<std::uint8_t>(name == "int32"      ? Code::Int
                                        : name == "uint16"   ? Code::UInt
                                        : name == "bfloat16" ? Code::Bfloat
                                                             : Code::Float);
  return type;
}

// A cache's keys or values where they lie. `as_uint16`: for NumPy, which has no bfloat16 that travels.
nb::ndarray<nb::array_api> array_of(const View& view, nb::handle owner, bool as_uint16) {
  std::array<std::size_t, kMaxRank> shape{};
  for (int d = 0; d < view.rank; ++d) {
    shape[static_cast<std::size_t>(d)] = static_cast<std::size_t>(view.size(d));
  }
  return nb::ndarray<nb::array_api>(const_cast<void*>(view.data), 4, shape.data(), owner,
                                    view.strides.data(),
                                    dlpack_type(as_uint16 ? "uint16" : name_of(view.type)));
}

// New memory for results that go to a library other than NumPy and torch.
nb::ndarray<nb::array_api> empty(const std::vector<std::size_t>& shape, const std::string& dtype) {
  const nb::dlpack::dtype type = dlpack_type(dtype);
  std::size_t bytes = type.bits / 8U;
  for (const std::size_t size : shape) bytes *= size;
  auto memory = std::make_unique<std::byte[]>(bytes == 0 ? 1 : bytes);
  nb::capsule owner(memory.get(), [](void* p) noexcept { delete[] static_cast<std::byte*>(p); });
  return nb::ndarray<nb::array_api>(memory.release(), shape.size(), shape.data(), owner, nullptr,
                                    type);
}

}  // namespace
}  // namespace fovea::python

NB_MODULE(_engine, m) {
  using namespace fovea;          // NOLINT(google-build-using-namespace)
  using namespace fovea::python;  // NOLINT(google-build-using-namespace)

  static PyObject* error = PyErr_NewExceptionWithDoc(
      "fovea.Error", "What was expected, what was found, and the cure.", PyExc_ValueError, nullptr);
  m.attr("Error") = nb::borrow(error);
  nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
    try {
      std::rethrow_exception(thrown);
    } catch (const Error& e) {
      PyErr_SetString(error, e.what());
    }
  });

  m.attr("__version__") = FOVEA_VERSION;

  nb::class_<Array>(m, "Array")
      .def(nb::init<nb::handle, bool, bool>(), "source"_a, "writable"_a = false,
           "as_bfloat16"_a = false)
      .def_prop_ro("dtype", &Array::dtype)
      .def_prop_ro("shape", &Array::shape)
      .def_prop_ro("strides", &Array::strides)
      .def_prop_ro("address", &Array::address)
      .def_prop_ro("on_cpu", &Array::on_cpu)
      .def("broadcast_to", &Array::broadcast_to, "shape"_a);

  nb::class_<Call>(m, "Call").def(
      "__init__",
      [](Call* self, const Array& q, const Array& k, const Array* v, const Array* mask,
         const Array* bias, const Array* alibi_slopes, const Array* factor,
         const Array* received_weights, List query_offsets, List key_offsets, List key_lengths,
         List query_lengths, List row_queries, std::optional<float> scale,
         const std::string& causal, std::optional<std::int64_t> window_before,
         std::optional<std::int64_t> window_after, std::optional<std::int64_t> key_begin,
         std::optional<std::int64_t> key_end, float dropout, std::uint64_t dropout_seed,
         std::uint32_t dropout_offset) {
        new (self) Call(q, k, v, mask, bias, alibi_slopes, factor, received_weights,
                        std::move(query_offsets), std::move(key_offsets), std::move(key_lengths),
                        std::move(query_lengths), std::move(row_queries),
                        options_of(scale, causal, window_before, window_after, key_begin, key_end,
                                   {dropout, dropout_seed, dropout_offset}));
      },
      "q"_a, "k"_a, "v"_a.none(), "mask"_a.none(), "bias"_a.none(), "alibi_slopes"_a.none(),
      "factor"_a.none(), "received_weights"_a.none(), "query_offsets"_a, "key_offsets"_a,
      "key_lengths"_a, "query_lengths"_a, "row_queries"_a, "scale"_a.none(), "causal"_a,
      "window_before"_a.none(), "window_after"_a.none(), "key_begin"_a.none(), "key_end"_a.none(),
      "dropout"_a, "dropout_seed"_a, "dropout_offset"_a);

  m.def("attend", &run_attend, "call"_a, "out"_a.none(), "lse"_a.none(), "top_index"_a.none(),
        "top_weight"_a.none(), "received"_a.none(), "entropy"_a.none(), "rows"_a.none(),
        "threads"_a);
  m.def("attend_backward", &run_attend_backward, "call"_a, "out"_a, "lse"_a, "out_gradient"_a,
        "dq"_a.none(), "dk"_a.none(), "dv"_a.none(), "dbias"_a.none(), "key_gradient"_a.none(),
        "threads"_a);
  m.def("highlights", &run_highlights, "call"_a, "lse"_a, "top_index"_a.none(),
        "top_weight"_a.none(), "received"_a.none(), "entropy"_a.none(), "rows"_a.none(),
        "threads"_a);
  m.def("merge", &run_merge, "parts"_a, "merged"_a, "packed"_a, "factor"_a.none(),
        "query_offsets"_a, "key_offsets"_a, "threads"_a);

  nb::class_<KeyValueCache>(m, "Cache")
      .def(
          "__init__",
          [](KeyValueCache* self, std::int64_t batch, std::int64_t heads, std::int64_t capacity,
             std::int64_t key_width, std::int64_t value_width, const std::string& dtype) {
            new (self) KeyValueCache({.batch = batch,
                                      .heads = heads,
                                      .capacity = capacity,
                                      .key_width = key_width,
                                      .value_width = value_width,
                                      .type = type_from_name(dtype)});
          },
          "batch"_a, "heads"_a, "capacity"_a, "key_width"_a, "value_width"_a, "dtype"_a)
      // These hold the interpreter's lock: one call at a time is what the cache asks for.
      .def(
          "append",
          [](KeyValueCache& self, const Array& k, const Array& v, const List& counts) {
            self.append(k.view(4), v.view(4), counts);
          },
          "k"_a, "v"_a, "counts"_a)
      .def(
          "reorder", [](KeyValueCache& self, const List& from) { self.reorder(from); }, "from_"_a)
      .def("truncate", &KeyValueCache::truncate, "b"_a, "length"_a)
      .def("lengths",
           [](const KeyValueCache& self) {
             return List(self.lengths().begin(), self.lengths().end());
           })
      .def(
          "keys",
          [](nb::handle self, bool as_uint16) {
            return array_of(nb::cast<KeyValueCache&>(self).keys(), self, as_uint16);
          },
          "as_uint16"_a)
      .def(
          "values",
          [](nb::handle self, bool as_uint16) {
            return array_of(nb::cast<KeyValueCache&>(self).values(), self, as_uint16);
          },
          "as_uint16"_a);
  m.def("empty", &empty, "shape"_a, "dtype"_a);

  m.def("isa", [] { return std::string(name_of(current_isa())); });
  m.def(
      "set_isa", [](const std::string& name) { set_isa(isa_from_name(name)); }, "name"_a);
  m.def("available_isas", [] {
    std::vector<std::string> names;
    for (const Isa isa : available_isas()) names.emplace_back(name_of(isa));
    return names;
  });
}
