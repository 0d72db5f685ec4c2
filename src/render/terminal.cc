#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "fovea/render.h"
#include "fovea/text.h"
#include "render/shown.h"

namespace fovea {
namespace {

constexpr int kMostTargetColumns = 24;
constexpr double kMarked = 0.3;          // of the strongest word's weight
constexpr std::size_t kMostListed = 10;  // words of a labelled text
constexpr const char* kReset = "\x1b[0m";
constexpr const char* kDim = "\x1b[2m";

// Text that cannot move the cursor or change colours: control characters become a mark, white space
// a space.
std::string tame(const std::string& text) {
  std::u32string safe = code_points(text);
  for (char32_t& c : safe) {
    if (is_space(c)) {
      c = U' ';
    } else if (c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x202A && c <= 0x202E) ||
               (c >= 0x2066 && c <= 0x2069)) {
      c = U'\uFFFD';
    }
  }
  return to_utf8(safe);
}

std::string padding(int columns_missing) {
  return std::string(static_cast<std::size_t>(std::max(columns_missing, 0)), ' ');
}

// The nearest colour of the 6 x 6 x 6 cube that terminals of 256 colours have.
int cube_color(const Rgb& color) {
  const auto level = [](int value) { return value < 48 ? 0 : std::min((value - 35) / 40, 5); };
  return 16 + 36 * level(color.red) + 6 * level(color.green) + level(color.blue);
}

class Painter {
 public:
  explicit Painter(Colors colors) : colors_(colors) {}

  bool colored() const { return colors_ != Colors::kNone; }

  // Black on a tint of the weight's strength.
  std::string painted(const std::string& text, double weight) const {
    if (!colored()) return text;
    const Rgb color = tint(weight);
    std::string background;
    if (colors_ == Colors::kTrue) {
      background = "48;2;" + std::to_string(color.red) + ';' + std::to_string(color.green) + ';' +
                   std::to_string(color.blue);
    } else {
      background = "48;5;" + std::to_string(cube_color(color));
    }
    const std::string foreground = colors_ == Colors::kTrue ? "38;2;0;0;0" : "38;5;16";
    return "\x1b[" + foreground + ';' + background + 'm' + text + kReset;
  }

  std::string dim(const std::string& text) const { return colored() ? kDim + text + kReset : text; }

 private:
  Colors colors_;
};

// Words of the source as they are named beside a target word: with a number, where a word occurs
// again.
std::vector<std::string> names_of(const std::vector<Word>& words) {
  std::map<std::string, int> total, seen;
  std::vector<std::string> names;
  for (const Word& word : words) ++total[word.text];
  for (const Word& word : words) {
    std::string name = tame(word.text);
    if (total[word.text] > 1) name += '(' + std::to_string(++seen[word.text]) + ')';
    names.push_back(std::move(name));
  }
  return names;
}

std::string bar(double weight) {
  return std::string(static_cast<std::size_t>(std::clamp(std::lround(5 * weight), 1L, 5L)), '#');
}

// Pieces of text with their widths, put into lines of `width` columns with two spaces between.
class Flow {
 public:
  Flow(int indent, int width) : indent_(indent), width_(width), used_(indent) {}

  void add(const std::string& text, int text_columns) {
    if (!first_ && used_ + 2 + text_columns > width_) {
      out_ += '\n' + padding(indent_);
      used_ = indent_;
      first_ = true;
    }
    if (!first_) {
      out_ += "  ";
      used_ += 2;
    }
    out_ += text;
    used_ += text_columns;
    first_ = false;
  }
  const std::string& text() const { return out_; }

 private:
  std::string out_;
  int indent_, width_, used_;
  bool first_ = true;
};

// A text wrapped at its spaces.
std::string wrapped(const std::string& text, int width) {
  std::string out;
  int used = 0;
  for (const Word& word : words(text)) {
    const std::string safe = tame(word.text);
    const int size = columns(safe);
    if (used > 0 && used + 1 + size > width) {
      out += '\n';
      used = 0;
    }
    if (used > 0) out += ' ', ++used;
    out += safe;
    used += size;
  }
  return out + '\n';
}

struct Page {
  const Translation& translation;
  const TerminalStyle& style;
  Painter painter;
  std::vector<std::string> names;  // of the source words
  int target_columns = 0;

  int source_columns() const {
    int sum = 0;
    for (const Word& word : translation.source_words) sum += columns(tame(word.text)) + 1;
    return sum;
  }

  // The whole source with the words looked at tinted where they stand, then the weights.
  std::string in_place(const std::vector<ShownWord>& shown) const {
    std::string out;
    for (std::size_t w = 0; w < translation.source_words.size(); ++w) {
      const std::string text = tame(translation.source_words[w].text);
      const auto found =
          std::find_if(shown.begin(), shown.end(), [w](const ShownWord& s) { return s.word == w; });
      if (w > 0) out += ' ';
      out += found == shown.end() ? painter.dim(text) : painter.painted(text, found->weight);
    }
    out += ' ';
    for (const ShownWord& word : shown) {
      out += ' ' + names[word.word] + ' ' + percent(word.weight);
    }
    return out;
  }

  // Only the words looked at, strongest first.
  std::string listed(const std::vector<ShownWord>& shown) const {
    Flow flow(target_columns + 4, style.width);
    for (const ShownWord& word : shown) {
      const std::string& name = names[word.word];
      const std::string after = ' ' + percent(word.weight);
      if (painter.colored()) {
        flow.add(painter.painted(' ' + name + ' ', word.weight) + after,
                 columns(name) + 2 + columns(after));
      } else {
        const std::string mark = ' ' + bar(word.weight);
        flow.add(name + mark + after, columns(name) + columns(mark) + columns(after));
      }
    }
    return flow.text();
  }

  int weights_columns(const std::vector<ShownWord>& shown) const {
    int sum = 1;
    for (const ShownWord& word : shown) sum += columns(names[word.word]) + 6;
    return sum;
  }
};

double mean(const std::vector<double>& values) {
  if (values.empty()) return 0;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace

std::string terminal_of(const Translation& translation, const TerminalStyle& style) {
  Page page{translation, style, Painter(style.colors), names_of(translation.source_words), 0};
  std::string out = wrapped(translation.source, style.width);
  if (translation.hypotheses.empty()) return out;
  out += wrapped(translation.hypotheses[0].text, style.width);
  std::vector<std::vector<ShownWord>> shown;
  int widest = 0;
  for (std::size_t t = 0; t < translation.target_words.size(); ++t) {
    shown.push_back(shown_words(translation, t, style.shown, style.most));
    widest = std::max(widest, page.weights_columns(shown.back()));
    page.target_columns =
        std::max(page.target_columns, columns(tame(translation.target_words[t].text)));
  }
  if (shown.empty()) return out;
  page.target_columns = std::min(page.target_columns, kMostTargetColumns);
  const bool in_place = page.painter.colored() &&
                        page.target_columns + 4 + page.source_columns() + widest <= style.width;
  for (std::size_t t = 0; t < shown.size(); ++t) {
    const std::string word = tame(translation.target_words[t].text);
    out += "  " + padding(page.target_columns - columns(word)) + word + "  ";
    out += (in_place ? page.in_place(shown[t]) : page.listed(shown[t])) + '\n';
  }
  out += page.painter.dim("  " + name_of(translation.reading) + "; shown " +
                          percent(shown_mass(translation, style.shown, style.most)) +
                          " of the weight; punctuation " +
                          percent(mean(translation.punctuation_weight)) + ", end of sentence " +
                          percent(mean(translation.end_weight)));
  return out + '\n';
}

std::string terminal_of(const Classification& classification, const TerminalStyle& style) {
  const Painter painter(style.colors);
  if (classification.labels.empty()) return "(no words)\n";
  std::string out;
  for (const LabelShare& one : classification.labels) {
    out += (out.empty() ? "" : "  ") + tame(one.label) + ' ' + percent(one.probability);
  }
  out += '\n';
  // Tints are relative: of the strongest word's weight, which is small in a long text.
  const auto count = classification.words.size();
  double most = 0;
  for (const double weight : classification.weights) most = std::max(most, weight);
  int used = 0;
  for (std::size_t w = 0; w < count; ++w) {
    const std::string text = tame(classification.words[w].text);
    const double strength = most > 0 ? classification.weights[w] / most : 0;
    const bool marked = strength >= kMarked;
    const std::string shown = marked && !painter.colored() ? '*' + text + '*' : text;
    const int size = columns(shown);
    if (used > 0) {
      const bool wrap = used + 1 + size > style.width;
      out += wrap ? '\n' : ' ';
      used = wrap ? 0 : used + 1;
    }
    out += marked ? painter.painted(shown, strength) : shown;
    used += size;
  }
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return classification.weights[a] > classification.weights[b];
  });
  const std::vector<std::string> names = names_of(classification.words);
  out += "\n  looked at  ";
  Flow flow(13, style.width);
  double shown_weight = 0;
  for (std::size_t i = 0; i < std::min(count, kMostListed); ++i) {
    char numbers[32];
    std::snprintf(numbers, sizeof numbers, " %.1f%% %+.2f",
                  100 * classification.weights[order[i]], classification.evidence[order[i]]);
    flow.add(names[order[i]] + numbers,
             columns(names[order[i]]) + static_cast<int>(std::strlen(numbers)));
    shown_weight += classification.weights[order[i]];
  }
  out += flow.text() + '\n';
  out += painter.dim("  pooling attention of " + std::to_string(classification.pieces) +
                     " pieces, and what each word adds to the score of " +
                     tame(classification.labels[0].label) + "; shown " + percent(shown_weight) +
                     " of the weight, punctuation " + percent(classification.punctuation_weight));
  return out + '\n';
}

}  // namespace fovea
