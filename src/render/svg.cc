// Two lines of text, the translation above its source, and a curve for every weight shown. Widths
// of words are estimated and then set with textLength, so that words and links meet whatever font
// the viewer has.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "fovea/render.h"
#include "fovea/text.h"
#include "render/shown.h"

namespace fovea {
namespace {

constexpr double kSize = 22;  // font size
constexpr double kMargin = 24;
constexpr double kGap = 150;   // between the two lines of text
constexpr double kBox = 34;    // height of a word's background
constexpr double kSpace = 14;  // between words
constexpr double kShare = 0.85;
constexpr int kMost = 3;

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char32_t c : code_points(text)) {
    switch (c) {
      case U'&': out += "&amp;"; break;
      case U'<': out += "&lt;"; break;
      case U'>': out += "&gt;"; break;
      case U'"': out += "&quot;"; break;
      default:
        // What XML 1.0 does not allow at all becomes U+FFFD.
        out += to_utf8(std::u32string(
            1, (c < 0x20 && c != U'\t') || c == 0xFFFE || c == 0xFFFF ? U'\uFFFD' : c));
    }
  }
  return out;
}

// Widths of a common sans-serif, in units of its size.
double estimated_width(const std::string& text) {
  double width = 0;
  for (const char32_t c : code_points(text)) {
    const int cells = columns(to_utf8(std::u32string(1, c)));
    if (cells == 2) {
      width += 1.0;
    } else if (std::u32string_view(U"iljtfrI.,;:!'|()[]").find(c) != std::u32string_view::npos) {
      width += 0.32;
    } else if (std::u32string_view(U"mwMW@%").find(c) != std::u32string_view::npos) {
      width += 0.86;
    } else if (c >= U'A' && c <= U'Z') {
      width += 0.68;
    } else {
      width += 0.56 * cells;
    }
  }
  return kSize * 1.06 * std::max(width, 0.3);
}

std::string hex_of(const Rgb& color) {
  char text[8];
  std::snprintf(text, sizeof text, "#%02x%02x%02x", color.red & 255, color.green & 255,
                color.blue & 255);
  return text;
}

// One line of words, laid out from x = 0.
struct Row {
  std::vector<double> left, width;
  double total = 0;

  explicit Row(const std::vector<Word>& words) {
    for (const Word& word : words) {
      left.push_back(total);
      width.push_back(estimated_width(word.text));
      total += width.back() + kSpace;
    }
    if (total > 0) total -= kSpace;
  }
  double middle(std::size_t w) const { return left[w] + width[w] / 2; }
};

std::string word_at(const std::string& text, double x, double y, double width, double weight) {
  std::string out;
  if (weight > 0) {
    out += "<rect x=\"" + number(x - 5) + "\" y=\"" + number(y - kSize - 2) + "\" width=\"" +
           number(width + 10) + "\" height=\"" + number(kBox) + "\" rx=\"5\" fill=\"" +
           hex_of(tint(weight)) + "\"/>\n";
  }
  // In the middle: a viewer that does not know textLength then differs to both sides alike.
  return out + "<text x=\"" + number(x + width / 2) + "\" y=\"" + number(y) + "\" textLength=\"" +
         number(width) + "\" lengthAdjust=\"spacingAndGlyphs\">" + escaped(text) + "</text>\n";
}

std::string curve(double x0, double y0, double x1, double y1, double weight,
                  const std::string& title) {
  const double bend = (y1 - y0) / 2;
  return "<path d=\"M" + number(x0) + ' ' + number(y0) + 'C' + number(x0) + ' ' +
         number(y0 + bend) + ' ' + number(x1) + ' ' + number(y1 - bend) + ' ' + number(x1) + ' ' +
         number(y1) + "\" stroke-width=\"" + number(0.8 + 3.2 * weight) + "\" stroke-opacity=\"" +
         number(0.25 + 0.65 * weight) + "\"><title>" + escaped(title) + "</title></path>\n";
}

}  // namespace

std::string svg_of(const Translation& translation) {
  const Row target(translation.target_words);
  const Row source(translation.source_words);
  const std::string caption = name_of(translation.reading) + "; shown " +
                              percent(shown_mass(translation, kShare, kMost)) + " of the weight";
  const double caption_width = 13 * 0.52 * static_cast<double>(caption.size());
  const double width = std::max({target.total, source.total, caption_width}) + 2 * kMargin;
  const double target_x = (width - target.total) / 2;
  const double source_x = (width - source.total) / 2;
  const double target_y = kMargin + kSize;
  const double source_y = target_y + kGap;
  const double height = source_y + 62;
  std::vector<double> strongest(translation.source_words.size());
  std::string links, above;
  for (std::size_t t = 0; t < translation.target_words.size(); ++t) {
    double best = 0;
    for (const ShownWord& word : shown_words(translation, t, kShare, kMost)) {
      best = std::max(best, word.weight);
      strongest[word.word] = std::max(strongest[word.word], word.weight);
      links += curve(target_x + target.middle(t), target_y + kBox - kSize - 2,
                     source_x + source.middle(word.word), source_y - kSize - 2, word.weight,
                     translation.target_words[t].text + " - " +
                         translation.source_words[word.word].text + ' ' + percent(word.weight));
    }
    above += word_at(translation.target_words[t].text, target_x + target.left[t], target_y,
                     target.width[t], best);
  }
  std::string below;
  for (std::size_t s = 0; s < translation.source_words.size(); ++s) {
    below += word_at(translation.source_words[s].text, source_x + source.left[s], source_y,
                     source.width[s], strongest[s]);
  }
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + number(width) + "\" height=\"" +
         number(height) + "\" viewBox=\"0 0 " + number(width) + ' ' + number(height) +
         "\" role=\"img\">\n<title>" +
         escaped(translation.hypotheses.empty() ? "" : translation.hypotheses[0].text) +
         "</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
         "<g fill=\"none\" stroke=\"#c25700\" stroke-linecap=\"round\">\n" +
         links +
         "</g>\n<g font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" font-size=\"" +
         number(kSize) + "\" text-anchor=\"middle\" fill=\"#1a1a1a\">\n" + above + below +
         "</g>\n<text x=\"" + number(width / 2) + "\" y=\"" + number(height - 14) +
         "\" text-anchor=\"middle\" font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" "
         "font-size=\"13\" fill=\"#5a5a5a\">" +
         escaped(caption) + "</text>\n</svg>\n";
}

}  // namespace fovea
