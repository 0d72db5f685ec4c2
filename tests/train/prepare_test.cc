// fovea-prepare as a user runs it: what it writes, and what it says about bad text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "../../train/ids_file.h"

namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Prepare : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / "fovea-prepare-XXXXXX";
    std::string name = folder_.string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
  }
  std::string read(const std::string& name) const {
    std::ifstream in(path(name), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
  // Exit status; what it said is in said_.
  int run(const std::string& arguments) {
    const std::string command =
        "cd '" + folder_.string() + "' && '" FOVEA_PREPARE "' " + arguments + " 2> said";
    const int status = std::system(command.c_str());
    said_ = read("said");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  // A few hundred pairs of our own making.
  static std::string sentences(int count) {
    const char* who[][2] = {
        {"le chat", "the cat"}, {"la fille", "the girl"}, {"l'homme", "the man"}};
    const char* does[][2] = {{"mange", "eats"}, {"dort", "sleeps"}, {"part", "leaves"}};
    std::string text;
    for (int i = 0; i < count; ++i) {
      const std::string number = std::to_string(i / 9);
      text += std::string(who[i % 3][0]) + " " + does[i / 3 % 3][0] + " " + number + "\t" +
              who[i % 3][1] + " " + does[i / 3 % 3][1] + " " + number + "\n";
    }
    return text;
  }

  fs::path folder_;
  std::string said_;
};

TEST_F(Prepare, WritesIdsAndVocabulary) {
  write("t.tsv", sentences(300));
  ASSERT_EQ(run("--out ids --train t.tsv --valid t.tsv --vocab 60 --source-lang fr"), 0) << said_;
  const fovea::train::IdPairs pairs = fovea::train::read_ids(path("ids/train.ids"));
  ASSERT_EQ(pairs.size(), 300);
  EXPECT_LE(pairs.vocabulary, 60);
  std::int64_t at = 0;
  for (const std::int32_t length : pairs.source_lengths) {
    at += length;
    EXPECT_EQ(pairs.source_ids[at - 1], 0) << "every sentence ends with </s>";
  }
  EXPECT_EQ(read("ids/source.spm"), read("ids/target.spm"));
  EXPECT_THAT(read("ids/vocab.json"), HasSubstr("\"</s>\": 0,"));
  EXPECT_THAT(read("ids/vocab.json"), HasSubstr("\"<unk>\": 1,"));
  EXPECT_THAT(read("ids/vocab.json"),
              HasSubstr("\"<pad>\": " + std::to_string(pairs.vocabulary - 1) + "\n"));
  EXPECT_THAT(read("ids/tokenizer_config.json"), HasSubstr("\"source_lang\": \"fr\""));
}

TEST_F(Prepare, IsTheSameTwice) {
  write("t.tsv", sentences(300));
  ASSERT_EQ(run("--out a --train t.tsv --valid t.tsv --vocab 60"), 0) << said_;
  ASSERT_EQ(run("--out b --train t.tsv --valid t.tsv --vocab 60"), 0) << said_;
  for (const char* name : {"train.ids", "valid.ids", "source.spm", "vocab.json"}) {
    EXPECT_EQ(read(std::string("a/") + name), read(std::string("b/") + name)) << name;
  }
}

TEST_F(Prepare, GzipAndTwoFilesGiveTheSameIds) {
  const std::string text = sentences(300);
  write("t.tsv", text);
  gzFile zipped = gzopen(path("t.tsv.gz").c_str(), "wb");
  gzwrite(zipped, text.data(), static_cast<unsigned>(text.size()));
  gzclose(zipped);
  std::string source, target;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t tab = text.find('\t', i), end = text.find('\n', i);
    source += text.substr(i, tab - i) + "\r\n";  // line ends of other systems
    target += text.substr(tab + 1, end - tab);
    i = end + 1;
  }
  write("s", source);
  write("t", target);
  ASSERT_EQ(run("--out a --train t.tsv --valid t.tsv --vocab 60"), 0) << said_;
  ASSERT_EQ(run("--out b --train t.tsv.gz --valid t.tsv.gz --vocab 60"), 0) << said_;
  ASSERT_EQ(run("--out c --source s --target t --valid-source s --valid-target t --vocab 60"), 0)
      << said_;
  EXPECT_EQ(read("a/train.ids"), read("b/train.ids"));
  EXPECT_EQ(read("a/train.ids"), read("c/train.ids"));
}

TEST_F(Prepare, HoldsOutTargetsWhole) {
  write("t.tsv", sentences(3000));
  ASSERT_EQ(run("--out ids --train t.tsv --vocab 60"), 0) << said_;
  const auto train = fovea::train::read_ids(path("ids/train.ids"));
  const auto valid = fovea::train::read_ids(path("ids/valid.ids"));
  EXPECT_EQ(train.size() + valid.size(), 3000);
  EXPECT_GT(valid.size(), 5);
  EXPECT_LT(valid.size(), 100);
  const std::string held = read("ids/valid.target");
  EXPECT_EQ(std::count(held.begin(), held.end(), '\n'), valid.size());
}

TEST_F(Prepare, TypographicApostrophesReachTheVocabulary) {
  write("t.tsv", sentences(300));
  ASSERT_EQ(run("--out a --train t.tsv --valid t.tsv --vocab 60 --typographic 1"), 0) << said_;
  EXPECT_THAT(read("a/vocab.json"), HasSubstr("\xE2\x80\x99"));
  EXPECT_THAT(read("a/vocab.json"), testing::Not(HasSubstr("l'")));
}

TEST_F(Prepare, ErrorsNameFileAndLine) {
  const std::string good = "un chat\ta cat\n";
  struct Case {
    std::string text, expected;
  };
  const Case cases[] = {
      {good + "no tab here\n", "t.tsv:2: no tab"},
      {good + good + "\ta cat\n", "t.tsv:3: the source side is empty"},
      {good + "un chat\t \n", "t.tsv:2: the target side is empty"},
      {good + "ch\xC3\x28t\ta cat\n", "t.tsv:2: byte 3 is not UTF-8"},
      {good + "chat\xED\xA0\x80\ta cat\n", "t.tsv:2: byte 5 is not UTF-8"},  // a surrogate
      {good + std::string("a\0b\tc\n", 6), "t.tsv:2: byte 2 is not UTF-8"},
      {good + "a\t" + std::string(3 << 20, 'x') + "\n", "t.tsv:2: the line is longer"},
      {"", "no lines"},
  };
  for (const Case& one : cases) {
    write("t.tsv", one.text);
    EXPECT_EQ(run("--out ids --train t.tsv --valid t.tsv --vocab 20"), 1) << one.expected;
    EXPECT_THAT(said_, HasSubstr(one.expected));
    EXPECT_FALSE(fs::exists(path("ids/train.ids"))) << one.expected;
  }
}

TEST_F(Prepare, FilesThatDisagreeOrAreMissing) {
  write("s", "un\ndeux\n");
  write("t", "one\n");
  EXPECT_EQ(run("--out ids --source s --target t --vocab 20"), 1);
  EXPECT_THAT(said_, HasSubstr("s:2: t has no such line"));
  EXPECT_EQ(run("--out ids --train missing.tsv --vocab 20"), 1);
  EXPECT_THAT(said_, HasSubstr("missing.tsv: cannot open"));
  write("t.tsv.gz", std::string("\x1f\x8b\x08\x00garbage that is no gzip stream", 34));
  EXPECT_EQ(run("--out ids --train t.tsv.gz --vocab 20"), 1);
  EXPECT_THAT(said_, HasSubstr("t.tsv.gz:1: cannot read on"));
}

TEST_F(Prepare, MisuseIsTwo) {
  EXPECT_EQ(run("--out ids"), 2);
  EXPECT_EQ(run("--train t.tsv"), 2);
  EXPECT_EQ(run("--out ids --train t.tsv --vocab many"), 2);
  EXPECT_EQ(run("--nonsense"), 2);
  EXPECT_EQ(run("--help > /dev/null"), 0);
}

TEST_F(Prepare, TruncatedIdsAreRefused) {
  write("t.tsv", sentences(30));
  ASSERT_EQ(run("--out ids --train t.tsv --valid t.tsv --vocab 50"), 0) << said_;
  const std::string whole = read("ids/train.ids");
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{7}, std::size_t{39}, whole.size() - 1}) {
    write("cut.ids", whole.substr(0, size));
    EXPECT_THROW(fovea::train::read_ids(path("cut.ids")), std::runtime_error) << size;
  }
  std::string lying = whole;
  lying[lying.size() - 1] = 0x7F;  // an id far outside the vocabulary
  write("lying.ids", lying);
  EXPECT_THROW(fovea::train::read_ids(path("lying.ids")), std::runtime_error);
}

}  // namespace
