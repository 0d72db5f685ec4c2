// Text as its reader wrote it: UTF-8, code points, words, places to cut.
//
// Offsets count code points unless they are said to count bytes. White space is what Python's
// str.isspace() calls so, because the field's tools (sacreBLEU, transformers) split by it.
// Throws Error, naming the byte, where UTF-8 is needed and is not given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/record.h"

namespace fovea {

// The first byte that is not well-formed UTF-8 (overlong forms, surrogates and values over U+10FFFF
// are not); nothing if all is well.
std::optional<std::size_t> invalid_utf8(std::string_view text);

// `text` with every maximal run of ill-formed bytes replaced by one U+FFFD. Well-formed text is
// unchanged.
std::string repaired_utf8(std::string_view text);

std::u32string code_points(std::string_view utf8);
std::string to_utf8(std::u32string_view text);

bool is_space(char32_t c);
bool is_punctuation(char32_t c);  // Unicode's categories P*
std::string lower(
    std::string_view utf8);  // full mapping, final sigma included, no language's own rules

// Columns that a terminal gives to `text`: 2 for wide characters, 0 for combining ones and
// controls.
int columns(std::string_view utf8);

// Runs without white space, in order.
std::vector<Word> words(std::string_view utf8);

// Cuts `text` into parts for which `fits` holds, at the best place there is: after the end of a
// sentence, else of a clause, else at white space, else between any two code points. Greedy: each
// part is the longest that ends at the best kind of place found in it. The parts are spans that
// cover everything but the white space around them. One code point that does not fit is a part all
// the same. `fits` is asked about substrings of `utf8`, and must hold for the parts of what it
// holds for.
std::vector<Span> split_to_fit(std::string_view utf8,
                               const std::function<bool(std::string_view)>& fits);

}  // namespace fovea
