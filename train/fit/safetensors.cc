#include "safetensors.h"

#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "files.h"

namespace fovea::fit {
namespace {

const std::pair<const char*, torch::ScalarType> kTypes[] = {
    {"F32", torch::kFloat}, {"F16", torch::kHalf}, {"BF16", torch::kBFloat16}};

const char* name_of(torch::ScalarType type) {
  for (const auto& [name, known] : kTypes) {
    if (known == type) return name;
  }
  throw std::runtime_error("safetensors: cannot write this type");
}

// Just the JSON that a safetensors header consists of: objects of objects, strings, whole numbers,
// lists.
class HeaderReader {
 public:
  HeaderReader(const std::string& path, const std::string& text) : path_(path), text_(text) {}

  bool take(char wanted) {
    skip();
    if (at_ < text_.size() && text_[at_] == wanted) {
      ++at_;
      return true;
    }
    return false;
  }
  void need(char wanted) {
    if (!take(wanted)) fail(std::string("expected '") + wanted + "'");
  }
  std::string string() {
    need('"');
    std::string out;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] == '\\') fail("names with escapes are not supported");
      out += text_[at_++];
    }
    need('"');
    return out;
  }
  std::vector<std::int64_t> numbers() {
    std::vector<std::int64_t> out;
    need('[');
    while (!take(']')) {
      skip();
      std::int64_t value = 0;
      bool any = false;
      for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_, any = true) {
        if (value > (std::int64_t{1} << 56)) fail("a number is too large");
        value = value * 10 + (text_[at_] - '0');
      }
      if (!any) fail("expected a number");
      out.push_back(value);
      take(',');
    }
    return out;
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error(path_ + ": header, byte " + std::to_string(at_) + ": " + what);
  }

 private:
  void skip() {
    while (at_ < text_.size() && std::strchr(" \t\r\n", text_[at_])) ++at_;
  }
  const std::string& path_;
  const std::string& text_;
  std::size_t at_ = 0;
};

}  // namespace

void write_safetensors(const std::string& path, const NamedTensors& tensors) {
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}";
  std::int64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    header += ",\"" + name + "\":{\"dtype\":\"" + name_of(tensor.scalar_type()) + "\",\"shape\":[";
    for (std::int64_t i = 0; i < tensor.dim(); ++i) {
      header += (i ? "," : "") + std::to_string(tensor.size(i));
    }
    const auto end = offset + static_cast<std::int64_t>(tensor.nbytes());
    header += "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(end) + "]}";
    offset = end;
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' ');  // tensors start aligned
  write_whole(path, [&](Writer& out) {
    const std::uint64_t length = header.size();
    out.write(&length, 8);
    out.write(header.data(), header.size());
    for (const auto& [name, tensor] : tensors) {
      const torch::Tensor here = tensor.to(torch::kCPU).contiguous();
      out.write(here.data_ptr(), here.nbytes());
    }
  });
}

std::map<std::string, torch::Tensor> read_safetensors(const std::string& path) {
  const std::string file = read_whole(path);
  std::uint64_t length = 0;
  if (file.size() >= 8) std::memcpy(&length, file.data(), 8);
  if (file.size() < 8 || length > file.size() - 8)
    throw std::runtime_error(path + ": header beyond the file");
  const std::string header = file.substr(8, length);
  const std::int64_t room = static_cast<std::int64_t>(file.size() - 8 - length);
  const char* base = file.data() + 8 + length;
  std::map<std::string, torch::Tensor> tensors;
  HeaderReader in(path, header);
  in.need('{');
  while (!in.take('}')) {
    const std::string name = in.string();
    in.need(':');
    in.need('{');
    std::string type;
    std::vector<std::int64_t> shape, offsets;
    while (!in.take('}')) {
      const std::string key = in.string();
      in.need(':');
      if (key == "shape")
        shape = in.numbers();
      else if (key == "data_offsets")
        offsets = in.numbers();
      else if (key == "dtype")
        type = in.string();
      else
        in.string();  // metadata
      in.take(',');
    }
    in.take(',');
    if (name == "__metadata__") continue;
    bool known = false;
    for (const auto& [type_name, scalar] : kTypes) {
      if (type != type_name) continue;
      known = true;
      std::int64_t count = 1;
      for (const std::int64_t size : shape) {
        if (size > room + 1 || count * (size + 1) > (std::int64_t{1} << 40))
          in.fail(name + " is too large");
        count *= size;
      }
      const auto bytes = count * static_cast<std::int64_t>(torch::elementSize(scalar));
      if (offsets.size() != 2 || offsets[1] > room || offsets[1] - offsets[0] != bytes) {
        in.fail(name + " lies outside the file, or its size disagrees with its shape");
      }
      torch::Tensor tensor = torch::empty(shape, scalar);
      std::memcpy(tensor.data_ptr(), base + offsets[0], bytes);
      tensors[name] = tensor.to(torch::kFloat);
    }
    if (!known) in.fail(name + " has type " + type + "; F32, F16 and BF16 are read");
  }
  return tensors;
}

}  // namespace fovea::fit
