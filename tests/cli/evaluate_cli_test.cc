// evaluate as its users meet it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "run_program.h"

namespace {

namespace fs = std::filesystem;
using fovea::test::How;
using fovea::test::Ran;
using fovea::test::run_program;
using fovea::test::TemporaryFolder;
using fovea::test::write_text;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using Json = nlohmann::json;

class Evaluate : public ::testing::Test {
 protected:
  std::string file(const std::string& name, const std::string& text) const {
    const fs::path path = folder_.path() / name;
    write_text(path, text);
    return path.string();
  }
  static Ran evaluate(std::vector<std::string> arguments, const How& how = {}) {
    arguments.insert(arguments.begin(), "evaluate");
    return run_program(arguments, how);
  }
  // One line on standard error, exit status 1.
  static void expect_failure(const Ran& ran, const std::string& text) {
    EXPECT_EQ(ran.status, 1);
    EXPECT_THAT(ran.err, StartsWith("fovea: "));
    EXPECT_THAT(ran.err, HasSubstr(text));
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
    EXPECT_THAT(ran.out, IsEmpty());
  }
  static void expect_misuse(const Ran& ran, const std::string& text) {
    EXPECT_EQ(ran.status, 2) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr(text));
    EXPECT_THAT(ran.out, IsEmpty());
  }

  TemporaryFolder folder_;
  std::string hypotheses_ = file("hyp", "It's 3.5-mm, ok?\n");
  std::string reference_ = file("ref", "It's 3.5 mm, ok?\n");
};

TEST_F(Evaluate, ScoresWithTheirSignatures) {
  const Ran text = evaluate({"--hypotheses", hypotheses_, "--references", reference_});
  EXPECT_EQ(text.status, 0);
  EXPECT_EQ(text.out,
            "BLEU     48.89   85.7/66.7/40.0/25.0, brevity 1.000, length 7 of 6\n"
            "                 nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0+fovea\n"
            "chrF2    71.43   nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.6.0+fovea\n"
            "chrF2++  67.55   nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no|version:2.6.0+fovea\n");
}

TEST_F(Evaluate, SeveralReferencesAndStandardInput) {
  const Ran ran = evaluate({"--json", "--hyp", "-", "--ref", hypotheses_, reference_},
                           {"It's 3.5 mm, ok?\r\n"});
  ASSERT_EQ(ran.status, 0) << ran.err;
  const Json root = Json::parse(ran.out);
  EXPECT_NEAR(root["bleu"]["score"].get<double>(), 100, 1e-9);
  EXPECT_EQ(root["chrf"].size(), 2u);
  EXPECT_THAT(root["bleu"]["signature"].get<std::string>(), StartsWith("nrefs:2|"));
}

TEST_F(Evaluate, OptionsAreHandedOn) {
  const auto signature = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--hyp", hypotheses_, "--ref", reference_, "--json"});
    return Json::parse(evaluate(more).out)["bleu"]["signature"].get<std::string>();
  };
  EXPECT_THAT(signature({"--lowercase", "--tokenize", "char", "--smooth", "floor", "--smooth-value",
                         "0.25", "--effective-order"}),
              StartsWith("nrefs:1|case:lc|eff:yes|tok:char|smooth:floor[0.25]|"));
  EXPECT_THAT(signature({"--tokenize", "none", "--smooth", "add-k"}),
              StartsWith("nrefs:1|case:mixed|eff:no|tok:none|smooth:add-k[1.00]|"));
  EXPECT_THAT(signature({"--smooth", "none", "--bootstrap", "--samples", "7", "--seed", "3"}),
              StartsWith("nrefs:1|bs:7|seed:3|case:mixed|eff:no|tok:13a|smooth:none|"));
}

TEST_F(Evaluate, ComparesTwoSystemsByLength) {
  const std::string reference = file("r", "a b c d e\nf g h i\n");
  const std::string source = file("s", "un deux\nm m m m m m m m m m\n");
  const std::string wrong = file("w", "x\ny\n");
  const Ran ran = evaluate({"--hyp", reference, "--ref", reference, "--baseline", wrong,
                            "--by-length", "--source", source, "--samples", "9"});
  ASSERT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.out,
              HasSubstr("BLEU    100.00 [100.00, 100.00]   100.0/100.0/100.0/100.0, brev"));
  EXPECT_THAT(ran.out,
              HasSubstr("          0.00 [0.00, 0.00]   the baseline\n"
                        "        +100.00 [+100.00, +100.00]   the difference, p = 0.1000"));
  EXPECT_THAT(ran.out, HasSubstr("\nsources of 1-9 words: 1 line\n  BLEU    100.00 [100.00, 100.00]"
                                 "   baseline 0.00 [0.00, 0.00]   difference +100.00"));
  EXPECT_THAT(ran.out, HasSubstr("\nsources of 10-19 words: 1 line\n"));
  const Json root = Json::parse(evaluate({"--hyp", reference, "--ref", reference, "--baseline",
                                          wrong, "--by-length", "--source", source, "--json"})
                                    .out);
  EXPECT_EQ(root["by_length"][0]["words"], Json({{"least", 1}, {"most", 9}}));
  EXPECT_EQ(root["by_length"][1]["words"], Json({{"least", 10}, {"most", 19}}));
  EXPECT_LT(root["bleu"]["difference"]["p_value"].get<double>(), 0.002);  // 1000 samples
}

TEST_F(Evaluate, FailsInOneLine) {
  expect_failure(evaluate({"--hyp", hypotheses_, "--ref", file("long", "a\nb\n")}),
                 hypotheses_ + " has 1 lines but " + (folder_.path() / "long").string() +
                     " has 2: line i of both must be the same sentence");
  expect_failure(
      evaluate({"--hyp", hypotheses_, "--ref", reference_, "--baseline", file("long", "a\nb\n")}),
      "has 2: line i");
  expect_failure(evaluate({"--hyp", hypotheses_, "--ref", reference_, "--by-length", "--source",
                           file("long", "a\nb\n")}),
                 "has 2: line i");
  expect_failure(evaluate({"--hyp", "/no/such", "--ref", reference_}), "/no/such: cannot open");
  expect_failure(evaluate({"--hyp", hypotheses_, "--ref", "/no/such"}), "/no/such: cannot open");
  expect_failure(evaluate({"--hyp", file("none", ""), "--ref", file("none", "")}),
                 "no lines to score");
  expect_failure(evaluate({"--hyp", file("latin1", "caf\xE9\n"), "--ref", reference_}),
                 "latin1: line 1, byte 4 is not UTF-8; convert it, for example with iconv");
  expect_failure(evaluate({"--hyp", hypotheses_, "--ref", file("cut", "ok \xF0\x9F\x98\n")}),
                 "cut: line 1, byte 4 is not UTF-8");
}

TEST_F(Evaluate, MisuseIsExitTwo) {
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--hyp", hypotheses_, "--ref", reference_});
    return evaluate(more);
  };
  expect_misuse(evaluate({"--hyp", hypotheses_}), "--references is required");
  expect_misuse(with({"--tokenize", "zh"}), "--tokenize");
  expect_misuse(with({"--smooth", "x"}), "--smooth");
  expect_misuse(with({"--smooth-value", "-1"}), "--smooth-value");
  expect_misuse(with({"--samples", "1"}), "--samples");
  expect_misuse(with({"--seed", "-1"}), "--seed");
  expect_misuse(with({"--by-length"}), "give it with --source FILE");
  expect_misuse(with({"--source", reference_}), "--source is read for --by-length only");
  expect_misuse(with({"--baseline", "-", "--by-length", "--source", "-"}),
                "standard input can be only one of the files");
  expect_misuse(with({"--nonsense"}), "--nonsense");
}

TEST_F(Evaluate, HelpNamesEveryOption) {
  const std::string help = evaluate({"--help"}).out;
  for (const char* option : {"--hypotheses", "--references", "--baseline", "--by-length",
                             "--source", "--lowercase", "--tokenize", "--smooth ", "--smooth-value",
                             "--effective-order", "--bootstrap", "--samples", "--seed", "--json"}) {
    EXPECT_THAT(help, HasSubstr(std::string("  ") + option));
  }
}

// The lines under "Try it" do what they say.
TEST_F(Evaluate, HelpCanBePasted) {
  const std::string help = evaluate({"--help"}).out;
  const std::size_t begin = help.find("Try it:\n") + 8;
  std::istringstream lines(help.substr(begin, help.find("\n\n", begin) - begin));
  std::string script =
      "fovea() { '" FOVEA_PROGRAM "' \"$@\"; }\nset -e\ncd '" + folder_.path().string() + "'\n";
  for (std::string line; std::getline(lines, line);) script += line + "\n";
  const std::string path = file("try.sh", script), out = (folder_.path() / "out").string();
  ASSERT_EQ(std::system(("sh '" + path + "' > '" + out + "'").c_str()), 0);
  EXPECT_THAT(fovea::test::read_text(out), HasSubstr("sources of 1-9 words: 2 lines"));
}

}  // namespace
