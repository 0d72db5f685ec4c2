// KeyValueCache: what it holds after any mixture of calls, against plain vectors; what it refuses; and
// decoding step by step with it against attention on the whole at once.
#include "fovea/cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include "base/random.h"
#include "fovea/attend.h"
#include "fovea/error.h"
#include "support/compare.h"

namespace fovea::testing {
namespace {

// One array [B, G, n, width] of any type, each element a number of its own.
template <class T>
struct Fresh {
  Fresh(std::int64_t B, std::int64_t G, std::int64_t n, std::int64_t width, std::uint16_t start)
      : shape{B, G, n, width}, data(static_cast<std::size_t>(B * G * n * width)) {
    for (T& x : data) {
      if constexpr (sizeof(T) == 2) {
        x.bits = start++;  // the halves too have that many numbers
      } else {
        x = T(start++);
      }
    }
  }
  View view() const { return View(data.data(), {shape[0], shape[1], shape[2], shape[3]}); }

  std::array<std::int64_t, 4> shape;
  std::vector<T> data;
};

// What the cache should hold: [B][G][length][width].
struct Model {
  using Sequence = std::vector<std::vector<std::vector<float>>>;
  Model(std::int64_t B, std::int64_t G)
      : sequences(static_cast<std::size_t>(B), Sequence(static_cast<std::size_t>(G))) {}

  // The first counts[b] positions of a view, element by element.
  template <class T>
  void append(const View& view, const std::vector<std::int32_t>& counts) {
    for (std::size_t b = 0; b < sequences.size(); ++b) {
      for (std::size_t g = 0; g < sequences[b].size(); ++g) {
        for (std::int64_t j = 0; j < counts[b]; ++j)
          sequences[b][g].push_back(row<T>(view, b, g, j));
      }
    }
  }

  void reorder(const std::vector<std::int32_t>& from) {
    const std::vector<Sequence> before = sequences;
    for (std::size_t b = 0; b < from.size(); ++b) {
      sequences[b] = before[static_cast<std::size_t>(from[b])];
    }
  }

  void truncate(std::size_t b, std::size_t length) {
    for (auto& head : sequences[b]) head.resize(length);
  }

  template <class T>
  static std::vector<float> row(const View& view, std::size_t b, std::size_t g, std::int64_t j) {
    std::vector<float> elements;
    for (std::int64_t d = 0; d < view.size(3); ++d) {
      const std::int64_t at = static_cast<std::int64_t>(b) * view.step(0) +
                              static_cast<std::int64_t>(g) * view.step(1) + j * view.step(2) +
                              d * view.step(3);
      elements.push_back(static_cast<float>(static_cast<const T*>(view.data)[at]));
    }
    return elements;
  }

  template <class T>
  void expect_in(const View& view, std::span<const std::int32_t> lengths) const {
    for (std::size_t b = 0; b < sequences.size(); ++b) {
      for (std::size_t g = 0; g < sequences[b].size(); ++g) {
        const auto& head = sequences[b][g];
        ASSERT_EQ(static_cast<std::size_t>(lengths[b]), head.size()) << "sequence " << b;
        for (std::size_t j = 0; j < head.size(); ++j) {
          ASSERT_EQ(row<T>(view, b, g, static_cast<std::int64_t>(j)), head[j])
              << "sequence " << b << ", head " << g << ", position " << j;
        }
      }
    }
  }

  std::vector<Sequence> sequences;
};

template <class T>
struct Twin {
  explicit Twin(const KeyValueCache::Shape& shape)
      : cache(shape), keys(shape.batch, shape.heads), values(shape.batch, shape.heads) {}

  void append(const View& k, const View& v, const std::vector<std::int32_t>& counts) {
    cache.append(k, v, counts);
    keys.append<T>(k, counts);
    values.append<T>(v, counts);
  }
  void append(std::int64_t n, const std::vector<std::int32_t>& counts) {
    const auto& s = cache.shape();
    const Fresh<T> k(s.batch, s.heads, n, s.key_width, next);
    const Fresh<T> v(s.batch, s.heads, n, s.value_width, static_cast<std::uint16_t>(next + 300));
    next = static_cast<std::uint16_t>(next + 17);
    append(k.view(), v.view(), counts);
  }
  void reorder(const std::vector<std::int32_t>& from) {
    cache.reorder(from);
    keys.reorder(from);
    values.reorder(from);
  }
  void expect_same() const {
    keys.expect_in<T>(cache.keys(), cache.lengths());
    values.expect_in<T>(cache.values(), cache.lengths());
  }

  KeyValueCache cache;
  Model keys, values;
  std::uint16_t next = 1;
};

constexpr KeyValueCache::Shape kShape{
    .batch = 3, .heads = 2, .capacity = 9, .key_width = 5, .value_width = 3};

template <class T>
KeyValueCache::Shape shape_of() {
  KeyValueCache::Shape shape = kShape;
  shape.type = data_type_of<T>();
  return shape;
}

template <class T>
class Cache : public ::testing::Test {};
using Types = ::testing::Types<float, BFloat16, Float16>;
TYPED_TEST_SUITE(Cache, Types);

TYPED_TEST(Cache, StartsEmptyAndAligned) {
  const KeyValueCache cache(shape_of<TypeParam>());
  EXPECT_EQ(cache.shape().capacity, 9);
  EXPECT_EQ(std::vector<std::int32_t>(cache.lengths().begin(), cache.lengths().end()),
            (std::vector<std::int32_t>{0, 0, 0}));
  EXPECT_EQ(shape_text(cache.keys()), "[3, 2, 9, 5]");
  EXPECT_EQ(shape_text(cache.values()), "[3, 2, 9, 3]");
  for (const View& view : {cache.keys(), cache.values()}) {
    EXPECT_EQ(view.type, data_type_of<TypeParam>());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.data) % 64, 0U);
    // Contiguous: the positions of a head, then the heads, then the sequences.
    EXPECT_EQ(view.step(3), 1);
    EXPECT_EQ(view.step(2), view.size(3));
    EXPECT_EQ(view.step(1), 9 * view.size(3));
    EXPECT_EQ(view.step(0), 2 * 9 * view.size(3));
  }
}

TYPED_TEST(Cache, AppendsBehindWhatEachSequenceHas) {
  Twin<TypeParam> twin(shape_of<TypeParam>());
  twin.append(4, {4, 2, 0});
  twin.append(1, {1, 1, 1});
  twin.expect_same();
  twin.append(4, {4, 0, 3});  // sequence 0 is full now
  twin.append(0, {0, 0, 0});
  twin.expect_same();
  // Without counts: all positions of all sequences.
  twin.cache.truncate(0, 2);
  twin.keys.truncate(0, 2);
  twin.values.truncate(0, 2);
  const Fresh<TypeParam> k(3, 2, 5, 5, 500), v(3, 2, 5, 3, 700);
  twin.cache.append(k.view(), v.view());
  twin.keys.template append<TypeParam>(k.view(), {5, 5, 5});
  twin.values.template append<TypeParam>(v.view(), {5, 5, 5});
  twin.expect_same();
}

TYPED_TEST(Cache, TakesAnyStrides) {
  Twin<TypeParam> twin(shape_of<TypeParam>());
  // [B, n, G, width], as a projection gives it; every third position of a longer array, backwards; one
  // position for all.
  const Fresh<TypeParam> k(3, 2, 4, 5, 1), v(3, 2, 12, 3, 200);
  const View keys(k.data.data(), {3, 2, 4, 5}, {40, 5, 10, 1});
  View values(v.data.data() + 9 * 3, {3, 2, 4, 3}, {72, 36, -9, 1});
  twin.append(keys, values, {4, 3, 4});
  twin.expect_same();
  values = View(v.data.data(), {3, 2, 4, 3}, {0, 0, 0, 1});
  twin.append(keys, values, {1, 4, 2});
  twin.expect_same();
}

TYPED_TEST(Cache, ReordersByAnyMapping) {
  const std::vector<std::int32_t> kLengths = {4, 2, 0};
  for (std::int32_t code = 0; code < 27; ++code) {  // every mapping of three
    Twin<TypeParam> twin(shape_of<TypeParam>());
    twin.append(4, kLengths);
    twin.reorder({code % 3, code / 3 % 3, code / 9});
    twin.expect_same();
    twin.append(2, {1, 2, 1});  // and goes on from there
    twin.expect_same();
  }
}

TYPED_TEST(Cache, ReordersLargeBatches) {
  KeyValueCache::Shape shape = shape_of<TypeParam>();
  shape.batch = 20;
  Random random(3);
  Twin<TypeParam> twin(shape);
  std::vector<std::int32_t> order(20);
  std::iota(order.begin(), order.end(), 0);
  twin.append(5, {0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 5, 5});
  for (int round = 0; round < 40; ++round) {
    for (std::int32_t& from : order) {
      if (round % 2 == 0) from = static_cast<std::int32_t>(random.below(20));  // duplicates
    }
    if (round % 2 == 1) {  // a permutation: cycles of every length
      std::iota(order.begin(), order.end(), 0);
      for (std::size_t x = 19; x > 0; --x) std::swap(order[x], order[random.below(x + 1)]);
    }
    twin.reorder(order);
    twin.expect_same();
    if (::testing::Test::HasFatalFailure()) return;
    for (std::size_t b = 0; b < 20; ++b) {  // keep them apart
      const std::int32_t length = twin.cache.lengths()[b];
      const auto keep = static_cast<std::int64_t>(random.below(std::uint64_t(length) + 1));
      twin.cache.truncate(static_cast<std::int64_t>(b), keep);
      twin.keys.truncate(b, std::size_t(keep));
      twin.values.truncate(b, std::size_t(keep));
    }
    std::vector<std::int32_t> counts(20);
    for (std::int32_t& count : counts) count = static_cast<std::int32_t>(random.below(5));
    for (std::size_t b = 0; b < 20; ++b)
      counts[b] = std::min(counts[b], 9 - twin.cache.lengths()[b]);
    twin.append(4, counts);
  }
}

TYPED_TEST(Cache, TruncatesToTheFirstPositions) {
  Twin<TypeParam> twin(shape_of<TypeParam>());
  twin.append(4, {4, 4, 3});
  for (const auto& [b, length] : {std::pair{0, 3}, {1, 4}, {2, 0}}) {
    twin.cache.truncate(b, length);
    twin.keys.truncate(std::size_t(b), std::size_t(length));
    twin.values.truncate(std::size_t(b), std::size_t(length));
  }
  twin.expect_same();
  twin.append(2, {2, 2, 2});
  twin.expect_same();
}

TYPED_TEST(Cache, OnlyThePositionsInUseMove) {
  KeyValueCache cache(shape_of<TypeParam>());
  const Fresh<TypeParam> k(3, 2, 9, 5, 1), v(3, 2, 9, 3, 400);
  cache.append(k.view(), v.view());
  for (std::int64_t b = 0; b < 3; ++b) cache.truncate(b, 2);
  cache.reorder(std::vector<std::int32_t>{1, 0, 0});
  // What is past the lengths is as it was: still there for those who look.
  for (std::size_t b = 0; b < 3; ++b) {
    for (std::int64_t j = 2; j < 9; ++j) {
      EXPECT_EQ(Model::row<TypeParam>(cache.keys(), b, 1, j),
                Model::row<TypeParam>(k.view(), b, 1, j));
    }
  }
}

TEST(CacheMoves, MemoryAndViewsGoAlong) {
  KeyValueCache first(kShape);
  const Fresh<float> k(3, 2, 4, 5, 1), v(3, 2, 4, 3, 200);
  first.append(k.view(), v.view());
  const View keys = first.keys();
  KeyValueCache second = std::move(first);
  EXPECT_EQ(second.keys().data, keys.data);
  EXPECT_EQ(second.lengths()[2], 4);
  first = KeyValueCache(kShape);
  EXPECT_EQ(first.lengths()[2], 0);
}

// Prompts of different lengths, then one position a step for those that go on: the rows are those of one
// causal call on everything. Each step's queries go in padded and packed: the same bits.
TYPED_TEST(Cache, DecodingStepByStepIsTheWholeAtOnce) {
  using T = TypeParam;
  constexpr std::int64_t B = 3, H = 4, G = 2, D = 24, E = 16, kMost = 30;
  const std::vector<std::int32_t> prompt = {20, 1, 7}, whole = {30, 9, 12};
  Random random(5);
  const auto filled = [&](std::int64_t heads, std::int64_t width) {
    std::vector<T> data(static_cast<std::size_t>(B * heads * kMost * width));
    for (T& x : data) x = T(static_cast<float>(random.normal()));
    return data;
  };
  const std::vector<T> q = filled(H, D), k = filled(G, D), v = filled(G, E);
  Threads threads(2);

  std::vector<float> want(static_cast<std::size_t>(B * H * kMost * E)), got(want.size());
  Inputs inputs;
  inputs.q = View(q.data(), {B, H, kMost, D});
  inputs.k = View(k.data(), {B, G, kMost, D});
  inputs.v = View(v.data(), {B, G, kMost, E});
  inputs.key_lengths = whole;
  inputs.query_lengths = whole;
  Outputs outputs;
  outputs.out = MutableView(want.data(), {B, H, kMost, E});
  attend(inputs, {.causal = Causal::kBottomRight}, outputs, threads);

  KeyValueCache cache({.batch = B,
                       .heads = G,
                       .capacity = kMost,
                       .key_width = D,
                       .value_width = E,
                       .type = data_type_of<T>()});
  std::vector<std::int32_t> place(B, 0), counts = prompt;
  for (std::int64_t n = 20; cache.lengths()[0] < kMost; n = 1) {  // the longest prompt, then steps
    if (n == 1) {
      for (std::size_t b = 0; b < B; ++b) counts[b] = cache.lengths()[b] < whole[b] ? 1 : 0;
    }
    // The next positions of each sequence, gathered into [B, heads, n, width].
    const auto next = [&](const std::vector<T>& from, std::int64_t heads, std::int64_t width) {
      std::vector<T> to(static_cast<std::size_t>(B * heads * n * width));
      for (std::int64_t bg = 0; bg < B * heads; ++bg) {
        const auto b = static_cast<std::size_t>(bg / heads);
        std::copy_n(from.data() + (bg * kMost + place[b]) * width, counts[b] * width,
                    to.data() + bg * n * width);
      }
      return to;
    };
    const std::vector<T> nq = next(q, H, D), nk = next(k, G, D), nv = next(v, G, E);
    cache.append(View(nk.data(), {B, G, n, D}), View(nv.data(), {B, G, n, E}), counts);
    Inputs step;
    step.q = View(nq.data(), {B, H, n, D});
    step.k = cache.keys();
    step.v = cache.values();
    step.key_lengths = cache.lengths();
    step.query_lengths = counts;
    std::vector<float> out(static_cast<std::size_t>(B * H * n * E));
    outputs.out = MutableView(out.data(), {B, H, n, E});
    attend(step, {.causal = Causal::kBottomRight}, outputs, threads);

    std::vector<std::int32_t> offsets = {0};
    for (const std::int32_t count : counts) offsets.push_back(offsets.back() + count);
    std::vector<T> packed_q;  // [T, H, D]
    for (std::int64_t b = 0; b < B; ++b) {
      for (std::int64_t ih = 0; ih < counts[static_cast<std::size_t>(b)] * H; ++ih) {
        const T* from = nq.data() + ((b * H + ih % H) * n + ih / H) * D;
        packed_q.insert(packed_q.end(), from, from + D);
      }
    }
    std::vector<float> packed_out(packed_q.size() / D * E);
    step.q = View(packed_q.data(), {offsets.back(), H, D});
    step.query_lengths = {};
    step.query_offsets = offsets;
    outputs.out = MutableView(packed_out.data(), {offsets.back(), H, E});
    attend(step, {.causal = Causal::kBottomRight}, outputs, threads);

    for (std::int64_t b = 0; b < B; ++b) {
      for (std::int64_t ih = 0; ih < counts[static_cast<std::size_t>(b)] * H; ++ih) {
        const std::int64_t h = ih % H, i = ih / H;
        const float* row = out.data() + ((b * H + h) * n + i) * E;
        const float* packed_row =
            packed_out.data() + (offsets[static_cast<std::size_t>(b)] * H + ih) * E;
        EXPECT_TRUE(same_bits(std::span(row, E), std::span(packed_row, E)));
        const std::int64_t at = place[static_cast<std::size_t>(b)] + i;
        std::copy_n(row, E, got.data() + ((b * H + h) * kMost + at) * E);
      }
    }
    for (std::size_t b = 0; b < B; ++b) place[b] += counts[b];
  }
  EXPECT_EQ(place, whole);
  EXPECT_INFORMATIVE(want);
  // Weights of bfloat16 calls are rounded to it, and not at the same places in long and short calls.
  EXPECT_TRUE(close(got, want, std::is_same_v<T, BFloat16> ? 0.03 : 3e-6));
}

// --- mistakes ---------------------------------------------------------------------------------------------

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(CacheErrors, OfTheShape) {
  const auto made = [](const std::function<void(KeyValueCache::Shape&)>& spoil) {
    KeyValueCache::Shape shape = kShape;
    spoil(shape);
    return message_of([&] { KeyValueCache cache(shape); });
  };
  EXPECT_EQ(made([](auto&) {}), "no error");
  EXPECT_EQ(made([](auto& s) { s.batch = 0; }), "cache: batch is 0 but must be in [1, 2147483647]");
  EXPECT_EQ(made([](auto& s) { s.heads = -2; }),
            "cache: heads is -2 but must be in [1, 2147483647]");
  EXPECT_EQ(made([](auto& s) { s.capacity = 1LL << 31; }),
            "cache: capacity is 2147483648 but must be in [1, 2147483647]");
  EXPECT_EQ(made([](auto& s) { s.key_width = 0; }),
            "cache: key_width is 0 but must be in [1, 2147483647]");
  EXPECT_EQ(made([](auto& s) { s.value_width = INT64_MIN; }),
            "cache: value_width is -9223372036854775808 but must be in [1, 2147483647]");
  EXPECT_EQ(made([](auto& s) { s.type = DataType::kFloat64; }),
            "cache: type is float64 but must be float32, bfloat16 or float16");
  EXPECT_EQ(
      made([](auto& s) {
        s = {1 << 20, 1 << 10, 1 << 20, 1 << 10, 1 << 10};
      }),
      "cache: keys [1048576, 1024, 1048576, 1024] and values [1048576, 1024, 1048576, 1024] of "
      "float32 are more than memory can address: is a size wrong?");
  EXPECT_EQ(made([](auto& s) {
              s = {INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX};
            }).substr(0, 20),
            "cache: keys [2147483");
  // Just one byte too many: 2^63 of them.
  EXPECT_EQ(made([](auto& s) {
              s = {1 << 30, 1 << 15, 1 << 15, 1, 1};
            }),
            "cache: keys [1073741824, 32768, 32768, 1] and values [1073741824, 32768, 32768, 1] of "
            "float32 are more than memory can address: is a size wrong?");
}

TEST(CacheErrors, OfMemory) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizers end the program instead";
#endif
  EXPECT_EQ(
      message_of([] {
        KeyValueCache cache({1 << 20, 1 << 10, 1 << 20, 1 << 8, 1 << 8});
      }),
      "cache: keys [1048576, 1024, 1048576, 256] and values [1048576, 1024, 1048576, 256] of "
      "float32 need 2305843009213693952 bytes, which are not to be had: make the capacity smaller");
}

TEST(CacheErrors, OfCalls) {
  KeyValueCache cache(kShape);
  const Fresh<float> k(3, 2, 4, 5, 1), v(3, 2, 4, 3, 200);
  cache.append(k.view(), v.view(), std::vector<std::int32_t>{4, 2, 3});
  cache.append(k.view(), v.view(), std::vector<std::int32_t>{4, 0, 0});
  const auto bytes = [&] {
    std::vector<float> all;
    for (const View& view : {cache.keys(), cache.values()}) {
      for (std::size_t b = 0; b < 3; ++b) {
        for (std::size_t g = 0; g < 2; ++g) {
          for (std::int64_t j = 0; j < cache.lengths()[b]; ++j) {
            const std::vector<float> row = Model::row<float>(view, b, g, j);
            all.insert(all.end(), row.begin(), row.end());
          }
        }
      }
    }
    return all;
  };
  const std::vector<float> before = bytes();

  const auto appended = [&](View keys, View values, std::vector<std::int32_t> counts = {}) {
    return message_of([&] { cache.append(keys, values, counts); });
  };
  const float* p = k.data.data();
  const View one_k(p, {3, 2, 1, 5}), one_v(p, {3, 2, 1, 3});
  EXPECT_EQ(appended(View(reinterpret_cast<const BFloat16*>(p), {3, 2, 1, 5}), one_v),
            "cache: k is bfloat16 but the cache is float32");
  EXPECT_EQ(appended(one_k, View(reinterpret_cast<const std::int32_t*>(p), {3, 2, 1, 3})),
            "cache: v is int32 but the cache is float32");
  EXPECT_EQ(appended(View(p, {6, 1, 5}), one_v),
            "cache: k is [6, 1, 5] but must have 4 dimensions [B, G, n, D]");
  EXPECT_EQ(appended(View(p, {3, 2, -1, 5}), one_v), "cache: k is [3, 2, -1, 5]: a negative size");
  EXPECT_EQ(appended(View(p, {3, 1, 1, 5}), one_v),
            "cache: k is [3, 1, 1, 5] but must be [B, G, n, D] = [3, 2, 1, 5]");
  EXPECT_EQ(appended(one_k, View(p, {3, 2, 1, 5})),
            "cache: v is [3, 2, 1, 5] but must be [B, G, n, E] = [3, 2, 1, 3]");
  EXPECT_EQ(appended(View(static_cast<const float*>(nullptr), {3, 2, 1, 5}), one_v),
            "cache: k is not given");
  EXPECT_EQ(appended(one_k, View(p, {3, 2, 1, 3}, {6, 3, 3, 2})),
            "cache: v has stride 2 in its last dimension but must have 1: copy it row by row");
  EXPECT_EQ(appended(one_k, View(p, {3, 2, 2, 3})), "cache: v has 2 positions but k has 1");
  EXPECT_EQ(appended(one_k, one_v, {1, 1}), "cache: counts has 2 entries but the batch has 3");
  EXPECT_EQ(appended(one_k, one_v, {1, 2, 1}),
            "cache: counts[1] is 2 but must be in [0, n] = [0, 1]");
  EXPECT_EQ(appended(one_k, one_v, {1, 0, -1}),
            "cache: counts[2] is -1 but must be in [0, n] = [0, 1]");
  EXPECT_EQ(appended(k.view(), v.view(), {0, 4, 4}), "no error");
  EXPECT_EQ(
      appended(k.view(), v.view(), {1, 3, 3}),
      "cache: sequence 2 has 7 positions and 3 more do not fit into a capacity of 9: make the "
      "cache larger, or truncate it");
  View endless(p, {3, 2, 1, 5}, {0, 0, 0, 1}), endless_v(p, {3, 2, 1, 3}, {0, 0, 0, 1});
  endless.shape[2] = endless_v.shape[2] = INT64_MAX;
  EXPECT_EQ(
      appended(endless, endless_v),
      "cache: sequence 0 has 8 positions and 9223372036854775807 more do not fit into a capacity "
      "of 9: make the cache larger, or truncate it");
  cache.truncate(1, 2);
  cache.truncate(2, 3);

  const auto reordered = [&](const std::vector<std::int32_t>& from) {
    return message_of([&] { cache.reorder(from); });
  };
  EXPECT_EQ(reordered({0, 1}), "cache: from has 2 entries but the batch has 3");
  EXPECT_EQ(reordered({1, 0, 3}), "cache: from[2] is 3 but must be in [0, B - 1] = [0, 2]");
  EXPECT_EQ(reordered({1, -1, 0}), "cache: from[1] is -1 but must be in [0, B - 1] = [0, 2]");

  const auto truncated = [&](std::int64_t b, std::int64_t length) {
    return message_of([&] { cache.truncate(b, length); });
  };
  EXPECT_EQ(truncated(3, 0), "cache: sequence 3 is not in a batch of 3");
  EXPECT_EQ(truncated(-1, 0), "cache: sequence -1 is not in a batch of 3");
  EXPECT_EQ(truncated(1, 3), "cache: sequence 1 has 2 positions and cannot be truncated to 3");
  EXPECT_EQ(truncated(1, -1), "cache: sequence 1 has 2 positions and cannot be truncated to -1");

  EXPECT_EQ(std::vector<std::int32_t>(cache.lengths().begin(), cache.lengths().end()),
            (std::vector<std::int32_t>{8, 2, 3}));
  EXPECT_EQ(bytes(), before);
}

}  // namespace
}  // namespace fovea::testing
