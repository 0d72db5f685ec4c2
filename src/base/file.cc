#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "fovea/error.h"

namespace fovea {
namespace {

namespace fs = std::filesystem;

// Small writes are gathered into blocks of this size: one system call each.
constexpr std::size_t kBuffer = std::size_t{1} << 16;

// A file descriptor that closes itself.
struct Descriptor {
  int value;
  explicit Descriptor(int fd) : value(fd) {}
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
};

[[noreturn]] void fail_to(const std::string& name, const char* doing, int error) {
  throw Error(name + ": cannot " + doing + ": " + std::strerror(error));
}

// Permissions of a new file: what the process's mask leaves of rw for all.
constexpr mode_t kNewFile = 0666;

std::string link_of(int descriptor) { return "/proc/self/fd/" + std::to_string(descriptor); }

// A name beside `target` that no other writer uses: process and count make it unique.
std::string temporary_name(const fs::path& target) {
  static std::atomic<unsigned> count{0};
  return target.string() + "." + std::to_string(::getpid()) + "-" + std::to_string(count++) +
         ".tmp";
}

}  // namespace

FileBytes FileBytes::open(const fs::path& path) {
  const std::string name = path.string();
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.value < 0) fail_to(name, "open", errno);
  struct stat status {};
  if (::fstat(file.value, &status) != 0) fail_to(name, "read", errno);
  if (S_ISDIR(status.st_mode)) fail_to(name, "read", EISDIR);
  if (!S_ISREG(status.st_mode) || status.st_size == 0) return read_to_end(file.value, name);

  const auto size = static_cast<std::size_t>(status.st_size);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.value, 0);
  if (address == MAP_FAILED) return read_to_end(file.value, name);
  FileBytes result;
  result.name_ = name;
  result.data_ = static_cast<const std::byte*>(address);
  result.size_ = size;
  result.mapped_ = true;
  return result;
}

FileBytes FileBytes::standard_input() { return read_to_end(STDIN_FILENO, "standard input"); }

FileBytes FileBytes::copy_of(std::string_view bytes, std::string name) {
  FileBytes result;
  result.name_ = std::move(name);
  void* memory = std::malloc(std::max<std::size_t>(bytes.size(), 1));
  if (memory == nullptr) throw std::bad_alloc();
  if (!bytes.empty()) std::memcpy(memory, bytes.data(), bytes.size());
  result.data_ = static_cast<const std::byte*>(memory);
  result.size_ = bytes.size();
  return result;
}

FileBytes FileBytes::read_to_end(int descriptor, std::string name) {
  FileBytes result;
  result.name_ = std::move(name);
  std::size_t room = kBuffer;
  auto* memory = static_cast<std::byte*>(std::malloc(room));
  if (memory == nullptr) throw std::bad_alloc();
  result.data_ = memory;  // from here on `result` frees it
  for (;;) {
    if (result.size_ == room) {
      room *= 2;
      void* more = std::realloc(memory, room);
      if (more == nullptr) throw std::bad_alloc();
      memory = static_cast<std::byte*>(more);
      result.data_ = memory;
    }
    const ssize_t got = ::read(descriptor, memory + result.size_, room - result.size_);
    if (got == 0) return result;
    if (got > 0) {
      result.size_ += static_cast<std::size_t>(got);
    } else if (errno != EINTR) {
      fail_to(result.name_, "read", errno);
    }
  }
}

FileBytes::FileBytes(FileBytes&& other) noexcept
    : name_(std::move(other.name_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      mapped_(std::exchange(other.mapped_, false)) {}

FileBytes& FileBytes::operator=(FileBytes&& other) noexcept {
  if (this != &other) {
    release();
    name_ = std::move(other.name_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    mapped_ = std::exchange(other.mapped_, false);
  }
  return *this;
}

FileBytes::~FileBytes() { release(); }

void FileBytes::release() noexcept {
  auto* memory = const_cast<std::byte*>(data_);  // NOLINT: munmap and free take it as it was given
  if (mapped_) {
    ::munmap(memory, size_);
  } else {
    std::free(memory);
  }
  data_ = nullptr;
  size_ = 0;
}

FileWriter::FileWriter(const fs::path& path) : name_(path.string()), target_(path) {
  // A link keeps pointing where it points: the file behind it is replaced.
  if (char* real = ::realpath(path.c_str(), nullptr)) {
    target_ = real;
    std::free(real);
  }
  struct stat status {};
  const bool exists = ::stat(target_.c_str(), &status) == 0;
  if (exists && !S_ISREG(status.st_mode)) {
    direct_ = true;
    descriptor_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) fail("write", errno);
  } else {
    open_temporary();
    if (exists) (void)::fchmod(descriptor_, status.st_mode & 07777);
  }
  buffer_.reserve(kBuffer);
}

void FileWriter::open_temporary() {
  const fs::path folder = target_.has_parent_path() ? target_.parent_path() : fs::path(".");
  if (::access("/proc/self/fd", F_OK) == 0) {  // needed to name it later
    descriptor_ = ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, kNewFile);
    if (descriptor_ >= 0) return;
  }
  temporary_ = temporary_name(target_);
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kNewFile);
  if (descriptor_ < 0) {
    const int error = errno;
    temporary_.clear();
    fail("write", error);
  }
}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void FileWriter::fail(const char* doing, int error) {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  if (!temporary_.empty()) ::unlink(std::exchange(temporary_, {}).c_str());
  std::string text = name_ + ": cannot " + doing + ": " + std::strerror(error);
  if (!direct_ && (error == ENOSPC || error == EDQUOT || error == EFBIG)) {
    text += " after " + std::to_string(written_) + " bytes; nothing was left behind";
  }
  throw Error(text);
}

void FileWriter::write(const void* data, std::size_t size) {
  if (buffer_.size() + size > kBuffer) flush();
  if (size > kBuffer) {
    write_now(static_cast<const char*>(data), size);
  } else {
    buffer_.append(static_cast<const char*>(data), size);
  }
}

void FileWriter::flush() {
  write_now(buffer_.data(), buffer_.size());
  buffer_.clear();
}

void FileWriter::write_now(const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t done = ::write(descriptor_, data, size);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail("write", errno);
    data += done;
    size -= static_cast<std::size_t>(done);
    written_ += static_cast<std::size_t>(done);
  }
}

// Takes the target's name for a file that is complete on the disk. A name that is free is taken in
// one step; one that is in use is replaced by a rename, which is one step too.
void FileWriter::give_name() {
  if (temporary_.empty()) {
    const std::string link = link_of(descriptor_);
    int linked = ::linkat(AT_FDCWD, link.c_str(), AT_FDCWD, target_.c_str(), AT_SYMLINK_FOLLOW);
    if (linked == 0) return;
    if (errno != EEXIST) fail("write", errno);
    const std::string name = temporary_name(target_);
    linked = ::linkat(AT_FDCWD, link.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW);
    if (linked != 0) fail("write", errno);
    temporary_ = name;
  }
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail("write", errno);
  temporary_.clear();
}

void FileWriter::commit() {
  flush();
  if (!direct_) {
    if (::fsync(descriptor_) != 0) fail("write", errno);
    give_name();
  }
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) fail("write", errno);
  if (direct_) return;
  // The name, too, is made to last; a file system that cannot do that for a folder is let be.
  const fs::path folder = target_.has_parent_path() ? target_.parent_path() : fs::path(".");
  const Descriptor place(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (place.value >= 0) (void)::fsync(place.value);
}

void write_file(const fs::path& path, std::string_view bytes) {
  FileWriter writer(path);
  writer.write(bytes);
  writer.commit();
}

}  // namespace fovea
