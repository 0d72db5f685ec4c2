#include "support/case.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>

#include "reference/attend.h"

namespace fovea::testing {
namespace {

const float kNan = std::numeric_limits<float>::quiet_NaN();

std::size_t count(std::int64_t n) { return static_cast<std::size_t>(std::max<std::int64_t>(n, 0)); }

// A size that finds faults: small, or beside the edge of a vector or of a block.
std::int64_t random_size(Random& random, std::int64_t most) {
  static constexpr std::int64_t kEdges[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
  if (random.below(3) == 0) {
    return 1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(most)));
  }
  const std::int64_t size =
      kEdges[random.below(std::size(kEdges))] + static_cast<std::int64_t>(random.below(3)) - 1;
  return std::clamp<std::int64_t>(size, 1, most);
}

// In [0, most], with 0 and `most` more often than chance gives them.
std::int32_t random_length(Random& random, std::int64_t most) {
  const std::uint64_t kind = random.below(8);
  if (kind == 0) return 0;
  if (kind == 1) return static_cast<std::int32_t>(most);
  return static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(most) + 1));
}

// Often a handful of keys, now and then any number of them.
std::int64_t random_window(Random& random, std::int64_t keys) {
  const auto most = static_cast<std::uint64_t>(random.below(2) == 0 ? 9 : keys + 2);
  return static_cast<std::int64_t>(random.below(most));
}

std::array<std::int64_t, 4> broadcast_shape(const Case& c, int bits) {
  return {(bits & 1) ? c.B : 1, (bits & 2) ? c.H : 1, (bits & 4) ? c.N : 1, (bits & 8) ? c.M : 1};
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Case& c) {
  static const char* const kLayouts[] = {"kHeadsFirst", "kPositionsFirst", "kCut"};
  static const char* const kCausals[] = {"kNone", "kBottomRight", "kTopLeft"};
  out << "Case{.B = " << c.B << ", .H = " << c.H << ", .G = " << c.G << ", .N = " << c.N
      << ", .M = " << c.M << ", .D = " << c.D << ", .E = " << c.E
      << ", .layout = Layout::" << kLayouts[static_cast<int>(c.layout)]
      << ", .causal = Causal::" << kCausals[static_cast<int>(c.causal)]
      << (c.window_before ? ", .window_before = " + std::to_string(*c.window_before) : "")
      << (c.window_after ? ", .window_after = " + std::to_string(*c.window_after) : "")
      << ", .key_lengths = " << c.key_lengths << ", .query_lengths = " << c.query_lengths
      << ", .mask = " << c.mask << ", .bias = " << c.bias << ", .bias_hides = " << c.bias_hides
      << ", .factor = " << c.factor << ", .received_weights = " << c.received_weights
      << ", .K = " << c.K << ", .R = " << c.R << ", .spread = " << c.spread;
  if (c.scale) out << ", .scale = " << *c.scale;
  return out << ", .seed = " << c.seed << "u}";
}

Case random_case(Random& random, std::int64_t work) {
  static constexpr std::int64_t kWidths[] = {1, 2, 3, 5, 8, 16, 17, 40, 64, 65, 80, 128};
  static constexpr double kSpreads[] = {0, 1, 1, 1, 8, 60};
  Case c;
  do {
    c.B = 1 + static_cast<std::int64_t>(random.below(3));
    c.G = 1 + static_cast<std::int64_t>(random.below(3));
    c.H = c.G * (1 + static_cast<std::int64_t>(random.below(3)));
    c.N = random_size(random, 520);
    c.M = random_size(random, 520);
    c.D = kWidths[random.below(std::size(kWidths))];
    c.E = random.below(2) == 0 ? c.D : kWidths[random.below(std::size(kWidths))];
  } while (c.B * c.H * c.N * c.M * (c.D + c.E + 4) > work);
  c.layout = static_cast<Layout>(random.below(3));
  c.causal = static_cast<Causal>(random.below(3));
  if (random.below(3) == 0) c.window_before = random_window(random, c.M);
  if (random.below(3) == 0) c.window_after = random_window(random, c.M);
  c.key_lengths = random.below(2) == 0;
  c.query_lengths = random.below(3) == 0;
  if (random.below(3) == 0) c.mask = static_cast<int>(random.below(16));
  if (random.below(3) == 0) c.bias = static_cast<int>(random.below(16));
  c.bias_hides = random.below(2) == 0;
  c.factor = random.below(2) == 0;
  c.received_weights = random.below(2) == 0;
  c.K = 1 + static_cast<std::int64_t>(random.below(random.below(4) == 0 ? 40 : 9));
  c.R = 1 + static_cast<std::int64_t>(random.below(5));
  c.spread = kSpreads[random.below(std::size(kSpreads))];
  if (random.below(3) == 0) c.scale = static_cast<float>(0.05 + random.uniform());
  c.seed = random.bits();
  return c;
}

FloatArray::FloatArray(Layout layout, std::array<std::int64_t, 4> dims) : shape(dims) {
  const auto [a, b, c, d] = dims;
  std::int64_t size = a * b * c * d;
  if (layout == Layout::kHeadsFirst) {
    strides = {b * c * d, c * d, d, 1};
  } else if (layout == Layout::kPositionsFirst) {
    strides = {c * b * d, d, b * d, 1};
  } else {  // positions 3.. of a cache with 5 more, rows 3 wider
    const std::int64_t capacity = c + 5, wide = d + 3;
    strides = {b * capacity * wide, capacity * wide, wide, 1};
    first = 3 * wide + 1;
    size = a * b * capacity * wide;
  }
  memory.assign(count(size) + 1, kNan);  // one more: an empty array has an address too
}

float& FloatArray::at(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) {
  return memory[static_cast<std::size_t>(first + a * strides[0] + b * strides[1] + c * strides[2] +
                                         d * strides[3])];
}

const float& FloatArray::at(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) const {
  return const_cast<FloatArray*>(this)->at(a, b, c, d);
}

View FloatArray::view() const {
  return View(memory.data() + first, {shape[0], shape[1], shape[2], shape[3]},
              {strides[0], strides[1], strides[2], strides[3]});
}

MutableView FloatArray::mutable_view() {
  return MutableView(memory.data() + first, {shape[0], shape[1], shape[2], shape[3]},
                     {strides[0], strides[1], strides[2], strides[3]});
}

std::vector<float> FloatArray::dense() const {
  std::vector<float> all;
  for (std::int64_t a = 0; a < shape[0]; ++a) {
    for (std::int64_t b = 0; b < shape[1]; ++b) {
      for (std::int64_t c = 0; c < shape[2]; ++c) {
        for (std::int64_t d = 0; d < shape[3]; ++d) all.push_back(at(a, b, c, d));
      }
    }
  }
  return all;
}

void FloatArray::fill_normal(Random& random, double deviation) {
  for (std::int64_t a = 0; a < shape[0]; ++a) {
    for (std::int64_t b = 0; b < shape[1]; ++b) {
      for (std::int64_t c = 0; c < shape[2]; ++c) {
        for (std::int64_t d = 0; d < shape[3]; ++d) {
          at(a, b, c, d) = static_cast<float>(deviation * random.normal());
        }
      }
    }
  }
}

Problem::Problem(const Case& given) : c(given) {
  Random random(c.seed);
  q = FloatArray(c.layout, {c.B, c.H, c.N, c.D});
  k = FloatArray(c.layout, {c.B, c.G, c.M, c.D});
  v = FloatArray(c.layout, {c.B, c.G, c.M, c.E});
  // A sum of D products of normal numbers has deviation sqrt(D); the scale then makes it `spread`.
  const double scale = c.scale ? static_cast<double>(*c.scale) : 1 / std::sqrt(double(c.D));
  q.fill_normal(random, c.spread / (scale * std::sqrt(double(c.D))));
  k.fill_normal(random, 1);
  v.fill_normal(random, 1);
  for (std::int64_t b = 0; b < c.B; ++b) {
    if (c.key_lengths) key_lengths.push_back(random_length(random, c.M));
    if (c.query_lengths) query_lengths.push_back(random_length(random, c.N));
  }
  if (c.mask >= 0) {
    mask_shape = broadcast_shape(c, c.mask);
    const std::int64_t last = mask_shape[3];
    mask.resize(count(mask_shape[0] * mask_shape[1] * mask_shape[2] * last));
    for (std::size_t x = 0; x < mask.size(); ++x) {
      mask[x].value = random.below(4) != 0;
    }
    for (std::size_t row = 0; last > 1 && row < mask.size() / count(last); ++row) {
      if (random.below(10) != 0) continue;  // one row in ten sees nothing at all
      for (std::int64_t j = 0; j < last; ++j) mask[row * count(last) + count(j)].value = false;
    }
  }
  if (c.bias >= 0) {
    bias = FloatArray(c.layout, broadcast_shape(c, c.bias));
    bias.fill_normal(random, 1);
    for (float& x : bias.memory) {
      if (c.bias_hides && !std::isnan(x) && random.below(5) == 0) {
        x = -std::numeric_limits<float>::infinity();
      }
    }
  }
  if (c.factor) {
    for (std::int64_t x = 0; x < c.B * c.H * c.M; ++x) {
      factor.push_back(static_cast<float>(0.1 + 3 * random.uniform()));
    }
  }
  if (c.received_weights) {
    for (std::int64_t x = 0; x < c.B * c.H * c.N; ++x) {
      received_weights.push_back(static_cast<float>(random.normal()));
    }
  }
  for (std::int64_t r = 0; c.N > 0 && r < c.R; ++r) {
    row_queries.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(c.N))));
  }
}

Inputs Problem::inputs() const {
  Inputs in;
  in.q = q.view();
  in.k = k.view();
  in.v = v.view();
  in.key_lengths = key_lengths;
  in.query_lengths = query_lengths;
  if (!mask.empty()) {
    in.mask = View(&mask[0].value, {mask_shape[0], mask_shape[1], mask_shape[2], mask_shape[3]});
  }
  if (bias.given()) in.bias = bias.view();
  if (!factor.empty()) in.factor = View(factor.data(), {c.B, c.H, c.M});
  if (!received_weights.empty()) {
    in.received_weights = View(received_weights.data(), {c.B, c.H, c.N});
  }
  in.row_queries = row_queries;
  return in;
}

Options Problem::options() const {
  return {.scale = c.scale,
          .causal = c.causal,
          .window_before = c.window_before,
          .window_after = c.window_after};
}

bool Problem::visible(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) const {
  return reference::visible(inputs(), options(), {b, h, i}, j);
}

std::vector<bool> Problem::all_visible() const {
  const Inputs in = inputs();
  const Options chosen = options();
  std::vector<bool> seen;
  seen.reserve(count(c.B * c.H * c.N * c.M));
  for (std::int64_t row = 0; row < c.B * c.H * c.N; ++row) {
    const reference::Query query{row / c.N / c.H, row / c.N % c.H, row % c.N};
    for (std::int64_t j = 0; j < c.M; ++j) {
      seen.push_back(reference::visible(in, chosen, query, j));
    }
  }
  return seen;
}

std::int64_t Problem::visible_keys(std::int64_t b, std::int64_t h, std::int64_t i) const {
  std::int64_t seen = 0;
  for (std::int64_t j = 0; j < c.M; ++j) seen += visible(b, h, i, j) ? 1 : 0;
  return seen;
}

double Problem::largest_value() const {
  double largest = 0;
  for (const float x : v.dense()) largest = std::max(largest, double(std::abs(x)));
  return largest;
}

template <class T>
Results<T>::Results(const Case& sizes, const Wanted& what, std::int64_t rows_kept)
    : c(sizes), wanted(what), R(rows_kept >= 0 ? rows_kept : (sizes.N > 0 ? sizes.R : 0)) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const std::int64_t queries = c.B * c.H * c.N;
  if (wanted.out) out.assign(count(queries * c.E), nan);
  if (wanted.lse) lse.assign(count(queries), nan);
  if (wanted.top) top_weight.assign(count(queries * c.K), nan);
  if (wanted.top) top_index.assign(count(queries * c.K), -77);
  if (wanted.received) received.assign(count(c.B * c.H * c.M), nan);
  if (wanted.entropy) entropy.assign(count(queries), nan);
  if (wanted.rows) rows.assign(count(c.B * c.H * R * c.M), nan);
}

template <class T>
Outputs Results<T>::outputs() {
  Outputs o;
  // A view without data is not given, and an empty vector may have no data: those outputs are empty
  // anyway.
  if (!out.empty()) o.out = MutableView(out.data(), {c.B, c.H, c.N, c.E});
  if (!lse.empty()) o.lse = MutableView(lse.data(), {c.B, c.H, c.N});
  if (!top_index.empty()) {
    o.top_index = MutableView(top_index.data(), {c.B, c.H, c.N, c.K});
    o.top_weight = MutableView(top_weight.data(), {c.B, c.H, c.N, c.K});
  }
  if (!received.empty()) o.received = MutableView(received.data(), {c.B, c.H, c.M});
  if (!entropy.empty()) o.entropy = MutableView(entropy.data(), {c.B, c.H, c.N});
  if (!rows.empty()) o.rows = MutableView(rows.data(), {c.B, c.H, R, c.M});
  return o;
}

template struct Results<float>;
template struct Results<double>;

}  // namespace fovea::testing
