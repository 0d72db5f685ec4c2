#include "app/aligner.h"

#include <string_view>

#include "fovea/text.h"

namespace fovea {
namespace {

bool one_of(char32_t c, std::u32string_view set) { return set.find(c) != set.npos; }

bool joins_left(const std::u32string& token) {
  return one_of(token.front(), U"'\u2019") ||
         (token.size() == 1 && one_of(token.front(), U".,)]\u2026")) || token == U"...";
}

bool joins_right(const std::u32string& token) {
  return (token.size() > 1 && one_of(token.back(), U"'\u2019")) ||
         (token.size() == 1 && one_of(token.front(), U"(["));
}

}  // namespace

WordText plain_text(const std::string& line) { return {line, words(line)}; }

WordText joined_text(const std::string& tokens) {
  WordText result;
  std::u32string text;
  bool open = true;  // nothing to stand apart from
  for (Word word : words(tokens)) {
    const std::u32string token = code_points(word.text);
    if (!open && !joins_left(token)) text += U' ';
    word.span.begin = static_cast<std::int32_t>(text.size());
    text += token;
    word.span.end = static_cast<std::int32_t>(text.size());
    word.core = word.span;  // a token's signs are tokens of their own
    open = joins_right(token);
    result.words.push_back(std::move(word));
  }
  result.text = to_utf8(text);
  return result;
}

std::vector<Link> align_words(const PieceAttention& pair, const WordText& source,
                              const WordText& target, const Reading& reading) {
  std::vector<Span> target_spans = pair.target.spans;
  target_spans.pop_back();  // the end of sentence has no row
  const WordAttention attention = word_attention(
      piece_shares(pair.attention, reading), owners_of(pair.source.spans, source.words),
      owners_of(target_spans, target.words), target.words.size());
  return links_of(attention, source.words, target.words);
}

std::vector<Reading> readings_of(const MarianInfo& info) {
  std::vector<Reading> readings;
  for (int layer = 0; layer < info.decoder_layers; ++layer) {
    for (int head = -1; head < info.decoder_heads; ++head) {
      for (const bool input : {true, false}) {
        for (const bool norm : {true, false}) readings.push_back({layer, head, input, norm});
      }
    }
  }
  return readings;
}

}  // namespace fovea
