#include <unicode/uchar.h>
#include <unicode/ustring.h>

#include <algorithm>

#include "fovea/error.h"
#include "fovea/text.h"

namespace fovea {
namespace {

// Length of the well-formed sequence at `at`, or 0. The ranges are those of Unicode's table 3-7.
std::size_t sequence_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u;
  };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
  const unsigned first = byte(0);
  const unsigned second = byte(1);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned low = first == 0xE0 ? 0xA0 : 0x80;
    const unsigned high = first == 0xED ? 0x9F : 0xBF;
    return second >= low && second <= high && continues(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned low = first == 0xF0 ? 0x90 : 0x80;
    const unsigned high = first == 0xF4 ? 0x8F : 0xBF;
    return second >= low && second <= high && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

char32_t decode(std::string_view text, std::size_t at, std::size_t length) {
  const auto byte = [&](std::size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[at + i]));
  };
  if (length == 1) return byte(0);
  char32_t c = byte(0) & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) c = (c << 6) | (byte(i) & 0x3Fu);
  return c;
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6));
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

}  // namespace

std::optional<std::size_t> invalid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequence_length(text, at);
    if (length == 0) return at;
    at += length;
  }
  return std::nullopt;
}

std::string repaired_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_bad_run = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequence_length(text, at);
    if (length > 0) {
      out.append(text, at, length);
    } else if (!in_bad_run) {
      append_utf8(out, 0xFFFD);
    }
    in_bad_run = length == 0;
    at += std::max<std::size_t>(length, 1);
  }
  return out;
}

std::u32string code_points(std::string_view utf8) {
  std::u32string out;
  out.reserve(utf8.size());
  for (std::size_t at = 0; at < utf8.size();) {
    const std::size_t length = sequence_length(utf8, at);
    if (length == 0) {
      throw Error("text: byte " + std::to_string(at + 1) +
                  " is not UTF-8; convert the text to UTF-8");
    }
    out += decode(utf8, at, length);
    at += length;
  }
  return out;
}

std::string to_utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) append_utf8(out, c);
  return out;
}

bool is_space(char32_t c) {
  // Python: category Zs, or bidirectional class WS, B or S.
  if (c <= 0x20) return c == 0x20 || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F);
  if (c < 0x1680) return c == 0x85 || c == 0xA0;
  return c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

bool is_punctuation(char32_t c) {
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_P_MASK) != 0;
}

std::string lower(std::string_view utf8) {
  const std::u32string text = code_points(utf8);
  std::u16string wide;
  wide.reserve(text.size());
  for (const char32_t c : text) {
    if (c >= 0x10000) {
      wide += static_cast<char16_t>(U16_LEAD(c));
      wide += static_cast<char16_t>(U16_TRAIL(c));
    } else {
      wide += static_cast<char16_t>(c);
    }
  }
  // Lower case is at most three units for one (U+0130 gives two); the second try has the exact
  // size.
  std::u16string low(wide.size() + 16, u'\0');
  for (int attempt = 0; attempt < 2; ++attempt) {
    UErrorCode status = U_ZERO_ERROR;
    const std::int32_t size =
        u_strToLower(low.data(), static_cast<std::int32_t>(low.size()), wide.data(),
                     static_cast<std::int32_t>(wide.size()), "", &status);
    const bool filled = size <= static_cast<std::int32_t>(low.size());
    low.resize(static_cast<std::size_t>(size));
    if (filled) break;
  }
  std::u32string out;
  out.reserve(low.size());
  for (std::size_t i = 0; i < low.size(); ++i) {
    if (U16_IS_LEAD(low[i]) && i + 1 < low.size()) {
      out += static_cast<char32_t>(U16_GET_SUPPLEMENTARY(low[i], low[i + 1]));
      ++i;
    } else {
      out += low[i];
    }
  }
  return to_utf8(out);
}

int columns(std::string_view utf8) {
  int total = 0;
  for (const char32_t c : code_points(utf8)) {
    const auto point = static_cast<UChar32>(c);
    const std::uint32_t category = U_GET_GC_MASK(point);
    if ((category & (U_GC_MN_MASK | U_GC_ME_MASK | U_GC_CC_MASK | U_GC_CF_MASK)) != 0) continue;
    const int width = u_getIntPropertyValue(point, UCHAR_EAST_ASIAN_WIDTH);
    total += width == U_EA_WIDE || width == U_EA_FULLWIDTH ? 2 : 1;
  }
  return total;
}

}  // namespace fovea
