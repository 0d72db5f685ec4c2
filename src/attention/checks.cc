#include "attention/checks.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "fovea/error.h"

namespace fovea::attention {
namespace {

using Shape = std::array<std::int64_t, kMaxRank>;

std::string text_of(std::int64_t n) { return std::to_string(n); }

// The shape as its maker thinks of it: one head of one sequence is a matrix, [64, 512].
std::string matrix_text(View view) {
  while (view.rank > 2 && view.shape[0] == 1) {
    for (std::size_t d = 1; d < kMaxRank; ++d) view.shape[d - 1] = view.shape[d];
    --view.rank;
  }
  return shape_text(view);
}

bool is_empty(const View& view) {
  for (int d = 0; d < view.rank; ++d) {
    if (view.size(d) == 0) return true;
  }
  return false;
}

bool is_number(DataType type) {
  return type == DataType::kFloat32 || type == DataType::kBFloat16 || type == DataType::kFloat16;
}

class Checks {
 public:
  Checks(const char* where, const Inputs& inputs, const Outputs& outputs)
      : where_(where), in_(inputs), out_(outputs) {}

  [[noreturn]] void fail(const std::string& text) const {
    throw Error(std::string(where_) + ": " + text);
  }

  void check_kind(const char* name, const View& view, DataType type, const char* letters,
                  int rank) const {
    if (view.type != type) {
      fail(std::string(name) + " is " + name_of(view.type) + " but must be " + name_of(type));
    }
    check_rank(name, view, letters, rank);
  }

  void check_rank(const char* name, const View& view, const char* letters, int rank) const {
    if (view.rank != rank) {
      fail(std::string(name) + " is " + shape_text(view) + " but must have " + text_of(rank) +
           " dimensions " + letters);
    }
    for (int d = 0; d < rank; ++d) {
      if (view.size(d) < 0) {
        fail(std::string(name) + " is " + shape_text(view) + ": a negative size");
      }
    }
  }

  void check_dense_rows(const char* name, const View& view) const {
    const int last = view.rank - 1;
    if (view.size(last) > 1 && view.step(last) != 1) {
      fail(std::string(name) + " has stride " + text_of(view.step(last)) +
           " in its last dimension but must have 1: copy it row by row");
    }
  }

  // q, k or v.
  void check_input(const char* name, const View& view, const char* letters, int rank) const {
    // An empty array may well have no address.
    if (!view.given() && !is_empty(view)) fail(std::string(name) + " is not given");
    if (!is_number(view.type)) {
      fail(std::string(name) + " is " + name_of(view.type) +
           " but must be float32, bfloat16 or float16");
    }
    if (view.type != in_.q.type) {
      fail(std::string("q is ") + name_of(in_.q.type) + " but " + name + " is " +
           name_of(view.type) + "; q, k and v must be of one type");
    }
    check_rank(name, view, letters, rank);
    check_dense_rows(name, view);
  }

  // `expected` has `view.rank` sizes that count.
  void check_shape(const char* name, const View& view, const Shape& expected,
                   const char* letters) const {
    View want = view;
    want.shape = expected;
    for (int d = 0; d < view.rank; ++d) {
      if (view.size(d) != want.size(d)) {
        fail(std::string(name) + " is " + shape_text(view) + " but must be " + letters + " = " +
             shape_text(want));
      }
    }
  }

  void check_places(const char* name, const View& view) const {
    for (int d = 0; d < view.rank && !is_empty(view); ++d) {
      if (view.size(d) > 1 && view.step(d) == 0) {
        fail(std::string(name) + " has stride 0 in dimension " + text_of(d) +
             ": results would overwrite each other");
      }
    }
  }

  // An array of an entry (last < 0) or a row of `last` for each query (packed: [T, H, ...]) or each key
  // of each query head ([S, H]).
  void check_each(const char* name, const View& view, DataType type, bool of_keys,
                  std::int64_t last, const char* last_letter) const {
    const bool packed = !(of_keys ? in_.key_offsets : in_.query_offsets).empty();
    const std::int64_t count = packed ? (of_keys ? in_.k : in_.q).size(0) : of_keys ? z.M : z.N;
    std::string letters =
        packed ? (of_keys ? "[S, H" : "[T, H") : (of_keys ? "[B, H, M" : "[B, H, N");
    letters += last < 0 ? "]" : std::string(", ") + last_letter + "]";
    const int rank = (packed ? 2 : 3) + (last < 0 ? 0 : 1);
    check_kind(name, view, type, letters.c_str(), rank);
    const std::int64_t end = std::max<std::int64_t>(last, 0);
    const Shape shape = packed ? Shape{count, z.H, end} : Shape{z.B, z.H, count, end};
    check_shape(name, view, shape, letters.c_str());
  }

  void check_output(const char* name, const View& view, DataType type, bool of_keys,
                    std::int64_t last, const char* last_letter) const {
    if (!view.given()) return;
    check_each(name, view, type, of_keys, last, last_letter);
    check_places(name, view);
    if (last >= 0) check_dense_rows(name, view);
  }

  void check_broadcast(const char* name, const View& view, DataType type) const {
    if (!view.given()) return;
    check_kind(name, view, type, "[B or 1, H or 1, N or 1, M or 1]", 4);
    const std::array<std::int64_t, 4> full{z.B, z.H, z.N, z.M};
    for (int d = 0; d < 4; ++d) {
      if (view.size(d) != 1 && view.size(d) != full[static_cast<std::size_t>(d)]) {
        View want = view;
        want.shape = full;
        fail(std::string(name) + " is " + shape_text(view) +
             " but must be [B, H, N, M] = " + shape_text(want) + ", or 1 in place of any of them");
      }
    }
  }

  void check_list(const char* name, std::span<const std::int32_t> list, std::int64_t most,
                  const char* letter) const {
    for (std::size_t at = 0; at < list.size(); ++at) {
      if (list[at] < 0 || list[at] > most) {
        fail(std::string(name) + "[" + std::to_string(at) + "] is " + text_of(list[at]) +
             " but must be in [0, " + letter + "] = [0, " + text_of(most) + "]");
      }
    }
  }

  // From 0 to the rows of the array, never down. Returns the longest sequence.
  std::int64_t check_offsets(const char* name, std::span<const std::int32_t> offsets,
                             const char* array, std::int64_t rows) const {
    const std::string rule = std::string(name) + " must ascend from 0 to " + text_of(rows) +
                             ", the rows of " + array + ", but ";
    if (offsets.size() < 2)
      fail(rule + "has " + std::to_string(offsets.size()) + " entry: [B + 1]");
    if (offsets.front() != 0) fail(rule + "begins with " + text_of(offsets.front()));
    std::int64_t longest = 0;
    for (std::size_t at = 1; at < offsets.size(); ++at) {
      if (offsets[at] < offsets[at - 1]) {
        fail(rule + name + "[" + std::to_string(at) + "] is " + text_of(offsets[at]) + " after " +
             text_of(offsets[at - 1]));
      }
      longest = std::max<std::int64_t>(longest, offsets[at] - offsets[at - 1]);
    }
    if (offsets.back() != rows) fail(rule + "ends with " + text_of(offsets.back()));
    return longest;
  }

  void check_lengths(const char* name, std::span<const std::int32_t> lengths,
                     std::span<const std::int32_t> offsets, std::int64_t most,
                     const char* letter) const {
    if (lengths.empty()) return;
    if (static_cast<std::int64_t>(lengths.size()) != z.B) {
      fail(std::string(name) + " has " + std::to_string(lengths.size()) +
           " entries but the batch has " + text_of(z.B));
    }
    if (offsets.empty()) return check_list(name, lengths, most, letter);
    for (std::size_t b = 0; b < lengths.size(); ++b) {
      const std::int32_t own = offsets[b + 1] - offsets[b];
      if (lengths[b] < 0 || lengths[b] > own) {
        fail(std::string(name) + "[" + std::to_string(b) + "] is " + text_of(lengths[b]) +
             " but must be in [0, " + text_of(own) + "], what sequence " + std::to_string(b) +
             " has");
      }
    }
  }

  void check_window(const char* name, const std::optional<std::int64_t>& keys) const {
    if (keys && *keys < 0) {
      fail(std::string(name) + " is " + text_of(*keys) +
           " but must be at least 0: leave it out for no limit");
    }
  }

  void check_part(const Options& options) const {
    const std::int64_t begin = options.key_begin.value_or(0);
    const std::int64_t end = options.key_end.value_or(z.M);
    if (begin < 0 || end < begin) {
      fail("key_begin and key_end are " + text_of(begin) + " and " + text_of(end) +
           " but must be 0 <= key_begin <= key_end");
    }
  }

  // Key heads: the second dimension from the last but one.
  static std::int64_t heads_of(const View& view) {
    return view.size(view.rank - 3 + (view.rank == 3 ? 1 : 0));
  }

  void check_keys() const {
    const View& q = in_.q;
    const View& k = in_.k;
    const std::int64_t D = q.size(q.rank - 1);
    if (k.size(k.rank - 1) != D) {
      if (k.rank == 4 && k.size(2) == D) {
        fail("k is " + matrix_text(k) + " but q has width " + text_of(D) +
             ": did you pass k transposed? fovea takes keys as rows [M, " + text_of(D) + "]");
      }
      fail("k has width " + text_of(k.size(k.rank - 1)) + " but q has width " + text_of(D) +
           " (q " + shape_text(q) + ", k " + shape_text(k) + ")");
    }
    if (D < 1) fail("q is " + shape_text(q) + ": its width must be at least 1");
    const std::int64_t H = heads_of(q);
    const std::int64_t G = heads_of(k);
    if (H > 0 && (G < 1 || H % G != 0)) {
      fail(text_of(H) + " query heads cannot share " + text_of(G) +
           " key heads; H must be a multiple of G (q " + shape_text(q) + ", k " + shape_text(k) +
           ")");
    }
  }

  // How many sequences there are, by offsets or by shapes.
  std::int64_t batch() const {
    const auto count = [](const View& view, std::span<const std::int32_t> offsets) {
      return offsets.empty() ? view.size(0) : static_cast<std::int64_t>(offsets.size()) - 1;
    };
    const std::int64_t of_q = count(in_.q, in_.query_offsets);
    const std::int64_t of_k = count(in_.k, in_.key_offsets);
    if (of_k != of_q) {
      fail("k has batch " + text_of(of_k) + " but q has batch " + text_of(of_q) + " (q " +
           shape_text(in_.q) + ", k " + shape_text(in_.k) + ")");
    }
    return of_q;
  }

  void check_values() const {
    const View& k = in_.k;
    const View& v = in_.v;
    for (int d = 0; d < k.rank - 1; ++d) {
      if (v.size(d) != k.size(d)) {
        fail("v is " + shape_text(v) + " but k is " + shape_text(k) +
             "; all but the width must agree");
      }
    }
    if (v.size(v.rank - 1) < 1) fail("v is " + shape_text(v) + ": its width must be at least 1");
  }

  void check_inputs() {
    const bool packed_q = !in_.query_offsets.empty();
    const bool packed_k = !in_.key_offsets.empty();
    check_input("q", in_.q, packed_q ? "[T, H, D], as query_offsets are given" : "[B, H, N, D]",
                packed_q ? 3 : 4);
    check_input("k", in_.k, packed_k ? "[S, G, D], as key_offsets are given" : "[B, G, M, D]",
                packed_k ? 3 : 4);
    check_keys();
    z.B = batch();
    z.H = heads_of(in_.q);
    z.G = heads_of(in_.k);
    z.D = in_.q.size(in_.q.rank - 1);
    z.N = packed_q ? check_offsets("query_offsets", in_.query_offsets, "q", in_.q.size(0))
                   : in_.q.size(2);
    z.M = packed_k ? check_offsets("key_offsets", in_.key_offsets, "k", in_.k.size(0))
                   : in_.k.size(2);
    if (z.M > INT32_MAX || z.N > INT32_MAX) fail("more than 2147483647 keys or queries");
    if (needs_values || out_.out.given() || in_.v.given()) {
      check_input("v", in_.v, packed_k ? "[S, G, E], as key_offsets are given" : "[B, G, M, E]",
                  packed_k ? 3 : 4);
      check_values();
      z.E = in_.v.size(in_.v.rank - 1);
    }
  }

  void check_outputs() {
    if (out_.out.given()) {
      if (out_.out.type != DataType::kFloat32 && out_.out.type != in_.q.type) {
        fail(std::string("out is ") + name_of(out_.out.type) + " but must be float32" +
             (in_.q.type == DataType::kFloat32 ? "" : std::string(" or ") + name_of(in_.q.type)));
      }
      check_output("out", out_.out, out_.out.type, false, z.E, "E");
    }
    check_output("lse", out_.lse, DataType::kFloat32, false, -1, "");
  }

  void check_rules(const Options& options) const {
    check_lengths("key_lengths", in_.key_lengths, in_.key_offsets, z.M, "M");
    check_lengths("query_lengths", in_.query_lengths, in_.query_offsets, z.N, "N");
    check_broadcast("mask", in_.mask, DataType::kBool);
    check_broadcast("bias", in_.bias, DataType::kFloat32);
    check_slopes();
    if (options.scale && !std::isfinite(*options.scale)) {
      fail("scale is " + std::to_string(*options.scale) + " but must be finite");
    }
    check_window("window_before", options.window_before);
    check_window("window_after", options.window_after);
    check_part(options);
    const float rate = options.dropout.rate;
    if (!(rate >= 0 && rate < 1)) {
      fail("dropout.rate is " + std::to_string(rate) +
           " but must be in [0, 1): it is the share of weights that are dropped");
    }
  }

  void check_slopes() const {
    const View& slopes = in_.alibi_slopes;
    if (!slopes.given()) return;
    check_kind("alibi_slopes", slopes, DataType::kFloat32, "[B or 1, H]", 2);
    if ((slopes.size(0) != 1 && slopes.size(0) != z.B) || slopes.size(1) != z.H) {
      View want = slopes;
      want.shape = {z.B, z.H};
      fail("alibi_slopes is " + shape_text(slopes) + " but must be [B, H] = " + shape_text(want) +
           ", or 1 in place of B");
    }
    for (std::int64_t b = 0; b < slopes.size(0); ++b) {
      for (std::int64_t h = 0; h < slopes.size(1); ++h) {
        const float slope =
            static_cast<const float*>(slopes.data)[b * slopes.step(0) + h * slopes.step(1)];
        if (!std::isfinite(slope)) {
          fail("alibi_slopes[" + text_of(b) + ", " + text_of(h) + "] is " + std::to_string(slope) +
               " but must be finite");
        }
      }
    }
  }

  void check_highlights() {
    if (out_.top_index.given() != out_.top_weight.given()) {
      fail("top_index and top_weight must be given together");
    }
    if (out_.top_index.given()) {
      const bool packed = !in_.query_offsets.empty();
      check_kind("top_index", out_.top_index, DataType::kInt32,
                 packed ? "[T, H, K]" : "[B, H, N, K]", packed ? 3 : 4);
      z.K = out_.top_index.size(out_.top_index.rank - 1);
      check_output("top_index", out_.top_index, DataType::kInt32, false, z.K, "K");
      check_output("top_weight", out_.top_weight, DataType::kFloat32, false, z.K, "K");
    }
    check_output("received", out_.received, DataType::kFloat32, true, -1, "");
    check_output("entropy", out_.entropy, DataType::kFloat32, false, -1, "");
    if (out_.rows.given()) check_rows();
    if (in_.factor.given()) check_each("factor", in_.factor, DataType::kFloat32, true, -1, "");
    if (in_.received_weights.given()) {
      check_each("received_weights", in_.received_weights, DataType::kFloat32, false, -1, "");
    }
  }

  void check_rows() {
    const bool packed = !in_.query_offsets.empty();
    z.R = static_cast<std::int64_t>(in_.row_queries.size());
    const char* letters = packed ? "[R, H, M]" : "[B, H, R, M]";
    check_kind("rows", out_.rows, DataType::kFloat32, letters, packed ? 3 : 4);
    check_shape("rows", out_.rows, packed ? Shape{z.R, z.H, z.M} : Shape{z.B, z.H, z.R, z.M},
                letters);
    check_places("rows", out_.rows);
    check_dense_rows("rows", out_.rows);
    const std::int64_t queries = packed ? in_.q.size(0) : z.N;
    if (z.R > 0 && queries == 0) fail("row_queries has entries but q has no queries");
    check_list("row_queries", in_.row_queries, queries - 1, packed ? "T - 1" : "N - 1");
  }

  // An array like out, given where it has elements.
  void check_of_out(const char* name, const View& view, bool may_be_float) const {
    if (!view.given() && z.B * z.H * z.N > 0) fail(std::string(name) + " is not given");
    if (!view.given()) return;
    check_number(name, view, may_be_float);
    check_each(name, view, view.type, false, z.E, "E");
    check_dense_rows(name, view);
  }

  void check_number(const char* name, const View& view, bool may_be_float) const {
    const bool wide = may_be_float && view.type == DataType::kFloat32;
    if (wide || view.type == in_.q.type) return;
    const bool choice = may_be_float && in_.q.type != DataType::kFloat32;
    fail(std::string(name) + " is " + name_of(view.type) + " but must be " +
         (choice ? "float32 or " : "") + name_of(in_.q.type) + (may_be_float ? "" : ", as q is"));
  }

  // A gradient of q, k or v: its shape is theirs.
  void check_gradient(const char* name, const View& view, const View& of,
                      const char* letters) const {
    if (!view.given()) return;
    check_number(name, view, true);
    check_rank(name, view, letters, of.rank);
    check_shape(name, view, of.shape, letters);
    check_places(name, view);
    check_dense_rows(name, view);
  }

  void check_backward(const Forward& forward, const View& out_gradient,
                      const Gradients& gradients) const {
    check_of_out("out", forward.out, true);
    check_of_out("out_gradient", out_gradient, false);
    const bool packed_q = !in_.query_offsets.empty();
    const bool packed_k = !in_.key_offsets.empty();
    check_gradient("dq", gradients.dq, in_.q, packed_q ? "[T, H, D]" : "[B, H, N, D]");
    check_gradient("dk", gradients.dk, in_.k, packed_k ? "[S, G, D]" : "[B, G, M, D]");
    check_gradient("dv", gradients.dv, in_.v, packed_k ? "[S, G, E]" : "[B, G, M, E]");
    if (gradients.dbias.given()) {
      if (!in_.bias.given()) fail("dbias is given but bias is not");
      check_kind("dbias", gradients.dbias, DataType::kFloat32, "as bias", 4);
      check_shape("dbias", gradients.dbias, in_.bias.shape, "as bias");
      check_places("dbias", gradients.dbias);
    }
    check_output("key_gradient", gradients.key_gradient, DataType::kFloat32, true, -1, "");
  }

  Sizes z{};
  bool needs_values = false;

 private:
  const char* where_;
  const Inputs& in_;
  const Outputs& out_;
};

}  // namespace

Sizes checked_sizes(const char* where, const Inputs& inputs, const Options& options,
                    const Outputs& outputs) {
  Checks checks(where, inputs, outputs);
  checks.check_inputs();
  checks.check_outputs();
  checks.check_rules(options);
  checks.check_highlights();
  return checks.z;
}

Sizes checked_backward_sizes(const Inputs& inputs, const Options& options, const Forward& forward,
                             const View& out_gradient, const Gradients& gradients) {
  const Outputs none;
  Checks checks("attend_backward", inputs, none);
  checks.needs_values = true;
  checks.check_inputs();
  checks.check_rules(options);
  check_lse("attend_backward", inputs, checks.z, forward.lse);
  checks.check_backward(forward, out_gradient, gradients);
  return checks.z;
}

void check_lse(const char* where, const Inputs& inputs, const Sizes& z, const View& lse) {
  const Outputs none;
  Checks checks(where, inputs, none);
  checks.z = z;
  if (!lse.given() && z.B * z.H * z.N > 0) checks.fail("lse is not given");
  if (lse.given()) checks.check_each("lse", lse, DataType::kFloat32, false, -1, "");
}

}  // namespace fovea::attention
