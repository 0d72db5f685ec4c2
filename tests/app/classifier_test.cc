#include "fovea/classifier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "app/tiny_reader.h"
#include "fovea/error.h"
#include "fovea/render.h"

namespace {

using fovea::Classification;
using fovea::Classifier;
using fovea::Threads;
using fovea::test::TemporaryFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Texts = std::vector<std::string>;

class Classify : public ::testing::Test {
 protected:
  void SetUp() override { fovea::test::write_tiny_reader(folder_.path()); }
  Classification one(const std::string& text) {
    return Classifier::load(folder_.path()).classify(Texts{text}, threads_)[0];
  }

  TemporaryFolder folder_;
  Threads threads_{1};
};

TEST_F(Classify, WordsHaveTheSumsOfTheirPieces) {
  // Pieces: the, film, ##s, [UNK], good and the full stop, which stands apart.
  const Classification got = one("The films zzz good.");
  ASSERT_EQ(got.words.size(), 4u);
  EXPECT_EQ(got.pieces, 6);
  EXPECT_EQ(got.windows, 1);
  const fovea::BertReader reader = fovea::BertReader::load(folder_.path());
  const fovea::ReadText read =
      reader.read(std::vector<std::vector<std::int32_t>>{{5, 6, 7, 1, 9, 12}}, {2, 3}, threads_)[0];
  const auto best = static_cast<std::size_t>(
      std::max_element(read.probabilities.begin(), read.probabilities.end()) -
      read.probabilities.begin());
  EXPECT_EQ(got.labels[0].label, reader.info().labels[best]);
  EXPECT_EQ(got.labels[0].probability, read.probabilities[best]);
  const std::vector<std::vector<std::size_t>> pieces = {{0}, {1, 2}, {3}, {4}};
  for (std::size_t w = 0; w < 4; ++w) {
    double weight = 0, evidence = 0;
    for (const std::size_t j : pieces[w]) {
      weight += read.weights[j];
      evidence += read.evidence[best * 6 + j];
    }
    EXPECT_TRUE(std::fabs(got.weights[w] - weight) < 1e-9) << w;
    EXPECT_TRUE(std::fabs(got.evidence[w] - evidence) < 1e-9) << w;
  }
  EXPECT_TRUE(std::fabs(got.punctuation_weight - read.weights[5]) < 1e-9);
  EXPECT_TRUE(std::fabs(got.punctuation_evidence - read.evidence[best * 6 + 5]) < 1e-9);
}

TEST_F(Classify, LabelsDescendAndAddUp) {
  const Classification got = one("very good, very bad");
  ASSERT_EQ(got.labels.size(), 3u);
  double total = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    total += got.labels[i].probability;
    if (i > 0) {
      EXPECT_LE(got.labels[i].probability, got.labels[i - 1].probability);
    }
  }
  EXPECT_TRUE(std::fabs(total - 1) < 1e-12);
}

TEST_F(Classify, LongTextsAreReadWhole) {
  std::string text;
  for (int i = 0; i < 50; ++i) text += "the film is good ";
  const Classification got = one(text);
  EXPECT_EQ(got.pieces, 200);
  EXPECT_EQ(got.windows, 34);  // of at most 6 pieces
  EXPECT_EQ(got.weights.size(), 200u);
  EXPECT_TRUE(std::fabs(std::accumulate(got.weights.begin(), got.weights.end(), 0.0) - 1) < 1e-4);
}

TEST_F(Classify, ATextWithoutWordsHasNoLabels) {
  for (const char* text : {"", "  ", "\xE2\x80\x8B"}) {
    const Classification got = one(text);
    EXPECT_THAT(got.labels, IsEmpty());
    EXPECT_EQ(got.pieces, 0);
  }
}

TEST_F(Classify, KeepsTheOrderOfTheTexts) {
  const Texts texts = {"good", "", "bad bad bad bad bad bad bad bad bad", "very"};
  const auto got = Classifier::load(folder_.path()).classify(texts, threads_);
  ASSERT_EQ(got.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(got[i].text, texts[i]);
    EXPECT_EQ(got[i].weights, one(texts[i]).weights);
  }
}

TEST_F(Classify, NamesTheTextThatIsNotUtf8) {
  try {
    Classifier::load(folder_.path()).classify(Texts{"good", "b\xFF"}, threads_);
    FAIL();
  } catch (const fovea::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("text 2, byte 2 is not UTF-8"));
  }
}

TEST_F(Classify, RefusesAVocabularyOfAnotherModel) {
  std::string text = fovea::test::read_text(folder_.path() / "vocab.txt") + "more\n";
  fovea::test::write_text(folder_.path() / "vocab.txt", text);
  try {
    one("good");
    FAIL();
  } catch (const fovea::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("vocab.txt: 26 pieces, but the model's embedding has 25"));
  }
}

TEST(ClassificationText, JsonHasTheNamesOfTheRecord) {
  Classification one;
  one.text = "good.";
  one.labels = {{"good", 0.75}, {"bad", 0.25}};
  one.words = {{"good.", {0, 5}, {0, 4}}};
  one.weights = {0.875};
  one.evidence = {0.5};
  one.punctuation_weight = 0.125;
  one.punctuation_evidence = -0.25;
  one.pieces = 2;
  one.windows = 1;
  EXPECT_EQ(fovea::json_of(one),
            R"({"text":"good.","labels":[{"label":"good","probability":0.75},)"
            R"({"label":"bad","probability":0.25}],"words":[{"text":"good.","span":[0,5],)"
            R"("core":[0,4]}],"weights":[0.875],"evidence":[0.5],"punctuation_weight":0.125,)"
            R"("punctuation_evidence":-0.25,"pieces":2,"windows":1})");
}

TEST(ClassificationText, TerminalMarksTheStrongAndTamesTheText) {
  Classification one;
  one.labels = {{"good", 0.75}, {"bad", 0.25}};
  one.words = {{"a\x1b[2J", {0, 5}, {0, 5}}, {"fine", {6, 10}, {6, 10}}};
  one.weights = {0.1, 0.9};
  one.evidence = {-0.25, 0.5};
  const std::string text = fovea::terminal_of(one, {});
  EXPECT_THAT(text, HasSubstr("good 75%  bad 25%\n"));
  EXPECT_THAT(text, HasSubstr("*fine*"));
  EXPECT_THAT(text, HasSubstr("fine 90.0% +0.50"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("\x1b")));
  EXPECT_EQ(fovea::terminal_of(Classification{}, {}), "(no words)\n");
}

}  // namespace
