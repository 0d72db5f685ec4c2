// Lines as they come, and where the model is.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "app/lines.h"
#include "app/model_path.h"
#include "app/tiny_folder.h"
#include "fovea/error.h"

namespace fovea {
namespace {

using test::TemporaryFolder;
using test::write_text;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(LineSource, LinesWithoutTheirEnds) {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "text").string();
  write_text(path, "a\n\nb\r\nc\r\n\xC3\xA9\rd\n\nlast");
  EXPECT_THAT(read_lines(path), ElementsAre("a", "", "b", "c", "\xC3\xA9\rd", "", "last"));
  write_text(path, "");
  EXPECT_THAT(read_lines(path), IsEmpty());
  write_text(path, "\n");
  EXPECT_THAT(read_lines(path), ElementsAre(""));
}

TEST(LineSource, BatchesAndLongLines) {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "text").string();
  const std::string line(300000, 'x');
  write_text(path, line + "\n" + line + "y\nshort\n");
  LineSource source(path);
  EXPECT_THAT(source.next(2), ElementsAre(line, line + "y"));
  EXPECT_THAT(source.next(2), ElementsAre("short"));
  EXPECT_THAT(source.next(2), IsEmpty());
  EXPECT_THAT(source.next(2), IsEmpty());
}

TEST(LineSource, ABatchIsBounded) {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "text").string();
  std::string text;
  for (int i = 0; i < 20; ++i) text += std::string(1 << 20, 'x') + "\n";
  write_text(path, text);
  LineSource source(path);
  EXPECT_THAT(source.next(20), SizeIs(4));  // 4 MB
}

TEST(LineSource, DoesNotWaitForMoreThanOneLine) {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "pipe").string();
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const int writer = ::open(path.c_str(), O_RDWR);
  ASSERT_GE(writer, 0);
  LineSource source(path);
  ASSERT_EQ(::write(writer, "one\ntwo\nthr", 11), 11);
  EXPECT_THAT(source.next(10), ElementsAre("one", "two"));
  ASSERT_EQ(::write(writer, "ee\n", 3), 3);
  EXPECT_THAT(source.next(10), ElementsAre("three"));
  ::close(writer);
  EXPECT_THAT(source.next(10), IsEmpty());
}

TEST(LineSource, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  EXPECT_THAT(message_of([&] { LineSource("/no/such/file"); }),
              HasSubstr("/no/such/file: cannot open"));
  EXPECT_THAT(message_of([&] { read_lines(folder.path().string()); }), HasSubstr("cannot read"));
  const std::string path = (folder.path() / "text").string();
  write_text(path, "good\nb\xE9\n");
  EXPECT_THAT(message_of([&] { read_lines(path); }),
              HasSubstr(path + ": line 2, byte 2 is not UTF-8"));
}

class ModelPath : public ::testing::Test {
 protected:
  ModelPath() { ::unsetenv("FOVEA_MODEL"); }
  ~ModelPath() override { ::unsetenv("FOVEA_MODEL"); }
  std::filesystem::path add(const std::string& place) {
    const auto folder = root_.path() / place;
    std::filesystem::create_directories(folder);
    write_text(folder / "config.json", "{}");
    return folder;
  }
  std::filesystem::path find(const std::string& given, const std::string& program) {
    return find_model(given, ModelKind::kTranslator, root_.path() / program);
  }
  TemporaryFolder root_;
};

TEST_F(ModelPath, GivenThenEnvironmentThenInstalledThenTheTrees) {
  const auto tree = add("tree/models/small");
  EXPECT_EQ(find("", "tree/build/dev/fovea"), tree);
  const auto installed = add("usr/share/fovea/models/tatoeba");
  EXPECT_EQ(find("", "usr/bin/fovea"), installed);
  const auto own = add("own");
  ::setenv("FOVEA_MODEL", own.c_str(), 1);
  EXPECT_EQ(find("", "usr/bin/fovea"), own);
  const auto given = add("given");
  EXPECT_EQ(find(given.string(), "usr/bin/fovea"), given);
  EXPECT_EQ(find("tatoeba", "usr/bin/fovea"), installed);  // by its name
}

TEST_F(ModelPath, SaysWhereItLooked) {
  EXPECT_THAT(message_of([&] { find("", "usr/bin/fovea"); }),
              HasSubstr("no model came with this program"));
  EXPECT_THAT(message_of([&] { find("nowhere", "usr/bin/fovea"); }),
              HasSubstr("nowhere: no such folder (--model)"));
  ::setenv("FOVEA_MODEL", "/no/such", 1);
  EXPECT_THAT(message_of([&] { find("", "usr/bin/fovea"); }),
              HasSubstr("/no/such: no such folder (the environment's FOVEA_MODEL)"));
  ::unsetenv("FOVEA_MODEL");
  add("usr/share/fovea/models/b");
  add("usr/share/fovea/models/a");
  EXPECT_THAT(message_of([&] { find("", "usr/bin/fovea"); }),
              HasSubstr("several models; say which with --model: a b"));
}

}  // namespace
}  // namespace fovea
