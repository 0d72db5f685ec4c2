#include "base/npy.h"

#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "fovea/error.h"

namespace fovea {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the .npy reader copies bytes as they are");

constexpr std::string_view kMagic("\x93NUMPY", 6);

// NumPy's own reader refuses headers over 10,000 characters; rank 32 with 19 digits a size needs
// 700.
constexpr std::size_t kMaxHeader = std::size_t{1} << 16;

struct TypeName {
  std::string_view descr;
  NpyType type;
};

constexpr std::array<TypeName, 7> kTypes = {{{"|b1", NpyType::kBool},
                                             {"|u1", NpyType::kUInt8},
                                             {"<i4", NpyType::kInt32},
                                             {"<i8", NpyType::kInt64},
                                             {"<f2", NpyType::kFloat16},
                                             {"<f4", NpyType::kFloat32},
                                             {"<f8", NpyType::kFloat64}}};

// The printable start of what a file says, for a message: a hostile file does not reach the
// terminal.
std::string shown(std::string_view text) {
  constexpr std::size_t kShown = 40;
  std::string result = "'";
  for (char c : text.substr(0, kShown)) result += c >= ' ' && c <= '~' ? c : '?';
  return result + (text.size() > kShown ? "...'" : "'");
}

// Reads the header: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  // Fills type, fortran_order, shape.
  void parse(NpyHeader* header) {
    expect('{', "a dictionary");
    while (!take('}')) {
      const std::string key(string());
      expect(':', "a colon after " + shown(key));
      value_of(key, header);
      if (!take(',')) {
        expect('}', "a comma or the end of the dictionary");
        break;
      }
    }
    skip_space();
    if (at_ != text_.size()) fail("nothing after the dictionary");
    for (std::size_t k = 0; k < kKeys.size(); ++k) {
      if (!seen_[k]) {
        throw Error(name_ + ": the .npy header has no " + shown(kKeys[k]) +
                    "; write the file again with numpy.save");
      }
    }
  }

 private:
  static constexpr std::array<std::string_view, 3> kKeys = {"descr", "fortran_order", "shape"};

  [[noreturn]] void fail(const std::string& expected) const {
    throw Error(name_ + ": the .npy header should have " + expected + " at character " +
                std::to_string(at_) + ", but has " +
                (at_ < text_.size() ? shown(text_.substr(at_)) : "ended") +
                "; write the file again with numpy.save");
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }

  bool take(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void expect(char c, const std::string& what) {
    if (!take(c)) fail(what);
  }

  bool take_word(std::string_view word) {
    skip_space();
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  std::string_view string() {
    skip_space();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) fail("a string");
    const char quote = text_[at_];
    const std::size_t begin = at_ + 1;
    const std::size_t end = text_.find(quote, begin);
    if (end == std::string_view::npos) fail("a string that ends");
    at_ = end + 1;
    return text_.substr(begin, end - begin);
  }

  void value_of(const std::string& key, NpyHeader* header) {
    for (std::size_t k = 0; k < kKeys.size(); ++k) {
      if (key != kKeys[k]) continue;
      if (std::exchange(seen_[k], true)) {
        throw Error(name_ + ": the .npy header has " + shown(key) +
                    " twice; write the file again with numpy.save");
      }
      if (k == 0) header->type = descr();
      if (k == 1) header->fortran_order = boolean();
      if (k == 2) header->shape = shape();
      return;
    }
    throw Error(name_ + ": the .npy header has an unknown key " + shown(key) +
                "; write the file again with numpy.save");
  }

  NpyType descr() {
    skip_space();
    if (at_ < text_.size() && text_[at_] == '[') {
      throw Error(name_ +
                  ": holds records with fields (a structured dtype); save one field, "
                  "as in numpy.save('x.npy', array['field'])");
    }
    const std::string_view found = string();
    for (const TypeName& known : kTypes) {
      if (known.descr == found) return known.type;
    }
    const std::string_view kind = found.empty() ? found : found.substr(1);
    if (kind.starts_with('O')) {
      throw Error(name_ +
                  ": holds pickled Python objects, which are never loaded; save numbers, "
                  "as in numpy.save('x.npy', array.astype('float32'))");
    }
    if (found.starts_with('>')) {
      throw Error(name_ + ": holds big-endian numbers (" + shown(found) +
                  "); save them little-endian, as in numpy.save('x.npy', "
                  "array.astype(array.dtype.newbyteorder('<')))");
    }
    throw Error(name_ + ": holds elements of type " + shown(found) +
                "; fovea reads float32, float64, float16, int32, int64, uint8 and bool: save it as "
                "one of them, as in numpy.save('x.npy', array.astype('float32'))");
  }

  bool boolean() {
    if (take_word("True")) return true;
    if (take_word("False")) return false;
    fail("True or False");
  }

  std::vector<std::int64_t> shape() {
    std::vector<std::int64_t> sizes;
    expect('(', "a shape");
    while (!take(')')) {
      if (sizes.size() == kNpyMaxRank) {
        throw Error(name_ + ": has more than " + std::to_string(kNpyMaxRank) + " dimensions");
      }
      sizes.push_back(size());
      if (!take(',')) {
        if (sizes.size() == 1) fail("a comma after the only size");  // (3) is no tuple
        expect(')', "a comma or the end of the shape");
        break;
      }
    }
    return sizes;
  }

  std::int64_t size() {
    skip_space();
    if (at_ < text_.size() && text_[at_] == '-') {
      throw Error(name_ +
                  ": has a negative size in its shape; write the file again with numpy.save");
    }
    const std::size_t begin = at_;
    std::uint64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      value = value * 10 + static_cast<std::uint64_t>(text_[at_] - '0');
      // 18 digits fit in 64 bits; every size that any file can hold is far below.
      if (at_ - begin >= 18) throw Error(name_ + ": has a size in its shape that no file can hold");
    }
    if (at_ == begin) fail("a size");
    return static_cast<std::int64_t>(value);
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
  std::array<bool, 3> seen_{};
};

std::uint32_t little_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t b = bytes.size(); b-- > 0;) {
    value = value << 8 | static_cast<unsigned char>(bytes[b]);
  }
  return value;
}

void check_magic(std::string_view file, const std::string& name) {
  if (file.empty()) throw Error(name + ": is empty; an .npy file is written by numpy.save");
  if (file.starts_with("PK")) {
    throw Error(name +
                ": is an .npz archive of several arrays; take one out, as in "
                "numpy.save('x.npy', numpy.load('" +
                name + "')['arr_0'])");
  }
  const std::size_t shared = std::min(file.size(), kMagic.size());
  if (file.substr(0, shared) != kMagic.substr(0, shared)) {
    throw Error(name + ": is not an .npy file (it begins with " + shown(file.substr(0, 8)) +
                "); write one with numpy.save");
  }
  if (file.size() < 10) throw Error(name + ": is truncated within the .npy header");
}

// The dictionary's text, and where the data begin.
std::pair<std::string_view, std::size_t> find_header(std::string_view file,
                                                     const std::string& name) {
  check_magic(file, name);
  const int major = static_cast<unsigned char>(file[6]);
  const int minor = static_cast<unsigned char>(file[7]);
  if (major < 1 || major > 3 || minor != 0) {
    throw Error(name + ": is .npy version " + std::to_string(major) + "." + std::to_string(minor) +
                "; versions 1.0, 2.0 and 3.0 are known");
  }
  const std::size_t field = major == 1 ? 2 : 4;
  const std::size_t begin = 8 + field;
  if (file.size() < begin) throw Error(name + ": is truncated within the .npy header");
  const std::size_t length = little_endian(file.substr(8, field));
  if (length > file.size() - begin) {
    throw Error(name + ": says that its header has " + std::to_string(length) +
                " bytes, but the file ends after " + std::to_string(file.size() - begin) +
                "; is it truncated?");
  }
  if (length > kMaxHeader) {
    throw Error(name + ": has a header of " + std::to_string(length) + " bytes; " +
                std::to_string(kMaxHeader) + " are more than any array needs");
  }
  return {file.substr(begin, length), begin + length};
}

// The product of the sizes; none when that of the bytes, sizes of 0 left out, passes 63 bits.
std::optional<std::int64_t> count_of(const std::vector<std::int64_t>& shape, NpyType type) {
  auto bytes = static_cast<std::int64_t>(size_of(type));
  bool empty = false;
  for (const std::int64_t size : shape) {
    if (size == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(bytes, size, &bytes)) {
      return std::nullopt;
    }
  }
  return empty ? 0 : bytes / static_cast<std::int64_t>(size_of(type));
}

template <class T>
T load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

float load_float(NpyType type, const std::byte* p) {
  switch (type) {
    case NpyType::kFloat16: return half_to_float(load<std::uint16_t>(p));
    case NpyType::kFloat64: return static_cast<float>(load<double>(p));
    default: return load<float>(p);
  }
}

std::int64_t load_int(NpyType type, const std::byte* p) {
  switch (type) {
    case NpyType::kInt32: return load<std::int32_t>(p);
    case NpyType::kInt64: return load<std::int64_t>(p);
    default: return load<std::uint8_t>(p);
  }
}

// Calls f(row-major position, address) for every element, rows of the last dimension at a time.
template <class F>
void for_each_element(const NpyArray& array, F f) {
  const std::vector<std::int64_t>& shape = array.header.shape;
  const std::vector<std::int64_t> strides = array.strides();
  const auto bytes = static_cast<std::int64_t>(size_of(array.header.type));
  std::vector<std::int64_t> at(shape.size(), 0);
  const std::int64_t width = shape.empty() ? 1 : shape.back();
  const std::int64_t step = shape.empty() ? 1 : strides.back();
  for (std::int64_t done = 0; done < array.header.count; done += width) {
    std::int64_t start = 0;
    for (std::size_t d = 0; d + 1 < shape.size(); ++d) start += at[d] * strides[d];
    for (std::int64_t e = 0; e < width; ++e) {
      f(done + e, array.data() + (start + e * step) * bytes);
    }
    for (std::size_t d = shape.size() < 2 ? 0 : shape.size() - 1; d-- > 0;) {
      if (++at[d] < shape[d]) break;
      at[d] = 0;
    }
  }
}

// NumPy pads the header so that the data begin at a multiple of this.
constexpr std::size_t kDataAlignment = 64;

}  // namespace

const char* name_of(NpyType type) {
  switch (type) {
    case NpyType::kBool: return "bool";
    case NpyType::kUInt8: return "uint8";
    case NpyType::kInt32: return "int32";
    case NpyType::kInt64: return "int64";
    case NpyType::kFloat16: return "float16";
    case NpyType::kFloat32: return "float32";
    case NpyType::kFloat64: return "float64";
  }
  return "?";
}

std::size_t size_of(NpyType type) {
  switch (type) {
    case NpyType::kBool:
    case NpyType::kUInt8: return 1;
    case NpyType::kFloat16: return 2;
    case NpyType::kInt32:
    case NpyType::kFloat32: return 4;
    case NpyType::kInt64:
    case NpyType::kFloat64: return 8;
  }
  return 0;
}

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t d = 0; d < shape.size(); ++d) {
    text += (d > 0 ? ", " : "") + std::to_string(shape[d]);
  }
  return text + "]";
}

NpyHeader parse_npy(std::string_view file, const std::string& name) {
  const auto [text, offset] = find_header(file, name);
  NpyHeader header;
  HeaderParser(text, name).parse(&header);
  header.data_offset = offset;
  const std::optional<std::int64_t> count = count_of(header.shape, header.type);
  if (!count) {
    throw Error(name + ": has shape " + shape_text(header.shape) +
                ", more elements than any file can hold");
  }
  header.count = *count;
  const std::uint64_t needed = static_cast<std::uint64_t>(*count) * size_of(header.type);
  const std::uint64_t found = file.size() - offset;
  if (found != needed) {
    throw Error(name + ": has shape " + shape_text(header.shape) + " of " + name_of(header.type) +
                ", which takes " + std::to_string(needed) + " bytes, but " + std::to_string(found) +
                " follow the header" +
                (found < needed ? "; is it truncated?" : "; did more than one array go into it?"));
  }
  return header;
}

std::vector<std::int64_t> NpyArray::strides() const {
  const std::vector<std::int64_t>& shape = header.shape;
  std::vector<std::int64_t> steps(shape.size());
  if (header.count == 0) return steps;
  std::int64_t step = 1;
  for (std::size_t n = 0; n < shape.size(); ++n) {
    const std::size_t d = header.fortran_order ? n : shape.size() - 1 - n;
    steps[d] = step;
    step *= shape[d];
  }
  return steps;
}

bool NpyArray::is_plain() const {
  if (reinterpret_cast<std::uintptr_t>(data()) % size_of(header.type) != 0) return false;
  if (!header.fortran_order) return true;
  std::size_t wide = 0;  // dimensions over 1: with one of them at most, the two orders are the same
  for (const std::int64_t size : header.shape) wide += size > 1 ? 1 : 0;
  return wide <= 1;
}

NpyArray read_npy(FileBytes file) {
  NpyArray array;
  array.header = parse_npy(file.text(), file.name());
  array.file = std::move(file);
  return array;
}

void copy_to_float(const NpyArray& array, float* result) {
  const NpyType type = array.header.type;
  if (type != NpyType::kFloat16 && type != NpyType::kFloat32 && type != NpyType::kFloat64) {
    throw Error(array.name() + ": holds " + name_of(type) + ", where floats are needed");
  }
  for_each_element(array,
                   [&](std::int64_t i, const std::byte* p) { result[i] = load_float(type, p); });
}

void copy_to_int64(const NpyArray& array, std::int64_t* result) {
  const NpyType type = array.header.type;
  if (type == NpyType::kFloat16 || type == NpyType::kFloat32 || type == NpyType::kFloat64) {
    throw Error(array.name() + ": holds " + name_of(type) + ", where integers are needed");
  }
  for_each_element(array,
                   [&](std::int64_t i, const std::byte* p) { result[i] = load_int(type, p); });
}

float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fu;
  const std::uint32_t fraction = half & 0x3ffu;
  if (exponent == 0) {  // fraction * 2^-24, exact in a float
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  // Infinity and NaN keep the largest exponent; the others move from bias 15 to bias 127.
  const std::uint32_t wide = exponent == 31 ? 255 : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

std::string npy_header(const View& array) {
  std::string descr;
  switch (array.type) {
    case DataType::kFloat32: descr = "<f4"; break;
    case DataType::kInt32: descr = "<i4"; break;
    case DataType::kBool: descr = "|b1"; break;
    default: throw Error(std::string("npy: cannot write ") + name_of(array.type));
  }
  std::string text = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (";
  for (int d = 0; d < array.rank; ++d) {
    text += std::to_string(array.size(d));
    if (array.rank == 1 || d + 1 < array.rank) text += d + 1 < array.rank ? ", " : ",";
  }
  text += "), }";
  const std::size_t unpadded = kMagic.size() + 4 + text.size() + 1;
  text.append((kDataAlignment - unpadded % kDataAlignment) % kDataAlignment, ' ');
  text += '\n';
  std::string file(kMagic);
  file += '\x01';
  file += '\0';
  file += static_cast<char>(text.size() & 0xff);
  file += static_cast<char>(text.size() >> 8);
  return file + text;
}

void write_npy(FileWriter& writer, const View& array) {
  writer.write(npy_header(array));
  const std::size_t bytes = size_of(array.type);
  std::int64_t count = 1;
  for (int d = 0; d < array.rank; ++d) count *= array.size(d);
  const std::int64_t width = array.rank == 0 ? 1 : array.size(array.rank - 1);
  const bool dense_rows = array.rank == 0 || array.step(array.rank - 1) == 1;
  std::array<std::int64_t, kMaxRank> at{};
  for (std::int64_t done = 0; done < count; done += width) {
    std::int64_t start = 0;
    for (int d = 0; d + 1 < array.rank; ++d)
      start += at[static_cast<std::size_t>(d)] * array.step(d);
    const char* row =
        static_cast<const char*>(array.data) + start * static_cast<std::int64_t>(bytes);
    if (dense_rows) {
      writer.write(row, static_cast<std::size_t>(width) * bytes);
    } else {
      const std::int64_t step = array.step(array.rank - 1) * static_cast<std::int64_t>(bytes);
      for (std::int64_t e = 0; e < width; ++e) writer.write(row + e * step, bytes);
    }
    for (int d = array.rank - 2; d >= 0; --d) {
      if (++at[static_cast<std::size_t>(d)] < array.size(d)) break;
      at[static_cast<std::size_t>(d)] = 0;
    }
  }
}

}  // namespace fovea
