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

// "batch 0, head 1, ": what of it q's rank has; "sequence 0, head 1, " of packed arrays.
std::string head_text(const AttendArrays& arrays, std::int64_t b, std::int64_t h) {
  const bool packed = arrays.packed_queries() || arrays.packed_keys();
  std::string text;
  if (packed || arrays.rank >= 4) {
    text += (packed ? "sequence " : "batch ") + std::to_string(b) + ", ";
  }
  if (packed || arrays.rank >= 3) text += "head " + std::to_string(h) + ", ";
  return text;
}

std::string fixed(double value, const char* format) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

// The first lines of a summary, and how many `what` it leaves out.
class Summary {
 public:
  Summary(std::int64_t total, const char* what) : total_(total), what_(what) {}

  bool full() const { return shown_ == kMaxLines; }
  void add(const std::string& line) {
    text_ += "  " + line + "\n";
    ++shown_;
  }
  std::string text() const {
    if (total_ <= shown_) return text_;
    return text_ + "  ... " + std::to_string(total_ - shown_) + " more " + what_ +
           ": --highlights FILE.json has them all\n";
  }

 private:
  std::int64_t total_;
  const char* what_;
  std::int64_t shown_ = 0;
  std::string text_;
};

// A line for each query or key: line(i, at), where i counts in its sequence and `at` is its place.
std::string lines(const AttendArrays& arrays, const AttendPlaces& places, const char* what,
                  const std::function<std::string(std::int64_t i, std::int64_t at)>& line) {
  Summary summary(places.total(), what);
  for (std::int64_t b = 0; b < places.B; ++b) {
    for (std::int64_t h = 0; h < places.H; ++h) {
      for (std::int64_t i = 0; i < places.count(b); ++i) {
        if (summary.full()) return summary.text();
        summary.add(head_text(arrays, b, h) + line(i, places.at(b, h, i)));
      }
    }
  }
  return summary.text();
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
  const std::int64_t K = result.top;
  return "top " + std::to_string(K) + " of each query's keys, and their weights\n" +
         lines(arrays, query_places(arrays), "queries", [&](std::int64_t i, std::int64_t place) {
           std::string text = "query " + std::to_string(i) + ":";
           std::int64_t kept = 0;
           for (; kept < K; ++kept) {
             const auto at = static_cast<std::size_t>(place * K + kept);
             if (result.top_index[at] < 0) break;
             if (kept == kMaxAcross) return text + "  ...";
             text += "  key " + std::to_string(result.top_index[at]) + " " +
                     fixed(static_cast<double>(result.top_weight[at]), "%.6f");
           }
           return kept == 0 ? text + "  sees no key" : text;
         });
}

std::string received_text(const AttendArrays& arrays, const AttendResult& result) {
  return "received: what each key got from all queries together\n" +
         lines(arrays, key_places(arrays), "keys", [&](std::int64_t j, std::int64_t place) {
           const float received = result.received[static_cast<std::size_t>(place)];
           return "key " + std::to_string(j) + ":  " + fixed(static_cast<double>(received), "%.6f");
         });
}

std::string entropy_text(const AttendArrays& arrays, const AttendRequest& request,
                         const AttendResult& result) {
  // By the lse of all keys the entropy of a part is its share of a sum, no number of keys.
  const bool share = !request.from_lse.empty() &&
                     (request.options.key_begin.has_value() || request.options.key_end.has_value());
  return std::string("entropy in nats, ") +
         (share ? "these keys' share of it\n"
                : "and exp(entropy): among how many keys the query spread itself\n") +
         lines(arrays, query_places(arrays), "queries", [&](std::int64_t i, std::int64_t place) {
           const auto at = static_cast<std::size_t>(place);
           const std::string name = "query " + std::to_string(i) + ":  ";
           if (result.lse[at] == -INFINITY) return name + "sees no key";
           const auto entropy = static_cast<double>(result.entropy[at]);
           const std::string text = name + fixed(entropy, "%.6f");
           return share ? text : text + "  (" + fixed(std::exp(entropy), "%.3f") + " keys)";
         });
}

std::string rows_text(const AttendArrays& arrays, const AttendResult& result) {
  const std::int64_t M = arrays.sizes.M;
  const AttendPlaces queries = query_places(arrays);
  const auto R = static_cast<std::int64_t>(result.row_queries.size());
  Summary summary(R * queries.H * (queries.packed() ? 1 : queries.B), "rows");
  // Row r of head h of sequence b, whose query i counts in its sequence.
  const auto add = [&](std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t place) {
    if (summary.full()) return;
    summary.add(head_text(arrays, b, h) + "query " + std::to_string(i) + ":" +
                across(result.rows.data() + place * M, key_places(arrays).count(b)));
  };
  for (std::int64_t b = 0; b < queries.B; ++b) {
    for (std::int64_t h = 0; h < queries.H; ++h) {
      for (std::int64_t r = 0; r < R; ++r) {
        const std::int64_t query = result.row_queries[static_cast<std::size_t>(r)];
        if (!queries.packed()) {
          add(b, h, query, (b * queries.H + h) * R + r);
        } else if (query >= queries.first(b) && query < queries.first(b + 1)) {
          add(b, h, query - queries.first(b), r * queries.H + h);
        }
      }
    }
  }
  return "rows: the weights of a query on all keys\n" + summary.text();
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
std::string json_array(std::span<T> values, const std::vector<std::int64_t>& shape) {
  std::string text;
  append_json(&text, values.data(), shape, 4);
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
  const std::int64_t E = arrays.sizes.E;
  std::vector<std::string> numbers;
  std::size_t width = 0;
  for (const float value : result.out) {
    numbers.push_back(number_text(value));
    width = std::max(width, numbers.back().size());
  }
  std::string text;
  const AttendPlaces queries = query_places(arrays);
  for (std::int64_t b = 0; b < queries.B; ++b) {
    for (std::int64_t h = 0; h < queries.H; ++h) {
      const std::string name = head_text(arrays, b, h);
      if (!name.empty()) text += "# " + name.substr(0, name.size() - 2) + "\n";
      for (std::int64_t i = 0; i < queries.count(b); ++i) {
        for (std::int64_t e = 0; e < E; ++e) {
          const auto at = static_cast<std::size_t>(queries.at(b, h, i) * E + e);
          text += (e > 0 ? " " : "") + padded(numbers[at], width);
        }
        text += "\n";
      }
    }
  }
  return text;
}

std::string highlights_text(const AttendArrays& arrays, const AttendRequest& request,
                            const AttendResult& result) {
  std::string text;
  if (result.top > 0) text += top_text(arrays, result);
  if (!result.received.empty()) text += received_text(arrays, result);
  if (!result.entropy.empty()) text += entropy_text(arrays, request, result);
  if (!result.rows.empty()) text += rows_text(arrays, result);
  return text;
}

std::string highlights_json(const AttendArrays& arrays, const AttendRequest& request,
                            const AttendResult& result) {
  const AttendSizes& s = arrays.sizes;
  const Options& options = request.options;
  std::string text = "{\n  \"format\": \"fovea-attend\",\n  \"version\": 1";
  const auto add = [&](const char* name, const std::string& value) {
    text += ",\n  \"" + std::string(name) + "\": " + value;
  };
  const auto add_number = [&](const char* name, const std::optional<std::int64_t>& number) {
    if (number) add(name, std::to_string(*number));
  };
  const auto add_offsets = [&](const char* name, std::span<const std::int32_t> offsets) {
    if (offsets.empty()) return;
    add(name, json_array(offsets, {static_cast<std::int64_t>(offsets.size())}));
  };
  const auto add_pair = [&](const char* name, const char* first, const std::string& first_value,
                            const std::string& weight) {
    add(name, "{\n    \"" + std::string(first) + "\": " + first_value +
                  ",\n    \"weight\": " + weight + "\n  }");
  };
  add_number("batch", s.B);
  add_number("heads", s.H);
  add_number("queries", s.N);
  add_number("keys", s.M);
  add_number("rank", arrays.rank);
  if (request.type != DataType::kFloat32) {
    add("type", "\"" + std::string(fovea::name_of(request.type)) + "\"");
  }
  add("scale", json_number(static_cast<float>(scale_of(options, s.D))));
  add("causal", "\"" + std::string(name_of(options.causal)) + "\"");
  add_number("window_before", options.window_before);
  add_number("window_after", options.window_after);
  add_number("key_begin", options.key_begin);
  add_number("key_end", options.key_end);
  if (const View& slopes = arrays.inputs.alibi_slopes; slopes.given()) {
    add("alibi_slopes", json_array(std::span(arrays.slopes), {slopes.size(0), s.H}));
  }
  add_offsets("query_offsets", arrays.inputs.query_offsets);
  add_offsets("key_offsets", arrays.inputs.key_offsets);
  if (request.top > 0) {
    const auto shape = shape_of_queries(arrays, {result.top});
    add_pair("top", "index", json_array(std::span(result.top_index), shape),
             json_array(std::span(result.top_weight), shape));
  }
  if (request.received) {
    add("received", json_array(std::span(result.received), shape_of_keys(arrays)));
  }
  if (request.entropy) {
    add("entropy", json_array(std::span(result.entropy), shape_of_queries(arrays)));
  }
  if (!request.rows.empty()) {
    const auto R = static_cast<std::int64_t>(result.row_queries.size());
    add_pair("rows", "query", json_array(std::span(result.row_queries), {R}),
             json_array(std::span(result.rows), shape_of_rows(arrays, R)));
  }
  return text + "\n}\n";
}

}  // namespace fovea
