#include "support/case.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
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
  static const char* const kTypes[] = {"kFloat32", "kFloat64", "kFloat16", "kBFloat16"};
  static const char* const kCausals[] = {"kNone", "kBottomRight", "kTopLeft"};
  out << "Case{.B = " << c.B << ", .H = " << c.H << ", .G = " << c.G << ", .N = " << c.N
      << ", .M = " << c.M << ", .D = " << c.D << ", .E = " << c.E
      << ", .type = DataType::" << kTypes[static_cast<int>(c.type)]
      << ", .layout = Layout::" << kLayouts[static_cast<int>(c.layout)]
      << ", .packed_queries = " << c.packed_queries << ", .packed_keys = " << c.packed_keys
      << ", .causal = Causal::" << kCausals[static_cast<int>(c.causal)]
      << (c.window_before ? ", .window_before = " + std::to_string(*c.window_before) : "")
      << (c.window_after ? ", .window_after = " + std::to_string(*c.window_after) : "")
      << (c.key_begin ? ", .key_begin = " + std::to_string(*c.key_begin) : "")
      << (c.key_end ? ", .key_end = " + std::to_string(*c.key_end) : "")
      << ", .key_lengths = " << c.key_lengths << ", .query_lengths = " << c.query_lengths
      << ", .mask = " << c.mask << ", .bias = " << c.bias << ", .bias_hides = " << c.bias_hides
      << ", .alibi = " << c.alibi << ", .factor = " << c.factor
      << ", .received_weights = " << c.received_weights << ", .K = " << c.K << ", .R = " << c.R
      << ", .spread = " << c.spread;
  if (c.scale) out << ", .scale = " << *c.scale;
  if (c.dropout != 0) out << ", .dropout = " << c.dropout;
  return out << ", .narrow_out = " << c.narrow_out << ", .seed = " << c.seed << "u}";
}

bool left_out() {
  static double asked = 0;
  const char* share = std::getenv("FOVEA_TEST_SHARE");
  if (share == nullptr) return false;
  // Spaced by the golden ratio: no loop of types or sizes has a step in common with it.
  return std::fmod(0.618033988749895 * asked++, 1.0) >= 1.0 / std::max(std::atoi(share), 1);
}

Case random_case(Random& random, std::int64_t work) {
  static constexpr std::int64_t kWidths[] = {1, 2, 3, 5, 8, 16, 17, 40, 64, 65, 80, 128};
  // Not more: where a single key decides a row, the error of a plain loop on a small problem is luck.
  static constexpr double kSpreads[] = {0, 1, 1, 1, 8, 20};
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
  static constexpr DataType kTypes[] = {DataType::kFloat32, DataType::kFloat32, DataType::kBFloat16,
                                        DataType::kFloat16};
  c.type = kTypes[random.below(std::size(kTypes))];
  c.narrow_out = c.type != DataType::kFloat32 && random.below(2) == 0;
  c.layout = static_cast<Layout>(random.below(3));
  const std::uint64_t packed = random.below(8);  // both most often
  c.packed_queries = packed < 3;
  c.packed_keys = packed == 1 || packed == 2 || packed == 3;
  c.causal = static_cast<Causal>(random.below(3));
  if (random.below(3) == 0) c.window_before = random_window(random, c.M);
  if (random.below(3) == 0) c.window_after = random_window(random, c.M);
  const auto most = static_cast<std::uint64_t>(c.M) + 1;
  if (random.below(4) == 0) c.key_begin = static_cast<std::int64_t>(random.below(most));
  if (random.below(4) == 0) {
    const std::int64_t begin = c.key_begin.value_or(0);
    c.key_end = begin + static_cast<std::int64_t>(
                            random.below(static_cast<std::uint64_t>(c.M - begin) + 1));
  }
  c.key_lengths = random.below(2) == 0;
  c.query_lengths = random.below(3) == 0;
  if (random.below(3) == 0) c.mask = static_cast<int>(random.below(16));
  if (random.below(3) == 0) c.bias = static_cast<int>(random.below(16));
  c.bias_hides = random.below(2) == 0;
  if (random.below(3) == 0) c.alibi = static_cast<int>(random.below(2));
  c.factor = random.below(2) == 0;
  c.received_weights = random.below(2) == 0;
  c.K = 1 + static_cast<std::int64_t>(random.below(random.below(4) == 0 ? 40 : 9));
  c.R = 1 + static_cast<std::int64_t>(random.below(5));
  c.spread = kSpreads[random.below(std::size(kSpreads))];
  if (random.below(3) == 0) c.scale = static_cast<float>(0.05 + random.uniform());
  c.seed = random.bits();
  return c;
}

float rounded(DataType type, float x) {
  if (type == DataType::kBFloat16) return static_cast<float>(BFloat16(x));
  if (type == DataType::kFloat16) return static_cast<float>(Float16(x));
  return x;
}

std::vector<std::int32_t> offsets_of(const std::vector<std::int32_t>& sizes) {
  std::vector<std::int32_t> offsets{0};
  for (const std::int32_t size : sizes) offsets.push_back(offsets.back() + size);
  return offsets;
}

Places::Places(const Case& c) : B(c.B), H(c.H), N(c.N), M(c.M) {
  Random random(c.seed + 77);
  const auto sizes = [&](std::int64_t most) {
    std::vector<std::int32_t> all;
    for (std::int64_t b = 0; b < B; ++b) all.push_back(random_length(random, most));
    if (B > 0) {  // the longest
      all[random.below(static_cast<std::uint64_t>(B))] = static_cast<std::int32_t>(most);
    }
    return all;
  };
  if (c.packed_queries) query_offsets = offsets_of(sizes(N));
  if (c.packed_keys) key_offsets = offsets_of(sizes(M));
}

std::int64_t Places::queries(std::int64_t b) const {
  const auto x = static_cast<std::size_t>(b);
  return query_offsets.empty() ? N : query_offsets[x + 1] - query_offsets[x];
}

std::int64_t Places::keys(std::int64_t b) const {
  const auto x = static_cast<std::size_t>(b);
  return key_offsets.empty() ? M : key_offsets[x + 1] - key_offsets[x];
}

std::int64_t Places::all_queries() const {
  return H * (query_offsets.empty() ? B * N : query_offsets.back());
}

std::int64_t Places::all_keys() const {
  return H * (key_offsets.empty() ? B * M : key_offsets.back());
}

std::int64_t Places::row_queries() const {
  return query_offsets.empty() ? N : query_offsets.back();
}

View Places::view_of_queries(const std::vector<float>& values) const {
  return query_offsets.empty() ? View(values.data(), {B, H, N})
                               : View(values.data(), {query_offsets.back(), H});
}

std::size_t Places::query(std::int64_t b, std::int64_t h, std::int64_t i) const {
  if (query_offsets.empty()) return static_cast<std::size_t>((b * H + h) * N + i);
  return static_cast<std::size_t>((query_offsets[static_cast<std::size_t>(b)] + i) * H + h);
}

std::size_t Places::key(std::int64_t b, std::int64_t h, std::int64_t j) const {
  if (key_offsets.empty()) return static_cast<std::size_t>((b * H + h) * M + j);
  return static_cast<std::size_t>((key_offsets[static_cast<std::size_t>(b)] + j) * H + h);
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

std::size_t FloatArray::index(std::int64_t a, std::int64_t b, std::int64_t c,
                              std::int64_t d) const {
  return static_cast<std::size_t>(first + a * strides[0] + b * strides[1] + c * strides[2] +
                                  d * strides[3]);
}

float& FloatArray::at(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) {
  if (offsets.empty()) return memory[index(a, b, c, d)];
  return memory[index(0, b, offsets[static_cast<std::size_t>(a)] + c, d)];
}

const float& FloatArray::at(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) const {
  return const_cast<FloatArray*>(this)->at(a, b, c, d);
}

View FloatArray::view() const {
  if (type != DataType::kFloat32) {
    narrow_.resize(memory.size());
    for (std::size_t x = 0; x < memory.size(); ++x) {
      narrow_[x] = type == DataType::kBFloat16 ? BFloat16(memory[x]).bits : Float16(memory[x]).bits;
    }
  }
  return shown();
}

View FloatArray::shown() const {
  View view(memory.data() + first, {shape[0], shape[1], shape[2], shape[3]},
            {strides[0], strides[1], strides[2], strides[3]});
  view.type = type;
  if (type != DataType::kFloat32) view.data = narrow_.data() + first;
  if (!offsets.empty()) {
    view.rank = 3;
    view.shape = {shape[2], shape[1], shape[3], 0};
    view.strides = {strides[2], strides[1], strides[3], 0};
  }
  return view;
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
        for (std::int64_t d = 0; d < shape[3]; ++d) {
          all.push_back(rounded(type, memory[index(a, b, c, d)]));
        }
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
          memory[index(a, b, c, d)] =
              rounded(type, static_cast<float>(deviation * random.normal()));
        }
      }
    }
  }
}

Problem::Problem(const Case& given) : Problem(given, Places(given)) {}

Problem::Problem(const Case& given, const Places& where) : c(given), places(where) {
  Random random(c.seed);
  const auto array = [&](std::int64_t heads, std::int64_t positions, std::int64_t width,
                         const std::vector<std::int32_t>& offsets) {
    std::array<std::int64_t, 4> dims{c.B, heads, positions, width};
    if (!offsets.empty()) dims = {1, heads, offsets.back(), width};
    FloatArray made(c.layout, dims);
    made.type = c.type;
    made.offsets = offsets;
    return made;
  };
  q = array(c.H, c.N, c.D, places.query_offsets);
  k = array(c.G, c.M, c.D, places.key_offsets);
  v = array(c.G, c.M, c.E, places.key_offsets);
  // A sum of D products of normal numbers has deviation sqrt(D); the scale then makes it `spread`.
  const double scale = c.scale ? static_cast<double>(*c.scale) : 1 / std::sqrt(double(c.D));
  q.fill_normal(random, c.spread / (scale * std::sqrt(double(c.D))));
  k.fill_normal(random, 1);
  v.fill_normal(random, 1);
  for (std::int64_t b = 0; b < c.B; ++b) {
    if (c.key_lengths) key_lengths.push_back(random_length(random, places.keys(b)));
    if (c.query_lengths) query_lengths.push_back(random_length(random, places.queries(b)));
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
  // Slopes as models have them, halving from head to head, and now and then none or one upwards.
  for (std::int64_t x = 0; c.alibi >= 0 && x < (c.alibi == 1 ? c.B : 1) * c.H; ++x) {
    static constexpr float kSlopes[] = {0.5F, 0.25F, 0.0625F, 0.00390625F, 0.3F, 0.7F, 0, -0.02F};
    alibi_slopes.push_back(kSlopes[random.below(std::size(kSlopes))]);
  }
  if (c.factor) {
    for (std::int64_t x = 0; x < places.all_keys(); ++x) {
      factor.push_back(static_cast<float>(0.1 + 3 * random.uniform()));
    }
  }
  if (c.received_weights) {
    for (std::int64_t x = 0; x < places.all_queries(); ++x) {
      received_weights.push_back(static_cast<float>(random.normal()));
    }
  }
  const std::int64_t all = places.row_queries();
  for (std::int64_t r = 0; all > 0 && r < c.R; ++r) {
    row_queries.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(all))));
  }
}

Inputs Problem::inputs() const {
  q.view();
  k.view();
  v.view();
  return shapes();
}

Inputs Problem::shapes() const {
  Inputs in;
  in.q = q.shown();
  in.k = k.shown();
  in.v = v.shown();
  in.query_offsets = places.query_offsets;
  in.key_offsets = places.key_offsets;
  in.key_lengths = key_lengths;
  in.query_lengths = query_lengths;
  if (!mask.empty()) {
    in.mask = View(&mask[0].value, {mask_shape[0], mask_shape[1], mask_shape[2], mask_shape[3]});
  }
  if (bias.given()) in.bias = bias.view();
  if (!alibi_slopes.empty())
    in.alibi_slopes = View(alibi_slopes.data(), {c.alibi == 1 ? c.B : 1, c.H});
  if (!factor.empty()) {
    in.factor = places.key_offsets.empty() ? View(factor.data(), {c.B, c.H, c.M})
                                           : View(factor.data(), {places.key_offsets.back(), c.H});
  }
  if (!received_weights.empty()) in.received_weights = places.view_of_queries(received_weights);
  in.row_queries = row_queries;
  return in;
}

Options Problem::options() const {
  return {.scale = c.scale,
          .causal = c.causal,
          .window_before = c.window_before,
          .window_after = c.window_after,
          .key_begin = c.key_begin,
          .key_end = c.key_end,
          .dropout = {c.dropout, c.seed, static_cast<std::uint32_t>(c.seed % 3)}};
}

bool Problem::visible(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) const {
  return reference::visible(shapes(), options(), {b, h, i}, j);
}

std::vector<bool> Problem::all_visible() const {
  const Inputs in = shapes();
  const Options chosen = options();
  const auto M = static_cast<std::size_t>(c.M);
  std::vector<bool> seen(count(places.all_queries()) * M, false);
  for (std::int64_t b = 0; b < c.B; ++b) {
    for (std::int64_t h = 0; h < c.H; ++h) {
      for (std::int64_t i = 0; i < places.queries(b); ++i) {
        const std::size_t x = places.query(b, h, i);
        for (std::int64_t j = 0; j < places.keys(b); ++j) {
          seen[x * M + static_cast<std::size_t>(j)] = reference::visible(in, chosen, {b, h, i}, j);
        }
      }
    }
  }
  return seen;
}

std::int64_t Problem::visible_keys(std::int64_t b, std::int64_t h, std::int64_t i) const {
  const Inputs in = shapes();
  std::int64_t seen = 0;
  for (std::int64_t j = 0; j < places.keys(b); ++j) {
    seen += reference::visible(in, options(), {b, h, i}, j) ? 1 : 0;
  }
  return seen;
}

std::int64_t Problem::key_length(std::int64_t b) const {
  return key_lengths.empty() ? places.keys(b) : key_lengths[static_cast<std::size_t>(b)];
}

std::int64_t Problem::query_length(std::int64_t b) const {
  return query_lengths.empty() ? places.queries(b) : query_lengths[static_cast<std::size_t>(b)];
}

double Problem::largest_value() const {
  double largest = 0;
  for (const float x : v.dense()) largest = std::max(largest, double(std::abs(x)));
  return largest;
}

template <class T>
Results<T>::Results(const Case& sizes, const Places& where, const Wanted& what,
                    std::int64_t rows_kept)
    : c(sizes), places(where), wanted(what), R(rows_kept) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const std::int64_t queries = places.all_queries();
  const bool packed = !places.query_offsets.empty();
  if (R < 0) R = places.row_queries() > 0 ? c.R : 0;
  if (wanted.out) out.assign(count(queries * c.E), nan);
  if (wanted.lse) lse.assign(count(queries), nan);
  if (wanted.top) top_weight.assign(count(queries * c.K), nan);
  if (wanted.top) top_index.assign(count(queries * c.K), -77);
  if (wanted.received) received.assign(count(places.all_keys()), nan);
  if (wanted.entropy) entropy.assign(count(queries), nan);
  if (wanted.rows) rows.assign(count((packed ? 1 : c.B) * c.H * R * c.M), nan);
  const bool narrow = c.narrow_out && c.type != DataType::kFloat32;
  if (narrow && std::is_same_v<T, float>) narrow_out_.assign(out.size(), 0x7fff);  // NaN
}

template <class T>
Outputs Results<T>::outputs() {
  Outputs o;
  // [B, H, size, width], or packed [size, H, width]; width -1: there is none. A view without data is
  // not given, and an empty vector may have no data: those outputs are empty anyway.
  const auto view = [&](auto& values, const std::vector<std::int32_t>& offsets, std::int64_t size,
                        std::int64_t width) {
    if (values.empty()) return MutableView();
    if (offsets.empty()) {
      return width < 0 ? MutableView(values.data(), {c.B, c.H, size})
                       : MutableView(values.data(), {c.B, c.H, size, width});
    }
    return width < 0 ? MutableView(values.data(), {offsets.back(), c.H})
                     : MutableView(values.data(), {offsets.back(), c.H, width});
  };
  const auto& by_query = places.query_offsets;
  o.out = view(out, by_query, c.N, c.E);
  if (!narrow_out_.empty()) {
    o.out.data = narrow_out_.data();
    o.out.type = c.type;
  }
  o.lse = view(lse, by_query, c.N, -1);
  o.top_index = view(top_index, by_query, c.N, c.K);
  o.top_weight = view(top_weight, by_query, c.N, c.K);
  o.received = view(received, places.key_offsets, c.M, -1);
  o.entropy = view(entropy, by_query, c.N, -1);
  if (!rows.empty()) {
    o.rows = by_query.empty() ? MutableView(rows.data(), {c.B, c.H, R, c.M})
                              : MutableView(rows.data(), {R, c.H, c.M});
  }
  return o;
}

template <class T>
void Results<T>::widen() {
  for (std::size_t x = 0; x < narrow_out_.size(); ++x) {
    if (c.type == DataType::kBFloat16) {
      BFloat16 narrow;
      narrow.bits = narrow_out_[x];
      out[x] = static_cast<T>(static_cast<float>(narrow));
    } else {
      Float16 narrow;
      narrow.bits = narrow_out_[x];
      out[x] = static_cast<T>(static_cast<float>(narrow));
    }
  }
}

template struct Results<float>;
template struct Results<double>;

}  // namespace fovea::testing
