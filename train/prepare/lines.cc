#include "lines.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "utf8.h"

namespace fovea::train {
namespace {

constexpr std::size_t kMaxLineBytes = 1 << 20;

}  // namespace

Lines::Lines(const std::string& path) : path_(path), file_(gzopen(path.c_str(), "rb")) {
  if (!file_) throw std::runtime_error(path + ": cannot open: " + std::strerror(errno));
  gzbuffer(file_.get(), 1 << 17);
}

bool Lines::next(std::string& line) {
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

void Lines::fail_here(const std::string& what, int ahead) const {
  throw std::runtime_error(path_ + ":" + std::to_string(number_ + ahead) + ": " + what);
}

bool Lines::more() {
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

}  // namespace fovea::train
