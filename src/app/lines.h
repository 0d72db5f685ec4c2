// Lines of text from a file, a pipe or the terminal, as they come.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fovea {

// Reads lines without their ends (\n or \r\n). A last line without an end counts. Move-only.
class LineSource {
 public:
  // "-" is standard input. Throws Error if it cannot be opened.
  explicit LineSource(const std::string& path);
  ~LineSource();
  LineSource(const LineSource&) = delete;
  LineSource& operator=(const LineSource&) = delete;

  // Waits for one line, then takes what more is there at once, `most` lines at most. Empty at the
  // end. So a batch from a file is full, and one from a pipe does not wait for lines that are not
  // written yet.
  std::vector<std::string> next(std::size_t most);

 private:
  bool read_more();  // false at the end of the file
  bool ready() const;

  std::string name_;
  std::string buffer_;
  std::size_t begin_ = 0;    // of the first line not handed out yet
  std::size_t scanned_ = 0;  // no \n in [begin_, scanned_)
  int descriptor_ = -1;
  bool at_end_ = false;
};

// Throws Error naming the file and the line (from 1) if `text` is not UTF-8. `path` "-": standard
// input.
void check_utf8(const std::string& text, const std::string& path, std::size_t line);

// All lines of a file. Throws Error that names the file (and the line, where it is not UTF-8).
std::vector<std::string> read_lines(const std::string& path);

}  // namespace fovea
