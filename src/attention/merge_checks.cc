#include "attention/merge_checks.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <utility>

#include "fovea/error.h"

namespace fovea::attention {
namespace {

constexpr float kNoKey = -std::numeric_limits<float>::infinity();  // the lse of a row that saw none

// A shape to be met, in letters and in numbers.
struct Want {
  const char* letters;
  int rank;
  std::array<std::int64_t, kMaxRank> shape;
};

[[noreturn]] void fail(const std::string& text) { throw Error("merge: " + text); }

std::string text_of(std::int64_t n) { return std::to_string(n); }

std::string name_in(std::size_t part, const char* name) {
  return "parts[" + std::to_string(part) + "]." + name;
}

bool is_empty(const View& view) {
  for (int d = 0; d < view.rank; ++d) {
    if (view.size(d) == 0) return true;
  }
  return false;
}

void check_shape(const std::string& name, const View& view, const Want& want) {
  if (view.rank != want.rank) {
    fail(name + " is " + shape_text(view) + " but must have " + text_of(want.rank) +
         " dimensions " + want.letters);
  }
  View wanted = view;
  wanted.shape = want.shape;
  for (int d = 0; d < view.rank; ++d) {
    if (view.size(d) != wanted.size(d)) {
      fail(name + " is " + shape_text(view) + " but must be " + want.letters + " = " +
           shape_text(wanted));
    }
  }
}

void check_type(const std::string& name, const View& view, DataType type) {
  if (view.type != type) {
    fail(name + " is " + name_of(view.type) + " but must be " + name_of(type));
  }
}

void check_out_type(const std::string& name, const View& view) {
  if (view.type != DataType::kFloat32 && view.type != DataType::kBFloat16 &&
      view.type != DataType::kFloat16) {
    fail(name + " is " + name_of(view.type) + " but must be float32, bfloat16 or float16");
  }
}

void check_dense_rows(const std::string& name, const View& view) {
  const int last = view.rank - 1;
  if (view.size(last) > 1 && view.step(last) != 1) {
    fail(name + " has stride " + text_of(view.step(last)) +
         " in its last dimension but must have 1");
  }
}

void check_written(const std::string& name, const View& view) {
  for (int d = 0; d < view.rank && !is_empty(view); ++d) {
    if (view.size(d) > 1 && view.step(d) == 0) {
      fail(name + " has stride 0 in dimension " + text_of(d) +
           ": results would overwrite each other");
    }
  }
}

// An empty array may well have no address.
void check_given(const std::string& name, const View& view, const char* why) {
  if (!view.given() && !is_empty(view)) fail(name + " is not given: " + why);
}

// Calls check(name, view) for a merged output and for every part's, which must be there too.
template <class F>
void check_all(std::span<const Outputs> parts, const Outputs& merged, const char* name,
               MutableView Outputs::*which, const F& check) {
  check(std::string("merged.") + name, merged.*which);
  check_written(std::string("merged.") + name, merged.*which);
  const std::string why = std::string("merged.") + name + " needs it of every part";
  for (std::size_t a = 0; a < parts.size(); ++a) {
    check_given(name_in(a, name), parts[a].*which, why.c_str());
    check(name_in(a, name), parts[a].*which);
  }
}

void check_offsets(const char* name, std::span<const std::int32_t> offsets, std::int64_t total,
                   const char* letter) {
  for (std::size_t b = 0; b < offsets.size(); ++b) {
    if (offsets[b] < (b == 0 ? 0 : offsets[b - 1])) {
      fail(std::string(name) + "[" + std::to_string(b) + "] is " + text_of(offsets[b]) +
           " but offsets ascend from 0");
    }
  }
  if (offsets.size() < 2 || offsets.front() != 0 || offsets.back() != total) {
    fail(std::string(name) + " must go from 0 to " + letter + " = " + text_of(total));
  }
}

// Factors are looked up by the parts' indices: one beyond them would be read from foreign memory.
void check_indices(std::span<const Outputs> parts, const Inputs& inputs, const MergeSizes& z) {
  for (std::int64_t at = 0; at < z.rows(); ++at) {
    const MergeRow row = merge_row(z, at);
    const RowFactors factors = factors_of(z, inputs, row);
    for (std::size_t a = 0; a < parts.size(); ++a) {
      const View& index = parts[a].top_index;
      const auto* lse = static_cast<const float*>(parts[a].lse.data);
      if (lse[offset_of(z, parts[a].lse, row)] == kNoKey) continue;
      const auto* keys = static_cast<const std::int32_t*>(index.data) + offset_of(z, index, row);
      for (std::int64_t k = 0; k < z.K; ++k) {
        if (keys[k] >= factors.keys) {
          fail(name_in(a, "top_index") + " has key " + text_of(keys[k]) + " for sequence " +
               text_of(factors.sequence) + ", for which factor has " + text_of(factors.keys) +
               " keys: were the parts computed from these inputs?");
        }
      }
    }
  }
}

void check_factor(std::span<const Outputs> parts, const Inputs& inputs, const MergeSizes& z) {
  const View& factor = inputs.factor;
  check_type("factor", factor, DataType::kFloat32);
  if (z.packed == inputs.query_offsets.empty()) {
    fail(z.packed ? "query_offsets is not given: packed rows need it to find their factors"
                  : "query_offsets is given but the outputs are not packed: lse is [B, H, N]");
  }
  if (z.packed) check_offsets("query_offsets", inputs.query_offsets, z.N, "T");
  const std::int64_t B =
      z.packed ? static_cast<std::int64_t>(inputs.query_offsets.size()) - 1 : z.B;
  if (inputs.key_offsets.empty()) {
    const std::int64_t M = factor.rank == 3 ? factor.size(2) : 0;
    check_shape("factor", factor, {"[B, H, M]", 3, {B, z.H, M}});
  } else {
    const std::int64_t S = factor.rank == 2 ? factor.size(0) : 0;
    check_shape("factor", factor, {"[S, H]", 2, {S, z.H}});
    check_offsets("key_offsets", inputs.key_offsets, S, "S");
    if (static_cast<std::int64_t>(inputs.key_offsets.size()) != B + 1) {
      fail("key_offsets has " + std::to_string(inputs.key_offsets.size()) +
           " entries but a batch of " + text_of(B) + " needs " + text_of(B + 1));
    }
  }
  check_indices(parts, inputs, z);
}

}  // namespace

RowFactors factors_of(const MergeSizes& z, const Inputs& inputs, const MergeRow& row) {
  RowFactors factors;
  factors.sequence = row.b;
  if (z.packed) {
    // The last offset that is not beyond the query: sequences without queries share theirs with the
    // next one.
    const auto& offsets = inputs.query_offsets;
    factors.sequence =
        std::upper_bound(offsets.begin(), offsets.end(), row.i) - offsets.begin() - 1;
  }
  const View& factor = inputs.factor;
  factors.data = static_cast<const float*>(factor.data);
  if (inputs.key_offsets.empty()) {
    factors.data += factors.sequence * factor.step(0) + row.h * factor.step(1);
    factors.step = factor.step(2);
    factors.keys = factor.size(2);
  } else {
    const auto s = static_cast<std::size_t>(factors.sequence);
    factors.data += inputs.key_offsets[s] * factor.step(0) + row.h * factor.step(1);
    factors.step = factor.step(0);
    factors.keys = inputs.key_offsets[s + 1] - inputs.key_offsets[s];
  }
  return factors;
}

MergeSizes checked_merge_sizes(std::span<const Outputs> parts, const Outputs& merged,
                               const Inputs& inputs) {
  if (parts.empty()) fail("there are no parts: at least one is needed");
  const View& first = parts[0].lse;
  check_given("parts[0].lse", first, "every part needs it");
  if (first.rank != 2 && first.rank != 3) {
    fail("parts[0].lse is " + shape_text(first) +
         " but must be [B, H, N], or [T, H] where queries are packed");
  }
  for (int d = 0; d < first.rank; ++d) {
    if (first.size(d) < 0) fail("parts[0].lse is " + shape_text(first) + ": a negative size");
  }
  MergeSizes z{
      .packed = first.rank == 2, .B = 1, .H = first.size(1), .N = first.size(0), .E = 0, .K = 0};
  if (!z.packed) {
    z.B = first.size(0);
    z.N = first.size(2);
  }
  // Letters and sizes of an output whose rows have `last` elements.
  const auto want = [&](const char* dense, const char* packed, std::int64_t last) {
    return z.packed ? Want{packed, 3, {z.N, z.H, last}} : Want{dense, 4, {z.B, z.H, z.N, last}};
  };
  const Want row = z.packed ? Want{"[T, H]", 2, {z.N, z.H}} : Want{"[B, H, N]", 3, {z.B, z.H, z.N}};
  const auto check_row = [&](const std::string& name, const View& view) {
    check_type(name, view, DataType::kFloat32);
    check_shape(name, view, row);
  };
  for (std::size_t a = 0; a < parts.size(); ++a) {
    check_given(name_in(a, "lse"), parts[a].lse, "every part needs it");
    check_row(name_in(a, "lse"), parts[a].lse);
  }
  if (merged.lse.given()) {
    check_row("merged.lse", merged.lse);
    check_written("merged.lse", merged.lse);
  }
  if (merged.entropy.given()) check_all(parts, merged, "entropy", &Outputs::entropy, check_row);
  const auto last_of = [](const View& view) {
    return view.rank > 0 ? std::max<std::int64_t>(0, view.size(view.rank - 1)) : 0;
  };
  if (merged.out.given()) {
    z.E = last_of(merged.out);
    check_all(parts, merged, "out", &Outputs::out, [&](const std::string& name, const View& view) {
      check_out_type(name, view);
      check_shape(name, view, want("[B, H, N, E]", "[T, H, E]", z.E));
      check_dense_rows(name, view);
    });
  }
  if (merged.top_index.given() != merged.top_weight.given()) {
    fail("merged.top_index and merged.top_weight must be given together");
  }
  if (merged.top_index.given()) {
    z.K = last_of(merged.top_index);
    const auto check_top = [&](DataType type) {
      return [&, type](const std::string& name, const View& view) {
        check_type(name, view, type);
        check_shape(name, view, want("[B, H, N, K]", "[T, H, K]", z.K));
        check_dense_rows(name, view);
      };
    };
    check_all(parts, merged, "top_index", &Outputs::top_index, check_top(DataType::kInt32));
    check_all(parts, merged, "top_weight", &Outputs::top_weight, check_top(DataType::kFloat32));
    if (inputs.factor.given()) check_factor(parts, inputs, z);
  }
  for (const auto& [name, view] :
       {std::pair<const char*, const MutableView&>{"received", merged.received},
        {"rows", merged.rows}}) {
    if (view.given()) {
      fail(std::string("merged.") + name +
           " is given but parts cannot be merged into it: ask fovea/highlights.h, with the merged "
           "lse");
    }
  }
  return z;
}

}  // namespace fovea::attention
