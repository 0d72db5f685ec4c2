#include "models/rows.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "fovea/isa.h"
#include "models/rows_isa.h"

namespace fovea {
namespace {

constexpr std::size_t kBlock = 256;  // values summed in float before they join a double
constexpr std::size_t kScan = 64;    // values passed over at once when none is large enough

const rows::Loops& loops() {
  switch (current_isa()) {
    case Isa::kAmxBf16:
    case Isa::kAvx512Bf16:
    case Isa::kAvx512: return rows::loops_avx512();
    case Isa::kAvx2: return rows::loops_avx2();
    default: return rows::loops_scalar();  // NEON has none of its own
  }
}

}  // namespace

void add_norm(float* x, const float* delta, std::int64_t rows, const Norm& norm) {
  const rows::Loops& own = loops();
  const std::size_t width = norm.weight.size();
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::size_t at = static_cast<std::size_t>(row) * width;
    own.norm_row(x + at, delta + at, width, norm.weight.data(), norm.bias.data(), norm.epsilon);
  }
}

void activate(Activation activation, std::span<float> values) {
  switch (activation) {
    case Activation::kRelu:
      for (float& x : values) x = x < 0.0f ? 0.0f : x;  // keeps NaN
      return;
    case Activation::kGelu:
      for (float& x : values)
        x = 0.5f * x * (1.0f + std::erf(x * (1 / std::numbers::sqrt2_v<float>)));
      return;
    case Activation::kGeluTanh: return loops().gelu_tanh(values.data(), values.size());
    case Activation::kSwish: return loops().swish(values.data(), values.size());
  }
}

void LogSum::add(std::span<const float> values) {
  const rows::Loops& own = loops();
  const float before = most;
  most = std::max(most, own.largest(values.data(), values.size()));
  if (most == -std::numeric_limits<float>::infinity()) {  // all -inf, or NaN
    for (const float x : values) {
      if (x != x) sum = x;
    }
    return;
  }
  if (sum != 0) sum *= std::exp(static_cast<double>(before) - most);
  for (std::size_t at = 0; at < values.size(); at += kBlock) {
    sum += own.exp_sum(values.data() + at, std::min(kBlock, values.size() - at), most);
  }
}

void LogSum::join(const LogSum& other) {
  if (other.most == -std::numeric_limits<float>::infinity()) {
    if (other.sum != other.sum) sum = other.sum;
    return;
  }
  const float before = most;
  most = std::max(most, other.most);
  if (sum != 0) sum *= std::exp(static_cast<double>(before) - most);
  sum += other.sum * std::exp(static_cast<double>(other.most) - most);
}

double LogSum::value() const { return std::log(sum) + most; }

void Best::add(std::span<const float> values, std::int32_t first) {
  const rows::Loops& own = loops();
  for (std::size_t at = 0; at < values.size(); at += kScan) {
    const std::size_t end = std::min(at + kScan, values.size());
    float bar =
        items_.size() < keep_ ? -std::numeric_limits<float>::infinity() : items_.back().value;
    if (!(own.largest(values.data() + at, end - at) > bar)) continue;
    for (std::size_t i = at; i < end; ++i) {
      if (!(values[i] > bar)) continue;
      auto place = items_.end();
      while (place != items_.begin() && (place - 1)->value < values[i]) --place;
      items_.insert(place, {values[i], first + static_cast<std::int32_t>(i)});
      if (items_.size() > keep_) items_.pop_back();
      if (items_.size() == keep_) bar = items_.back().value;
    }
  }
}

}  // namespace fovea
