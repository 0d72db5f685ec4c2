// `fovea train` around a stand-in for fovea-fit: what it hands on, what it makes of the events, and
// how it ends. The real one needs PyTorch and is checked by tests/oracles/train_oracle.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/run_program.h"

namespace {

using fovea::test::Ran;
using fovea::test::read_text;
using fovea::test::run_program;
using fovea::test::TemporaryFolder;
using fovea::test::write_text;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

class TrainCommand : public testing::Test {
 protected:
  void SetUp() override {
    std::string text;
    for (int i = 0; i < 60; ++i)
      text += "un chat " + std::to_string(i) + "\ta cat that sleeps " + std::to_string(i) + "\n";
    write_text(folder_.path() / "t.tsv", text);
    write_text(folder_.path() / "v.tsv",
               "un chat 1\ta cat that sleeps 1\nun chat 2\ta cat that sleeps 2\n");
  }
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }

  // A fit that writes its words to `words` and then does `body`.
  void make_fit(const std::string& body) const {
    write_text(path("fit"), "#!/bin/sh\nprintf '%s\\n' \"$@\" > '" + path("words") + "'\n" + body);
    fs::permissions(path("fit"), fs::perms::owner_all);
  }
  Ran train(std::vector<std::string> words, const std::string& fit) const {
    words.insert(words.begin(), "train");
    return run_program(words,
                       {.environment = {"FOVEA_FIT=" + fit, "FOVEA_PREPARE=" FOVEA_PREPARE}});
  }
  std::vector<std::string> usual() const {
    return {path("t.tsv"), "--valid", path("v.tsv"), "--out", path("m"), "--vocab", "40"};
  }

  TemporaryFolder folder_;
};

TEST_F(TrainCommand, ScoresWhatFitTranslates) {
  // Its hypotheses are the targets' own ids, taken from what prepare wrote, so BLEU is 100.
  make_fit(
      R"sh(echo '{"event":"progress","step":1,"steps":9,"loss":2.5,"tokens_per_second":7,"eta":60}'
here=$(dirname "$0")
tail -c "$(cat "$here/bytes")" "$2/valid.ids" | od -An -v -t d4 | tr -s ' \n' '\n' | grep . |
  awk '{ if ($1 == 0) { print line; line = "" } else line = line " " $1 }' > "$here/hyp"
echo "{\"event\":\"valid\",\"step\":1,\"loss\":0.5,\"hypotheses\":\"$here/hyp\"}"
echo '{"event":"sample","step":1,"pair":1,"hypothesis":[0]}'
echo '{"event":"end","step":1,"complete":1}'
)sh");
  std::vector<std::string> words = usual();
  words.insert(words.end(), {"--stage", "prepare"});
  ASSERT_EQ(train(words, "").status, 0);
  // The target ids are the end of the file: their number stands in its header at byte 32.
  const std::string ids = read_text(path("m/work/ids/valid.ids"));
  std::int64_t targets = 0;
  std::memcpy(&targets, ids.data() + 32, 8);
  write_text(path("bytes"), std::to_string(4 * targets));
  const Ran ran =
      train({"--out", path("m"), "--stage", "fit", "--steps", "9", "--json"}, path("fit"));
  ASSERT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr(R"("event":"progress","step":1,"steps":9)"));
  EXPECT_THAT(ran.out, HasSubstr(R"("bleu":100.0)"));
  EXPECT_THAT(
      ran.out,
      HasSubstr(R"("source":"un chat 2","reference":"a cat that sleeps 2","hypothesis":"")"));
  EXPECT_THAT(read_text(path("words")), HasSubstr("--steps\n9\n"));
  EXPECT_THAT(read_text(path("words")), HasSubstr("--model\n" + path("m") + "\n"));
}

TEST_F(TrainCommand, ResumesWithTheOptionsOfTheStart) {
  make_fit("echo '{\"event\":\"end\",\"complete\":0}'\n");
  std::vector<std::string> words = usual();
  words.insert(words.end(), {"--width", "64", "--steps", "10"});
  Ran ran = train(words, path("fit"));
  ASSERT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("stopped. Go on: fovea train --out " + path("m") + " --resume"));
  EXPECT_THAT(read_text(path("words")), Not(HasSubstr("--resume")));
  ran = train(words, path("fit"));
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("holds a training already"));
  ran = train({"--out", path("m"), "--resume", "--steps", "20"}, path("fit"));
  ASSERT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(read_text(path("words")),
              HasSubstr("--resume\n--width\n64\n--steps\n10\n--steps\n20\n"));
}

TEST_F(TrainCommand, HandsOnTextAndAlignments) {
  make_fit("echo '{\"event\":\"end\",\"complete\":1}'\n");
  std::string links;
  for (int i = 0; i < 60; ++i) links += "0-0 1-1\n";
  write_text(path("links"), links);
  std::vector<std::string> words = usual();
  words.insert(words.end(), {"--join", "1", "--join-seed", "3", "--test", path("v.tsv"),
                             "--guided-alignment", path("links"), "--guided-alignment-weight",
                             "0.5", "--guided-alignment-layer", "2"});
  const Ran ran = train(words, path("fit"));
  ASSERT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(read_text(path("m/work/ids/test.target")), "a cat that sleeps 2 a cat that sleeps 1\n");
  EXPECT_TRUE(fs::exists(path("m/work/ids/train.links")));
  EXPECT_THAT(read_text(path("words")),
              HasSubstr("--guided-alignment-weight\n0.5\n--guided-alignment-layer\n2\n"));
  EXPECT_THAT(read_text(path("words")), Not(HasSubstr("--guided-alignment\n")));
}

TEST_F(TrainCommand, SaysHowItFails) {
  Ran ran = train(usual(), path("nowhere"));
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("cannot run"));
  fs::remove_all(path("m"));
  make_fit("exit 3\n");
  ran = train(usual(), path("fit"));
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("fovea-fit ended with status 3"));
  fs::remove_all(path("m"));
  make_fit("kill -9 $$\n");
  ran = train(usual(), path("fit"));
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("--resume goes on"));
  write_text(path("t.tsv"), "no tab\n");
  ran = train({path("t.tsv"), "--out", path("other")}, path("fit"));
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("t.tsv:1: no tab"));
}

TEST_F(TrainCommand, MisuseIsTwo) {
  EXPECT_EQ(train({path("t.tsv")}, "").status, 2);
  EXPECT_EQ(train({"--out", path("m")}, "").status, 2);
  EXPECT_EQ(train({path("t.tsv"), "--out", path("m"), "--stage", "half"}, "").status, 2);
  EXPECT_THAT(train({"--help"}, "").out, HasSubstr("--resume"));
}

TEST_F(TrainCommand, AReaderTakesLabelledTextAndSaysItsAccuracy) {
  make_fit(R"sh(echo '{"event":"valid","step":5,"loss":0.5,"accuracy":0.75}'
echo '{"event":"end","step":5,"complete":1}'
)sh");
  write_text(path("l.tsv"), "good\ta fine day\nbad\ta poor day\n");
  const std::vector<std::string> words = {
      "--task", "classify",    path("l.tsv"), "--valid",      path("l.tsv"),
      "--out",  path("m"),     "--vocab",     "40",           "--piece-dropout",
      "0.3",    "--positions", "16",          "--query-rate", "7"};
  Ran ran = train(words, path("fit"));
  ASSERT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("step 5: loss 0.500, 75.0 % right"));
  EXPECT_THAT(ran.err, HasSubstr("done. Try: fovea classify --model " + path("m")));
  EXPECT_THAT(read_text(path("words")), HasSubstr("--task\nclassify\n"));
  EXPECT_THAT(read_text(path("words")), HasSubstr("--piece-dropout\n0.3\n"));
  EXPECT_THAT(read_text(path("words")), HasSubstr("--query-rate\n7\n"));
  EXPECT_THAT(read_text(path("words")), HasSubstr("--positions\n16\n"));
  EXPECT_THAT(read_text(path("m/work/ids/tokenizer_config.json")),
              HasSubstr("\"model_max_length\": 16"));

  ran = train({"--task", "classify", "--out", path("m"), "--resume", "--json"}, path("fit"));
  ASSERT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr(R"("event":"validation","step":5,"loss":0.5,"accuracy":0.75)"));
  ran = train({"--out", path("m"), "--resume"}, path("fit"));
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("holds the ids of a reader; give --task classify"));
}

TEST_F(TrainCommand, OptionsOfTheOtherTaskAreMisuse) {
  make_fit("exit 1\n");
  std::vector<std::string> words = usual();
  words.insert(words.end(), {"--pooling", "mean"});
  Ran ran = train(words, path("fit"));
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.err, HasSubstr("--pooling is for a reader (--task classify)"));
  ran =
      train({"--task", "classify", path("t.tsv"), "--out", path("n"), "--join", "1"}, path("fit"));
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.err, HasSubstr("--join is for a translator"));
  ran = train({"--task", "sing", path("t.tsv"), "--out", path("n")}, path("fit"));
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.err, HasSubstr("--task is translate or classify, not 'sing'"));
}

}  // namespace
