#include <gtest/gtest.h>

#include "fovea/error.h"
#include "fovea/text.h"
#include "text/split.h"

namespace fovea {
namespace {

TEST(Utf8, FindsTheFirstBadByte) {
  EXPECT_FALSE(invalid_utf8(""));
  EXPECT_FALSE(invalid_utf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"));
  EXPECT_FALSE(invalid_utf8("\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80"));
  EXPECT_EQ(invalid_utf8("ab\xFF"), 2u);
  EXPECT_EQ(invalid_utf8("a\x80"), 1u);
  EXPECT_EQ(invalid_utf8("\xC0\x80"), 0u);          // overlong
  EXPECT_EQ(invalid_utf8("\xE0\x9F\xBF"), 0u);      // overlong
  EXPECT_EQ(invalid_utf8("\xF0\x8F\xBF\xBF"), 0u);  // overlong
  EXPECT_EQ(invalid_utf8("\xED\xA0\x80"), 0u);      // surrogate
  EXPECT_EQ(invalid_utf8("\xF4\x90\x80\x80"), 0u);  // over U+10FFFF
  EXPECT_EQ(invalid_utf8("a\xE2\x82"), 1u);         // cut short
  EXPECT_EQ(invalid_utf8("\xF5\x80\x80\x80"), 0u);
}

TEST(Utf8, RepairPutsOneMarkForARun) {
  EXPECT_EQ(repaired_utf8("a\xFF\xFE"
                          "b\xE2\x82"),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD");
  EXPECT_EQ(repaired_utf8("caf\xC3\xA9"), "caf\xC3\xA9");
}

TEST(Utf8, RoundTripOverAllLengths) {
  const std::string text =
      "a\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF";
  const std::u32string points = code_points(text);
  EXPECT_EQ(points, U"a\u0080\u07FF\u0800\uFFFF\U00010000\U0010FFFF");
  EXPECT_EQ(to_utf8(points), text);
}

TEST(Utf8, CodePointsSayWhichByte) {
  try {
    code_points("abc\xFF");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "text: byte 4 is not UTF-8; convert the text to UTF-8");
  }
}

TEST(Characters, SpaceIsPythons) {
  for (const char32_t c :
       U"\t\n\v\f\r \x1C\x1F\u0085\u00A0\u1680\u2003\u2028\u2029\u202F\u205F\u3000") {
    if (c != 0) {
      EXPECT_TRUE(is_space(c)) << std::hex << static_cast<unsigned>(c);
    }
  }
  for (const char32_t c : U"a\u200B\u2060\uFEFF\x1B\x08\u180E") {
    if (c != 0) {
      EXPECT_FALSE(is_space(c)) << std::hex << static_cast<unsigned>(c);
    }
  }
}

TEST(Characters, LowerCase) {
  EXPECT_EQ(lower("\xC3\x89T\xC3\x89 \xC4\xB0 \xE1\xBA\x9E"),
            "\xC3\xA9t\xC3\xA9 i\xCC\x87 \xC3\x9F");
  EXPECT_EQ(lower("\xCE\xA3\xCE\xA3"), "\xCF\x83\xCF\x82");  // the last sigma is the final one
  EXPECT_EQ(lower(""), "");
  EXPECT_EQ(lower("\xF0\x90\x90\x80"), "\xF0\x90\x90\xA8");  // beyond 16 bits
  std::string dotted, low;
  for (int i = 0; i < 100; ++i) dotted += "\xC4\xB0", low += "i\xCC\x87";
  EXPECT_EQ(lower(dotted), low);  // longer than what it came from
}

TEST(Characters, Columns) {
  EXPECT_EQ(columns("abc"), 3);
  EXPECT_EQ(columns("\xE4\xB8\xAD\xE6\x96\x87"), 4);  // two wide characters
  EXPECT_EQ(columns("e\xCC\x81"), 1);                 // a combining accent
  EXPECT_EQ(columns("\xF0\x9F\x98\x80"), 2);          // emoji
  EXPECT_EQ(columns("a\xE2\x80\x8B"), 1);             // zero-width space
}

TEST(Words, RunsAndTheirCores) {
  const std::vector<Word> found = words(
      "\xC2\xAB Le \xE2\x80\x9C"
      "chat\xE2\x80\x9D, l'homme\xC2\xA0! ...");
  std::vector<std::string> texts;
  for (const Word& word : found) texts.push_back(word.text);
  EXPECT_EQ(texts, (std::vector<std::string>{"\xC2\xAB", "Le",
                                             "\xE2\x80\x9C"
                                             "chat\xE2\x80\x9D,",
                                             "l'homme", "!", "..."}));
  EXPECT_EQ(found[2].span.begin, 5);
  EXPECT_EQ(found[2].span.end, 12);
  EXPECT_EQ(found[2].core.begin, 6);  // without the quotes and the comma
  EXPECT_EQ(found[2].core.end, 10);
  EXPECT_EQ(found[3].core.begin, 13);  // the apostrophe inside stays
  EXPECT_EQ(found[3].core.end, 20);
  EXPECT_EQ(found[5].core.begin, found[5].span.begin);  // only punctuation: all of it
  EXPECT_EQ(found[5].core.end, found[5].span.end);
  EXPECT_TRUE(words(" \t\xC2\xA0 ").empty());
}

std::vector<std::string> cut(const std::string& text, std::size_t most) {
  const std::u32string points = code_points(text);
  std::vector<std::string> parts;
  for (const Span span : split_to_fit(
           text, [&](std::string_view part) { return code_points(part).size() <= most; })) {
    parts.push_back(to_utf8(points.substr(static_cast<std::size_t>(span.begin),
                                          static_cast<std::size_t>(span.end - span.begin))));
  }
  return parts;
}

using Parts = std::vector<std::string>;

TEST(SplitToFit, WhatFitsStaysWhole) {
  EXPECT_EQ(cut("One. Two, three.", 16), Parts{"One. Two, three."});
  EXPECT_EQ(cut("  One.  ", 4), Parts{"One."});
  EXPECT_EQ(cut("", 4), Parts{});
  EXPECT_EQ(cut(" \t ", 4), Parts{});
}

TEST(SplitToFit, AtSentencesFirstThenClausesThenSpaces) {
  EXPECT_EQ(cut("One. Two, three. Four", 17), (Parts{"One. Two, three.", "Four"}));
  EXPECT_EQ(cut("One. Two, three. Four", 15), (Parts{"One.", "Two, three.", "Four"}));
  EXPECT_EQ(cut("One two, three four", 12), (Parts{"One two,", "three four"}));
  EXPECT_EQ(cut("one two three four", 9), (Parts{"one two", "three", "four"}));
}

TEST(SplitToFit, SentenceEndsInsideQuotesCount) {
  EXPECT_EQ(cut("\"Go.\" Then he, she", 14), (Parts{"\"Go.\"", "Then he, she"}));
  EXPECT_EQ(cut("3.5 and 4.5 and more", 12), (Parts{"3.5 and 4.5", "and more"}));  // no stop there
}

TEST(SplitToFit, AWordThatIsTooLongIsCut) {
  EXPECT_EQ(cut("abcdefgh ij", 3), (Parts{"abc", "def", "gh", "ij"}));
  EXPECT_EQ(cut("\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9", 3),
            (Parts{"\xC3\xA9\xC3\xA9\xC3\xA9", "\xC3\xA9"}));
}

TEST(SplitToFit, ScriptsWithoutSpaces) {
  // two sentences of three characters and a full stop each
  EXPECT_EQ(
      cut("\xE4\xB8\x80\xE4\xBA\x8C\xE3\x80\x82\xE4\xB8\x89\xE5\x9B\x9B\xE3\x80\x82", 4),
      (Parts{"\xE4\xB8\x80\xE4\xBA\x8C\xE3\x80\x82", "\xE4\xB8\x89\xE5\x9B\x9B\xE3\x80\x82"}));
}

std::vector<std::string> sentences(const std::string& text, std::size_t most) {
  std::vector<std::string> parts;
  const std::u32string points = code_points(text);
  for (const Span span : split_into_sentences(
           text, [&](std::string_view part) { return code_points(part).size() <= most; })) {
    parts.push_back(to_utf8(points.substr(static_cast<std::size_t>(span.begin),
                                          static_cast<std::size_t>(span.end - span.begin))));
  }
  return parts;
}

TEST(SplitIntoSentences, EverySentenceForItselfUnlessAllFits) {
  EXPECT_EQ(sentences("One. Two! Six?", 14), Parts{"One. Two! Six?"});
  EXPECT_EQ(sentences("One. Two! Six?", 13), (Parts{"One.", "Two!", "Six?"}));
  EXPECT_EQ(sentences("One, two and three. Four.", 12),
            (Parts{"One,", "two and", "three.", "Four."}));
}

TEST(SplitIntoSentences, NumbersLettersAndTitlesEndNone) {
  EXPECT_EQ(sentences("Am 3. Mai kam Dr. Roux. Er z. B. blieb.", 30),
            (Parts{"Am 3. Mai kam Dr. Roux.", "Er z. B. blieb."}));
  EXPECT_EQ(sentences("Plan B? Yes. Plan A.", 13), (Parts{"Plan B?", "Yes.", "Plan A."}));
}

TEST(SplitToFit, NothingFits) { EXPECT_EQ(cut("ab c", 0), (Parts{"a", "b", "c"})); }

TEST(SplitToFit, LosesNothingAndAsksLittleOfLongText) {
  std::string text;
  for (int i = 0; i < 20000; ++i)
    text += i % 17 == 0 ? "end. " : (i % 5 == 0 ? "pause, " : "word ");
  std::size_t asked = 0;
  const std::vector<Span> parts = split_to_fit(text, [&](std::string_view part) {
    asked += part.size();
    return part.size() <= 300;
  });
  std::int32_t end = 0;
  for (const Span part : parts) {
    EXPECT_LE(part.end - part.begin, 300);
    EXPECT_EQ(part.begin - end, end == 0 ? 0 : 1);  // only the space between
    end = part.end;
  }
  EXPECT_EQ(end, static_cast<std::int32_t>(text.size()) - 1);
  EXPECT_LT(asked, 40 * text.size());  // linear, not quadratic
}

}  // namespace
}  // namespace fovea
