// Every mistake of a caller: its message, word for word, and that nothing is written.
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "fovea/error.h"
#include "support/case.h"

namespace fovea::testing {
namespace {

constexpr Case kCase{.B = 2,
                     .H = 6,
                     .G = 3,
                     .N = 5,
                     .M = 7,
                     .D = 4,
                     .E = 8,
                     .key_lengths = true,
                     .query_lengths = true,
                     .mask = 15,
                     .bias = 15,
                     .alibi = 1,
                     .factor = true,
                     .received_weights = true,
                     .K = 3,
                     .R = 2};

// Sequences of 5 and 3 queries, and of 4 and 7 keys: T = 8, S = 11.
Places packed_places() {
  Places places(kCase);
  places.query_offsets = {0, 5, 8};
  places.key_offsets = {0, 4, 11};
  return places;
}

// A sound call, to be spoilt one mistake at a time.
struct Call {
  explicit Call(bool packed = false)
      : problem(kCase, packed ? packed_places() : Places(kCase)), results(problem) {
    inputs = problem.inputs();
    options = problem.options();
    outputs = results.outputs();
  }

  Problem problem;
  Results<float> results;
  Inputs inputs;
  Options options;
  Outputs outputs;
  std::vector<double> doubles = std::vector<double>(5000);
  std::vector<float> floats = std::vector<float>(5000);
  std::vector<std::int32_t> ints = std::vector<std::int32_t>(5000);
};

struct Mistake {
  const char* name;
  std::function<void(Call&)> make;
  const char* message;
};

const std::vector<Mistake>& mistakes();
const std::vector<Mistake>& packed_mistakes();

TEST(Errors, TheCallThatIsSpoiltIsSound) {
  for (const bool packed : {false, true}) {
    Call call(packed);
    Threads one(1);
    EXPECT_NO_THROW(attend(call.inputs, call.options, call.outputs, one));
  }
}

void expect_nothing_written(const Call& call, const char* name) {
  const Results<float>& r = call.results;
  for (const auto* array : {&r.out, &r.lse, &r.top_weight, &r.received, &r.entropy, &r.rows}) {
    for (const float x : *array) ASSERT_TRUE(std::isnan(x)) << name << " wrote something";
  }
  for (const std::int32_t x : r.top_index) ASSERT_EQ(x, -77) << name << " wrote something";
  for (const float x : call.floats) ASSERT_EQ(x, 0) << name << " wrote something";
}

void expect_named(const std::vector<Mistake>& all, bool packed) {
  for (const Mistake& mistake : all) {
    Call call(packed);
    mistake.make(call);
    Threads one(1);
    try {
      attend(call.inputs, call.options, call.outputs, one);
      ADD_FAILURE() << mistake.name << ": no error";
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), mistake.message) << mistake.name;
    }
    expect_nothing_written(call, mistake.name);
  }
}

TEST(Errors, EachMistakeIsNamedAndNothingIsWritten) { expect_named(mistakes(), false); }

TEST(Errors, EachMistakeOfPackingIsNamedAndNothingIsWritten) {
  expect_named(packed_mistakes(), true);
}

const std::vector<Mistake>& mistakes() {
  static const std::vector<Mistake> kMistakes = {
      // q, k and v
      {"no q", [](Call& c) { c.inputs.q = View(); }, "attend: q is not given"},
      {"no k", [](Call& c) { c.inputs.k = View(); }, "attend: k is not given"},
      {"no v", [](Call& c) { c.inputs.v = View(); }, "attend: v is not given"},
      {"q of rank 3",
       [](Call& c) {
         c.inputs.q = View(c.floats.data(), {6, 5, 4});
       },
       "attend: q is [6, 5, 4] but must have 4 dimensions [B, H, N, D]"},
      {"k of rank 2",
       [](Call& c) {
         c.inputs.k = View(c.floats.data(), {7, 4});
       },
       "attend: k is [7, 4] but must have 4 dimensions [B, G, M, D]"},
      {"v of rank 3",
       [](Call& c) {
         c.inputs.v = View(c.floats.data(), {3, 7, 8});
       },
       "attend: v is [3, 7, 8] but must have 4 dimensions [B, G, M, E]"},
      {"q float64",
       [](Call& c) {
         c.inputs.q = View(c.doubles.data(), {2, 6, 5, 4});
       },
       "attend: q is float64 but must be float32, bfloat16 or float16"},
      {"q int32", [](Call& c) { c.inputs.q.type = DataType::kInt32; },
       "attend: q is int32 but must be float32, bfloat16 or float16"},
      {"k int32",
       [](Call& c) {
         c.inputs.k = View(c.ints.data(), {2, 3, 7, 4});
       },
       "attend: k is int32 but must be float32, bfloat16 or float16"},
      {"k bfloat16", [](Call& c) { c.inputs.k.type = DataType::kBFloat16; },
       "attend: q is float32 but k is bfloat16; q, k and v must be of one type"},
      {"q float16", [](Call& c) { c.inputs.q.type = DataType::kFloat16; },
       "attend: q is float16 but k is float32; q, k and v must be of one type"},
      {"v bfloat16", [](Call& c) { c.inputs.v.type = DataType::kBFloat16; },
       "attend: q is float32 but v is bfloat16; q, k and v must be of one type"},
      {"k of another width",
       [](Call& c) {
         c.inputs.k = View(c.floats.data(), {2, 3, 7, 5});
       },
       "attend: k has width 5 but q has width 4 (q [2, 6, 5, 4], k [2, 3, 7, 5])"},
      {"k transposed",
       [](Call& c) {
         c.inputs.k = View(c.floats.data(), {2, 3, 4, 7});
       },
       "attend: k is [2, 3, 4, 7] but q has width 4: did you pass k transposed? fovea takes keys "
       "as rows [M, 4]"},
      {"k of another batch",
       [](Call& c) {
         c.inputs.k = View(c.floats.data(), {3, 3, 7, 4});
       },
       "attend: k has batch 3 but q has batch 2 (q [2, 6, 5, 4], k [3, 3, 7, 4])"},
      {"v of another batch",
       [](Call& c) {
         c.inputs.v = View(c.floats.data(), {1, 3, 7, 8});
       },
       "attend: v is [1, 3, 7, 8] but k is [2, 3, 7, 4]; all but the width must agree"},
      {"4 key heads for 6",
       [](Call& c) {
         c.inputs.k = View(c.floats.data(), {2, 4, 7, 4});
         c.inputs.v = View(c.floats.data(), {2, 4, 7, 8});
       },
       "attend: 6 query heads cannot share 4 key heads; H must be a multiple of G (q [2, 6, 5, 4], "
       "k [2, 4, 7, 4])"},
      {"no key heads",
       [](Call& c) {
         c.inputs.k = View(c.floats.data(), {2, 0, 7, 4});
         c.inputs.v = View(c.floats.data(), {2, 0, 7, 8});
       },
       "attend: 6 query heads cannot share 0 key heads; H must be a multiple of G (q [2, 6, 5, 4], "
       "k [2, 0, 7, 4])"},
      {"v of other heads",
       [](Call& c) {
         c.inputs.v = View(c.floats.data(), {2, 2, 7, 8});
       },
       "attend: v is [2, 2, 7, 8] but k is [2, 3, 7, 4]; all but the width must agree"},
      {"v of another length",
       [](Call& c) {
         c.inputs.v = View(c.floats.data(), {2, 3, 9, 8});
       },
       "attend: v is [2, 3, 9, 8] but k is [2, 3, 7, 4]; all but the width must agree"},
      {"width 0",
       [](Call& c) {
         c.inputs.q = View(c.floats.data(), {2, 6, 5, 0});
         c.inputs.k = View(c.floats.data(), {2, 3, 7, 0});
       },
       "attend: q is [2, 6, 5, 0]: its width must be at least 1"},
      {"value width 0",
       [](Call& c) {
         c.inputs.v = View(c.floats.data(), {2, 3, 7, 0});
         c.outputs.out = MutableView(c.floats.data(), {2, 6, 5, 0});
       },
       "attend: v is [2, 3, 7, 0]: its width must be at least 1"},
      {"q with gaps in its rows", [](Call& c) { c.inputs.q.strides[3] = 2; },
       "attend: q has stride 2 in its last dimension but must have 1: copy it row by row"},
      {"k with gaps in its rows", [](Call& c) { c.inputs.k.strides[3] = 7; },
       "attend: k has stride 7 in its last dimension but must have 1: copy it row by row"},
      {"v with gaps in its rows", [](Call& c) { c.inputs.v.strides[3] = 0; },
       "attend: v has stride 0 in its last dimension but must have 1: copy it row by row"},
      // lengths
      {"too few key lengths", [](Call& c) { c.inputs.key_lengths = std::span(c.ints).first(1); },
       "attend: key_lengths has 1 entries but the batch has 2"},
      {"too many query lengths",
       [](Call& c) { c.inputs.query_lengths = std::span(c.ints).first(3); },
       "attend: query_lengths has 3 entries but the batch has 2"},
      {"a key length beyond M", [](Call& c) { c.problem.key_lengths[1] = 8; },
       "attend: key_lengths[1] is 8 but must be in [0, M] = [0, 7]"},
      {"a key length below 0", [](Call& c) { c.problem.key_lengths[0] = -1; },
       "attend: key_lengths[0] is -1 but must be in [0, M] = [0, 7]"},
      {"a query length beyond N", [](Call& c) { c.problem.query_lengths[0] = 6; },
       "attend: query_lengths[0] is 6 but must be in [0, N] = [0, 5]"},
      {"a query length below 0", [](Call& c) { c.problem.query_lengths[1] = -3; },
       "attend: query_lengths[1] is -3 but must be in [0, N] = [0, 5]"},
      // mask and bias
      {"a mask of numbers",
       [](Call& c) {
         c.inputs.mask = View(c.floats.data(), {2, 6, 5, 7});
       },
       "attend: mask is float32 but must be bool"},
      {"a mask of another shape", [](Call& c) { c.inputs.mask.shape[3] = 6; },
       "attend: mask is [2, 6, 5, 6] but must be [B, H, N, M] = [2, 6, 5, 7], or 1 in place of any "
       "of them"},
      {"a mask of rank 2",
       [](Call& c) {
         c.inputs.mask = View(&c.problem.mask[0].value, {5, 7});
       },
       "attend: mask is [5, 7] but must have 4 dimensions [B or 1, H or 1, N or 1, M or 1]"},
      {"a bias in float64",
       [](Call& c) {
         c.inputs.bias = View(c.doubles.data(), {2, 6, 5, 7});
       },
       "attend: bias is float64 but must be float32"},
      {"a bias of another shape", [](Call& c) { c.inputs.bias.shape[2] = 4; },
       "attend: bias is [2, 6, 4, 7] but must be [B, H, N, M] = [2, 6, 5, 7], or 1 in place of any "
       "of them"},
      // highlights' inputs
      {"a factor in float64",
       [](Call& c) {
         c.inputs.factor = View(c.doubles.data(), {2, 6, 7});
       },
       "attend: factor is float64 but must be float32"},
      {"a factor for N",
       [](Call& c) {
         c.inputs.factor = View(c.floats.data(), {2, 6, 5});
       },
       "attend: factor is [2, 6, 5] but must be [B, H, M] = [2, 6, 7]"},
      {"received weights for M",
       [](Call& c) {
         c.inputs.received_weights = View(c.floats.data(), {2, 6, 7});
       },
       "attend: received_weights is [2, 6, 7] but must be [B, H, N] = [2, 6, 5]"},
      {"a row query beyond N", [](Call& c) { c.problem.row_queries[1] = 5; },
       "attend: row_queries[1] is 5 but must be in [0, N - 1] = [0, 4]"},
      {"a row query below 0", [](Call& c) { c.problem.row_queries[0] = -1; },
       "attend: row_queries[0] is -1 but must be in [0, N - 1] = [0, 4]"},
      // outputs
      {"out in float64",
       [](Call& c) {
         c.outputs.out = MutableView(c.doubles.data(), {2, 6, 5, 8});
       },
       "attend: out is float64 but must be float32"},
      {"out narrower than q", [](Call& c) { c.outputs.out.type = DataType::kBFloat16; },
       "attend: out is bfloat16 but must be float32"},
      {"out of another 16-bit type",
       [](Call& c) {
         c.inputs.q.type = c.inputs.k.type = c.inputs.v.type = DataType::kBFloat16;
         c.outputs.out.type = DataType::kFloat16;
       },
       "attend: out is float16 but must be float32 or bfloat16"},
      {"out of another 16-bit type, the other way round",
       [](Call& c) {
         c.inputs.q.type = c.inputs.k.type = c.inputs.v.type = DataType::kFloat16;
         c.outputs.out.type = DataType::kBFloat16;
       },
       "attend: out is bfloat16 but must be float32 or float16"},
      {"lse in a 16-bit type",
       [](Call& c) {
         c.inputs.q.type = c.inputs.k.type = c.inputs.v.type = DataType::kFloat16;
         c.outputs.lse.type = DataType::kFloat16;
       },
       "attend: lse is float16 but must be float32"},
      {"out as wide as the keys",
       [](Call& c) {
         c.outputs.out = MutableView(c.floats.data(), {2, 6, 5, 4});
       },
       "attend: out is [2, 6, 5, 4] but must be [B, H, N, E] = [2, 6, 5, 8]"},
      {"out with gaps in its rows", [](Call& c) { c.outputs.out.strides[3] = 2; },
       "attend: out has stride 2 in its last dimension but must have 1: copy it row by row"},
      {"lse of rank 4",
       [](Call& c) {
         c.outputs.lse = MutableView(c.floats.data(), {2, 6, 5, 1});
       },
       "attend: lse is [2, 6, 5, 1] but must have 3 dimensions [B, H, N]"},
      {"lse of another shape",
       [](Call& c) {
         c.outputs.lse = MutableView(c.floats.data(), {2, 6, 7});
       },
       "attend: lse is [2, 6, 7] but must be [B, H, N] = [2, 6, 5]"},
      {"entropy of another shape",
       [](Call& c) {
         c.outputs.entropy = MutableView(c.floats.data(), {2, 3, 5});
       },
       "attend: entropy is [2, 3, 5] but must be [B, H, N] = [2, 6, 5]"},
      {"received for N",
       [](Call& c) {
         c.outputs.received = MutableView(c.floats.data(), {2, 6, 5});
       },
       "attend: received is [2, 6, 5] but must be [B, H, M] = [2, 6, 7]"},
      {"top_index without top_weight", [](Call& c) { c.outputs.top_weight = MutableView(); },
       "attend: top_index and top_weight must be given together"},
      {"top_weight without top_index", [](Call& c) { c.outputs.top_index = MutableView(); },
       "attend: top_index and top_weight must be given together"},
      {"top_index of floats",
       [](Call& c) {
         c.outputs.top_index = MutableView(c.floats.data(), {2, 6, 5, 3});
       },
       "attend: top_index is float32 but must be int32"},
      {"top of two sizes",
       [](Call& c) {
         c.outputs.top_weight = MutableView(c.floats.data(), {2, 6, 5, 4});
       },
       "attend: top_weight is [2, 6, 5, 4] but must be [B, H, N, K] = [2, 6, 5, 3]"},
      {"rows for other queries",
       [](Call& c) {
         c.outputs.rows = MutableView(c.floats.data(), {2, 6, 3, 7});
       },
       "attend: rows is [2, 6, 3, 7] but must be [B, H, R, M] = [2, 6, 2, 7]"},
      {"a scale that is no number", [](Call& c) { c.options.scale = std::nanf(""); },
       "attend: scale is nan but must be finite"},
      {"a window of less than no keys", [](Call& c) { c.options.window_before = -1; },
       "attend: window_before is -1 but must be at least 0: leave it out for no limit"},
      {"the same after the query", [](Call& c) { c.options.window_after = -2; },
       "attend: window_after is -2 but must be at least 0: leave it out for no limit"},
      // parts
      {"a part that begins before key 0", [](Call& c) { c.options.key_begin = -1; },
       "attend: key_begin and key_end are -1 and 7 but must be 0 <= key_begin <= key_end"},
      {"a part that begins after the last key", [](Call& c) { c.options.key_begin = 8; },
       "attend: key_begin and key_end are 8 and 7 but must be 0 <= key_begin <= key_end"},
      {"a part that ends before key 0", [](Call& c) { c.options.key_end = -2; },
       "attend: key_begin and key_end are 0 and -2 but must be 0 <= key_begin <= key_end"},
      {"a part that ends before it begins",
       [](Call& c) {
         c.options.key_begin = 3;
         c.options.key_end = 2;
       },
       "attend: key_begin and key_end are 3 and 2 but must be 0 <= key_begin <= key_end"},
      // ALiBi
      {"slopes in float64",
       [](Call& c) {
         c.inputs.alibi_slopes = View(c.doubles.data(), {2, 6});
       },
       "attend: alibi_slopes is float64 but must be float32"},
      {"slopes of rank 1", [](Call& c) { c.inputs.alibi_slopes = View(c.floats.data(), {6}); },
       "attend: alibi_slopes is [6] but must have 2 dimensions [B or 1, H]"},
      {"slopes for the key heads",
       [](Call& c) {
         c.inputs.alibi_slopes = View(c.floats.data(), {2, 3});
       },
       "attend: alibi_slopes is [2, 3] but must be [B, H] = [2, 6], or 1 in place of B"},
      {"slopes for another batch",
       [](Call& c) {
         c.inputs.alibi_slopes = View(c.floats.data(), {3, 6});
       },
       "attend: alibi_slopes is [3, 6] but must be [B, H] = [2, 6], or 1 in place of B"},
      {"one slope for all heads",
       [](Call& c) {
         c.inputs.alibi_slopes = View(c.floats.data(), {2, 1});
       },
       "attend: alibi_slopes is [2, 1] but must be [B, H] = [2, 6], or 1 in place of B"},
      {"a slope that is no number", [](Call& c) { c.problem.alibi_slopes[10] = std::nanf(""); },
       "attend: alibi_slopes[1, 4] is nan but must be finite"},
      {"a slope without end",
       [](Call& c) { c.problem.alibi_slopes[2] = -std::numeric_limits<float>::infinity(); },
       "attend: alibi_slopes[0, 2] is -inf but must be finite"},
      // offsets where nothing is packed
      {"query offsets for padded queries",
       [](Call& c) { c.inputs.query_offsets = std::span(c.ints).first(3); },
       "attend: q is [2, 6, 5, 4] but must have 3 dimensions [T, H, D], as query_offsets are "
       "given"},
      {"key offsets for padded keys",
       [](Call& c) { c.inputs.key_offsets = std::span(c.ints).first(3); },
       "attend: k is [2, 3, 7, 4] but must have 3 dimensions [S, G, D], as key_offsets are "
       "given"},
  };
  return kMistakes;
}

// q [8, 6, 4], k [11, 3, 4], v [11, 3, 8]
const std::vector<Mistake>& packed_mistakes() {
  static const std::vector<Mistake> kMistakes = {
      {"q without its offsets", [](Call& c) { c.inputs.query_offsets = {}; },
       "attend: q is [8, 6, 4] but must have 4 dimensions [B, H, N, D]"},
      {"k without its offsets", [](Call& c) { c.inputs.key_offsets = {}; },
       "attend: k is [11, 3, 4] but must have 4 dimensions [B, G, M, D]"},
      {"v that is not packed",
       [](Call& c) {
         c.inputs.v = View(c.floats.data(), {2, 3, 7, 8});
       },
       "attend: v is [2, 3, 7, 8] but must have 3 dimensions [S, G, E], as key_offsets are "
       "given"},
      {"v of another length",
       [](Call& c) {
         c.inputs.v = View(c.floats.data(), {12, 3, 8});
       },
       "attend: v is [12, 3, 8] but k is [11, 3, 4]; all but the width must agree"},
      {"k of another width",
       [](Call& c) {
         c.inputs.k = View(c.floats.data(), {11, 3, 5});
       },
       "attend: k has width 5 but q has width 4 (q [8, 6, 4], k [11, 3, 5])"},
      {"4 key heads for 6",
       [](Call& c) {
         c.inputs.k = View(c.floats.data(), {11, 4, 4});
         c.inputs.v = View(c.floats.data(), {11, 4, 8});
       },
       "attend: 6 query heads cannot share 4 key heads; H must be a multiple of G (q [8, 6, 4], k "
       "[11, 4, 4])"},
      {"q with gaps in its rows", [](Call& c) { c.inputs.q.strides[2] = 2; },
       "attend: q has stride 2 in its last dimension but must have 1: copy it row by row"},
      // offsets
      {"query offsets that do not begin at 0",
       [](Call& c) { c.problem.places.query_offsets[0] = 1; },
       "attend: query_offsets must ascend from 0 to 8, the rows of q, but begins with 1"},
      {"query offsets that fall", [](Call& c) { c.problem.places.query_offsets[1] = 9; },
       "attend: query_offsets must ascend from 0 to 8, the rows of q, but query_offsets[2] is 8 "
       "after 9"},
      {"query offsets below 0", [](Call& c) { c.problem.places.query_offsets[1] = -1; },
       "attend: query_offsets must ascend from 0 to 8, the rows of q, but query_offsets[1] is -1 "
       "after 0"},
      {"query offsets that leave queries out",
       [](Call& c) { c.problem.places.query_offsets[2] = 7; },
       "attend: query_offsets must ascend from 0 to 8, the rows of q, but ends with 7"},
      {"query offsets beyond q", [](Call& c) { c.problem.places.query_offsets[2] = 9; },
       "attend: query_offsets must ascend from 0 to 8, the rows of q, but ends with 9"},
      {"key offsets that fall", [](Call& c) { c.problem.places.key_offsets[1] = 12; },
       "attend: key_offsets must ascend from 0 to 11, the rows of k, but key_offsets[2] is 11 "
       "after 12"},
      {"key offsets that leave keys out", [](Call& c) { c.problem.places.key_offsets[2] = 10; },
       "attend: key_offsets must ascend from 0 to 11, the rows of k, but ends with 10"},
      {"offsets of two batches",
       [](Call& c) {
         c.ints[1] = 4;
         c.ints[2] = c.ints[3] = 11;
         c.inputs.key_offsets = std::span(c.ints).first(4);
       },
       "attend: k has batch 3 but q has batch 2 (q [8, 6, 4], k [11, 3, 4])"},
      {"more query offsets than k has sequences",
       [](Call& c) {
         c.inputs.key_offsets = {};
         c.inputs.k = View(c.floats.data(), {3, 3, 7, 4});
         c.inputs.v = View(c.floats.data(), {3, 3, 7, 8});
       },
       "attend: k has batch 3 but q has batch 2 (q [8, 6, 4], k [3, 3, 7, 4])"},
      {"more key offsets than q has sequences",
       [](Call& c) {
         c.inputs.query_offsets = {};
         c.inputs.q = View(c.floats.data(), {1, 6, 5, 4});
       },
       "attend: k has batch 2 but q has batch 1 (q [1, 6, 5, 4], k [11, 3, 4])"},
      // lengths and rows
      {"too few key lengths", [](Call& c) { c.inputs.key_lengths = std::span(c.ints).first(1); },
       "attend: key_lengths has 1 entries but the batch has 2"},
      {"a key length beyond its sequence", [](Call& c) { c.problem.key_lengths[0] = 5; },
       "attend: key_lengths[0] is 5 but must be in [0, 4], what sequence 0 has"},
      {"a key length below 0", [](Call& c) { c.problem.key_lengths[1] = -1; },
       "attend: key_lengths[1] is -1 but must be in [0, 7], what sequence 1 has"},
      {"a query length beyond its sequence", [](Call& c) { c.problem.query_lengths[1] = 4; },
       "attend: query_lengths[1] is 4 but must be in [0, 3], what sequence 1 has"},
      {"a row query beyond T", [](Call& c) { c.problem.row_queries[1] = 8; },
       "attend: row_queries[1] is 8 but must be in [0, T - 1] = [0, 7]"},
      {"a row query below 0", [](Call& c) { c.problem.row_queries[0] = -1; },
       "attend: row_queries[0] is -1 but must be in [0, T - 1] = [0, 7]"},
      // shapes
      {"a mask of other lengths", [](Call& c) { c.inputs.mask.shape[3] = 11; },
       "attend: mask is [2, 6, 5, 11] but must be [B, H, N, M] = [2, 6, 5, 7], or 1 in place of "
       "any "
       "of them"},
      {"a bias of other lengths", [](Call& c) { c.inputs.bias.shape[2] = 8; },
       "attend: bias is [2, 6, 8, 7] but must be [B, H, N, M] = [2, 6, 5, 7], or 1 in place of any "
       "of them"},
      {"a factor that is not packed",
       [](Call& c) {
         c.inputs.factor = View(c.floats.data(), {2, 6, 7});
       },
       "attend: factor is [2, 6, 7] but must have 2 dimensions [S, H]"},
      {"a factor for T",
       [](Call& c) {
         c.inputs.factor = View(c.floats.data(), {8, 6});
       },
       "attend: factor is [8, 6] but must be [S, H] = [11, 6]"},
      {"received weights for S",
       [](Call& c) {
         c.inputs.received_weights = View(c.floats.data(), {11, 6});
       },
       "attend: received_weights is [11, 6] but must be [T, H] = [8, 6]"},
      {"out that is not packed",
       [](Call& c) {
         c.outputs.out = MutableView(c.floats.data(), {2, 6, 5, 8});
       },
       "attend: out is [2, 6, 5, 8] but must have 3 dimensions [T, H, E]"},
      {"out for S",
       [](Call& c) {
         c.outputs.out = MutableView(c.floats.data(), {11, 6, 8});
       },
       "attend: out is [11, 6, 8] but must be [T, H, E] = [8, 6, 8]"},
      {"lse that is not packed",
       [](Call& c) {
         c.outputs.lse = MutableView(c.floats.data(), {2, 6, 5});
       },
       "attend: lse is [2, 6, 5] but must have 2 dimensions [T, H]"},
      {"entropy of another shape",
       [](Call& c) {
         c.outputs.entropy = MutableView(c.floats.data(), {8, 3});
       },
       "attend: entropy is [8, 3] but must be [T, H] = [8, 6]"},
      {"received for T",
       [](Call& c) {
         c.outputs.received = MutableView(c.floats.data(), {8, 6});
       },
       "attend: received is [8, 6] but must be [S, H] = [11, 6]"},
      {"top that is not packed",
       [](Call& c) {
         c.outputs.top_index = MutableView(c.ints.data(), {2, 6, 5, 3});
       },
       "attend: top_index is [2, 6, 5, 3] but must have 3 dimensions [T, H, K]"},
      {"top of two sizes",
       [](Call& c) {
         c.outputs.top_weight = MutableView(c.floats.data(), {8, 6, 4});
       },
       "attend: top_weight is [8, 6, 4] but must be [T, H, K] = [8, 6, 3]"},
      {"rows that are not packed",
       [](Call& c) {
         c.outputs.rows = MutableView(c.floats.data(), {2, 6, 2, 7});
       },
       "attend: rows is [2, 6, 2, 7] but must have 3 dimensions [R, H, M]"},
      {"rows as wide as all keys",
       [](Call& c) {
         c.outputs.rows = MutableView(c.floats.data(), {2, 6, 11});
       },
       "attend: rows is [2, 6, 11] but must be [R, H, M] = [2, 6, 7]"},
  };
  return kMistakes;
}

}  // namespace
}  // namespace fovea::testing
