// Files: read whole (mapped where that is possible), written whole or not at all.
//
// Throws  Error that begins with the file's name: "v.npy: cannot open: No such file or directory".
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace fovea {

// The bytes of a file, and its name for messages. Move-only; the bytes stay where they are when it
// moves. A mapped file that another program shortens while it is read ends this program (SIGBUS):
// the price of not copying it.
class FileBytes {
 public:
  FileBytes() = default;

  // Maps a regular file; reads a pipe or device to its end.
  static FileBytes open(const std::filesystem::path& path);
  // Reads standard input to its end. Its name is "standard input".
  static FileBytes standard_input();
  // Bytes that lie in memory already, copied: for tests and fuzzing.
  static FileBytes copy_of(std::string_view bytes, std::string name);

  FileBytes(FileBytes&& other) noexcept;
  FileBytes& operator=(FileBytes&& other) noexcept;
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;
  ~FileBytes();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const std::string& name() const { return name_; }
  bool mapped() const { return mapped_; }

 private:
  static FileBytes read_to_end(int descriptor, std::string name);
  void release() noexcept;

  std::string name_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  bool mapped_ = false;  // else data_ comes from malloc
};

// Writes a file that appears whole under its name, or not at all: the bytes go to a file without a
// name (or with a temporary one, where the file system cannot do that) in the same folder, are
// flushed to the disk, and take the name in commit(). Until then, and after any Error, what was
// there before stays as it was. A destination that is no regular file (/dev/stdout, a pipe) is
// written directly.
class FileWriter {
 public:
  explicit FileWriter(const std::filesystem::path& path);
  ~FileWriter();  // without commit(): nothing is left behind
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(const void* data, std::size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  void open_temporary();
  void write_now(const char* data, std::size_t size);
  void flush();
  void give_name();
  [[noreturn]] void fail(const char* doing, int error);

  std::string name_;              // as the caller wrote it, for messages
  std::filesystem::path target_;  // with symbolic links resolved
  std::string temporary_;         // empty: the file has no name yet, or is written directly
  std::string buffer_;
  std::size_t written_ = 0;
  int descriptor_ = -1;
  bool direct_ = false;
};

// The whole of it in one call.
void write_file(const std::filesystem::path& path, std::string_view bytes);

}  // namespace fovea
