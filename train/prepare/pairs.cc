#include "pairs.h"

#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "utf8.h"

namespace fovea::train {
namespace {

constexpr std::size_t kMaxLineBytes = 1 << 20;

// Lines of a plain or gzip file (zlib reads both), without the line end.
class Lines {
 public:
  explicit Lines(const std::string& path) : path_(path), file_(gzopen(path.c_str(), "rb")) {
    if (!file_) throw std::runtime_error(path + ": cannot open: " + std::strerror(errno));
    gzbuffer(file_.get(), 1 << 17);
  }

  bool next(std::string& line) {
    // Not gzgets: a line may hold a NUL, and must then be refused, not cut.
    std::size_t end = buffer_.find('\n', begin_);
    while (end == std::string::npos && more()) {
      if (buffer_.size() - begin_ > kMaxLineBytes) {
        fail_here("the line is longer than 1 MiB; is this a text file?", 1);
      }
      end = buffer_.find('\n', begin_);
    }
    if (end == std::string::npos && begin_ == buffer_.size()) return false;
    line = buffer_.substr(begin_, end == std::string::npos ? end : end - begin_);
    begin_ = end == std::string::npos ? buffer_.size() : end + 1;
    ++number_;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (number_ == 1 && line.rfind("\xEF\xBB\xBF", 0) == 0) line.erase(0, 3);
    const std::size_t bad = find_invalid_utf8(line);
    if (bad != std::string::npos) {
      fail_here("byte " + std::to_string(bad + 1) +
                " is not UTF-8; convert the file, for example with iconv");
    }
    return true;
  }

  [[noreturn]] void fail_here(const std::string& what, int ahead = 0) const {
    throw std::runtime_error(path_ + ":" + std::to_string(number_ + ahead) + ": " + what);
  }

 private:
  bool more() {
    buffer_.erase(0, begin_);
    begin_ = 0;
    char part[1 << 16];
    const int got = gzread(file_.get(), part, sizeof part);
    int code = Z_OK;
    const char* message = gzerror(file_.get(), &code);
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END)) {
      fail_here("cannot read on: " + std::string(code == Z_ERRNO ? std::strerror(errno) : message),
                1);
    }
    buffer_.append(part, static_cast<std::size_t>(got));
    return got > 0;
  }

  struct Close {
    void operator()(gzFile file) const { gzclose(file); }
  };
  std::string path_;
  std::unique_ptr<gzFile_s, Close> file_;
  std::string buffer_;
  std::size_t begin_ = 0;  // of the line not handed out yet
  long number_ = 0;
};

bool blank(const std::string& text) { return text.find_first_not_of(" \t\r") == std::string::npos; }

}  // namespace

std::vector<TextPair> read_tsv(const std::vector<std::string>& paths) {
  std::vector<TextPair> pairs;
  for (const std::string& path : paths) {
    Lines lines(path);
    std::string line;
    while (lines.next(line)) {
      const std::size_t tab = line.find('\t');
      if (tab == std::string::npos) lines.fail_here("no tab; a line is `source TAB target`");
      const std::size_t end = line.find('\t', tab + 1);
      TextPair pair{line.substr(0, tab),
                    line.substr(tab + 1, end == std::string::npos ? end : end - tab - 1)};
      if (blank(pair.source)) lines.fail_here("the source side is empty; remove the line");
      if (blank(pair.target)) lines.fail_here("the target side is empty; remove the line");
      pairs.push_back(std::move(pair));
    }
  }
  return pairs;
}

std::vector<TextPair> read_aligned(const std::string& source_path, const std::string& target_path) {
  std::vector<TextPair> pairs;
  Lines sources(source_path), targets(target_path);
  TextPair pair;
  while (true) {
    const bool more_source = sources.next(pair.source);
    const bool more_target = targets.next(pair.target);
    if (!more_source && !more_target) return pairs;
    if (!more_target)
      sources.fail_here(target_path + " has no such line; the files must be aligned");
    if (!more_source)
      targets.fail_here(source_path + " has no such line; the files must be aligned");
    if (blank(pair.source))
      sources.fail_here("the source side is empty; remove the line from both files");
    if (blank(pair.target))
      targets.fail_here("the target side is empty; remove the line from both files");
    pairs.push_back(pair);
  }
}

}  // namespace fovea::train
