// The words that WordPiece cuts into pieces: BERT's "basic" tokenizer, as the tokenizers package has
// it (its BertNormalizer, then its BertPreTokenizer).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fovea {

struct BasicRules {
  bool lower_case = true;
  bool strip_accents = true;
  bool chinese_alone = true;  // a Chinese character is a word
};

struct BasicWord {
  std::u32string text;               // normalised; never empty
  std::vector<std::int32_t> places;  // of each character: the code point it came from
};

// `first` is the place of the first code point.
std::vector<BasicWord> basic_words(std::u32string_view text, const BasicRules& rules,
                                   std::int32_t first = 0);

}  // namespace fovea
