// What is read and what is written, element by element: guard pages around every row, canaries in
// every gap.
#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "base/random.h"
#include "reference/attend.h"
#include "support/case.h"
#include "support/compare.h"
#include "support/guard.h"
#include "support/isa.h"

namespace fovea::testing {
namespace {

class Memory : public OnEveryIsa {};
FOVEA_ON_EVERY_ISA(Memory);

// One head whose every row, of every input and output, ends at a page that cannot be touched. Rows
// of keys and values that no query may see are closed altogether.
struct Guarded {
  std::int64_t N, M, D, E;
  std::int64_t K = 3;
  Options options{};
  std::vector<std::int32_t> key_lengths{}, query_lengths{};
  std::vector<bool> hidden_by_mask{}, hidden_by_bias{};  // [M] or empty
  DataType type = DataType::kFloat32;

  void run() {
    GuardedRows q(N, D, type), k(M, D, type), v(M, E, type), out(N, E), bias(N, M), factor(1, M),
        lse(1, N), entropy(1, N), weight(N, K), received(1, M), rows(2, M), index(N, K);
    Random random(1);
    for (GuardedRows* array : {&q, &k, &v, &bias, &factor}) {
      const View view = array->view();
      for (std::int64_t r = 0; r < view.size(2); ++r) {
        for (std::int64_t d = 0; d < view.size(3); ++d) {
          array->set(r, d, static_cast<float>(random.uniform()));
        }
      }
    }
    Inputs in;
    in.q = q.view();
    in.k = k.view();
    in.v = v.view();
    in.key_lengths = key_lengths;
    in.query_lengths = query_lengths;
    std::vector<Flag> mask;
    for (const bool hidden : hidden_by_mask) mask.push_back({!hidden});
    if (!mask.empty()) in.mask = View(&mask[0].value, {1, 1, 1, M});
    for (std::int64_t i = 0; i < N && !hidden_by_bias.empty(); ++i) {
      for (std::int64_t j = 0; j < M; ++j) {
        if (hidden_by_bias[std::size_t(j)])
          bias.row(i)[j] = -std::numeric_limits<float>::infinity();
      }
    }
    if (!hidden_by_bias.empty()) in.bias = bias.view();
    in.factor = View(factor.row(0), {1, 1, M});
    const std::vector<std::int32_t> row_queries{0, static_cast<std::int32_t>(N - 1)};
    in.row_queries = row_queries;

    Results<double> want({.N = N, .M = M, .D = D, .E = E, .K = K, .R = 2});
    reference::attend(in, options, want.outputs());
    std::int64_t closed = 0;
    for (std::int64_t j = 0; j < M; ++j) {
      bool seen = false;
      for (std::int64_t i = 0; i < N; ++i)
        seen = seen || reference::visible(in, options, {0, 0, i}, j);
      if (seen) continue;
      k.close(j);
      v.close(j);
      ++closed;
    }
    MutableView top_index = index.view();
    top_index.type = DataType::kInt32;
    Threads threads(2);
    attend(in, options,
           {.out = out.view(),
            .lse = MutableView(lse.row(0), {1, 1, N}),
            .top_index = top_index,
            .top_weight = weight.view(),
            .received = MutableView(received.row(0), {1, 1, M}),
            .entropy = MutableView(entropy.row(0), {1, 1, N}),
            .rows = rows.view()},
           threads);
    std::vector<float> got;
    for (std::int64_t i = 0; i < N; ++i) got.insert(got.end(), out.row(i), out.row(i) + E);
    // Values are below 1, and so is the rounding of bfloat16 weights that sum to 1: half of 2^-7.
    EXPECT_TRUE(close(got, want.out, type == DataType::kBFloat16 ? 0.00390625 + 1e-5 : 1e-5));
    EXPECT_TRUE(close(std::span(received.row(0), std::size_t(M)), want.received, 1e-5 * double(N)));
    EXPECT_TRUE(close(std::span(lse.row(0), std::size_t(N)), want.lse, 1e-5));
    EXPECT_GE(closed, expected_closed) << "the case hides fewer keys than it should";
  }

  std::int64_t expected_closed = 0;
};

constexpr std::pair<std::int64_t, std::int64_t> kWidths[] = {
    {5, 3}, {64, 64}, {17, 40}, {1, 1}, {33, 16}};

TEST_P(Memory, NothingBeyondARowIsTouched) {
  for (const auto& [D, E] : kWidths) {
    for (const std::int64_t N : {1, 6, 21, 50}) Guarded{N, 70, D, E}.run();
  }
}

TEST_P(Memory, KeysPastTheLengthAreNeverRead) {
  for (const auto& [D, E] : kWidths) {
    for (const std::int64_t N : {1, 21}) {
      for (const std::int32_t m : {0, 1, 15, 16, 33, 69}) {
        Guarded g{N, 70, D, E};
        g.key_lengths = {m};
        g.expected_closed = 70 - m;
        g.run();
      }
    }
  }
}

// Of every type: rows end where a page ends, at addresses that are odd numbers of elements.
TEST_P(Memory, SixteenBitRowsAndHiddenKeysLikewise) {
  for (const DataType type : {DataType::kBFloat16, DataType::kFloat16}) {
    for (const auto& [D, E] : kWidths) {
      for (const std::int64_t N : {1, 2, 8, 9, 21, 50}) {
        for (const std::int32_t m : {0, 1, 15, 33, 69, 70}) {
          Guarded g{N, 70, D, E};
          g.type = type;
          g.key_lengths = {m};
          g.expected_closed = 70 - m;
          g.run();
        }
        Guarded masked{N, 70, D, E};
        masked.type = type;
        for (std::size_t j = 0; j < 70; ++j) {
          masked.hidden_by_mask.push_back(j % 7 == 3 || (j >= 30 && j < 52));
        }
        masked.expected_closed = 20;
        masked.run();
        Guarded window{N, 70, D, E};
        window.type = type;
        window.options.window_before = 5;
        window.expected_closed = 70 - N - 5;
        window.run();
      }
    }
  }
}

TEST_P(Memory, KeysOutsideThePartAreNeverRead) {
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    for (const std::int64_t N : {1, 7, 21}) {
      for (const auto& [begin, end] : {std::pair{0, 0}, {0, 33}, {17, 70}, {31, 32}, {5, 66}}) {
        Guarded g{N, 70, 17, 16};
        g.type = type;
        g.options.key_begin = begin;
        g.options.key_end = end;
        g.expected_closed = 70 - (end - begin);
        g.run();
      }
    }
  }
}

// Packed: past a sequence's length, and those of a sequence without queries.
TEST_P(Memory, HiddenKeysOfPackedSequencesAreNeverRead) {
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    for (const std::int64_t longest : {2, 25}) {
      const auto n = static_cast<std::int32_t>(longest);
      const std::vector<std::int32_t> queries = offsets_of({n, 0, 1, 3}),
                                      keys = offsets_of({40, 9, 33, 21}), lengths{37, 9, 33, 0};
      const std::int64_t T = queries.back(), S = keys.back(), D = 17, E = 16;
      GuardedRows q(T, D, type), k(S, D, type), v(S, E, type), out(T, E);
      Random random(3);
      for (GuardedRows* array : {&q, &k, &v}) {
        const View view = array->view();
        for (std::int64_t r = 0; r < view.size(2); ++r) {
          for (std::int64_t d = 0; d < view.size(3); ++d) {
            array->set(r, d, static_cast<float>(random.uniform()));
          }
        }
      }
      const auto packed = [](GuardedRows& rows) {  // [positions, 1, width]
        MutableView view = rows.view();
        view.rank = 3;
        view.shape = {view.size(2), 1, view.size(3), 0};
        view.strides = {view.step(2), 0, 1, 0};
        return view;
      };
      Inputs in;
      in.q = packed(q);
      in.k = packed(k);
      in.v = packed(v);
      in.query_offsets = queries;
      in.key_offsets = keys;
      in.key_lengths = lengths;
      std::vector<double> want(static_cast<std::size_t>(T * E));
      reference::attend(in, {}, {.out = MutableView(want.data(), {T, 1, E})});
      for (std::int64_t j = 37; j < 49; ++j) {  // the end of sequence 0, all of sequence 1
        k.close(j);
        v.close(j);
      }
      for (std::int64_t j = 82; j < S; ++j) {  // all of sequence 3
        k.close(j);
        v.close(j);
      }
      Threads threads(2);
      attend(in, {}, {.out = packed(out)}, threads);
      std::vector<float> got;
      for (std::int64_t i = 0; i < T; ++i) got.insert(got.end(), out.row(i), out.row(i) + E);
      EXPECT_TRUE(close(got, want, type == DataType::kBFloat16 ? 0.00390625 + 1e-5 : 1e-5));
    }
  }
}

TEST_P(Memory, KeysThatCausalityHidesFromAllAreNeverRead) {
  for (const std::int64_t N : {1, 7, 21, 40}) {
    Guarded g{N, 70, 17, 9};
    g.options.causal = Causal::kTopLeft;
    g.expected_closed = 70 - N;
    g.run();
    Guarded padded{N, 70, 17, 9};
    padded.options.causal = Causal::kTopLeft;
    padded.query_lengths = {static_cast<std::int32_t>((N + 1) / 2)};
    padded.expected_closed = 70 - (N + 1) / 2;
    padded.run();
  }
}

TEST_P(Memory, KeysThatTheWindowHidesFromAllAreNeverRead) {
  for (const auto& [D, E] : kWidths) {
    for (const std::int64_t N : {1, 7, 21}) {
      for (const std::int64_t before : {0, 5, 17}) {
        Guarded g{N, 70, D, E};  // places 70 - N to 69
        g.options.window_before = before;
        g.expected_closed = 70 - N - before;
        g.run();
        Guarded top{N, 70, D, E};  // places 0 to N - 1
        top.options.causal = Causal::kTopLeft;
        top.options.window_before = before;
        top.expected_closed = 70 - N;
        top.run();
        Guarded masked{N, 70, D, E};  // with a mask other code decides what is read
        masked.options.window_before = before;
        masked.hidden_by_mask.assign(70, false);
        masked.expected_closed = 70 - N - before;
        masked.run();
      }
    }
  }
}

TEST_P(Memory, KeysOfASequenceWithoutQueriesAreNeverRead) {
  Guarded g{20, 70, 17, 9};
  g.query_lengths = {0};
  g.expected_closed = 70;
  g.run();
}

TEST_P(Memory, KeysThatTheMaskHidesFromAllAreNeverRead) {
  for (const std::int64_t N : {1, 21}) {
    Guarded g{N, 70, 17, 9};
    for (std::size_t j = 0; j < 70; ++j)
      g.hidden_by_mask.push_back(j % 7 == 3 || (j >= 30 && j < 52));
    g.expected_closed = 20;
    g.run();
  }
}

TEST_P(Memory, KeysThatTheBiasHidesFromAllAreNeverRead) {
  for (const std::int64_t N : {1, 21}) {
    Guarded g{N, 70, 17, 9};
    for (std::size_t j = 0; j < 70; ++j)
      g.hidden_by_bias.push_back(j % 7 == 3 || (j >= 30 && j < 52));
    g.expected_closed = 20;
    g.run();
  }
}

// An output array of any rank with gaps, all of it filled with a canary.
struct Gapped {
  static constexpr float kCanary = -12345.5F;
  std::vector<float> memory;
  std::array<std::int64_t, 4> shape{}, strides{};
  int rank;

  explicit Gapped(std::initializer_list<std::int64_t> dims) : rank(static_cast<int>(dims.size())) {
    std::int64_t step = 1;
    std::copy(dims.begin(), dims.end(), shape.begin());
    for (int d = rank - 1; d >= 0; --d) {
      strides[std::size_t(d)] = step;
      step = step * shape[std::size_t(d)] + 3;  // a gap after every row, plane and block
    }
    memory.assign(std::size_t(step + 4), kCanary);
  }
  MutableView view(DataType type = DataType::kFloat32) {
    MutableView v;
    v.data = memory.data() + 2;
    v.type = type;
    v.rank = rank;
    v.shape = shape;
    v.strides = strides;
    return v;
  }
  // Elements in order; `gaps` counts the others that are no longer canaries.
  std::vector<float> elements(int& gaps) const {
    std::vector<float> all;
    std::vector<bool> inside(memory.size(), false);
    const auto size = [&](int d) { return d < rank ? shape[std::size_t(d)] : 1; };
    for (std::int64_t a = 0; a < size(0); ++a) {
      for (std::int64_t b = 0; b < size(1); ++b) {
        for (std::int64_t c = 0; c < size(2); ++c) {
          for (std::int64_t d = 0; d < size(3); ++d) {
            const auto x =
                static_cast<std::size_t>(2 + a * strides[0] + b * strides[1] + c * strides[2] +
                                         (rank == 4 ? d * strides[3] : 0));
            inside[x] = true;
            all.push_back(memory[x]);
          }
        }
      }
    }
    gaps = 0;
    for (std::size_t x = 0; x < memory.size(); ++x)
      gaps += !inside[x] && memory[x] != kCanary ? 1 : 0;
    return all;
  }
};

TEST_P(Memory, OutputsOfAnyStrideAreFilledAndNothingElse) {
  const Case c{.B = 2,
               .H = 3,
               .G = 3,
               .N = 21,
               .M = 37,
               .D = 12,
               .E = 7,
               .key_lengths = true,
               .query_lengths = true,
               .K = 5,
               .R = 3};
  const Problem p(c);
  const Results<float> want = engine(p);
  Gapped out({2, 3, 21, 7}), lse({2, 3, 21}), top({2, 3, 21, 5}), weight({2, 3, 21, 5}),
      received({2, 3, 37}), entropy({2, 3, 21}), rows({2, 3, 3, 37});
  Threads threads(2);
  attend(p.inputs(), p.options(),
         {.out = out.view(),
          .lse = lse.view(),
          .top_index = top.view(DataType::kInt32),
          .top_weight = weight.view(),
          .received = received.view(),
          .entropy = entropy.view(),
          .rows = rows.view()},
         threads);
  int gaps = 0;
  EXPECT_TRUE(same_bits(out.elements(gaps), want.out));
  EXPECT_EQ(gaps, 0) << "out";
  EXPECT_TRUE(same_bits(lse.elements(gaps), want.lse));
  EXPECT_EQ(gaps, 0) << "lse";
  EXPECT_TRUE(same_bits(weight.elements(gaps), want.top_weight));
  EXPECT_EQ(gaps, 0) << "top_weight";
  EXPECT_TRUE(same_bits(received.elements(gaps), want.received));
  EXPECT_EQ(gaps, 0) << "received";
  EXPECT_TRUE(same_bits(entropy.elements(gaps), want.entropy));
  EXPECT_EQ(gaps, 0) << "entropy";
  EXPECT_TRUE(same_bits(rows.elements(gaps), want.rows));
  EXPECT_EQ(gaps, 0) << "rows";
  const std::vector<float> index_bits = top.elements(gaps);
  EXPECT_EQ(gaps, 0) << "top_index";
  for (std::size_t x = 0; x < index_bits.size(); ++x) {
    EXPECT_EQ(std::bit_cast<std::int32_t>(index_bits[x]), want.top_index[x]) << x;
  }
}

TEST_P(Memory, OutputPositionsFirst) {  // [B, N, H, E] memory
  const Case c{.B = 2, .H = 3, .G = 1, .N = 21, .M = 37, .D = 12, .E = 7};
  const Problem p(c);
  const Results<float> want = engine(p);
  FloatArray out(Layout::kPositionsFirst, {2, 3, 21, 7});
  Threads one(1);
  attend(p.inputs(), p.options(), {.out = out.mutable_view()}, one);
  EXPECT_TRUE(same_bits(out.dense(), want.out));
}

// Strides of 0: one row of mask, bias, keys and so on, seen many times.
TEST_P(Memory, StridesOfZeroRepeatAnElement) {
  const Case c{.B = 2, .H = 3, .G = 3, .N = 21, .M = 37, .D = 12, .E = 7, .mask = 15, .bias = 15};
  for (int zero = 0; zero < 16; ++zero) {
    Problem whole(c);
    Random random(static_cast<std::uint64_t>(zero));
    // The element that each index comes to when the dimensions in `zero` have stride 0.
    std::array<std::int64_t, 4> steps{3 * 21 * 37, 21 * 37, 37, 1};
    for (int d = 0; d < 4; ++d) {
      if (zero & (1 << d)) steps[std::size_t(d)] = 0;
    }
    std::vector<Flag> mask(2 * 3 * 21 * 37);
    std::vector<float> bias(mask.size());
    for (Flag& f : mask) f.value = random.below(4) != 0;
    mask[0].value = true;
    for (float& b : bias) b = static_cast<float>(random.normal());
    for (std::int64_t b = 0; b < 2; ++b) {
      for (std::int64_t h = 0; h < 3; ++h) {
        for (std::int64_t i = 0; i < 21; ++i) {
          for (std::int64_t j = 0; j < 37; ++j) {
            const auto x = std::size_t(b * steps[0] + h * steps[1] + i * steps[2] + j * steps[3]);
            whole.mask[std::size_t(((b * 3 + h) * 21 + i) * 37 + j)] = mask[x];
            whole.bias.at(b, h, i, j) = bias[x];
          }
        }
      }
    }
    const Results<float> want = engine(whole);
    Inputs in = whole.inputs();
    in.mask = View(&mask[0].value, {2, 3, 21, 37}, {steps[0], steps[1], steps[2], steps[3]});
    in.bias = View(bias.data(), {2, 3, 21, 37}, {steps[0], steps[1], steps[2], steps[3]});
    Results<float> got(c);
    Threads one(1);
    attend(in, whole.options(), got.outputs(), one);
    EXPECT_TRUE(same_bits(got.out, want.out)) << "zero strides " << zero;
    EXPECT_TRUE(same_bits(got.received, want.received)) << "zero strides " << zero;
  }
}

TEST_P(Memory, KeysSharedByAllSequencesThroughAStrideOfZero) {
  const Case c{.B = 3, .H = 2, .G = 2, .N = 11, .M = 37, .D = 12, .E = 7};
  Problem p(c);
  for (std::int64_t b = 1; b < 3; ++b) {
    for (std::int64_t g = 0; g < 2; ++g) {
      for (std::int64_t j = 0; j < 37; ++j) {
        for (std::int64_t d = 0; d < 12; ++d) p.k.at(b, g, j, d) = p.k.at(0, g, j, d);
        for (std::int64_t e = 0; e < 7; ++e) p.v.at(b, g, j, e) = p.v.at(0, g, j, e);
      }
    }
  }
  const Results<float> want = engine(p);
  Inputs in = p.inputs();
  in.k.strides[0] = in.v.strides[0] = 0;
  Results<float> got(c);
  Threads one(1);
  attend(in, p.options(), got.outputs(), one);
  EXPECT_TRUE(same_bits(got.out, want.out));
}

}  // namespace
}  // namespace fovea::testing
