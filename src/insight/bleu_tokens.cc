// The tokenisation of mteval-v13a as sacreBLEU has it: five replacements, each one pass from left
// to right over what the one before it left. Passes that match two characters consume both, so a
// character that one match took cannot start the next.
#include "insight/bleu_tokens.h"

#include "fovea/text.h"
#include "insight/lines.h"

namespace fovea {
namespace {

using Text = std::u32string;

bool digit(char32_t c) { return c >= U'0' && c <= U'9'; }
bool stop(char32_t c) { return c == U'.' || c == U','; }

// ASCII punctuation and space, except ' , - . (0x27, 0x2C, 0x2D, 0x2E)
bool separated(char32_t c) {
  return (c >= U'{' && c <= U'~') || (c >= U'[' && c <= U'`') || (c >= U' ' && c <= U'&') ||
         (c >= U'(' && c <= U'+') || (c >= U':' && c <= U'@') || c == U'/';
}

// One pass, so that a line of a million entities takes no longer than any other of its length.
Text replaced(const Text& text, std::u32string_view from, std::u32string_view to) {
  Text out;
  std::size_t begin = 0;
  for (std::size_t at = text.find(from); at != Text::npos; at = text.find(from, begin)) {
    out.append(text, begin, at - begin).append(to);
    begin = at + from.size();
  }
  return out.append(text, begin);
}

Text space_around_punctuation(const Text& text) {
  Text out;
  out.reserve(2 * text.size());
  for (const char32_t c : text) {
    if (separated(c)) {
      out += {U' ', c, U' '};
    } else {
      out += c;
    }
  }
  return out;
}

// Where `first(a)` and `second(b)` hold for neighbours a b, writes what `join` makes of them.
template <class First, class Second, class Join>
Text replace_pairs(const Text& text, First first, Second second, Join join) {
  Text out;
  out.reserve(text.size() + text.size() / 4);
  std::size_t at = 0;
  while (at < text.size()) {
    if (at + 1 < text.size() && first(text[at]) && second(text[at + 1])) {
      join(out, text[at], text[at + 1]);
      at += 2;
    } else {
      out += text[at++];
    }
  }
  return out;
}

Text tokens_13a(std::u32string_view line) {
  Text text(line);
  text = replaced(text, U"<skipped>", U"");
  text = replaced(text, U"-\n", U"");
  text = replaced(text, U"\n", U" ");
  text = replaced(text, U"&quot;", U"\"");
  text = replaced(text, U"&amp;", U"&");
  text = replaced(text, U"&lt;", U"<");
  text = replaced(text, U"&gt;", U">");
  text = space_around_punctuation(U' ' + text + U' ');
  const auto no_digit = [](char32_t c) { return !digit(c); };
  text = replace_pairs(text, no_digit, stop, [](Text& out, char32_t a, char32_t b) {
    out += {a, U' ', b, U' '};
  });
  text = replace_pairs(text, stop, no_digit, [](Text& out, char32_t a, char32_t b) {
    out += {U' ', a, U' ', b};
  });
  return replace_pairs(
      text, digit, [](char32_t c) { return c == U'-'; },
      [](Text& out, char32_t a, char32_t b) {
        out += {a, U' ', b, U' '};
      });
}

}  // namespace

std::u32string separate_tokens(std::u32string_view line, BleuTokens tokens) {
  while (!line.empty() && is_space(line.back())) line.remove_suffix(1);
  if (tokens == BleuTokens::k13a) return tokens_13a(line);
  if (tokens == BleuTokens::kNone) return Text(line);
  Text out;
  for (const char32_t c : line) out += {c, U' '};
  return out;
}

std::string bleu_tokens(const std::string& line, BleuTokens tokens) {
  const Text text = separate_tokens(read_line(line, false, "bleu", 0), tokens);
  std::string out;
  for (const std::u32string_view token : split(text)) {
    if (!out.empty()) out += ' ';
    out += to_utf8(token);
  }
  return out;
}

}  // namespace fovea
