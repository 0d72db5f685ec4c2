#include "text/basic_words.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>

#include <array>

#include "fovea/error.h"
#include "fovea/text.h"

namespace fovea {
namespace {

std::uint32_t category_of(char32_t c) { return U_GET_GC_MASK(static_cast<UChar32>(c)); }

bool is_white(char32_t c) { return u_isUWhiteSpace(static_cast<UChar32>(c)) != 0; }

// What never reaches a piece: controls, and of the white space among them only tab and line ends
// stay (form feed and U+0085 go, as the tokenizers package has it).
bool is_dropped(char32_t c) {
  if (c == U'\t' || c == U'\n' || c == U'\r') return false;
  return c == 0xFFFD || (category_of(c) & (U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK)) != 0;
}

// The blocks of ideographs that BERT's authors chose: Japanese and Korean letters are not among them.
bool is_chinese(char32_t c) {
  struct Block {
    char32_t first, last;
  };
  static constexpr std::array<Block, 8> kBlocks = {{{0x4E00, 0x9FFF},
                                                    {0x3400, 0x4DBF},
                                                    {0x20000, 0x2A6DF},
                                                    {0x2A700, 0x2B73F},
                                                    {0x2B740, 0x2B81F},
                                                    {0x2B920, 0x2CEAF},
                                                    {0xF900, 0xFAFF},
                                                    {0x2F800, 0x2FA1F}}};
  for (const Block& block : kBlocks) {
    if (c >= block.first && c <= block.last) return true;
  }
  return false;
}

// Every mark of ASCII counts, Unicode's symbols among them ($ + < = > ^ ` | ~).
bool is_mark(char32_t c) {
  if (c < 0x80) {
    return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) ||
           (c >= 0x7B && c <= 0x7E);
  }
  return is_punctuation(c);
}

std::u32string from_utf16(const char16_t* units, std::int32_t count) {
  std::u32string out;
  for (std::int32_t i = 0; i < count;) {
    UChar32 c = 0;
    U16_NEXT(units, i, count, c);
    out += static_cast<char32_t>(c);
  }
  return out;
}

// One character taken apart into its letter and its accents, without the accents.
std::u32string without_accents(char32_t c) {
  UErrorCode status = U_ZERO_ERROR;
  const UNormalizer2* nfd = unorm2_getNFDInstance(&status);
  if (U_FAILURE(status) != 0) throw Error("text: ICU has no normalisation data; reinstall ICU");
  std::array<char16_t, 32> units{};  // the longest decomposition has 4 code points
  const std::int32_t count =
      unorm2_getDecomposition(nfd, static_cast<UChar32>(c), units.data(),
                              static_cast<std::int32_t>(units.size()), &status);
  std::u32string out;
  for (const char32_t part : count < 0 ? std::u32string(1, c) : from_utf16(units.data(), count)) {
    if ((category_of(part) & U_GC_MN_MASK) == 0) out += part;
  }
  return out;
}

// Each character for itself: no final sigma, unlike fovea::lower.
std::u32string lowered(char32_t c) {
  std::array<char16_t, 2> wide{};
  std::int32_t size = 0;
  U16_APPEND_UNSAFE(wide.data(), size, static_cast<UChar32>(c));
  std::array<char16_t, 8> low{};  // at most three
  UErrorCode status = U_ZERO_ERROR;
  const std::int32_t count = u_strToLower(low.data(), 8, wide.data(), size, "", &status);
  return from_utf16(low.data(), count);
}

std::u32string normalised(char32_t c, const BasicRules& rules) {
  if (c < 0x80) {
    return std::u32string(1, rules.lower_case && c >= U'A' && c <= U'Z' ? c + 0x20 : c);
  }
  std::u32string out(1, c);
  if (rules.strip_accents) out = without_accents(c);
  if (!rules.lower_case) return out;
  std::u32string low;
  for (const char32_t part : out) low += lowered(part);
  return low;
}

}  // namespace

std::vector<BasicWord> basic_words(std::u32string_view text, const BasicRules& rules,
                                   std::int32_t first) {
  std::vector<BasicWord> words;
  bool inside = false;  // of a word that goes on
  const auto put = [&](char32_t c, std::int32_t place) {
    if (!inside) words.emplace_back();
    words.back().text += c;
    words.back().places.push_back(place);
    inside = true;
  };
  std::int32_t place = first;
  for (const char32_t c : text) {
    const std::int32_t here = place++;
    if (is_dropped(c)) continue;
    if (is_white(c)) {
      inside = false;
      continue;
    }
    const bool alone = rules.chinese_alone && is_chinese(c);
    if (alone) inside = false;
    for (const char32_t part : normalised(c, rules)) {
      const bool mark = is_mark(part);
      if (mark) inside = false;
      put(part, here);
      if (mark) inside = false;
    }
    if (alone) inside = false;
  }
  return words;
}

}  // namespace fovea
