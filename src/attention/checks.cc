#include "attention/checks.h"

#include <array>
#include <cmath>
#include <string>

#include "fovea/error.h"

namespace fovea::attention {
namespace {

using Shape = std::array<std::int64_t, kMaxRank>;

[[noreturn]] void fail(const std::string& text) { throw Error("attend: " + text); }

std::string text_of(std::int64_t n) { return std::to_string(n); }

// The shape as its maker thinks of it: one head of one sequence is a matrix, [64, 512].
std::string matrix_text(View view) {
  while (view.rank > 2 && view.shape[0] == 1) {
    for (std::size_t d = 1; d < kMaxRank; ++d) view.shape[d - 1] = view.shape[d];
    --view.rank;
  }
  return shape_text(view);
}

void check_kind(const char* name, const View& view, DataType type, const char* letters, int rank) {
  if (view.type != type) {
    fail(std::string(name) + " is " + name_of(view.type) + " but must be " + name_of(type));
  }
  if (view.rank != rank) {
    fail(std::string(name) + " is " + shape_text(view) + " but must have " + text_of(rank) +
         " dimensions " + letters);
  }
  for (int d = 0; d < rank; ++d) {
    if (view.size(d) < 0) fail(std::string(name) + " is " + shape_text(view) + ": a negative size");
  }
}

void check_dense_rows(const char* name, const View& view) {
  const int last = view.rank - 1;
  if (view.size(last) > 1 && view.step(last) != 1) {
    fail(std::string(name) + " has stride " + text_of(view.step(last)) +
         " in its last dimension but must have 1: copy it row by row");
  }
}

bool is_empty(const View& view) {
  for (int d = 0; d < view.rank; ++d) {
    if (view.size(d) == 0) return true;
  }
  return false;
}

void check_input(const char* name, const View& view, const char* letters) {
  // An empty array may well have no address.
  if (!view.given() && !is_empty(view)) fail(std::string(name) + " is not given");
  check_kind(name, view, DataType::kFloat32, letters, 4);
  check_dense_rows(name, view);
}

// `expected` has `view.rank` sizes that count.
void check_shape(const char* name, const View& view, const Shape& expected, const char* letters) {
  View want = view;
  want.shape = expected;
  for (int d = 0; d < view.rank; ++d) {
    if (view.size(d) != want.size(d)) {
      fail(std::string(name) + " is " + shape_text(view) + " but must be " + letters + " = " +
           shape_text(want));
    }
  }
}

void check_output(const char* name, const View& view, DataType type, const char* letters,
                  const Shape& expected, int rank) {
  if (!view.given()) return;
  check_kind(name, view, type, letters, rank);
  check_shape(name, view, expected, letters);
  for (int d = 0; d < rank && !is_empty(view); ++d) {
    if (view.size(d) > 1 && view.step(d) == 0) {
      fail(std::string(name) + " has stride 0 in dimension " + text_of(d) +
           ": results would overwrite each other");
    }
  }
}

void check_broadcast(const char* name, const View& view, DataType type, const Sizes& z) {
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
                const char* letter) {
  for (std::size_t at = 0; at < list.size(); ++at) {
    if (list[at] < 0 || list[at] > most) {
      fail(std::string(name) + "[" + std::to_string(at) + "] is " + text_of(list[at]) +
           " but must be in [0, " + letter + "] = [0, " + text_of(most) + "]");
    }
  }
}

void check_lengths(const char* name, std::span<const std::int32_t> lengths, std::int64_t B,
                   std::int64_t most, const char* letter) {
  if (lengths.empty()) return;
  if (static_cast<std::int64_t>(lengths.size()) != B) {
    fail(std::string(name) + " has " + std::to_string(lengths.size()) +
         " entries but the batch has " + text_of(B));
  }
  check_list(name, lengths, most, letter);
}

void check_window(const char* name, const std::optional<std::int64_t>& keys) {
  if (keys && *keys < 0) {
    fail(std::string(name) + " is " + text_of(*keys) +
         " but must be at least 0: leave it out for no limit");
  }
}

void check_keys(const View& q, const View& k) {
  const std::int64_t D = q.size(3);
  if (k.size(3) != D) {
    if (k.size(2) == D) {
      fail("k is " + matrix_text(k) + " but q has width " + text_of(D) +
           ": did you pass k transposed? fovea takes keys as rows [M, " + text_of(D) + "]");
    }
    fail("k has width " + text_of(k.size(3)) + " but q has width " + text_of(D) + " (q " +
         shape_text(q) + ", k " + shape_text(k) + ")");
  }
  if (D < 1) fail("q is " + shape_text(q) + ": its width must be at least 1");
  if (k.size(0) != q.size(0)) {
    fail("k has batch " + text_of(k.size(0)) + " but q has batch " + text_of(q.size(0)) + " (q " +
         shape_text(q) + ", k " + shape_text(k) + ")");
  }
  const std::int64_t H = q.size(1);
  const std::int64_t G = k.size(1);
  if (H > 0 && (G < 1 || H % G != 0)) {
    fail(text_of(H) + " query heads cannot share " + text_of(G) +
         " key heads; H must be a multiple of G (q " + shape_text(q) + ", k " + shape_text(k) +
         ")");
  }
}

void check_values(const View& k, const View& v) {
  for (int d = 0; d < 3; ++d) {
    if (v.size(d) != k.size(d)) {
      fail("v is " + shape_text(v) + " but k is " + shape_text(k) +
           "; all but the width must agree");
    }
  }
  if (v.size(3) < 1) fail("v is " + shape_text(v) + ": its width must be at least 1");
}

void check_highlights(const Inputs& inputs, const Outputs& outputs, Sizes& z) {
  if (outputs.top_index.given() != outputs.top_weight.given()) {
    fail("top_index and top_weight must be given together");
  }
  if (outputs.top_index.given()) {
    check_kind("top_index", outputs.top_index, DataType::kInt32, "[B, H, N, K]", 4);
    z.K = outputs.top_index.size(3);
    const Shape shape{z.B, z.H, z.N, z.K};
    check_output("top_index", outputs.top_index, DataType::kInt32, "[B, H, N, K]", shape, 4);
    check_output("top_weight", outputs.top_weight, DataType::kFloat32, "[B, H, N, K]", shape, 4);
    check_dense_rows("top_index", outputs.top_index);
    check_dense_rows("top_weight", outputs.top_weight);
  }
  check_output("received", outputs.received, DataType::kFloat32, "[B, H, M]", {z.B, z.H, z.M}, 3);
  check_output("entropy", outputs.entropy, DataType::kFloat32, "[B, H, N]", {z.B, z.H, z.N}, 3);
  if (outputs.rows.given()) {
    z.R = static_cast<std::int64_t>(inputs.row_queries.size());
    check_output("rows", outputs.rows, DataType::kFloat32, "[B, H, R, M]", {z.B, z.H, z.R, z.M}, 4);
    check_dense_rows("rows", outputs.rows);
    if (z.R > 0 && z.N == 0) fail("row_queries has entries but q has no queries");
    check_list("row_queries", inputs.row_queries, z.N - 1, "N - 1");
  }
  const auto check_weights = [&](const char* name, const View& view, std::int64_t last,
                                 const char* letters) {
    if (!view.given()) return;
    check_kind(name, view, DataType::kFloat32, letters, 3);
    check_shape(name, view, {z.B, z.H, last}, letters);
  };
  check_weights("factor", inputs.factor, z.M, "[B, H, M]");
  check_weights("received_weights", inputs.received_weights, z.N, "[B, H, N]");
}

}  // namespace

Sizes checked_sizes(const Inputs& inputs, const Options& options, const Outputs& outputs) {
  check_input("q", inputs.q, "[B, H, N, D]");
  check_input("k", inputs.k, "[B, G, M, D]");
  check_keys(inputs.q, inputs.k);
  Sizes z{};
  z.B = inputs.q.size(0);
  z.H = inputs.q.size(1);
  z.N = inputs.q.size(2);
  z.D = inputs.q.size(3);
  z.G = inputs.k.size(1);
  z.M = inputs.k.size(2);
  if (z.M > INT32_MAX || z.N > INT32_MAX) fail("more than 2147483647 keys or queries");
  if (outputs.out.given() || inputs.v.given()) {
    check_input("v", inputs.v, "[B, G, M, E]");
    check_values(inputs.k, inputs.v);
    z.E = inputs.v.size(3);
    check_output("out", outputs.out, DataType::kFloat32, "[B, H, N, E]", {z.B, z.H, z.N, z.E}, 4);
    if (outputs.out.given()) check_dense_rows("out", outputs.out);
  }
  check_output("lse", outputs.lse, DataType::kFloat32, "[B, H, N]", {z.B, z.H, z.N}, 3);
  check_lengths("key_lengths", inputs.key_lengths, z.B, z.M, "M");
  check_lengths("query_lengths", inputs.query_lengths, z.B, z.N, "N");
  check_broadcast("mask", inputs.mask, DataType::kBool, z);
  check_broadcast("bias", inputs.bias, DataType::kFloat32, z);
  if (options.scale && !std::isfinite(*options.scale)) {
    fail("scale is " + std::to_string(*options.scale) + " but must be finite");
  }
  check_window("window_before", options.window_before);
  check_window("window_after", options.window_after);
  check_highlights(inputs, outputs, z);
  return z;
}

}  // namespace fovea::attention
