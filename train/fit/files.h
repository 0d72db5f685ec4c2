// Files that are whole or absent, whatever happens while they are written.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

namespace fovea::fit {

class Writer {
 public:
  virtual ~Writer() = default;
  virtual void write(const void* data, std::size_t bytes) = 0;
};

// Calls `body` on a temporary file beside `path`, forces it to the disk, and renames it to `path`.
void write_whole(const std::string& path, const std::function<void(Writer&)>& body);
void write_whole(const std::string& path, const std::string& text);
std::string read_whole(const std::string& path);

}  // namespace fovea::fit
