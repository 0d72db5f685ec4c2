// Lines of a plain or gzip file, with errors that name the file and the line.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <memory>
#include <string>

namespace fovea::train {

// Without the line end; zlib reads both kinds.
class Lines {
 public:
  explicit Lines(const std::string& path);

  // False at the end. Throws std::runtime_error("FILE:LINE: what; cure"): not UTF-8, too long.
  bool next(std::string& line);

  // Of the line last read, or one further `ahead`.
  [[noreturn]] void fail_here(const std::string& what, int ahead = 0) const;

 private:
  bool more();

  struct Close {
    void operator()(gzFile file) const { gzclose(file); }
  };
  std::string path_;
  std::unique_ptr<gzFile_s, Close> file_;
  std::string buffer_;
  std::size_t begin_ = 0;  // of the line not handed out yet
  long number_ = 0;
};

}  // namespace fovea::train
