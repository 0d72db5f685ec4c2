#include "text/split.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "fovea/text.h"

namespace fovea {
namespace {

enum class Cut : std::uint8_t { kSpace, kClause, kSentence };

struct Place {
  std::size_t end = 0;  // a part may end here
  Cut cut = Cut::kSpace;
};

bool one_of(char32_t c, std::u32string_view set) { return set.find(c) != set.npos; }

bool ends_sentence(char32_t c) { return one_of(c, U".!?\u2026\u3002\uFF01\uFF1F\u061F\u0964"); }
bool ends_clause(char32_t c) {
  return one_of(c, U",;:\u2013\u2014\u3001\uFF0C\uFF1B\uFF1A\u060C\u061B");
}
bool wide_end(char32_t c) { return one_of(c, U"\u3002\uFF01\uFF1F\u3001\uFF0C\uFF1B\uFF1A"); }
bool closes(char32_t c) { return one_of(c, U"\"')]}\u00BB\u201D\u2019\u300D\u300F\uFF09"); }

// A full stop after a number, a single letter or a title ends no sentence: 3. Mai, z. B., Dr. Roux.
bool abbreviates(std::u32string_view text, std::size_t stop) {
  std::size_t begin = stop;
  while (begin > 0 && !is_space(text[begin - 1]) && !closes(text[begin - 1])) --begin;
  const std::u32string_view word = text.substr(begin, stop - begin);
  static constexpr std::u32string_view kTitles[] = {U"Dr", U"Mr", U"Mrs", U"Ms",  U"St",   U"Prof",
                                                    U"Hr", U"Fr", U"Nr",  U"Mme", U"Mlle", U"bzw"};
  const bool digits = !word.empty() && word.back() >= U'0' && word.back() <= U'9';
  return word.size() <= 1 || digits ||
         std::find(std::begin(kTitles), std::end(kTitles), word) != std::end(kTitles);
}

// Every place where the text may be cut: after a run without white space, and after the full stops
// and commas of scripts that write no spaces.
std::vector<Place> places_of(std::u32string_view text) {
  std::vector<Place> places;
  for (std::size_t end = 1; end <= text.size(); ++end) {
    const char32_t last = text[end - 1];
    const bool before_space = end == text.size() || is_space(text[end]);
    if (is_space(last) || !(before_space || wide_end(last))) continue;
    std::size_t sign = end;  // look past closing quotes: he said "go."
    while (sign > 1 && closes(text[sign - 1])) --sign;
    Cut cut = Cut::kSpace;
    if (ends_sentence(text[sign - 1])) {
      const bool weak = text[sign - 1] == U'.' && abbreviates(text, sign - 1);
      cut = weak ? Cut::kSpace : Cut::kSentence;
    } else if (ends_clause(text[sign - 1])) {
      cut = Cut::kClause;
    }
    places.push_back({end, cut});
  }
  return places;
}

// The largest n in [0, count] for which `holds(n)`, where holds(0) is true and it never turns true
// again once it is false. Asks about small n first: they are cheap.
template <class Holds>
std::size_t last_that(std::size_t count, Holds holds) {
  std::size_t good = 0;
  std::size_t step = 1;
  while (good + step <= count && holds(good + step)) {
    good += step;
    step *= 2;
  }
  for (; step > 0; step /= 2) {
    if (good + step <= count && holds(good + step)) good += step;
  }
  return good;
}

// The end of the part that begins before places[next], of which `room` > 0 places fit.
std::size_t best_end(const std::vector<Place>& places, std::size_t next, std::size_t room,
                     bool every_sentence) {
  const auto first = places.begin() + static_cast<std::ptrdiff_t>(next);
  const auto last = first + static_cast<std::ptrdiff_t>(room);
  if (every_sentence) {
    const auto sentence =
        std::find_if(first, last, [](const Place& place) { return place.cut == Cut::kSentence; });
    if (sentence != last) return sentence->end;
  }
  if (last == places.end()) return places.back().end;
  return std::max_element(first, last,
                          [](const Place& a, const Place& b) {
                            return a.cut != b.cut ? a.cut < b.cut : a.end < b.end;
                          })
      ->end;
}

std::vector<Span> split(std::string_view utf8, const std::function<bool(std::string_view)>& fits,
                        bool every_sentence) {
  const std::u32string text = code_points(utf8);
  const std::vector<Place> places = places_of(text);
  const auto piece_fits = [&](std::size_t begin, std::size_t end) {
    return fits(to_utf8(std::u32string_view(text).substr(begin, end - begin)));
  };
  std::vector<Span> parts;
  std::size_t begin = 0;
  std::size_t next = 0;  // first place after `begin`
  for (;;) {
    while (begin < text.size() && is_space(text[begin])) ++begin;
    while (next < places.size() && places[next].end <= begin) ++next;
    if (begin == text.size()) return parts;
    const std::size_t room = last_that(places.size() - next, [&](std::size_t n) {
      return piece_fits(begin, places[next + n - 1].end);
    });
    std::size_t end = 0;
    if (room == 0) {  // not even one word fits: cut the word
      const std::size_t longest = places[next].end - begin;
      end = begin +
            std::max<std::size_t>(
                last_that(longest, [&](std::size_t n) { return piece_fits(begin, begin + n); }), 1);
    } else {
      const bool whole = parts.empty() && room == places.size() - next;
      end = best_end(places, next, room, every_sentence && !whole);
    }
    parts.push_back({static_cast<std::int32_t>(begin), static_cast<std::int32_t>(end)});
    begin = end;
  }
}

}  // namespace

std::vector<Span> split_to_fit(std::string_view utf8,
                               const std::function<bool(std::string_view)>& fits) {
  return split(utf8, fits, false);
}

std::vector<Span> split_into_sentences(std::string_view utf8,
                                       const std::function<bool(std::string_view)>& fits) {
  return split(utf8, fits, true);
}

}  // namespace fovea
