#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <unordered_map>
#include <vector>

#include "fovea/metrics.h"
#include "insight/bleu_tokens.h"
#include "insight/lines.h"

namespace fovea {
namespace {

constexpr std::size_t kOrders = 4;

using Gram = std::array<int, kOrders>;  // token numbers, -1 past the n-gram's end
using Counted = std::vector<std::pair<Gram, std::int64_t>>;  // sorted by Gram

std::size_t order_of(const Gram& gram) {
  std::size_t n = 1;
  while (n < kOrders && gram[n] >= 0) ++n;
  return n;
}

Counted count_grams(const std::vector<int>& tokens) {
  std::vector<Gram> grams;
  grams.reserve(kOrders * tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    Gram gram{-1, -1, -1, -1};
    for (std::size_t n = 0; n < kOrders && i + n < tokens.size(); ++n) {
      gram[n] = tokens[i + n];
      grams.push_back(gram);
    }
  }
  std::sort(grams.begin(), grams.end());
  Counted counted;
  for (const Gram& gram : grams) {
    if (counted.empty() || counted.back().first != gram) counted.emplace_back(gram, 0);
    ++counted.back().second;
  }
  return counted;
}

// For every n-gram of either the larger count: what the references allow together.
Counted larger_of(const Counted& a, const Counted& b) {
  Counted both;
  both.reserve(a.size() + b.size());
  std::size_t i = 0, j = 0;
  while (i < a.size() || j < b.size()) {
    if (j == b.size() || (i < a.size() && a[i].first < b[j].first)) {
      both.push_back(a[i++]);
    } else if (i == a.size() || b[j].first < a[i].first) {
      both.push_back(b[j++]);
    } else {
      both.emplace_back(a[i].first, std::max(a[i].second, b[j].second));
      ++i, ++j;
    }
  }
  return both;
}

// Tokens of one line and of its references as small numbers.
class Numbering {
 public:
  std::vector<int> operator()(const std::u32string& text) {
    std::vector<int> tokens;
    for (const std::u32string_view token : split(text)) {
      const int next = static_cast<int>(numbers_.size());
      tokens.push_back(numbers_.try_emplace(std::u32string(token), next).first->second);
    }
    return tokens;
  }

 private:
  std::unordered_map<std::u32string, int> numbers_;
};

std::int64_t closest_length(std::int64_t length, const std::vector<std::int64_t>& references) {
  return *std::min_element(references.begin(), references.end(),
                           [&](std::int64_t a, std::int64_t b) {
                             const std::int64_t da = std::abs(a - length);
                             const std::int64_t db = std::abs(b - length);
                             return da != db ? da < db : a < b;
                           });
}

std::string signature(const BleuOptions& options, int references) {
  static constexpr const char* kTokens[] = {"13a", "none", "char"};
  static constexpr const char* kSmoothing[] = {"exp", "floor", "add-k", "none"};
  std::string smooth = kSmoothing[static_cast<int>(options.smoothing)];
  if (options.smoothing == BleuSmoothing::kFloor || options.smoothing == BleuSmoothing::kAddK) {
    char value[64];
    std::snprintf(
        value, sizeof value, "[%.2f]",
        options.smooth_value.value_or(options.smoothing == BleuSmoothing::kFloor ? 0.1 : 1.0));
    smooth += value;
  }
  return "nrefs:" + std::to_string(references) + "|case:" + (options.lowercase ? "lc" : "mixed") +
         "|eff:" + (options.effective_order ? "yes" : "no") +
         "|tok:" + kTokens[static_cast<int>(options.tokens)] + "|smooth:" + smooth +
         "|version:" + kMetricVersion;
}

}  // namespace

BleuCounts& BleuCounts::operator+=(const BleuCounts& other) {
  for (std::size_t n = 0; n < kOrders; ++n) {
    matched[n] += other.matched[n];
    total[n] += other.total[n];
  }
  hypothesis_length += other.hypothesis_length;
  reference_length += other.reference_length;
  return *this;
}

std::vector<BleuCounts> bleu_counts(Lines hypotheses, ReferenceSets references,
                                    const BleuOptions& options) {
  check_lines("bleu", hypotheses, references);
  std::vector<BleuCounts> result(hypotheses.size());
  for (std::size_t line = 0; line < hypotheses.size(); ++line) {
    Numbering numbering;
    const auto tokens_of = [&](const std::string& text, const char* what) {
      return numbering(
          separate_tokens(read_line(text, options.lowercase, what, line), options.tokens));
    };
    const std::vector<int> tokens = tokens_of(hypotheses[line], "hypotheses");
    Counted allowed;
    std::vector<std::int64_t> lengths;
    for (const std::vector<std::string>& set : references) {
      const std::vector<int> reference = tokens_of(set[line], "references");
      lengths.push_back(static_cast<std::int64_t>(reference.size()));
      allowed = larger_of(allowed, count_grams(reference));
    }
    BleuCounts& counts = result[line];
    counts.hypothesis_length = static_cast<std::int64_t>(tokens.size());
    counts.reference_length = closest_length(counts.hypothesis_length, lengths);
    for (const auto& [gram, count] : count_grams(tokens)) {
      const std::size_t n = order_of(gram) - 1;
      counts.total[n] += count;
      const auto found = std::lower_bound(
          allowed.begin(), allowed.end(), gram,
          [](const auto& entry, const Gram& wanted) { return entry.first < wanted; });
      if (found != allowed.end() && found->first == gram) {
        counts.matched[n] += std::min(count, found->second);
      }
    }
  }
  return result;
}

BleuScore bleu_of(const BleuCounts& counts, const BleuOptions& options, int references) {
  BleuScore result;
  result.counts = counts;
  result.signature = signature(options, references);
  const auto hypothesis = static_cast<double>(counts.hypothesis_length);
  const auto reference = static_cast<double>(counts.reference_length);
  if (hypothesis < reference) {
    result.brevity_penalty = hypothesis > 0 ? std::exp(1 - reference / hypothesis) : 0;
  }
  if (std::all_of(counts.matched.begin(), counts.matched.end(), [](auto n) { return n == 0; })) {
    return result;  // nothing matched: 0 under every smoothing
  }
  const double value =
      options.smooth_value.value_or(options.smoothing == BleuSmoothing::kFloor ? 0.1 : 1.0);
  double halved = 1;
  std::size_t orders = kOrders;
  for (std::size_t n = 0; n < kOrders; ++n) {
    auto matched = static_cast<double>(counts.matched[n]);
    auto total = static_cast<double>(counts.total[n]);
    if (options.smoothing == BleuSmoothing::kAddK && n > 0) {
      matched += value;
      total += value;
    }
    if (total == 0) break;
    if (options.effective_order) orders = n + 1;
    if (matched > 0) {
      result.precisions[n] = 100 * matched / total;
    } else if (options.smoothing == BleuSmoothing::kExp) {
      halved *= 2;
      result.precisions[n] = 100 / (halved * total);
    } else if (options.smoothing == BleuSmoothing::kFloor) {
      result.precisions[n] = 100 * value / total;
    }
  }
  double sum = 0;
  for (std::size_t n = 0; n < orders; ++n) {
    const double p = result.precisions[n];
    sum += p > 0 ? std::log(p) : -9999999999.0;  // sacreBLEU's stand-in for log 0
  }
  result.score = result.brevity_penalty * std::exp(sum / static_cast<double>(orders));
  return result;
}

BleuScore bleu(Lines hypotheses, ReferenceSets references, const BleuOptions& options) {
  BleuCounts sum;
  for (const BleuCounts& line : bleu_counts(hypotheses, references, options)) sum += line;
  return bleu_of(sum, options, static_cast<int>(references.size()));
}

}  // namespace fovea
