#include "fovea/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/tiny_folder.h"
#include "fovea/error.h"
#include "fovea/text.h"
#include "text/vocabulary.h"

namespace fovea {
namespace {

using test::TemporaryFolder;
using test::write_text;
using ::testing::HasSubstr;

// One folder for all tests that only read it.
const TemporaryFolder& tiny() {
  static const TemporaryFolder* folder = [] {
    auto* made = new TemporaryFolder;  // lives as long as the program; removed by `Cleanup`
    test::write_tiny_tokenizer(made->path());
    return made;
  }();
  return *folder;
}

class Cleanup : public ::testing::Environment {
  void TearDown() override {
    std::error_code ignored;
    std::filesystem::remove_all(tiny().path(), ignored);
  }
};
const auto* const kCleanup = ::testing::AddGlobalTestEnvironment(new Cleanup);

std::string substring(const std::string& text, Span span) {
  return to_utf8(code_points(text).substr(static_cast<std::size_t>(span.begin),
                                          static_cast<std::size_t>(span.end - span.begin)));
}

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(MarianTokenizer, RoundTripAndEnd) {
  const auto tokenizer = MarianTokenizer::load(tiny().path());
  EXPECT_EQ(tokenizer.facts().end, 0);
  EXPECT_EQ(tokenizer.facts().unknown, 1);
  EXPECT_EQ(tokenizer.facts().pad, tokenizer.facts().source_size - 1);
  for (const std::string& line : test::tiny_corpus()) {
    const Pieces pieces = tokenizer.encode(line);
    ASSERT_EQ(pieces.ids.size(), pieces.spans.size());
    ASSERT_EQ(pieces.ids.size(), pieces.texts.size());
    EXPECT_EQ(pieces.ids.back(), 0);
    EXPECT_EQ(tokenizer.decode(pieces.ids).text, line);
  }
  EXPECT_EQ(tokenizer.encode("").ids, std::vector<std::int32_t>{0});
}

TEST(MarianTokenizer, SpansAreInTheReadersText) {
  const auto tokenizer = MarianTokenizer::load(tiny().path());
  // Normalisation folds the no-break space and the ligature and drops the double space.
  const std::string text =
      "Le\xC2\xA0"
      "chat  dort \xEF\xAC\x81n \xC3\xA0 la  maison.";
  const Pieces pieces = tokenizer.encode(text);
  const std::u32string points = code_points(text);
  std::vector<bool> covered(points.size());
  for (std::size_t i = 0; i + 1 < pieces.ids.size(); ++i) {
    for (std::int32_t c = pieces.spans[i].begin; c < pieces.spans[i].end; ++c) {
      EXPECT_FALSE(covered[static_cast<std::size_t>(c)] &&
                   points[static_cast<std::size_t>(c)] != U'\uFB01');
      covered[static_cast<std::size_t>(c)] = true;
    }
  }
  for (std::size_t c = 0; c < points.size(); ++c) {
    EXPECT_EQ(covered[c], !is_space(points[c])) << c;
  }
  EXPECT_EQ(pieces.spans.back().begin, static_cast<std::int32_t>(points.size()));
}

TEST(MarianTokenizer, PiecesFindTheirWords) {
  const auto tokenizer = MarianTokenizer::load(tiny().path());
  const std::string text = " Der  Mann \xE4\xB8\xAD l\xC3\xA4uft nach Hause. ";
  const Pieces pieces = tokenizer.encode(text);
  const std::vector<Word> found = words(text);
  const std::vector<std::int32_t> of = words_of_pieces(pieces.spans, found);
  ASSERT_EQ(of.size(), pieces.ids.size());
  EXPECT_EQ(of.back(), -1);
  std::vector<std::string> joined(found.size());
  for (std::size_t i = 0; i + 1 < of.size(); ++i) {
    ASSERT_GE(of[i], 0) << i;
    joined[static_cast<std::size_t>(of[i])] += substring(text, pieces.spans[i]);
  }
  for (std::size_t w = 0; w < found.size(); ++w) EXPECT_EQ(joined[w], found[w].text);
}

TEST(MarianTokenizer, DecodedSpansPointIntoTheText) {
  const auto tokenizer = MarianTokenizer::load(tiny().path());
  const std::string text =
      "Die Katze schl\xC3\xA4"
      "ft.";
  std::vector<std::int32_t> ids = tokenizer.encode(text).ids;
  ids.insert(ids.begin() + 1, tokenizer.facts().unknown);
  ids.insert(ids.begin(), tokenizer.facts().pad);
  const DecodedText decoded = tokenizer.decode(ids);
  EXPECT_EQ(decoded.text, text);
  ASSERT_EQ(decoded.spans.size(), ids.size());
  std::string joined;
  for (const Span span : decoded.spans) joined += substring(decoded.text, span);
  EXPECT_EQ(joined,
            "DieKatzeschl\xC3\xA4"
            "ft.");
  EXPECT_EQ(decoded.spans[0].end, 0);                               // padding is no text
  EXPECT_EQ(decoded.spans.back().begin, decoded.spans.back().end);  // nor is the end
}

TEST(MarianTokenizer, MarksAtTheFrontAreNoText) {
  const auto tokenizer = MarianTokenizer::load(tiny().path());
  const auto vocabulary = nlohmann::json::parse(test::read_text(tiny().path() / "vocab.json"));
  std::vector<std::int32_t> ids = tokenizer.encode("Le chat").ids;
  const auto mark = vocabulary.at("\xE2\x96\x81").get<std::int32_t>();
  ids.insert(ids.begin(), {mark, mark, mark});
  const DecodedText decoded = tokenizer.decode(ids);
  EXPECT_EQ(decoded.text, "Le chat");
  std::string joined;
  for (const Span span : decoded.spans) joined += substring(decoded.text, span);
  EXPECT_EQ(joined, "Lechat");
}

TEST(MarianTokenizer, SpecialTokensAndCodesAreTakenWhole) {
  const auto tokenizer = MarianTokenizer::load(tiny().path());
  const Pieces pieces = tokenizer.encode("a</s>b<unk><pad>");
  const std::int32_t pad = tokenizer.facts().pad;
  EXPECT_THAT(pieces.ids, ::testing::Contains(0).Times(2));
  EXPECT_EQ(pieces.ids[pieces.ids.size() - 2], pad);
  EXPECT_EQ(pieces.ids[pieces.ids.size() - 3], 1);
  const Pieces coded = tokenizer.encode(">>fr<< Je");
  EXPECT_EQ(coded.texts[0], ">>fr<<");
  EXPECT_EQ(coded.ids[0], 1);  // not in this vocabulary
  EXPECT_EQ(coded.spans[0].end, 6);
  EXPECT_EQ(coded.spans[1].begin, 7);
  EXPECT_NE(tokenizer.encode("Je >>fr<<").texts[0], ">>fr<<");
}

TEST(MarianTokenizer, SeparateVocabularies) {
  const TemporaryFolder folder;
  const int size = test::write_tiny_tokenizer(folder.path());
  auto vocabulary = nlohmann::json::parse(test::read_text(folder.path() / "vocab.json"));
  for (auto& [piece, id] : vocabulary.items()) id = size - 1 - id.get<int>();  // turned round
  write_text(folder.path() / "target_vocab.json", vocabulary.dump());
  write_text(folder.path() / "tokenizer_config.json", R"({"separate_vocabs": true})");
  const auto tokenizer = MarianTokenizer::load(folder.path());
  const Pieces source = tokenizer.encode("Le chat");
  const Pieces target = tokenizer.encode_target("Le chat");
  ASSERT_EQ(source.ids.size(), target.ids.size());
  for (std::size_t i = 0; i + 1 < source.ids.size(); ++i) {
    EXPECT_EQ(source.ids[i] + target.ids[i], size - 1);
  }
  EXPECT_EQ(tokenizer.decode(target.ids).text, "Le chat");
}

TEST(MarianTokenizer, NamesOfSpecialTokensCanBeSet) {
  const TemporaryFolder folder;
  test::write_tiny_tokenizer(folder.path());
  write_text(folder.path() / "tokenizer_config.json", R"({"eos_token": {"content": "<pad>"}})");
  EXPECT_EQ(MarianTokenizer::load(folder.path()).encode("a").texts.back(), "<pad>");
  write_text(folder.path() / "tokenizer_config.json", R"({"eos_token": 3})");
  EXPECT_THAT(message_of([&] { MarianTokenizer::load(folder.path()); }),
              HasSubstr("tokenizer_config.json: eos_token is not a token's text"));
  write_text(folder.path() / "tokenizer_config.json", R"({"separate_vocabs": 1})");
  EXPECT_THAT(message_of([&] { MarianTokenizer::load(folder.path()); }),
              HasSubstr("separate_vocabs is not true or false"));
  write_text(folder.path() / "tokenizer_config.json", "[");
  EXPECT_THAT(message_of([&] { MarianTokenizer::load(folder.path()); }),
              HasSubstr("tokenizer_config.json: not a JSON object"));
}

TEST(MarianTokenizer, SaysWhatIsWrong) {
  const auto tokenizer = MarianTokenizer::load(tiny().path());
  EXPECT_THAT(message_of([&] { tokenizer.encode("ab\xFF"); }), HasSubstr("byte 3 is not UTF-8"));
  const std::vector<std::int32_t> outside = {tokenizer.facts().target_size};
  EXPECT_THAT(message_of([&] { tokenizer.decode(outside); }),
              HasSubstr("is not in the vocabulary"));
  EXPECT_THAT(message_of([&] { MarianTokenizer::load("/no/such/model"); }),
              HasSubstr("/no/such/model: no such folder"));
}

TEST(MarianTokenizer, SaysWhichFileIsMissingOrForeign) {
  const TemporaryFolder folder;
  test::write_tiny_tokenizer(folder.path());
  const auto message = [&] { return message_of([&] { MarianTokenizer::load(folder.path()); }); };
  EXPECT_EQ(message(), "no error");
  const std::string good = test::read_text(folder.path() / "target.spm");
  write_text(folder.path() / "target.spm", "not a model");
  EXPECT_THAT(message(), HasSubstr("target.spm: not a SentencePiece model"));
  write_text(folder.path() / "target.spm", "");
  EXPECT_THAT(message(), HasSubstr("target.spm: not a SentencePiece model"));
  write_text(folder.path() / "target.spm", good.substr(0, good.size() / 2));
  EXPECT_THAT(message(), HasSubstr("target.spm: not a SentencePiece model"));
  const std::vector<std::string> greek(
      8, "\xCE\xB1\xCE\xB2\xCE\xB3 \xCE\xB4\xCE\xB5\xCE\xB6 \xCE\xB7\xCE\xB8");
  write_text(folder.path() / "target.spm", test::learn_pieces(greek, 20));
  EXPECT_THAT(message(),
              ::testing::ContainsRegex("target.spm: [0-9]+ of its [0-9]+ pieces are not in "
                                       "vocab.json; it belongs to another model"));
  std::filesystem::remove(folder.path() / "target.spm");
  EXPECT_THAT(message(), HasSubstr("target.spm: cannot open"));
  std::filesystem::remove(folder.path() / "vocab.json");
  EXPECT_THAT(message(), HasSubstr("vocab.json: cannot open"));
  write_text(folder.path() / "vocab.json", R"({"a": 0, "<unk>": 1})");
  EXPECT_THAT(message(), HasSubstr("target.spm"));
  write_text(folder.path() / "target.spm", good);
  EXPECT_THAT(message(), HasSubstr("vocab.json: it has no </s>"));
  write_text(folder.path() / "vocab.json", R"({"a": 0, "</s>": 1})");
  EXPECT_THAT(message(), HasSubstr("vocab.json: it has no <unk>"));
}

TEST(Vocabulary, ReadsPiecesAndIds) {
  const Vocabulary vocabulary = Vocabulary::parse(R"({"a": 1, "\u2581b": 0})", "v");
  EXPECT_EQ(vocabulary.size(), 2);
  EXPECT_EQ(vocabulary.id("a"), 1);
  EXPECT_EQ(vocabulary.id("\xE2\x96\x81"
                          "b"),
            0);
  EXPECT_EQ(vocabulary.id("c"), -1);
  EXPECT_EQ(vocabulary.piece(1), "a");
}

TEST(Vocabulary, RefusesWhatIsNotOne) {
  const auto message = [](const std::string& text) {
    return message_of([&] { Vocabulary::parse(text, "vocab.json"); });
  };
  EXPECT_THAT(message("{\"a\": 0, \"a\": 1}"),
              HasSubstr("vocab.json: the piece \"a\" stands in it twice"));
  EXPECT_THAT(message("{\"a\": 0, \"b\": 0}"), HasSubstr("id 0 belongs to "));
  EXPECT_THAT(message("{\"a\": 0, \"b\": 2}"), HasSubstr("some are missing"));
  EXPECT_THAT(message("{\"a\": -1}"), HasSubstr("the id of \"a\" is -1"));
  EXPECT_THAT(message("{\"a\": 99999999999}"), HasSubstr("the id of \"a\" is 99999999999"));
  EXPECT_THAT(message("{\"a\": 0.5}"), HasSubstr("is 0.5, not a whole number"));
  EXPECT_THAT(message("{\"a\": \"0\"}"), HasSubstr("is a string, not a whole number"));
  EXPECT_THAT(message("{\"a\": null}"), HasSubstr("is null, not"));
  EXPECT_THAT(message("{\"a\": true}"), HasSubstr("is true or false, not"));
  EXPECT_THAT(message("{\"a\": {}}"), HasSubstr("is an object, not"));
  EXPECT_THAT(message("{\"a\": [0]}"), HasSubstr("is a list, not"));
  EXPECT_THAT(message("[1]"), HasSubstr("expected an object {piece: id}, found a list"));
  EXPECT_THAT(message("3"), HasSubstr("found a number"));
  EXPECT_THAT(message("{\"a\": 0"), HasSubstr("not JSON at byte"));
  EXPECT_THAT(message("{\"a\": 0} x"), HasSubstr("not JSON at byte"));
  EXPECT_THAT(message("{\"\xFF\": 0}"), HasSubstr("not JSON at byte"));
  EXPECT_THAT(message(""), HasSubstr("not JSON at byte"));
  EXPECT_THAT(message("{}"), HasSubstr("it has no pieces"));
}

}  // namespace
}  // namespace fovea
