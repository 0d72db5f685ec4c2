#include "base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "fovea/error.h"

namespace {

namespace fs = std::filesystem;
using fovea::Error;
using fovea::FileBytes;
using fovea::FileWriter;
using ::testing::HasSubstr;

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A folder that goes when the test ends.
class FileTest : public ::testing::Test {
 protected:
  FileTest() {
    std::string name = (fs::temp_directory_path() / "fovea_file_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    folder_ = name;
  }
  ~FileTest() override { fs::remove_all(folder_); }

  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      found.push_back(entry.path().filename().string());
    }
    return found;
  }

  fs::path folder_;
};

template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

TEST_F(FileTest, MapsARegularFileAndKeepsItThroughMoves) {
  const fs::path path = folder_ / "a";
  std::ofstream(path, std::ios::binary) << std::string("one\0two", 7);
  FileBytes file = FileBytes::open(path);
  EXPECT_TRUE(file.mapped());
  EXPECT_EQ(file.text(), std::string_view("one\0two", 7));
  EXPECT_EQ(file.name(), path.string());
  const void* where = file.bytes().data();
  FileBytes moved(std::move(file));
  EXPECT_EQ(moved.bytes().data(), where);
  FileBytes assigned = FileBytes::copy_of("x", "x");
  assigned = std::move(moved);
  EXPECT_EQ(assigned.text(), std::string_view("one\0two", 7));
}

TEST_F(FileTest, ReadsAnEmptyFileAndAPipe) {
  const fs::path empty = folder_ / "empty";
  std::ofstream(empty).close();
  EXPECT_EQ(FileBytes::open(empty).bytes().size(), 0u);

  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const std::string text(50000, 'x');  // fits in a pipe's buffer
  ASSERT_EQ(::write(ends[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  ::close(ends[1]);
  const FileBytes piped = FileBytes::open("/dev/fd/" + std::to_string(ends[0]));
  EXPECT_FALSE(piped.mapped());
  EXPECT_EQ(piped.text(), text);
  ::close(ends[0]);
}

TEST_F(FileTest, ReadsWhatIsLargerThanOneBlock) {  // /dev/zero-like growth, through a child
  const fs::path path = folder_ / "big";
  std::string text;
  for (int i = 0; i < 100000; ++i) text += std::to_string(i);
  std::ofstream(path, std::ios::binary) << text;
  const fs::path fifo = folder_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  ASSERT_EQ(std::system(("cat '" + path.string() + "' > '" + fifo.string() + "' &").c_str()), 0);
  EXPECT_EQ(FileBytes::open(fifo).text(), text);
}

TEST_F(FileTest, SaysWhichFileCannotBeRead) {
  const std::string missing = (folder_ / "missing").string();
  EXPECT_EQ(error_of([&] { FileBytes::open(missing); }),
            missing + ": cannot open: No such file or directory");
  EXPECT_EQ(error_of([&] { FileBytes::open(folder_); }),
            folder_.string() + ": cannot read: Is a directory");
}

TEST_F(FileTest, WritesWhatItWasGiven) {
  const fs::path path = folder_ / "out";
  std::string all;
  FileWriter writer(path);
  for (int i = 0; i < 3000; ++i) {  // small ones, and some over the buffer's size
    const std::string part(i % 1000 == 999 ? 70000 : 37, static_cast<char>('a' + i % 26));
    writer.write(part);
    all += part;
  }
  EXPECT_FALSE(fs::exists(path));  // not before it is whole
  writer.commit();
  EXPECT_EQ(slurp(path), all);
  EXPECT_EQ(names(), std::vector<std::string>{"out"});
}

TEST_F(FileTest, ReplacesAFileAndKeepsItsPermissionsAndLinks) {
  const fs::path path = folder_ / "out";
  const fs::path link = folder_ / "link";
  std::ofstream(path) << "old";
  ::chmod(path.c_str(), 0640);
  fs::create_symlink("out", link);
  fovea::write_file(link, "new");
  EXPECT_EQ(slurp(path), "new");
  EXPECT_TRUE(fs::is_symlink(link));
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0640u);
  EXPECT_EQ(names().size(), 2u);
}

TEST_F(FileTest, LeavesTheOldFileWhenNotCommitted) {
  const fs::path path = folder_ / "out";
  std::ofstream(path) << "old";
  {
    FileWriter writer(path);
    writer.write(std::string(200000, 'x'));
  }
  EXPECT_EQ(slurp(path), "old");
  EXPECT_EQ(names(), std::vector<std::string>{"out"});
}

TEST_F(FileTest, AFailedWriteLeavesTheOldFileAndNothingElse) {
  const fs::path path = folder_ / "out";
  std::ofstream(path) << "old";
  // A limit on file size stands for a full disk: both come back from write() as an error.
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  auto* old_handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit tight = before;
  tight.rlim_cur = 100000;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  const std::string message = error_of([&] { fovea::write_file(path, std::string(300000, 'x')); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(
      message,
      path.string() + ": cannot write: File too large after 100000 bytes; nothing was left behind");
  EXPECT_EQ(slurp(path), "old");
  EXPECT_EQ(names(), std::vector<std::string>{"out"});
}

// A pipe stands for every device: a test that went wrong as root would replace /dev/null by a file.
TEST_F(FileTest, WritesAPipeInPlace) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const std::string path = "/dev/fd/" + std::to_string(ends[1]);
  fovea::write_file(path, "words");
  ::close(ends[1]);
  char found[16];
  EXPECT_EQ(::read(ends[0], found, sizeof found), 5);
  EXPECT_EQ(std::string(found, 5), "words");
  ::close(ends[0]);
}

TEST_F(FileTest, APipeThatNobodyReadsIsAnError) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  const std::string path = "/dev/fd/" + std::to_string(ends[1]);
  auto* old_handler = std::signal(SIGPIPE, SIG_IGN);
  EXPECT_EQ(error_of([&] { fovea::write_file(path, "words"); }),
            path + ": cannot write: Broken pipe");
  std::signal(SIGPIPE, old_handler);
  ::close(ends[1]);
}

TEST_F(FileTest, SaysWhichFileCannotBeWritten) {
  const std::string inside = (folder_ / "no" / "out").string();
  EXPECT_EQ(error_of([&] { fovea::write_file(inside, "x"); }),
            inside + ": cannot write: No such file or directory");
  EXPECT_THAT(error_of([&] { fovea::write_file(folder_, "x"); }),
              HasSubstr(": cannot write: Is a directory"));
}

}  // namespace
