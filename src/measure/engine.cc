#include "measure/engine.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>

#include "base/random.h"
#include "fovea/backward.h"
#include "fovea/error.h"
#include "fovea/half.h"
#include "reference/attend.h"
#include "reference/backward.h"

namespace fovea::measure {
namespace {

constexpr std::int64_t kTop = 8;

std::size_t at(std::int64_t n) { return static_cast<std::size_t>(n); }

void store(DataType type, void* data, std::int64_t n, float x) {
  switch (type) {
    case DataType::kBFloat16: static_cast<BFloat16*>(data)[n] = BFloat16(x); return;
    case DataType::kFloat16: static_cast<Float16*>(data)[n] = Float16(x); return;
    default: static_cast<float*>(data)[n] = x;
  }
}

float load(DataType type, const void* data, std::int64_t n) {
  switch (type) {
    case DataType::kBFloat16: return static_cast<float>(static_cast<const BFloat16*>(data)[n]);
    case DataType::kFloat16: return static_cast<float>(static_cast<const Float16*>(data)[n]);
    default: return static_cast<const float*>(data)[n];
  }
}

// An array of `type`, filled with what `next` gives, as users have it: no pages asked for.
class Array {
 public:
  Array(DataType type, std::int64_t count)
      : type_(type),
        bytes_(at(count) * size_of(type)),
        count_(count),
        data_(aligned_array<std::byte>(bytes_)) {}
  Array(const Array& other)
      : type_(other.type_),
        bytes_(other.bytes_),
        count_(other.count_),
        data_(aligned_array<std::byte>(bytes_)) {
    std::memcpy(data_.get(), other.data_.get(), bytes_);
  }
  Array(Array&&) = default;

  void fill(Random* random) {
    for (std::int64_t n = 0; n < count_; ++n) {
      store(type_, data_.get(), n, static_cast<float>(random->normal()));
    }
  }
  void* data() const { return data_.get(); }
  float operator[](std::int64_t n) const { return load(type_, data_.get(), n); }

  // A row-major view of it.
  MutableView view(std::initializer_list<std::int64_t> shape) const {
    MutableView view(static_cast<float*>(data()), shape);
    view.type = type_;
    return view;
  }

 private:
  DataType type_;
  std::size_t bytes_;
  std::int64_t count_;
  AlignedArray<std::byte> data_;
};

// One situation in memory, ready to be called.
class Case {
 public:
  Case(const Situation& s, DataType type, std::int64_t copies);

  void run(Variant variant, Threads& threads) {
    const std::size_t copy = at(next_++ % copies());
    Inputs inputs = inputs_;
    inputs.k = keys_[copy].view({s_.B, s_.G, s_.M, s_.D});
    inputs.v = values_[copy].view({s_.B, s_.G, s_.M, s_.D});
    if (variant == kBackward) {
      const Outputs& plain = outputs_[kPlain];
      attend_backward(inputs, options_, {plain.out, plain.lse},
                      out_gradient_.view({s_.B, s_.H, s_.N, s_.D}), gradients_, threads);
    } else {
      attend(inputs, options_, outputs_[variant], threads);
    }
  }

  // Some rows of what `variant` has just left, against the reference.
  void check(Variant variant) const;

  std::int64_t copies() const { return static_cast<std::int64_t>(keys_.size()); }

 private:
  void check_row(Variant variant, std::int64_t b, std::int64_t h, std::int64_t i) const;
  void check_gradients() const;

  const Situation& s_;
  DataType type_;
  Array q_, out_, out_gradient_, dq_;
  std::vector<Array> keys_, values_, key_gradients_;  // of k, then of v
  std::vector<float> lse_, entropy_, top_weight_, received_;
  std::vector<std::int32_t> top_index_, key_lengths_, query_lengths_;
  Inputs inputs_;
  Options options_;
  Outputs outputs_[kVariants];
  Gradients gradients_;
  std::int64_t next_ = 0;
};

Case::Case(const Situation& s, DataType type, std::int64_t copies)
    : s_(s),
      type_(type),
      q_(type, s.B * s.H * s.N * s.D),
      out_(q_),
      out_gradient_(q_),
      dq_(q_),
      lse_(at(s.B * s.H * s.N)),
      entropy_(lse_),
      top_weight_(lse_.size() * kTop),
      received_(at(s.B * s.H * s.M)),
      top_index_(top_weight_.size()),
      key_lengths_(key_lengths(s)),
      query_lengths_(query_lengths(s)) {
  Random random(1);
  q_.fill(&random);
  Array keys(type, key_value_elements(s) / 2), values(keys);
  keys.fill(&random);
  values.fill(&random);
  for (std::int64_t n = 1; n < copies; ++n) {
    keys_.push_back(keys);
    values_.push_back(values);
  }
  keys_.push_back(std::move(keys));
  values_.push_back(std::move(values));

  if (has(s, kBackward)) {
    out_gradient_.fill(&random);
    for (int n = 0; n < 2; ++n) key_gradients_.emplace_back(keys_.front());
    gradients_.dq = dq_.view({s.B, s.H, s.N, s.D});
    gradients_.dk = key_gradients_[0].view({s.B, s.G, s.M, s.D});
    gradients_.dv = key_gradients_[1].view({s.B, s.G, s.M, s.D});
  }
  inputs_.q = q_.view({s.B, s.H, s.N, s.D});
  inputs_.key_lengths = key_lengths_;
  inputs_.query_lengths = query_lengths_;
  options_.causal = s.causal;
  options_.window_before = s.window_before;
  for (Outputs& outputs : outputs_) {
    outputs.out = out_.view({s.B, s.H, s.N, s.D});
    outputs.lse = MutableView(lse_.data(), {s.B, s.H, s.N});
  }
  for (const Variant variant : {kTopEntropy, kAll}) {
    Outputs& outputs = outputs_[variant];
    outputs.entropy = MutableView(entropy_.data(), {s.B, s.H, s.N});
    outputs.top_index = MutableView(top_index_.data(), {s.B, s.H, s.N, kTop});
    outputs.top_weight = MutableView(top_weight_.data(), {s.B, s.H, s.N, kTop});
  }
  for (const Variant variant : {kReceived, kAll}) {
    outputs_[variant].received = MutableView(received_.data(), {s.B, s.H, s.M});
  }
}

void require(bool good, const std::string& what) {
  if (!good) throw std::runtime_error("bench: the engine's result is wrong: " + what);
}

// How far one value of out may be off: sums in float32; the weights' rounding (bfloat16) and out's own.
double tolerance(DataType type, double value) {
  switch (type) {
    case DataType::kBFloat16: return 0x1p-8 * (1 + std::abs(value));
    case DataType::kFloat16: return 0x1p-11 * (1 + std::abs(value));
    default: return 5e-6;
  }
}

// The query again, alone, by the reference: over the keys that it sees and no others.
void Case::check_row(Variant variant, std::int64_t b, std::int64_t h, std::int64_t i) const {
  const std::int64_t D = s_.D;
  const std::int64_t row = (b * s_.H + h) * s_.N + i;
  const KeyRange range = visible_keys(s_, b, i);
  const std::int64_t count = range.end - range.begin;
  const std::int64_t first = ((b * s_.G + h / (s_.H / s_.G)) * s_.M + range.begin) * D;
  std::vector<float> q(at(D)), k(at(count * D)), v(k.size());
  for (std::int64_t d = 0; d < D; ++d) q[at(d)] = q_[row * D + d];
  for (std::int64_t n = 0; n < count * D; ++n) {
    k[at(n)] = keys_.front()[first + n];
    v[at(n)] = values_.front()[first + n];
  }
  Inputs inputs;
  inputs.q = View(q.data(), {1, 1, 1, D});
  inputs.k = View(k.data(), {1, 1, count, D});
  inputs.v = View(v.data(), {1, 1, count, D});
  std::vector<double> out(at(D)), weight(kTop);
  std::vector<std::int32_t> index(kTop);
  double lse = 0, entropy = 0;
  Outputs truth;
  truth.out = MutableView(out.data(), {1, 1, 1, D});
  truth.lse = MutableView(&lse, {1, 1, 1});
  truth.entropy = MutableView(&entropy, {1, 1, 1});
  truth.top_index = MutableView(index.data(), {1, 1, 1, kTop});
  truth.top_weight = MutableView(weight.data(), {1, 1, 1, kTop});
  reference::attend(inputs, {}, truth);

  const std::string where = std::string(s_.name) + ", " + fovea::name_of(type_) + ", " +
                            name_of(variant) + ", row " + std::to_string(row);
  if (variant == kBackward) {
    std::vector<float> gradient(at(D));
    std::vector<double> dq(at(D));
    for (std::int64_t e = 0; e < D; ++e) gradient[at(e)] = out_gradient_[row * D + e];
    Gradients exact;
    exact.dq = MutableView(dq.data(), {1, 1, 1, D});
    reference::attend_backward(inputs, {}, {}, View(gradient.data(), {1, 1, 1, D}), exact);
    // ds is rounded as the weights are, and so are the gradients.
    for (std::int64_t d = 0; d < D; ++d) {
      const double error = std::abs(dq[at(d)] - static_cast<double>(dq_[row * D + d]));
      require(error <= 4 * tolerance(type_, dq[at(d)]), where + ", dq");
    }
    return;
  }
  for (std::int64_t e = 0; e < D; ++e) {  // written so that NaN fails
    const double error = std::abs(out[at(e)] - static_cast<double>(out_[row * D + e]));
    require(error <= tolerance(type_, out[at(e)]), where + ", out");
  }
  require(std::abs(lse - static_cast<double>(lse_[at(row)])) <= 1e-5, where + ", lse");
  if (!outputs_[variant].entropy.given()) return;
  require(std::abs(entropy - static_cast<double>(entropy_[at(row)])) <= 5e-5, where + ", entropy");
  for (std::size_t t = 0; t < kTop; ++t) {
    const auto got = static_cast<double>(top_weight_[at(row) * kTop + t]);
    require(std::abs(weight[t] - got) <= 2e-6, where + ", top weight " + std::to_string(t));
  }
}

// Of all keys together: their dv sum to what all queries' gradients sum to, since weights sum to 1; and
// <k, dk> is <q, dq>, since both are sum ds_ij scale <q_i, k_j>. Written so that NaN fails.
void Case::check_gradients() const {
  double dv = 0, g = 0, g_size = 0, k_dk = 0, q_dq = 0, size = 0;
  for (std::int64_t n = 0; n < key_value_elements(s_) / 2; ++n) {
    const double both = static_cast<double>(keys_.front()[n]) * double{key_gradients_[0][n]};
    dv += double{key_gradients_[1][n]};
    k_dk += both;
    size += both * both;
  }
  for (std::int64_t row = 0; row < s_.B * s_.H * s_.N; ++row) {
    const std::int64_t b = row / s_.N / s_.H;
    const KeyRange range = visible_keys(s_, b, row % s_.N);
    for (std::int64_t d = 0; d < s_.D && range.begin < range.end; ++d) {
      const double one = out_gradient_[row * s_.D + d];
      g += one;
      g_size += one * one;
      q_dq += double{q_[row * s_.D + d]} * double{dq_[row * s_.D + d]};
    }
  }
  // Rounding errors of elements do not lean to one side: they grow as the root of their number.
  const double allowed = tolerance(type_, 1) * 8;
  require(std::abs(dv - g) <= allowed * std::sqrt(g_size), std::string(s_.name) + ", sum of dv");
  require(std::abs(k_dk - q_dq) <= allowed * std::sqrt(size + 1),
          std::string(s_.name) + ", <k, dk> and <q, dq>");
}

void Case::check(Variant variant) const {
  constexpr int kRows = 6;
  Random random(2);
  const auto pick = [&](std::int64_t size) {
    return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(size)));
  };
  for (int n = 0; n < kRows; ++n) {
    const std::int64_t b = pick(s_.B);
    const std::int64_t queries = query_lengths_.empty() ? s_.N : query_lengths_[at(b)];
    check_row(variant, b, pick(s_.H), n == 0 ? queries - 1 : pick(queries));
  }
  if (variant == kBackward) check_gradients();
  if (!outputs_[variant].received.given()) return;
  // Each query gives away a weight of 1.
  const double given = static_cast<double>(s_.H) *
                       (query_lengths_.empty()
                            ? static_cast<double>(s_.B * s_.N)
                            : static_cast<double>(std::accumulate(
                                  query_lengths_.begin(), query_lengths_.end(), std::int64_t{0})));
  const double received = std::accumulate(received_.begin(), received_.end(), 0.0);
  require(std::abs(received / given - 1) <= 1e-5, std::string(s_.name) + ", sum of received");
}

// Seconds of one call, from as many as make a sample long enough for the clock.
Trial timed(Case* subject, Variant variant, Threads* threads, double seconds_of_call) {
  constexpr double kSample = 0.01;
  auto calls = static_cast<std::int64_t>(std::ceil(kSample / std::max(seconds_of_call, 1e-8)));
  calls = (calls + subject->copies() - 1) / subject->copies() * subject->copies();
  return [=] {
    const double seconds = seconds_of([&] {
      for (std::int64_t n = 0; n < calls; ++n) subject->run(variant, *threads);
    });
    return seconds / static_cast<double>(calls);
  };
}

double largest(const std::vector<double>& values) {
  return *std::max_element(values.begin(), values.end());
}

}  // namespace

const char* name_of(Variant variant) {
  switch (variant) {
    case kPlain: return "plain";
    case kTopEntropy: return "top8_entropy";
    case kReceived: return "received";
    case kBackward: return "backward";
    default: return "top8_entropy_received";
  }
}

bool has(const Situation& s, Variant variant) { return variant != kBackward || s.N > 1; }

Measured measure(const Situation& s, DataType type, Threads& threads, const ReadMemory* memory,
                 int streams, double seconds) {
  Measured result;
  if (s.rotated && memory != nullptr) {
    const auto bytes = key_value_elements(s) * static_cast<std::int64_t>(size_of(type));
    result.copies = std::max<std::int64_t>(1, (memory->bytes() + bytes - 1) / bytes);
  }
  Case subject(s, type, result.copies);
  try {
    subject.run(kPlain, threads);
  } catch (const Error& error) {
    if (type == DataType::kFloat32) throw;
    result.refused = error.what();
    return result;
  }
  std::vector<Trial> trials;
  for (int v = 0; v < kVariants; ++v) {
    const auto variant = static_cast<Variant>(v);
    if (!has(s, variant)) continue;  // the last of them
    subject.run(variant, threads);
    subject.check(variant);
    const double once = seconds_of([&] { subject.run(variant, threads); });
    trials.push_back(timed(&subject, variant, &threads, once));
  }
  const bool own_peak = peak_gflops(type, threads) > 0;
  const DataType peak_type = own_peak ? type : DataType::kFloat32;
  result.peak_type = peak_type;
  const std::size_t peak = trials.size();
  trials.emplace_back([&] { return peak_gflops(peak_type, threads); });
  const std::size_t read = trials.size();
  if (s.rotated && memory != nullptr) {
    trials.emplace_back([&] { return memory->gigabytes_per_second(threads, streams); });
  }
  const Situation* neighbour = s.neighbour == nullptr ? nullptr : situation_of(s.neighbour);
  std::optional<Case> other;
  if (neighbour != nullptr) {
    other.emplace(*neighbour, type, 1);
    other->run(kPlain, threads);
    const double once = seconds_of([&] { other->run(kPlain, threads); });
    trials.push_back(timed(&*other, kPlain, &threads, once));
  }

  const auto figures = in_turn(trials, kPlain, seconds);
  result.rounds = figures[kPlain].size();
  result.peak = largest(figures[peak]);
  if (s.rotated && memory != nullptr) result.read = largest(figures[read]);
  for (std::size_t v = 0; v < peak; ++v) {
    result.seconds[v] = spread_of(figures[v]);
    result.ratio[v] = spread_of(ratios(figures[v], figures[kPlain]));
  }
  if (neighbour != nullptr) {
    std::vector<double> ratio = ratios(figures.back(), figures[kPlain]);
    for (double& r : ratio) r *= operations(s) / operations(*neighbour);
    result.neighbour_ratio = spread_of(ratio);
  }
  return result;
}

}  // namespace fovea::measure
