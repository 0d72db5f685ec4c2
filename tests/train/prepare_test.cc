// fovea-prepare as a user runs it: what it writes, and what it says about bad text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "../../train/ids_file.h"
#include "fovea/text.h"
#include "fovea/tokenizer.h"

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

// Pairs that tell each other apart: "m7 n7." and "w7 v7!".
std::string numbered(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    const std::string n = std::to_string(i);
    text += "m" + n + " n" + n + ".\tw" + n + " v" + n + "!\n";
  }
  return text;
}

// Of every line the numbers of the pairs in it.
std::vector<std::vector<int>> numbers_in(const std::string& text, const std::string& end) {
  std::vector<std::vector<int>> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    lines.emplace_back();
    std::istringstream parts(line);
    for (std::string first, second; parts >> first >> second;) {
      EXPECT_EQ(first.substr(1) + end, second.substr(1));
      lines.back().push_back(std::stoi(first.substr(1)));
    }
  }
  return lines;
}

TEST_F(Prepare, JoinsPairsToLongOnesInEveryText) {
  write("t.tsv", numbered(400));
  const std::string words = "--train t.tsv --valid t.tsv --test t.tsv --vocab 60 --join ";
  ASSERT_EQ(run("--out a " + words + "1"), 0) << said_;
  EXPECT_THAT(said_, HasSubstr("joined 400 pairs to "));
  for (const char* text : {"valid", "test"}) {
    const auto sources = numbers_in(read("a/" + std::string(text) + ".source"), ".");
    EXPECT_EQ(sources, numbers_in(read("a/" + std::string(text) + ".target"), "!"));
    std::map<std::size_t, int> sizes;
    std::set<int> seen;
    for (const auto& line : sources) {
      ++sizes[line.size()];
      for (const int number : line) EXPECT_TRUE(seen.insert(number).second) << number;
    }
    EXPECT_EQ(seen.size(), 400u);
    EXPECT_LE(sizes[1], 1);  // what was left over
    for (std::size_t size = 2; size <= 8; ++size) EXPECT_GT(sizes[size], 2) << size;
    EXPECT_LE(sizes.size(), 8u);
  }
  EXPECT_EQ(fovea::train::read_ids(path("a/train.ids")).size(),
            fovea::train::read_ids(path("a/valid.ids")).size());
  // The same again; another drawing; half of them; none.
  ASSERT_EQ(run("--out b " + words + "1"), 0) << said_;
  EXPECT_EQ(read("a/train.ids"), read("b/train.ids"));
  EXPECT_EQ(read("a/test.source"), read("b/test.source"));
  ASSERT_EQ(run("--out c " + words + "1 --join-seed 2"), 0) << said_;
  EXPECT_NE(read("a/test.source"), read("c/test.source"));
  ASSERT_EQ(run("--out d " + words + "0.5"), 0) << said_;
  int single = 0;
  for (const auto& line : numbers_in(read("d/test.source"), ".")) single += line.size() == 1;
  EXPECT_THAT(single, testing::AllOf(testing::Ge(200), testing::Le(201)));
  ASSERT_EQ(run("--out e " + words + "0"), 0) << said_;
  EXPECT_EQ(numbers_in(read("e/test.source"), ".").size(), 400u);
}

TEST_F(Prepare, JoinedPairsKeepToTheLongestLength) {
  write("t.tsv", numbered(200));
  ASSERT_EQ(run("--out a --train t.tsv --valid t.tsv --vocab 60 --join 1 --max-length 30"), 0)
      << said_;
  const auto ids = fovea::train::read_ids(path("a/valid.ids"));
  EXPECT_LE(*std::max_element(ids.source_lengths.begin(), ids.source_lengths.end()), 30);
  EXPECT_LE(*std::max_element(ids.target_lengths.begin(), ids.target_lengths.end()), 30);
  EXPECT_GE(*std::max_element(ids.source_lengths.begin(), ids.source_lengths.end()), 20);
  EXPECT_THAT(said_, HasSubstr("(0 too long"));
}

// For every pair of train.ids its links, as "source word-target word" with how many pieces each.
std::vector<std::multiset<std::string>> word_links(const std::string& folder) {
  const auto tokenizer = fovea::MarianTokenizer::load(folder);
  const auto ids = fovea::train::read_ids(folder + "/train.ids");
  const auto links = fovea::train::read_links(folder + "/train.links", ids);
  std::vector<std::multiset<std::string>> result;
  std::int64_t source_at = 0, target_at = 0;
  for (std::size_t i = 0; i < links.size(); ++i) {
    const auto words_of = [&](const std::vector<std::int32_t>& all, std::int64_t at,
                              std::int32_t length) {
      const auto decoded = tokenizer.decode({&all[at], static_cast<std::size_t>(length)});
      const auto words = fovea::words(decoded.text);
      std::vector<std::string> texts;
      for (const auto word : fovea::words_of_pieces(decoded.spans, words)) {
        texts.push_back(word < 0 ? "</s>" : words[word].text);
      }
      return texts;
    };
    const auto source = words_of(ids.source_ids, source_at, ids.source_lengths[i]);
    const auto target = words_of(ids.target_ids, target_at, ids.target_lengths[i]);
    source_at += ids.source_lengths[i];
    target_at += ids.target_lengths[i];
    result.emplace_back();
    for (const auto& link : links[i]) {
      result.back().insert(source[link.source] + "-" + target[link.target]);
    }
  }
  return result;
}

TEST_F(Prepare, GuidedAlignmentLinksPieces) {
  write("t.tsv", "le chat dort.\tthe cat sleeps !\nun chien\ta dog\nl'eau\twater\n" + numbered(60));
  std::string links = "0-0 1-1 2-2 2-3 0p1\n\n0-0\n";
  for (int i = 0; i < 60; ++i) links += "0-1\n";
  write("links", links);
  ASSERT_EQ(run("--out a --train t.tsv --valid t.tsv --vocab 60 --guided-alignment links"), 0)
      << said_;
  const auto found = word_links(path("a"));
  ASSERT_EQ(found.size(), 63u);
  EXPECT_GT(found[0].count("le-the"), 0u);
  EXPECT_GT(found[0].count("chat-cat"), 0u);
  EXPECT_GT(found[0].count("dort.-sleeps"), 0u);
  EXPECT_GT(found[0].count("dort.-!"), 0u);  // a word of nothing but punctuation stands for itself
  EXPECT_EQ(found[0].count("le-cat"), 0u);   // only possible
  EXPECT_TRUE(found[1].empty());
  EXPECT_GT(found[2].count("l'eau-water"), 0u);
  EXPECT_GT(found[3].count("m0-v0!"), 0u);
  // The full stop of "dort." takes no part: its piece is linked to nothing.
  const auto ids = fovea::train::read_ids(path("a/train.ids"));
  const auto pieces = fovea::train::read_links(path("a/train.links"), ids);
  for (const auto& link : pieces[0]) {
    EXPECT_LT(link.source, ids.source_lengths[0] - 2);
  }
  // Without the option an old file does not stay.
  ASSERT_EQ(run("--out a --train t.tsv --valid t.tsv --vocab 60"), 0) << said_;
  EXPECT_FALSE(fs::exists(path("a/train.links")));
}

TEST_F(Prepare, GuidedAlignmentFollowsJoinedAndHeldOutPairs) {
  write("t.tsv", numbered(300));
  std::string links;
  for (int i = 0; i < 300; ++i) links += "0-0 1-1\n";
  write("one", links.substr(0, 8 * 100));
  write("two", links.substr(8 * 100));
  ASSERT_EQ(run("--out a --train t.tsv --vocab 60 --join 0.7 --guided-alignment one two"), 0)
      << said_;
  std::set<std::string> first;
  for (const auto& pair : word_links(path("a"))) {
    for (const std::string& link : pair) {
      const std::size_t dash = link.find('-');
      const std::string from = link.substr(0, dash), to = link.substr(dash + 1);
      if (from[0] == 'm') {
        EXPECT_EQ("w" + from.substr(1), to);
        first.insert(from);
      } else {
        EXPECT_EQ("v" + from.substr(1, from.size() - 2) + "!", to);
      }
    }
  }
  const auto held = numbers_in(read("a/valid.source"), ".");
  std::size_t held_out = 0;
  for (const auto& line : held) held_out += line.size();
  EXPECT_EQ(first.size() + held_out, 300u);
}

TEST_F(Prepare, GuidedAlignmentErrorsNameFileAndLine) {
  write("t.tsv", "un chat\ta cat\nun chien\ta dog\n");
  struct Case {
    std::string links, expected;
  };
  const Case cases[] = {
      {"0-0\n0-2\n", "links:2: link 0-2, but the pair has 2 and 2 words, counted from 0"},
      {"2-0\n\n", "links:1: link 2-0"},
      {"0-0\n0:1\n", "links:2: alignment: \"0:1\" is not a link"},
      {"0-0\n", "links: the links end after 1 of 2 training pairs"},
      {"\n\n0-0\n", "links:3: there are only 2 training pairs"},
  };
  for (const Case& one : cases) {
    write("links", one.links);
    EXPECT_EQ(run("--out i --train t.tsv --valid t.tsv --vocab 20 --guided-alignment links"), 1);
    EXPECT_THAT(said_, HasSubstr(one.expected));
    EXPECT_FALSE(fs::exists(path("i/train.ids"))) << one.expected;
  }
  EXPECT_EQ(run("--out i --train t.tsv --vocab 20 --guided-alignment missing"), 1);
  EXPECT_THAT(said_, HasSubstr("missing: cannot open"));
}

TEST_F(Prepare, BrokenLinksAreRefused) {
  write("t.tsv", numbered(60));
  std::string links;
  for (int i = 0; i < 60; ++i) links += "0-0 1-1\n";
  write("links", links);
  ASSERT_EQ(run("--out a --train t.tsv --valid t.tsv --vocab 60 --guided-alignment links"), 0)
      << said_;
  const auto ids = fovea::train::read_ids(path("a/train.ids"));
  const std::string whole = read("a/train.links");
  EXPECT_NO_THROW(fovea::train::read_links(path("a/train.links"), ids));
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{7}, std::size_t{31}, std::size_t{100}, whole.size() - 1}) {
    write("cut.links", whole.substr(0, size));
    EXPECT_THROW(fovea::train::read_links(path("cut.links"), ids), std::runtime_error) << size;
  }
  for (const std::size_t place : {std::size_t{0}, std::size_t{8}, std::size_t{16}, std::size_t{24},
                                  std::size_t{32}, whole.size() - 1}) {
    std::string lying = whole;
    lying[place] ^= 0x40;
    write("lying.links", lying);
    EXPECT_THROW(fovea::train::read_links(path("lying.links"), ids), std::runtime_error) << place;
  }
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
  EXPECT_EQ(run("--out ids --train t.tsv --join 1.5"), 2);
  EXPECT_EQ(run("--out ids --train t.tsv --join-seed -1"), 2);
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
