// WordPiece on cases worked out by hand; the tokenizers package is asked by tests/oracles/reader_oracle.py.
#include "fovea/wordpiece.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/tiny_reader.h"
#include "fovea/error.h"

namespace {

using fovea::Pieces;
using fovea::Span;
using fovea::WordPiece;
using fovea::test::TemporaryFolder;
using fovea::test::tiny_wordpieces;
using fovea::test::write_text;
using fovea::test::write_tiny_wordpieces;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class WordPieces : public ::testing::Test {
 protected:
  Pieces encode(const std::string& text, const std::string& settings = "{}") const {
    write_tiny_wordpieces(folder_.path(), settings);
    return WordPiece::load(folder_.path()).encode(text);
  }
  std::vector<std::string> texts(const std::string& text,
                                 const std::string& settings = "{}") const {
    return encode(text, settings).texts;
  }
  static std::vector<std::pair<int, int>> pairs(const std::vector<Span>& spans) {
    std::vector<std::pair<int, int>> out;
    for (const Span span : spans) out.emplace_back(span.begin, span.end);
    return out;
  }
  void expect_error(const std::string& text) const {
    try {
      WordPiece::load(folder_.path());
      FAIL() << "no error; expected: " << text;
    } catch (const fovea::Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(text));
    }
  }

  TemporaryFolder folder_;
};

TEST_F(WordPieces, TakesTheLongestPieceEachTime) {
  const Pieces pieces = encode("The films unaffable played.");
  EXPECT_THAT(pieces.texts,
              ElementsAre("the", "film", "##s", "un", "##aff", "##able", "play", "##ed", "."));
  EXPECT_THAT(pieces.ids, ElementsAre(5, 6, 7, 17, 18, 19, 14, 15, 12));
  EXPECT_EQ(
      pairs(pieces.spans),
      (std::vector<std::pair<int, int>>{
          {0, 3}, {4, 8}, {8, 9}, {10, 12}, {12, 15}, {15, 19}, {20, 24}, {24, 26}, {26, 27}}));
}

TEST_F(WordPieces, ShortensByCodePoints) {
  // a, sharp s, c: the piece before the last is found only where both bytes of the middle one go.
  const Pieces pieces =
      WordPiece::parse({"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##\xC3\x9F\n##c\n"})
          .encode(
              "a\xC3\x9F"
              "c");
  EXPECT_THAT(pieces.ids, ElementsAre(5, 6, 7));
  EXPECT_EQ(pairs(pieces.spans), (std::vector<std::pair<int, int>>{{0, 1}, {1, 2}, {2, 3}}));
}

TEST_F(WordPieces, AWordThatCannotBeCutIsUnknownAsAWhole) {
  const Pieces pieces = encode("filmx good");
  EXPECT_THAT(pieces.texts, ElementsAre("[UNK]", "good"));
  EXPECT_EQ(pairs(pieces.spans), (std::vector<std::pair<int, int>>{{0, 5}, {6, 10}}));
}

TEST_F(WordPieces, AWordOfMoreThanAHundredCharactersIsUnknown) {
  std::string word = "a";
  for (int i = 0; i < 99; ++i) word += 'b';
  EXPECT_EQ(texts(word).size(), 100u);
  EXPECT_THAT(texts(word + "b"), ElementsAre("[UNK]"));
}

TEST_F(WordPieces, MarksAndChineseCharactersStandAlone) {
  EXPECT_THAT(texts("good$bad,."), ElementsAre("good", "$", "bad", ",", "."));
  EXPECT_THAT(texts("good\xE4\xB8\xAD"
                    "bad"),
              ElementsAre("good", "\xE4\xB8\xAD", "bad"));
  EXPECT_THAT(texts("good\xE4\xB8\xAD"
                    "bad",
                    R"({"tokenize_chinese_chars": false})"),
              ElementsAre("[UNK]"));
}

TEST_F(WordPieces, AccentsGoWithCase) {
  // An e with acute, composed and in two code points: the mark belongs to no piece.
  for (const char* text : {"\xC3\x89 a", "E\xCC\x81 a"}) {
    EXPECT_THAT(texts(text), ElementsAre("e", "a"));
    EXPECT_THAT(texts(text, R"({"do_lower_case": false})").front(), "[UNK]");
    EXPECT_THAT(texts(text, R"({"strip_accents": false})").front(), "[UNK]");
  }
  EXPECT_EQ(pairs(encode("E\xCC\x81 a").spans), (std::vector<std::pair<int, int>>{{0, 1}, {3, 4}}));
  EXPECT_THAT(texts("GOOD", R"({"do_lower_case": false})"), ElementsAre("[UNK]"));
}

TEST_F(WordPieces, ControlsAreDroppedFromTheMiddleOfAWord) {
  const Pieces pieces = encode("go\xE2\x80\x8Bod\x01 the");
  EXPECT_THAT(pieces.texts, ElementsAre("good", "the"));
  EXPECT_EQ(pairs(pieces.spans), (std::vector<std::pair<int, int>>{{0, 5}, {7, 10}}));
}

TEST_F(WordPieces, SpecialTokensWrittenOutAreTakenWhole) {
  const Pieces pieces = encode("good[SEP]the [MASK]");
  EXPECT_THAT(pieces.texts, ElementsAre("good", "[SEP]", "the", "[MASK]"));
  EXPECT_EQ(pairs(pieces.spans),
            (std::vector<std::pair<int, int>>{{0, 4}, {4, 9}, {9, 12}, {13, 19}}));
  EXPECT_THAT(texts("[sep]"), ElementsAre("[UNK]", "[UNK]", "[UNK]"));
}

TEST_F(WordPieces, NoWordsNoPieces) {
  for (const char* text : {"", " \t ", "\xE2\x80\x8B", "\x01"}) EXPECT_THAT(texts(text), IsEmpty());
}

TEST_F(WordPieces, KnowsItsSpecialIds) {
  write_tiny_wordpieces(folder_.path());
  const fovea::WordPieceFacts facts = WordPiece::load(folder_.path()).facts();
  EXPECT_EQ(facts.size, static_cast<int>(tiny_wordpieces().size()));
  EXPECT_EQ(facts.pad, 0);
  EXPECT_EQ(facts.unknown, 1);
  EXPECT_EQ(facts.begin, 2);
  EXPECT_EQ(facts.end, 3);
}

TEST_F(WordPieces, SaysWhatIsWrongWithAFolder) {
  expect_error("vocab.txt: cannot open");
  write_text(folder_.path() / "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\na\n");
  expect_error("vocab.txt:7: piece \"a\" stands here for the second time");
  write_text(folder_.path() / "vocab.txt", "[PAD]\n\n[UNK]\n");
  expect_error("vocab.txt:2: an empty line");
  write_text(folder_.path() / "vocab.txt", "[PAD]\n[UNK]\n[CLS]\na\n");
  expect_error("no piece \"[SEP]\"");
  write_tiny_wordpieces(folder_.path(), R"({"do_lower_case": 1})");
  expect_error("do_lower_case is not true or false");
  write_tiny_wordpieces(folder_.path(), "[]");
  expect_error("not a JSON object");
  write_tiny_wordpieces(folder_.path());
  EXPECT_THROW(WordPiece::load(folder_.path()).encode("a\xFF"), fovea::Error);
}

}  // namespace
