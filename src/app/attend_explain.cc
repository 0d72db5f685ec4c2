#include "app/attend_explain.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>
#include <vector>

#include "app/attend_steps.h"
#include "fovea/error.h"
#include "fovea/isa.h"

namespace fovea {
namespace {

// `digits` significant ones, without an exponent from 1e-7 to 1e9, without zeros at the end.
std::string plain(double value, int digits) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  if (value == 0) return "0";
  std::array<char, 64> text{};
  const double size = std::abs(value);
  if (size < 1e-7 || size >= 1e9) {
    std::snprintf(text.data(), text.size(), "%.*e", digits - 1, value);
    return text.data();
  }
  const int decimals = std::max(0, digits - 1 - static_cast<int>(std::floor(std::log10(size))));
  std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  std::string result = text.data();
  if (result.find('.') != std::string::npos) {
    result.erase(result.find_last_not_of('0') + 1);
    if (result.back() == '.') result.pop_back();
  }
  return result;
}

// Few columns leave room for all the digits that a float has, and two more.
int digits_for(std::int64_t columns) { return columns <= 4 ? 9 : columns <= 8 ? 6 : 4; }

// Rows named `row` 0, 1, ...; columns `column` 0, 1, ...; numbers aligned at the point; "." is
// hidden.
std::string table(const AttendMatrix& matrix, const char* row, const char* column) {
  const auto across = static_cast<std::size_t>(matrix.columns);
  std::vector<std::string> cells;
  std::vector<std::size_t> left(across, 0);
  std::vector<std::size_t> right(across, 0);
  const auto whole = [](const std::string& cell) { return std::min(cell.find('.'), cell.size()); };
  for (std::int64_t r = 0; r < matrix.rows; ++r) {
    for (std::int64_t c = 0; c < matrix.columns; ++c) {
      const double value = matrix.at(r, c);
      cells.push_back(value == kHiddenScore ? "." : plain(value, digits_for(matrix.columns)));
      const std::size_t before = value == kHiddenScore ? 1 : whole(cells.back());
      const auto at = static_cast<std::size_t>(c);
      left[at] = std::max(left[at], before);
      right[at] = std::max(right[at], cells.back().size() - before);
    }
  }
  const std::string name(row);
  const std::size_t label =
      name.size() + 1 + std::to_string(std::max<std::int64_t>(matrix.rows - 1, 0)).size();
  std::string head = "   " + std::string(label, ' ');
  std::string body;
  for (std::size_t c = 0; c < across; ++c) {
    const std::string title = *column == '\0' ? "" : std::string(column) + " " + std::to_string(c);
    if (title.size() > left[c] + right[c]) left[c] = title.size() - right[c];
    head += "   " + title + std::string(left[c] + right[c] - title.size(), ' ');
  }
  for (std::int64_t r = 0; r < matrix.rows; ++r) {
    std::string line = name + " " + std::to_string(r);
    line = "   " + line + std::string(label - line.size(), ' ');
    for (std::size_t c = 0; c < across; ++c) {
      const std::string& cell = cells[static_cast<std::size_t>(r) * across + c];
      const std::size_t before = cell == "." ? 1 : whole(cell);
      line += "   " + std::string(left[c] - before, ' ') + cell +
              std::string(right[c] - (cell.size() - before), ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    body += line + "\n";
  }
  head.erase(head.find_last_not_of(' ') + 1);
  return (head.empty() ? "" : head + "\n") + body;
}

// "1 x 10 + 0 x 30", at most four terms written out.
std::string sum_text(const std::vector<std::pair<double, double>>& terms) {
  constexpr std::size_t kTerms = 4;
  const int digits = digits_for(static_cast<std::int64_t>(terms.size()));
  std::string text;
  for (std::size_t t = 0; t < std::min(terms.size(), kTerms); ++t) {
    text += (t > 0 ? " + " : "") + plain(terms[t].first, digits) + " x " +
            plain(terms[t].second, digits);
  }
  return text + (terms.size() > kTerms ? " + ..." : "");
}

// The first query that sees a key, and its favourite; -1 when none does.
std::pair<std::int64_t, std::int64_t> example_of(const AttendSteps& steps) {
  for (std::int64_t i = 0; i < steps.masked.rows; ++i) {
    std::int64_t best = -1;
    for (std::int64_t j = 0; j < steps.masked.columns; ++j) {
      if (steps.masked.at(i, j) == kHiddenScore) continue;
      if (best < 0 || steps.weights.at(i, j) > steps.weights.at(i, best)) best = j;
    }
    if (best >= 0) return {i, best};
  }
  return {-1, -1};
}

std::string scale_text(const AttendRequest& request, const AttendSizes& s) {
  const std::string value = plain(scale_of(request.options, s.D), 9);
  if (request.options.scale) return value + " (--scale)";
  return value + " = 1 / sqrt(" + std::to_string(s.D) +
         "), so that wider keys do not make larger scores";
}

std::string causal_text(Causal causal) {
  if (causal == Causal::kBottomRight)
    return "later keys (causal, aligned at the last query and key)";
  return "later keys (causal, aligned at the first query and key)";
}

std::string hidden_text(const AttendArrays& arrays, const Options& options) {
  std::string text;
  const auto add = [&](const std::string& reason) { text += (text.empty() ? "" : "; ") + reason; };
  if (options.causal != Causal::kNone) add(causal_text(options.causal));
  if (windowed(options)) add("keys outside the window around each query's place");
  if (in_parts(options)) {
    add("keys outside --keys " + (options.key_begin ? std::to_string(*options.key_begin) : "") +
        ":" + (options.key_end ? std::to_string(*options.key_end) : ""));
  }
  if (!arrays.key_lengths.empty()) add("keys past their sequence's length");
  if (!arrays.query_lengths.empty()) add("all keys, from queries past their sequence's length");
  if (arrays.inputs.mask.given()) add("what the mask says");
  if (arrays.inputs.bias.given()) add("where the bias is -infinity");
  return text;
}

std::string inputs_text(const AttendSteps& steps) {
  return "What goes in: each query asks, each key offers, each value is what a key brings.\n" +
         table(steps.q, "query", "") + "\n" + table(steps.k, "key", "") + "\n" +
         table(steps.v, "value", "");
}

std::string scores_text(const AttendArrays& arrays, const AttendRequest& request,
                        const AttendSteps& steps, double slope, int* number) {
  const auto [i, j] = example_of(steps);
  const auto next = [&] { return "\n" + std::to_string((*number)++) + ". "; };
  std::string text = next() +
                     "Scores: how well does a query match a key? The sum of the products of their "
                     "numbers, Q K^T.\n" +
                     table(steps.products, "query", "key");
  if (i >= 0) {
    std::vector<std::pair<double, double>> terms;
    for (std::int64_t d = 0; d < steps.q.columns; ++d) {
      terms.emplace_back(steps.q.at(i, d), steps.k.at(j, d));
    }
    text += "   For example query " + std::to_string(i) + ", key " + std::to_string(j) + ": " +
            sum_text(terms) + " = " + plain(steps.products.at(i, j), 9) + "\n";
  }
  text += next() + "Scaled scores: times " + scale_text(request, arrays.sizes) + ".\n" +
          table(steps.scaled, "query", "key");
  if (arrays.inputs.bias.given()) {
    text += next() + "Scores with the bias added.\n" + table(steps.biased, "query", "key");
  }
  if (arrays.inputs.alibi_slopes.given()) {
    text += next() + "Distances, which ALiBi takes from the scores: this head's slope, " +
            plain(slope, 9) + ", times how far the key is from the query's own place.\n" +
            table(steps.distance, "query", "key");
    text += next() + "Scores less the distances.\n" + table(steps.near, "query", "key");
  }
  if (hides(arrays, request.options)) {
    text += next() + "Masked scores: a point is hidden, a score of -infinity. Hidden are " +
            hidden_text(arrays, request.options) + ".\n" + table(steps.masked, "query", "key");
  }
  return text;
}

std::string weights_text(const AttendSteps& steps, int* number) {
  const auto [i, j] = example_of(steps);
  std::string text =
      "\n" + std::to_string((*number)++) +
      ". Weights: softmax makes each row positive with sum 1: exp(score) / the row's "
      "sum of exp(score).\n" +
      table(steps.weights, "query", "key");
  if (i >= 0) {
    double largest = kHiddenScore;
    double sum = 0;
    for (std::int64_t c = 0; c < steps.masked.columns; ++c) {
      largest = std::max(largest, steps.masked.at(i, c));
    }
    for (std::int64_t c = 0; c < steps.masked.columns; ++c) {
      sum += std::exp(steps.masked.at(i, c) - largest);
    }
    text += "   For example query " + std::to_string(i) + ", key " + std::to_string(j) + ": exp(" +
            plain(steps.masked.at(i, j), 9) + " - " + plain(largest, 9) + ") / " + plain(sum, 9) +
            " = " + plain(steps.weights.at(i, j), 9) +
            " (the row's largest score is taken off first: the same weights, and exp cannot "
            "overflow)\n";
  }
  return text;
}

std::string output_text(const AttendSteps& steps, int* number) {
  const std::int64_t i = example_of(steps).first;
  std::string text = "\n" + std::to_string((*number)++) +
                     ". Output: the values, each times its weight, added up.\n" +
                     table(steps.output, "query", "");
  if (i >= 0) {
    std::vector<std::pair<double, double>> terms;
    for (std::int64_t j = 0; j < steps.v.rows; ++j) {
      if (steps.masked.at(i, j) == kHiddenScore) continue;
      terms.emplace_back(steps.weights.at(i, j), steps.v.at(j, 0));
    }
    text += "   For example query " + std::to_string(i) + ", first number: " + sum_text(terms) +
            " = " + plain(steps.output.at(i, 0), 9) + "\n";
  }
  return text;
}

std::string mean_text(const AttendSteps& steps, int* number) {
  AttendMatrix moved = steps.output;
  for (std::size_t n = 0; n < moved.values.size(); ++n) moved.values[n] -= steps.mean.values[n];
  return "\n" + std::to_string((*number)++) +
         ". Beside it the plain mean, sum(v) / n over the values that the query may see, which "
         "looks nowhere.\n" +
         table(steps.mean, "query", "") +
         "   The output less the plain mean is what attention did:\n" + table(moved, "query", "");
}

// The largest |a - b| so far; infinite when one is not finite and the other is not the same.
void compare(double wanted, float found, double* worst) {
  const auto value = static_cast<double>(found);
  if ((std::isnan(wanted) && std::isnan(value)) || wanted == value) return;
  const double apart = std::abs(wanted - value);
  *worst = std::isfinite(apart) ? std::max(*worst, apart) : INFINITY;
}

struct Differences {
  double weight = 0;
  double output = 0;
};

// Of the engine's results, of all queries in order, from the steps for head h of sequence b.
Differences differences(const AttendArrays& arrays, const AttendSteps& steps, std::int64_t b,
                        std::int64_t h, const AttendResult& engine) {
  const AttendSizes& s = arrays.sizes;
  const AttendPlaces queries = query_places(arrays);
  Differences worst;
  for (std::int64_t i = 0; i < steps.weights.rows; ++i) {
    const std::int64_t at = queries.at(b, h, i);
    for (std::int64_t j = 0; j < steps.weights.columns; ++j) {
      compare(steps.weights.at(i, j), engine.rows[static_cast<std::size_t>(at * s.M + j)],
              &worst.weight);
    }
    for (std::int64_t e = 0; e < s.E; ++e) {
      compare(steps.output.at(i, e), engine.out[static_cast<std::size_t>(at * s.E + e)],
              &worst.output);
    }
  }
  return worst;
}

double largest_of(const AttendMatrix& matrix) {
  double largest = 0;
  for (const double value : matrix.values) {
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  }
  return largest;
}

// What float32 may cost. A score is a sum of D products, each good to 2^-24 of itself; an error x
// of the scores changes a weight by 2 x of itself at most.
struct Tolerance {
  double weight = 0;
  double output = 0;
};

Tolerance tolerance_of(const AttendSteps& steps, double scale, DataType type) {
  const auto width = static_cast<double>(steps.q.columns);
  const double terms = std::abs(scale) * width * largest_of(steps.q) * largest_of(steps.k);
  Tolerance result;
  if (!(terms < 1e38)) return {INFINITY, INFINITY};  // beyond float32: infinite scores there
  result.weight = 0x1p-22 * (4 + (width + 2) * terms + 2 * largest_of(steps.biased) +
                             2 * largest_of(steps.distance));
  // Of a bfloat16 call the weights that meet the values have 8 bits.
  const double rounding = type == DataType::kBFloat16 ? 0x1p-8 : 0x1p-20;
  result.output = (result.weight * static_cast<double>(steps.v.rows) + rounding) *
                  std::max(largest_of(steps.v), 1e-30);
  return result;
}

void check_size(const AttendSizes& s, bool packed) {
  const std::int64_t largest = std::max({s.N, s.M, s.D, s.E});
  if (largest <= kMaxExplained && s.B * s.H <= kMaxExplainedHeads) return;
  const std::string most = std::to_string(kMaxExplained);
  throw Error("attend: --explain shows every number, so it takes at most " + most +
              " queries, keys and features and " + std::to_string(kMaxExplainedHeads) +
              " heads; these have " + std::to_string(s.N) + " queries, " + std::to_string(s.M) +
              " keys, widths " + std::to_string(s.D) + " and " + std::to_string(s.E) + " and " +
              std::to_string(s.B * s.H) +
              " heads. Cut them, as in numpy.save('q_small.npy', q[..., :" + most + ", :" + most +
              "]), q[0] for one batch or head" +
              (packed ? "; packed, one sequence is q[F[b]:F[b + 1]] of offsets F" : ""));
}

}  // namespace

std::string explain_attend(const AttendArrays& arrays, const AttendRequest& request,
                           Threads& threads) {
  const AttendSizes& s = arrays.sizes;
  check_size(s, arrays.packed_queries() || arrays.packed_keys());
  const AttendPlaces queries = query_places(arrays);
  AttendRequest all_rows = request;
  all_rows.rows.clear();
  const std::int64_t count = queries.packed() ? s.T : s.N;
  for (std::int32_t i = 0; i < count; ++i) all_rows.rows.push_back(i);
  const AttendResult engine = run_attend(arrays, all_rows, threads);

  std::string text;
  Differences worst;
  for (std::int64_t head = 0; head < s.B * s.H; ++head) {
    const std::int64_t b = head / s.H;
    const std::int64_t h = head % s.H;
    const AttendSteps steps = work_out(arrays, request.options, b, h);
    if (s.B * s.H > 1) {
      const bool packed = arrays.packed_queries() || arrays.packed_keys();
      text += "==== " + std::string(packed ? "sequence " : "batch ") + std::to_string(b) +
              ", head " + std::to_string(h) + " (keys and values of key head " +
              std::to_string(h / (s.H / s.G)) + ")\n\n";
    }
    int number = 1;
    text += inputs_text(steps);
    text += scores_text(arrays, request, steps, slope_of(arrays, b, h), &number);
    text += weights_text(steps, &number);
    text += output_text(steps, &number);
    text += mean_text(steps, &number) + "\n";
    const Differences found = differences(arrays, steps, b, h, engine);
    const Tolerance allowed = tolerance_of(steps, scale_of(request.options, s.D), request.type);
    if (!(found.weight <= allowed.weight) || !(found.output <= allowed.output)) {
      throw Error("attend: these steps and the engine disagree by " + plain(found.weight, 3) +
                  " in a weight and " + plain(found.output, 3) +
                  " in the output; please report these arrays as a bug of fovea");
    }
    worst.weight = std::max(worst.weight, found.weight);
    worst.output = std::max(worst.output, found.output);
  }
  std::array<char, 64> weight{};
  std::array<char, 64> output{};
  std::snprintf(weight.data(), weight.size(), "%.1e", worst.weight);
  std::snprintf(output.data(), output.size(), "%.1e", worst.output);
  return text + "Checked: the engine (" + name_of(request.type) + ", " + name_of(current_isa()) +
         ") gives the same weights to within " + weight.data() + " and the same output to within " +
         output.data() +
         (request.type == DataType::kBFloat16 && multiplies_bfloat16(current_isa())
              ? ": it rounds weights to bfloat16 before they meet the values"
              : "") +
         ".\n";
}

}  // namespace fovea
