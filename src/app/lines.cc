#include "app/lines.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "fovea/error.h"
#include "fovea/text.h"

namespace fovea {
namespace {

constexpr std::size_t kChunk = 1 << 16;
constexpr std::size_t kMostBytes = 1 << 22;  // in one batch of lines, unless one line has more

}  // namespace

LineSource::LineSource(const std::string& path)
    : name_(path == "-" ? "standard input" : path),
      descriptor_(path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (descriptor_ < 0) throw Error(name_ + ": cannot open: " + std::strerror(errno));
}

LineSource::~LineSource() {
  if (descriptor_ > STDIN_FILENO) ::close(descriptor_);
}

bool LineSource::ready() const {
  pollfd waiting{descriptor_, POLLIN, 0};
  return ::poll(&waiting, 1, 0) > 0;
}

bool LineSource::read_more() {
  if (at_end_) return false;
  if (begin_ > 0) {
    buffer_.erase(0, begin_);
    scanned_ -= begin_;
    begin_ = 0;
  }
  const std::size_t had = buffer_.size();
  buffer_.resize(had + kChunk);
  const ssize_t got = ::read(descriptor_, buffer_.data() + had, kChunk);
  // EINTR comes only where a caller handles a signal and asked for no restart: it wants to end.
  if (got < 0) throw Error(name_ + ": cannot read: " + std::strerror(errno));
  buffer_.resize(had + static_cast<std::size_t>(got));
  at_end_ = got == 0;
  return !at_end_;
}

std::vector<std::string> LineSource::next(std::size_t most) {
  std::vector<std::string> lines;
  std::size_t bytes = 0;
  while (lines.size() < most && bytes < kMostBytes) {
    const std::size_t end = buffer_.find('\n', scanned_);
    if (end != std::string::npos) {
      const std::size_t kept = end > begin_ && buffer_[end - 1] == '\r' ? end - 1 : end;
      lines.push_back(buffer_.substr(begin_, kept - begin_));
      bytes += kept - begin_;
      begin_ = scanned_ = end + 1;
      continue;
    }
    scanned_ = buffer_.size();
    if (at_end_ || (!lines.empty() && !ready())) break;
    read_more();
  }
  if (lines.size() < most && at_end_ && begin_ < buffer_.size()) {
    lines.push_back(buffer_.substr(begin_));
    begin_ = scanned_ = buffer_.size();
  }
  return lines;
}

void check_utf8(const std::string& text, const std::string& path, std::size_t line) {
  if (const auto bad = invalid_utf8(text)) {
    throw Error((path == "-" ? "standard input" : path) + ": line " + std::to_string(line) +
                ", byte " + std::to_string(*bad + 1) +
                " is not UTF-8; convert it, for example with iconv -f latin1 -t utf-8");
  }
}

std::vector<std::string> read_lines(const std::string& path) {
  LineSource source(path);
  std::vector<std::string> lines;
  for (;;) {
    std::vector<std::string> more = source.next(1 << 12);
    if (more.empty()) return lines;
    for (std::string& line : more) {
      check_utf8(line, path, lines.size() + 1);
      lines.push_back(std::move(line));
    }
  }
}

}  // namespace fovea
