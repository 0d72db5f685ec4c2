#include "app/attend_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <functional>
#include <numeric>

namespace fovea {
namespace {

// Lines of each highlight that a summary shows.
constexpr std::int64_t kMaxLines = 24;
// Numbers on one line of a summary.
constexpr std::int64_t kMaxAcross = 16;

std::string padded(const std::string& text, std::size_t width) {
  return std::string(width > text.size() ? width - text.size() : 0, ' ') + text;
}

// "batch 0, head 1, ": what of it q's rank has.
std::string head_text(const AttendArrays& arrays, std::int64_t b, std::int64_t h) {
  std::string text;
  if (arrays.rank >= 4) text += "batch " + std::to_string(b) + ", ";
  if (arrays.rank >= 3) text += "head " + std::to_string(h) + ", ";
  return text;
}

std::string fixed(double value, const char* format) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

// Lines of a summary: the first kMaxLines of `count` in each of the heads, all heads together.
std::string lines(const AttendArrays& arrays, std::int64_t count, const char* what,
                  const std::function<std::string(std::int64_t head, std::int64_t i)>& line) {
  const AttendSizes& s = arrays.sizes;
  const std::int64_t total = s.B * s.H * count;
  std::string text;
  for (std::int64_t n = 0; n < std::min(total, kMaxLines); ++n) {
    const std::int64_t head = n / count;
    text += "  " + head_text(arrays, head / s.H, head % s.H) + line(head, n % count) + "\n";
  }
  if (total > kMaxLines) {
    text += "  ... " + std::to_string(total - kMaxLines) + " more " + what +
            ": --highlights FILE.json has them all\n";
  }
  return text;
}

// The first of `count` numbers, and how many follow.
std::string across(const float* values, std::int64_t count) {
  std::string text;
  for (std::int64_t i = 0; i < std::min(count, kMaxAcross); ++i) {
    text += "  " + fixed(static_cast<double>(values[i]), "%.6f");
  }
  if (count > kMaxAcross) text += "  ... " + std::to_string(count - kMaxAcross) + " more";
  return text;
}

std::string top_text(const AttendArrays& arrays, const AttendResult& result) {
  const std::int64_t N = arrays.sizes.N;
  const std::int64_t K = result.top;
  return "top " + std::to_string(K) + " of each query's keys, and their weights\n" +
         lines(arrays, N, "queries", [&](std::int64_t head, std::int64_t i) {
           std::string text = "query " + std::to_string(i) + ":";
           std::int64_t kept = 0;
           for (; kept < K; ++kept) {
             const auto at = static_cast<std::size_t>((head * N + i) * K + kept);
             if (result.top_index[at] < 0) break;
             if (kept == kMaxAcross) return text + "  ...";
             text += "  key " + std::to_string(result.top_index[at]) + " " +
                     fixed(static_cast<double>(result.top_weight[at]), "%.6f");
           }
           return kept == 0 ? text + "  sees no key" : text;
         });
}

std::string received_text(const AttendArrays& arrays, const AttendResult& result) {
  const std::int64_t M = arrays.sizes.M;
  return "received: what each key got from all queries together\n" +
         lines(arrays, M, "keys", [&](std::int64_t head, std::int64_t j) {
           const auto at = static_cast<std::size_t>(head * M + j);
           return "key " + std::to_string(j) + ":  " +
                  fixed(static_cast<double>(result.received[at]), "%.6f");
         });
}

std::string entropy_text(const AttendArrays& arrays, const AttendResult& result) {
  const std::int64_t N = arrays.sizes.N;
  return "entropy in nats, and exp(entropy): among how many keys the query spread itself\n" +
         lines(arrays, N, "queries", [&](std::int64_t head, std::int64_t i) {
           const auto at = static_cast<std::size_t>(head * N + i);
           if (result.lse[at] == -INFINITY) return "query " + std::to_string(i) + ":  sees no key";
           const auto entropy = static_cast<double>(result.entropy[at]);
           return "query " + std::to_string(i) + ":  " + fixed(entropy, "%.6f") + "  (" +
                  fixed(std::exp(entropy), "%.3f") + " keys)";
         });
}

std::string rows_text(const AttendArrays& arrays, const AttendResult& result) {
  const std::int64_t M = arrays.sizes.M;
  const auto R = static_cast<std::int64_t>(result.row_queries.size());
  return "rows: the weights of a query on all keys\n" +
         lines(arrays, R, "rows", [&](std::int64_t head, std::int64_t r) {
           return "query " + std::to_string(result.row_queries[static_cast<std::size_t>(r)]) + ":" +
                  across(result.rows.data() + (head * R + r) * M, M);
         });
}

std::string json_number(float value) { return std::isfinite(value) ? number_text(value) : "null"; }
std::string json_number(std::int32_t value) { return std::to_string(value); }

// Nested lists of `shape`; the innermost stand on one line.
template <class T>
void append_json(std::string* text, const T* values, std::span<const std::int64_t> shape,
                 std::size_t indent) {
  const std::int64_t count = shape.front();
  const std::int64_t step =
      std::accumulate(shape.begin() + 1, shape.end(), std::int64_t{1}, std::multiplies<>());
  *text += '[';
  for (std::int64_t i = 0; i < count; ++i) {
    if (shape.size() == 1) {
      *text += (i > 0 ? ", " : "") + json_number(values[i]);
    } else {
      *text += (i > 0 ? ",\n" : "\n") + std::string(indent + 2, ' ');
      append_json(text, values + i * step, shape.subspan(1), indent + 2);
    }
  }
  *text += ']';
}

template <class T>
std::string json_array(const AttendArrays& arrays, const std::vector<T>& values,
                       std::vector<std::int64_t> last) {
  std::string text;
  append_json(&text, values.data(), ranked(arrays, std::move(last)), 4);
  return text;
}

const char* name_of(Causal causal) {
  switch (causal) {
    case Causal::kNone: return "none";
    case Causal::kBottomRight: return "bottom-right";
    case Causal::kTopLeft: return "top-left";
  }
  return "?";
}

}  // namespace

std::string number_text(float value) {
  if (std::isnan(value)) return "nan";  // without the sign that some NaN have
  std::array<char, 64> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

std::string out_text(const AttendArrays& arrays, const AttendResult& result) {
  const AttendSizes& s = arrays.sizes;
  std::vector<std::string> numbers;
  std::size_t width = 0;
  for (const float value : result.out) {
    numbers.push_back(number_text(value));
    width = std::max(width, numbers.back().size());
  }
  std::string text;
  auto number = numbers.begin();
  for (std::int64_t head = 0; head < s.B * s.H; ++head) {
    std::string name = head_text(arrays, head / s.H, head % s.H);
    if (!name.empty()) text += "# " + name.substr(0, name.size() - 2) + "\n";
    for (std::int64_t i = 0; i < s.N; ++i) {
      for (std::int64_t e = 0; e < s.E; ++e) text += (e > 0 ? " " : "") + padded(*number++, width);
      text += "\n";
    }
  }
  return text;
}

std::string highlights_text(const AttendArrays& arrays, const AttendResult& result) {
  std::string text;
  if (result.top > 0) text += top_text(arrays, result);
  if (!result.received.empty()) text += received_text(arrays, result);
  if (!result.entropy.empty()) text += entropy_text(arrays, result);
  if (!result.rows.empty()) text += rows_text(arrays, result);
  return text;
}

std::string highlights_json(const AttendArrays& arrays, const AttendRequest& request,
                            const AttendResult& result) {
  const AttendSizes& s = arrays.sizes;
  std::string text = "{\n  \"format\": \"fovea-attend\",\n  \"version\": 1,\n";
  text += "  \"batch\": " + std::to_string(s.B) + ",\n  \"heads\": " + std::to_string(s.H) +
          ",\n  \"queries\": " + std::to_string(s.N) + ",\n  \"keys\": " + std::to_string(s.M) +
          ",\n  \"rank\": " + std::to_string(arrays.rank) +
          ",\n  \"scale\": " + json_number(static_cast<float>(scale_of(request.options, s.D))) +
          ",\n  \"causal\": \"" + name_of(request.options.causal) + "\"";
  const auto add_window = [&](const char* name, const std::optional<std::int64_t>& keys) {
    if (keys) text += ",\n  \"" + std::string(name) + "\": " + std::to_string(*keys);
  };
  add_window("window_before", request.options.window_before);
  add_window("window_after", request.options.window_after);
  if (request.top > 0) {
    text += ",\n  \"top\": {\n    \"index\": " +
            json_array(arrays, result.top_index, {s.N, result.top}) +
            ",\n    \"weight\": " + json_array(arrays, result.top_weight, {s.N, result.top}) +
            "\n  }";
  }
  if (request.received) {
    text += ",\n  \"received\": " + json_array(arrays, result.received, {s.M});
  }
  if (request.entropy) text += ",\n  \"entropy\": " + json_array(arrays, result.entropy, {s.N});
  if (!request.rows.empty()) {
    const auto R = static_cast<std::int64_t>(result.row_queries.size());
    std::string queries;
    append_json(&queries, result.row_queries.data(), std::vector<std::int64_t>{R}, 4);
    text += ",\n  \"rows\": {\n    \"query\": " + queries +
            ",\n    \"weight\": " + json_array(arrays, result.rows, {R, s.M}) + "\n  }";
  }
  return text + "\n}\n";
}

}  // namespace fovea
