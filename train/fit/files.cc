#include "files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace fovea::fit {
namespace {

[[noreturn]] void fail(const std::string& path, const char* doing) {
  throw std::runtime_error(path + ": cannot " + doing + ": " + std::strerror(errno));
}

class File : public Writer {
 public:
  explicit File(const std::string& path) : path_(path), file_(std::fopen(path.c_str(), "wb")) {
    if (!file_) fail(path_, "write");
  }
  ~File() override {
    if (!file_) return;
    std::fclose(file_);
    ::unlink(path_.c_str());
  }
  void write(const void* data, std::size_t bytes) override {
    if (std::fwrite(data, 1, bytes, file_) != bytes) fail(path_, "write");
  }
  void finish() {
    if (std::fflush(file_) != 0 || ::fsync(::fileno(file_)) != 0) fail(path_, "write");
    if (std::fclose(std::exchange(file_, nullptr)) != 0) fail(path_, "write");
  }

 private:
  std::string path_;
  std::FILE* file_;
};

}  // namespace

void write_whole(const std::string& path, const std::function<void(Writer&)>& body) {
  const std::string temporary = path + ".part";
  File file(temporary);
  body(file);
  file.finish();
  if (std::rename(temporary.c_str(), path.c_str()) != 0) fail(path, "rename to");
  // The new name must be on the disk too.
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int handle = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY);
  if (handle >= 0) {
    ::fsync(handle);
    ::close(handle);
  }
}

void write_whole(const std::string& path, const std::string& text) {
  write_whole(path, [&](Writer& out) { out.write(text.data(), text.size()); });
}

std::string read_whole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) fail(path, "open");
  return std::string(std::istreambuf_iterator<char>(in), {});
}

}  // namespace fovea::fit
