// translate, evaluate and info as their users meet them, on a small model with random weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "run_program.h"

namespace {

namespace fs = std::filesystem;
using fovea::test::How;
using fovea::test::Ran;
using fovea::test::run_program;
using fovea::test::TemporaryFolder;
using fovea::test::write_text;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using Json = nlohmann::json;

class Translate : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    fovea::test::write_tiny_model(folder_->path());
  }
  static void TearDownTestSuite() { delete folder_; }

  static Ran translate(std::vector<std::string> arguments, const How& how = {}) {
    arguments.insert(arguments.begin(), {"translate", "--model", folder_->path().string()});
    return run_program(arguments, how);
  }
  static std::string file(const std::string& name, const std::string& text) {
    const fs::path path = folder_->path() / name;
    write_text(path, text);
    return path.string();
  }
  static std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }
  // One line on standard error, exit status 1.
  static void expect_failure(const Ran& ran, const std::string& text) {
    EXPECT_EQ(ran.status, 1);
    EXPECT_THAT(ran.err, StartsWith("fovea: "));
    EXPECT_THAT(ran.err, HasSubstr(text));
    EXPECT_EQ(lines_of(ran.err).size(), 1u) << ran.err;
  }
  static void expect_misuse(const Ran& ran, const std::string& text) {
    EXPECT_EQ(ran.status, 2) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr(text));
    EXPECT_THAT(ran.out, IsEmpty());
  }

  static TemporaryFolder* folder_;
};
TemporaryFolder* Translate::folder_ = nullptr;

TEST_F(Translate, TextFileAndStandardInputSayTheSame) {
  const Ran text = translate({"Le chat noir.\nJe ne sais pas."});
  EXPECT_EQ(text.status, 0);
  EXPECT_EQ(lines_of(text.out).size(), 2u);
  EXPECT_EQ(translate({file("text.fr", "Le chat noir.\nJe ne sais pas.\n")}).out, text.out);
  EXPECT_EQ(translate({"-"}, {"Le chat noir.\nJe ne sais pas."}).out, text.out);
  EXPECT_EQ(translate({}, {"Le chat noir.\r\nJe ne sais pas.\r\n"}).out, text.out);
}

TEST_F(Translate, OneLineForEachLineEmptyStaysEmpty) {
  const Ran ran = translate({"-"}, {"\nLe chat.\n\n  \nLa table.\n"});
  EXPECT_EQ(ran.status, 0);
  const auto lines = lines_of(ran.out);
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_THAT(lines[0] + lines[2] + lines[3], IsEmpty());
  EXPECT_EQ(lines[1] + "\n", translate({"Le chat."}).out);
  EXPECT_EQ(translate({"-"}, {""}).out, "");
  EXPECT_EQ(translate({""}).out, "\n");
  EXPECT_EQ(translate({file("empty", "")}).out, "");
}

TEST_F(Translate, BatchAndThreadsChangeNothing) {
  std::string input;
  for (const std::string& line : fovea::test::tiny_corpus()) input += line + "\n";
  const std::string out = translate({"-"}, {input}).out;
  EXPECT_EQ(translate({"--batch", "1", "--threads", "1", "-"}, {input}).out, out);
  EXPECT_EQ(translate({"--batch", "3", "--threads", "3", "-"}, {input}).out, out);
}

TEST_F(Translate, AlignmentAndNBest) {
  const Ran aligned = translate({"--alignment", "Le chat noir."});
  EXPECT_THAT(aligned.out, ContainsRegex(" \\|\\|\\| [0-9]+-[0-9]+( [0-9]+-[0-9]+)*\n$"));
  const auto best = lines_of(translate({"--n-best", "3", "-"}, {"a\nLe chat.\n"}).out);
  ASSERT_EQ(best.size(), 6u);
  EXPECT_THAT(best[2], ContainsRegex("^0 \\|\\|\\| .* \\|\\|\\| -[0-9]+\\.[0-9]+$"));
  EXPECT_THAT(best[3], StartsWith("1 ||| "));
  EXPECT_EQ(translate({"Le chat."}).out, best[3].substr(6, best[3].rfind(" ||| ") - 6) + "\n");
}

TEST_F(Translate, JsonCarriesItAll) {
  const Ran ran = translate(
      {"--json", "--n-best", "2", "--layer", "2", "--head", "1", "--reading", "output-raw", "-"},
      {"Le chat noir.\n\n"});
  EXPECT_EQ(ran.status, 0);
  const auto lines = lines_of(ran.out);
  ASSERT_EQ(lines.size(), 2u);
  const Json root = Json::parse(lines[0]);
  EXPECT_EQ(root["source"], "Le chat noir.");
  EXPECT_EQ(root["hypotheses"].size(), 2u);
  EXPECT_EQ(root["source_words"].size(), 3u);
  EXPECT_EQ(root["attention"].size(), root["target_words"].size());
  EXPECT_EQ(root["reading"],
            Json::parse(R"({"layer": 2, "head": 1, "step": "output", "weighting": "raw"})"));
  EXPECT_EQ(Json::parse(lines[1])["hypotheses"][0]["text"], "");
}

TEST_F(Translate, HighlightNamesLayerAndReading) {
  const Ran plain = translate({"--highlight", "Le chat noir."});
  EXPECT_EQ(plain.status, 0);
  EXPECT_THAT(plain.out, StartsWith("Le chat noir.\n"));
  EXPECT_THAT(plain.out, HasSubstr("decoder layer 2, heads averaged, output step, raw"));
  EXPECT_THAT(plain.out, Not(HasSubstr("\x1b")));  // not a terminal
  EXPECT_THAT(plain.out, HasSubstr("#"));
  const Ran colored = translate({"--highlight", "--color", "always", "Le chat noir."},
                                {"", {"COLORTERM=truecolor"}});
  EXPECT_THAT(colored.out, HasSubstr("\x1b[38;2;0;0;0;48;2;"));
  EXPECT_THAT(translate({"--highlight", "--head", "2", "--reading", "input-raw", "a"}).out,
              HasSubstr("head 2, input step, raw"));
}

TEST_F(Translate, PictureOfTheFirstLine) {
  const std::string picture = (folder_->path() / "picture.svg").string();
  const Ran ran = translate({"--svg", picture, "-"}, {"\nLe chat.\nLa table.\n"});
  EXPECT_EQ(ran.status, 0);
  EXPECT_THAT(fovea::test::read_text(picture), HasSubstr("chat"));
  EXPECT_THAT(ran.err, HasSubstr("line 3 and what follows are not in"));
  expect_failure(translate({"--svg", "/no/such/folder/p.svg", "Le chat."}),
                 "/no/such/folder/p.svg");
}

TEST_F(Translate, LongLinesAreCutWithAWord) {
  std::string line;
  for (int i = 0; i < 40; ++i) line += "Le chat noir dort sous la table. ";
  const Ran ran = translate({"--beam", "1", "-"}, {"a\n" + line + "\n"});
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(lines_of(ran.out).size(), 2u);
  EXPECT_THAT(
      ran.err,
      ContainsRegex("fovea translate: line 2 is longer than the 64 pieces that the model takes: "
                    "translated in [0-9]+ parts"));
}

TEST_F(Translate, AVeryLongLineWorks) {
  std::string line;
  for (int i = 0; i < 20000; ++i) line += i % 9 == 0 ? "table. " : "chat ";
  const Ran ran = translate({"--beam", "1", "-"}, {line});
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(lines_of(ran.out).size(), 1u);
}

TEST_F(Translate, WordsThatLookLikeFiles) {
  const Ran ran = translate({"news.fr"});
  EXPECT_EQ(ran.status, 0);
  EXPECT_THAT(ran.err, HasSubstr("no file 'news.fr' here: taken as text"));
  EXPECT_THAT(translate({"Le chat."}).err, Not(HasSubstr("taken as text")));
}

TEST_F(Translate, BadInputIsOneLineAndExitOne) {
  expect_failure(translate({"-"}, {"good\nb\xE9"
                                   "d\n"}),
                 "standard input: line 2, byte 2 is not UTF-8");
  const std::string bad = file("bad.fr", "a\n\n\xFF\n");
  expect_failure(translate({bad}), bad + ": line 3, byte 1 is not UTF-8");
  expect_failure(run_program({"translate", "--model", "/no/such", "a"}),
                 "/no/such: no such folder");
  const TemporaryFolder empty;
  expect_failure(run_program({"translate", "--model", empty.path().string(), "a"}),
                 "vocab.json: cannot open");
}

TEST_F(Translate, ForeignTokenizer) {
  const TemporaryFolder copy;
  fovea::test::write_tiny_model(copy.path());
  const std::vector<std::string> greek(
      8, "\xCE\xB1\xCE\xB2\xCE\xB3 \xCE\xB4\xCE\xB5\xCE\xB6 \xCE\xB7\xCE\xB8");
  write_text(copy.path() / "source.spm", fovea::test::learn_pieces(greek, 20));
  expect_failure(run_program({"translate", "--model", copy.path().string(), "a"}),
                 "it belongs to another model");
}

TEST_F(Translate, FullDiskAndClosedPipe) {
  if (fs::exists("/dev/full")) {
    How full;
    full.out = "/dev/full";
    expect_failure(translate({"a"}, full),
                   "standard output: cannot write: No space left on device");
  }
  const TemporaryFolder folder;
  const std::string err = (folder.path() / "err").string();
  const std::string input = file("many.fr", [] {
    std::string text;
    for (int i = 0; i < 3000; ++i) text += "Le chat.\n";
    return text;
  }());
  const std::string command = "(\"" FOVEA_PROGRAM "\" translate --beam 1 --model \"" +
                              folder_->path().string() + "\" \"" + input + "\" 2>\"" + err +
                              "\"; echo $? >>\"" + err + "\") | head -n 1 >/dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_THAT(fovea::test::read_text(err),
              HasSubstr("fovea: standard output: cannot write: Broken pipe\n1\n"));
}

TEST_F(Translate, MisuseIsExitTwo) {
  expect_misuse(translate({"a", "b"}), "put the text in quotes");
  expect_misuse(translate({"--beam", "0", "a"}), "--beam");
  expect_misuse(translate({"--n-best", "9", "a"}), "--n-best is 9, but the beam keeps only 4");
  expect_misuse(translate({"--layer", "7", "a"}),
                "--layer is 7, but the model's decoder has 2 layers");
  expect_misuse(translate({"--head", "3", "a"}),
                "--head is 3, but the model's decoder has 2 heads");
  expect_misuse(translate({"--head", "x", "a"}), "--head is a number from 1, or mean, not 'x'");
  expect_misuse(translate({"--reading", "sideways", "a"}), "--reading");
  expect_misuse(translate({"--highlight", "--alignment", "a"}), "three forms of output");
  expect_misuse(translate({folder_->path().string()}), "is a folder");
  expect_misuse(translate({"--nonsense"}), "--nonsense");
}

// Every option of the program stands in its help, with a line that can be pasted.
TEST_F(Translate, HelpTeaches) {
  for (const std::string command : {"translate", "evaluate", "info"}) {
    const Ran ran = run_program({command, "--help"});
    EXPECT_EQ(ran.status, 0);
    EXPECT_THAT(ran.out, StartsWith("fovea " + command + ": "));
    EXPECT_THAT(ran.out, HasSubstr("Try it:\n  "));
    for (const std::string& line : lines_of(ran.out)) EXPECT_LE(line.size(), 100u) << line;
  }
  const std::string help = run_program({"translate", "--help"}).out;
  for (const char* option :
       {"--model", "--beam", "--batch", "--threads", "--highlight", "--alignment", "--layer",
        "--head", "--reading", "--n-best", "--json", "--svg", "--color"}) {
    EXPECT_THAT(help, HasSubstr(option));
  }
}

TEST_F(Translate, ModelFromTheEnvironment) {
  const std::string variable = "FOVEA_MODEL=" + folder_->path().string();
  EXPECT_EQ(run_program({"translate", "Le chat."}, {"", {variable}}).out,
            translate({"Le chat."}).out);
}

TEST_F(Translate, InfoSaysWhatIsThere) {
  const Ran text = run_program({"info", folder_->path().string()});
  EXPECT_EQ(text.status, 0);
  EXPECT_THAT(text.out, HasSubstr("2 encoder, 2 decoder; width 16"));
  EXPECT_THAT(text.out, HasSubstr("kernels "));
  const Json root = Json::parse(run_program({"info", "--json", folder_->path().string()}).out);
  EXPECT_EQ(root["model"]["width"], 16);
  EXPECT_FALSE(root["machine"]["isas"].empty());
  const Json pieces = Json::parse(
      run_program({"info", folder_->path().string(), "--pieces", "-"}, {"Le chat\n"}).out);
  EXPECT_EQ(pieces["text"], "Le chat");
  EXPECT_EQ(pieces["ids"].back(), 0);
  EXPECT_EQ(run_program({"info", "/no/such"}).status, 1);
}

}  // namespace
