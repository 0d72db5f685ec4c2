// classify as its users meet it, on a small reader with random weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "app/tiny_reader.h"
#include "run_program.h"

namespace {

using fovea::test::How;
using fovea::test::Ran;
using fovea::test::run_program;
using fovea::test::TemporaryFolder;
using fovea::test::write_text;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::StartsWith;
using Json = nlohmann::json;

class ClassifyCommand : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    fovea::test::write_tiny_reader(folder_->path());
  }
  static void TearDownTestSuite() { delete folder_; }

  static Ran classify(std::vector<std::string> arguments, const How& how = {}) {
    arguments.insert(arguments.begin(), {"classify", "--model", folder_->path().string()});
    return run_program(arguments, how);
  }
  static std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }

  static TemporaryFolder* folder_;
};
TemporaryFolder* ClassifyCommand::folder_ = nullptr;

TEST_F(ClassifyCommand, OneLineForEachLine) {
  const Ran ran = classify({"-"}, {.input = "the film is good\n\nvery bad"});
  ASSERT_EQ(ran.status, 0) << ran.err;
  const auto lines = lines_of(ran.out);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_THAT(lines[0], MatchesRegex("(bad|fair|good)\t[01]\\.[0-9]{4}"));
  EXPECT_EQ(lines[1], "");
  EXPECT_THAT(lines[2], MatchesRegex("(bad|fair|good)\t[01]\\.[0-9]{4}"));
  EXPECT_THAT(ran.err, IsEmpty());
}

TEST_F(ClassifyCommand, TextFileAndInputGiveTheSame) {
  const std::string path = (folder_->path() / "text.txt").string();
  write_text(path, "the film is good\n");
  const std::string text = classify({"the film is good"}).out;
  EXPECT_THAT(text, testing::Not(IsEmpty()));
  EXPECT_EQ(classify({path}).out, text);
  EXPECT_EQ(classify({}, {.input = "the film is good"}).out, text);
}

TEST_F(ClassifyCommand, WholeTakesAllLinesAsOneText) {
  const std::string text = "the film\nis good\n\nvery bad\n";
  const Ran ran = classify({"--whole", "--json", "--batch", "1", "-"}, {.input = text});
  ASSERT_EQ(ran.status, 0) << ran.err;
  ASSERT_EQ(lines_of(ran.out).size(), 1u);
  const Json one = Json::parse(ran.out);
  EXPECT_EQ(one["words"].size(), 6u);
  EXPECT_EQ(one["windows"], 1);
  EXPECT_EQ(one["text"], "the film\nis good\n\nvery bad");
}

TEST_F(ClassifyCommand, JsonAgreesWithTheLine) {
  const Json one = Json::parse(classify({"--json", "very good."}).out);
  double weights = one["punctuation_weight"];
  for (const double weight : one["weights"]) weights += weight;
  EXPECT_TRUE(std::abs(weights - 1) < 1e-5);
  char line[64];
  std::snprintf(line, sizeof line, "%s\t%.4f\n",
                one["labels"][0]["label"].get<std::string>().c_str(),
                one["labels"][0]["probability"].get<double>());
  EXPECT_EQ(classify({"very good."}).out, line);
}

TEST_F(ClassifyCommand, BatchAndThreadsChangeNothing) {
  std::string text;
  for (int i = 0; i < 9; ++i)
    text += "the film is " + std::string(i % 2 ? "good" : "bad, very") + "\n";
  const std::string usual = classify({"--json", "-"}, {.input = text}).out;
  EXPECT_EQ(lines_of(usual).size(), 9u);
  EXPECT_EQ(classify({"--json", "--batch", "2", "--threads", "1", "-"}, {.input = text}).out,
            usual);
  EXPECT_EQ(classify({"--json", "--batch", "5", "--threads", "3", "-"}, {.input = text}).out,
            usual);
}

TEST_F(ClassifyCommand, HighlightsWithAndWithoutColours) {
  const Ran plain = classify({"--highlight", "--color", "never", "the film is good"});
  EXPECT_THAT(plain.out, HasSubstr("looked at"));
  EXPECT_THAT(plain.out, testing::Not(HasSubstr("\x1b")));
  EXPECT_THAT(classify({"--highlight", "--color", "always", "the film is good"}).out,
              HasSubstr("\x1b["));
}

TEST_F(ClassifyCommand, FailsWithOneLine) {
  const auto fails = [](const Ran& ran, const std::string& text) {
    EXPECT_EQ(ran.status, 1);
    EXPECT_THAT(ran.err, StartsWith("fovea: "));
    EXPECT_THAT(ran.err, HasSubstr(text));
    EXPECT_EQ(lines_of(ran.err).size(), 1u) << ran.err;
    EXPECT_THAT(ran.out, IsEmpty());
  };
  fails(classify({"-"}, {.input = "good\nb\xFF\n"}), "line 2");
  fails(run_program({"classify", "--model", "/nowhere/at/all", "x"}), "no such folder");
  const TemporaryFolder translator;
  fovea::test::write_tiny_model(translator.path());
  fails(run_program({"classify", "--model", translator.path().string(), "x"}),
        "\"model_type\" is \"marian\"; expected \"bert\"");
  fails(run_program({"translate", "--model", folder_->path().string(), "x"}), "vocab.json");
}

TEST_F(ClassifyCommand, AnotherKindInFoveaModelIsPassedOver) {
  const TemporaryFolder translator;
  fovea::test::write_tiny_model(translator.path());
  const Ran ran = run_program({"classify", "good"},
                              {.environment = {"FOVEA_MODEL=" + translator.path().string()}});
  EXPECT_THAT(ran.err, testing::Not(HasSubstr("marian")));
  const Ran named = run_program({"classify", "good"},
                                {.environment = {"FOVEA_MODEL=" + folder_->path().string()}});
  EXPECT_EQ(named.status, 0) << named.err;
  EXPECT_EQ(named.out, classify({"good"}).out);
}

TEST_F(ClassifyCommand, MisuseIsTwo) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"a", "b"}, {"--highlight", "--json", "a"}, {"--batch", "0", "a"}, {"--nonsense"}}) {
    const Ran ran = classify(words);
    EXPECT_EQ(ran.status, 2) << words[0];
    EXPECT_THAT(ran.out, IsEmpty());
  }
  EXPECT_EQ(classify({folder_->path().string()}).status, 2);  // a folder is no text
}

TEST_F(ClassifyCommand, HelpTeaches) {
  const Ran ran = run_program({"classify", "--help"});
  EXPECT_EQ(ran.status, 0);
  EXPECT_THAT(ran.out, HasSubstr("fovea classify \"A warm, funny film"));
}

}  // namespace
