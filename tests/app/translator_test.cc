// Text in, text and records out, on a small model with random weights: what it says is nonsense,
// but what must hold of every model holds of it.
#include "fovea/translator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "app/model_notes.h"
#include "app/tiny_folder.h"
#include "fovea/alignment.h"
#include "fovea/error.h"
#include "fovea/text.h"

namespace fovea {
namespace {

using test::TemporaryFolder;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class TranslatorTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    test::write_tiny_model(folder_->path());
    translator_ = new Translator(Translator::load(folder_->path()));
    threads_ = new Threads(2);
  }
  static void TearDownTestSuite() {
    delete translator_;
    delete threads_;
    delete folder_;
  }
  static std::vector<Translation> translate(const std::vector<std::string>& lines,
                                            const TranslateOptions& options = {}) {
    return translator_->translate(lines, options, *threads_);
  }

  static TemporaryFolder* folder_;
  static Translator* translator_;
  static Threads* threads_;
};
TemporaryFolder* TranslatorTest::folder_ = nullptr;
Translator* TranslatorTest::translator_ = nullptr;
Threads* TranslatorTest::threads_ = nullptr;

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string substring(const std::string& text, Span span) {
  return to_utf8(code_points(text).substr(static_cast<std::size_t>(span.begin),
                                          static_cast<std::size_t>(span.end - span.begin)));
}

std::string long_text() {
  std::string text;
  for (int i = 0; i < 12; ++i) {
    text += "Le chat noir dort sous la table, parce qu'il pleut. Ich wei\xC3\x9F es nicht: warum? ";
  }
  return text;
}

TEST_F(TranslatorTest, OneTranslationForEachLineInOrder) {
  const std::vector<std::string> lines = {"Le chat.", "", "Je ne sais pas pourquoi il pleut.",
                                          " \t ", "a"};
  const auto all = translate(lines);
  ASSERT_THAT(all, SizeIs(lines.size()));
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(all[i].source, lines[i]);
    ASSERT_THAT(all[i].hypotheses, SizeIs(1));
    EXPECT_EQ(all[i].hypotheses[0].text, translate({lines[i]})[0].hypotheses[0].text) << i;
  }
  EXPECT_EQ(all[1].hypotheses[0].text, "");
  EXPECT_EQ(all[3].hypotheses[0].text, "");
  EXPECT_THAT(all[3].parts, IsEmpty());
}

TEST_F(TranslatorTest, BatchesDoNotChangeTranslations) {
  std::vector<std::string> lines = test::tiny_corpus();
  TranslateOptions one, many;
  one.batch = 1;
  many.batch = 5;
  const auto a = translate(lines, one), b = translate(lines, many);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(a[i].hypotheses[0].ids, b[i].hypotheses[0].ids) << lines[i];
  }
}

TEST_F(TranslatorTest, SharesAddUpAndSpansPointIntoTheTexts) {
  TranslateOptions options;
  options.attention = true;
  for (const bool norm : {false, true}) {
    options.reading = Reading{1, -1, true, norm};
    for (const Translation& t : translate(test::tiny_corpus(), options)) {
      ASSERT_EQ(t.attention.size(), t.target_words.size());
      ASSERT_EQ(t.end_weight.size(), t.target_words.size());
      ASSERT_EQ(t.punctuation_weight.size(), t.target_words.size());
      for (std::size_t w = 0; w < t.target_words.size(); ++w) {
        double sum = t.end_weight[w] + t.punctuation_weight[w];
        double last = 2;
        for (const WordWeight& weight : t.attention[w]) {
          sum += weight.weight;
          EXPECT_LE(weight.weight, last);
          last = weight.weight;
          EXPECT_LT(weight.word, static_cast<std::int32_t>(t.source_words.size()));
        }
        EXPECT_NEAR(sum, 1, 1e-6);
        EXPECT_EQ(substring(t.hypotheses[0].text, t.target_words[w].span), t.target_words[w].text);
      }
      for (const Word& word : t.source_words) EXPECT_EQ(substring(t.source, word.span), word.text);
      EXPECT_TRUE(t.reading.norm_weighted == norm && t.reading.layer == 1);
    }
  }
}

TEST_F(TranslatorTest, AttentionIsThatOfTheTeacherForcedPass) {
  TranslateOptions options;
  options.attention = true;
  options.reading = Reading{0, 1, true, false};
  const std::string line = "Le chat";
  const Translation t = translate({line}, options)[0];
  const auto tokenizer = MarianTokenizer::load(folder_->path());
  const Marian model = Marian::load(folder_->path());
  const auto source = tokenizer.encode(line);
  const auto attention = model.cross_attention(source.ids, t.hypotheses[0].ids, *threads_);
  // The first word's pieces by hand.
  const auto decoded = tokenizer.decode(t.hypotheses[0].ids);
  const auto owners = words_of_pieces(decoded.spans, t.target_words);
  double end = 0;
  int pieces = 0;
  for (std::size_t p = 0; p + 1 < owners.size(); ++p) {
    if (owners[p] != 0) continue;
    const auto row = (static_cast<std::size_t>(attention.steps) + p + 1) *
                     static_cast<std::size_t>(attention.keys);
    end +=
        static_cast<double>(attention.weights[row + static_cast<std::size_t>(attention.keys) - 1]);
    ++pieces;
  }
  ASSERT_GT(pieces, 0);
  EXPECT_NEAR(t.end_weight[0], end / pieces, 1e-6);
}

TEST_F(TranslatorTest, LongLinesAreCutAndNothingIsLost) {
  TranslateOptions options;
  options.attention = true;
  const std::string line = long_text();
  const Translation t = translate({line}, options)[0];
  ASSERT_GT(t.parts.size(), 2u);
  const std::u32string points = code_points(line);
  std::int32_t end = 0;
  for (const Span part : t.parts) {
    for (std::int32_t c = end; c < part.begin; ++c)
      EXPECT_TRUE(is_space(points[static_cast<std::size_t>(c)]));
    EXPECT_EQ(translator_->tokenizer().end, 0);
    end = part.end;
  }
  for (std::size_t c = static_cast<std::size_t>(end); c < points.size(); ++c)
    EXPECT_TRUE(is_space(points[c]));
  // Its parts alone say the same, joined by a space.
  std::string joined;
  std::size_t words_before = 0;
  std::size_t links = 0;
  for (const Span part : t.parts) {
    const Translation alone = translate({substring(line, part)}, options)[0];
    if (!joined.empty() && !alone.hypotheses[0].text.empty()) joined += ' ';
    joined += alone.hypotheses[0].text;
    for (std::size_t w = 0; w < alone.target_words.size(); ++w) {
      const Word& word = t.target_words[words_before + w];
      EXPECT_EQ(word.text, alone.target_words[w].text);
      EXPECT_EQ(substring(t.hypotheses[0].text, word.span), word.text);
      const std::size_t looked = static_cast<std::size_t>(t.attention[words_before + w][0].word);
      const std::size_t looked_alone = static_cast<std::size_t>(alone.attention[w][0].word);
      EXPECT_EQ(t.source_words[looked].text, alone.source_words[looked_alone].text);
      EXPECT_GE(t.source_words[looked].span.begin, part.begin);
      EXPECT_LE(t.source_words[looked].span.end, part.end);
    }
    words_before += alone.target_words.size();
    links += alone.alignment.size();
  }
  EXPECT_EQ(t.hypotheses[0].text, joined);
  EXPECT_EQ(t.target_words.size(), words_before);
  EXPECT_EQ(t.alignment.size(), links);
}

TEST_F(TranslatorTest, NBestIsDescendingAndChecked) {
  TranslateOptions options;
  options.search.beams = 4;
  options.search.n_best = 3;
  const Translation t = translate({"Le chat noir."}, options)[0];
  ASSERT_THAT(t.hypotheses, SizeIs(3));
  EXPECT_GE(t.hypotheses[0].score, t.hypotheses[1].score);
  EXPECT_GE(t.hypotheses[1].score, t.hypotheses[2].score);
  EXPECT_NE(t.hypotheses[0].ids, t.hypotheses[1].ids);
  options.search.n_best = 5;
  EXPECT_THAT(message_of([&] { translate({"a"}, options); }), HasSubstr("n-best is 5"));
  options = {};
  options.batch = 0;
  EXPECT_THAT(message_of([&] { translate({"a"}, options); }),
              HasSubstr("the batch must be at least 1"));
  options = {};
  options.search.beams = 0;
  EXPECT_THAT(message_of([&] { translate({"a"}, options); }),
              HasSubstr("the beam must be at least 1"));
}

TEST_F(TranslatorTest, SaysThatTheOutputWasCut) {
  TranslateOptions options;
  options.search.max_length = 6;
  EXPECT_TRUE(translate({"Le chat noir dort sous la table."}, options)[0].hypotheses[0].cut);
}

TEST_F(TranslatorTest, CanBeStoppedAndRefusesBadText) {
  TranslateOptions options;
  options.batch = 1;
  std::size_t seen = 0;
  options.progress = [&](std::size_t done, std::size_t parts) {
    EXPECT_EQ(parts, 3u);
    seen = done;
    return done < 2;
  };
  EXPECT_THAT(message_of([&] {
                translate({"a", "b", "c"}, options);
              }),
              HasSubstr("translate: stopped"));
  EXPECT_EQ(seen, 2u);
  EXPECT_THAT(message_of([&] {
                translate({"a", "b\xFF"});
              }),
              HasSubstr("line 2, byte 2 is not UTF-8"));
  options = {};
  options.attention = true;
  options.reading = Reading{9, -1, true, true};
  EXPECT_THAT(message_of([&] { translate({"a"}, options); }), HasSubstr("no layer 10"));
}

TEST_F(TranslatorTest, AttentionOfAGivenPair) {
  const PieceAttention pair = translator_->attention("Le chat", "The cat", *threads_);
  EXPECT_EQ(pair.attention.keys, static_cast<int>(pair.source.ids.size()));
  EXPECT_EQ(pair.attention.steps, static_cast<int>(pair.target.ids.size()));
  EXPECT_THAT(message_of([&] { translator_->attention(long_text(), "a", *threads_); }),
              HasSubstr("but the model has 64 positions"));
}

class NotesTest : public ::testing::Test {
 protected:
  NotesTest() { test::write_tiny_model(folder_.path()); }
  void set_notes(const nlohmann::json& notes) {
    auto config = nlohmann::ordered_json::parse(test::read_text(folder_.path() / "config.json"));
    config["fovea"] = notes;
    test::write_text(folder_.path() / "config.json", config.dump());
  }
  Translator load() { return Translator::load(folder_.path()); }
  std::string message() {
    return message_of([&] { load(); });
  }
  TemporaryFolder folder_;
};

TEST_F(NotesTest, AReadingOfItsOwn) {
  EXPECT_EQ(load().reading().layer, 1);  // shallow: the last layer, output step, raw
  EXPECT_FALSE(load().reading().input_step || load().reading().norm_weighted);
  MarianInfo deep;
  deep.decoder_layers = 6;
  deep.decoder_heads = 8;
  deep.positions = 512;
  const ModelNotes notes = read_model_notes("{}", "config.json", deep);
  EXPECT_EQ(notes.reading.layer, 1);
  EXPECT_EQ(notes.reading.head, -1);
  EXPECT_TRUE(notes.reading.input_step && notes.reading.norm_weighted);
  set_notes({{"reading", {{"layer", 1}, {"head", 1}, {"step", "input"}, {"weighting", "norm"}}},
             {"longest_source", 20},
             {"else", "ignored"}});
  const Translator translator = load();
  EXPECT_EQ(translator.reading().layer, 0);
  EXPECT_EQ(translator.reading().head, 0);
  EXPECT_TRUE(translator.reading().input_step);
  EXPECT_TRUE(translator.reading().norm_weighted);
  EXPECT_EQ(translator.longest_source(), 20);
  Threads threads(1);
  EXPECT_GT(
      translator.translate(std::vector<std::string>{long_text()}, {}, threads)[0].parts.size(),
      12u);
}

TEST_F(NotesTest, SayWhichFieldIsWrong) {
  set_notes({{"reading", {{"layer", 3}}}});
  EXPECT_THAT(
      message(),
      HasSubstr("config.json: fovea.reading.layer is 3, expected a whole number from 1 to 2"));
  set_notes({{"reading", {{"layer", 1.5}}}});
  EXPECT_THAT(message(), HasSubstr("fovea.reading.layer is 1.5"));
  set_notes({{"reading", {{"head", "first"}}}});
  EXPECT_THAT(message(), HasSubstr("fovea.reading.head is \"first\""));
  set_notes({{"reading", {{"step", "both"}}}});
  EXPECT_THAT(message(),
              HasSubstr("fovea.reading.step is \"both\", expected \"input\" or \"output\""));
  set_notes({{"reading", {{"weighting", 1}}}});
  EXPECT_THAT(message(), HasSubstr("fovea.reading.weighting is 1"));
  set_notes({{"reading", {{"colour", 1}}}});
  EXPECT_THAT(message(), HasSubstr("fovea.reading.colour is not known"));
  set_notes({{"reading", 1}});
  EXPECT_THAT(message(), HasSubstr("fovea.reading is not an object"));
  set_notes(3);
  EXPECT_THAT(message(), HasSubstr("fovea is not an object"));
  set_notes({{"longest_source", 65}});
  EXPECT_THAT(message(),
              HasSubstr("fovea.longest_source is 65, expected a whole number from 2 to 64"));
}

TEST_F(NotesTest, TokenizerOfAnotherModel) {
  auto vocabulary = nlohmann::json::parse(test::read_text(folder_.path() / "vocab.json"));
  const int size = static_cast<int>(vocabulary.size());
  vocabulary["more"] = size;
  test::write_text(folder_.path() / "vocab.json", vocabulary.dump());
  EXPECT_THAT(message(), HasSubstr("they belong to different models"));
  vocabulary.erase("more");
  vocabulary["</s>"] = 2;
  for (auto& [piece, id] : vocabulary.items()) {
    if (piece != "</s>" && id == 2) id = 0;
  }
  test::write_text(folder_.path() / "vocab.json", vocabulary.dump());
  EXPECT_THAT(message(), HasSubstr("the end of sentence has id 2, but config.json says 0"));
}

}  // namespace
}  // namespace fovea
