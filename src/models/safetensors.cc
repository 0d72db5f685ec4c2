#include "models/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <utility>

#include "base/npy.h"
#include "fovea/error.h"

namespace fovea {
namespace {

constexpr std::uint64_t kMaxHeader = 100'000'000;  // what the format's own library allows
constexpr std::size_t kLengthBytes = 8;

constexpr std::array<TensorType, 16> kTypes = {{{"F64", 8},
                                                {"F32", 4},
                                                {"F16", 2},
                                                {"BF16", 2},
                                                {"F8_E4M3", 1},
                                                {"F8_E5M2", 1},
                                                {"F8_E8M0", 1},
                                                {"I64", 8},
                                                {"I32", 4},
                                                {"I16", 2},
                                                {"I8", 1},
                                                {"U64", 8},
                                                {"U32", 4},
                                                {"U16", 2},
                                                {"U8", 1},
                                                {"BOOL", 1}}};

// A name from the file, fit for a message of one line.
std::string in_quotes(std::string_view name) {
  constexpr std::size_t kLongest = 100;
  std::string out = "\"";
  for (const char c : name.substr(0, kLongest)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  return out + (name.size() > kLongest ? "...\"" : "\"");
}

[[noreturn]] void fail(const std::string& file, const std::string& what) {
  throw Error("weights: " + file + ": " + what);
}

// Receives the header's JSON piece by piece. A document tree would lose a name that comes twice.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(std::string file) : file_(std::move(file)) {}

  std::vector<Tensor> take() { return std::move(tensors_); }

  bool null() override { return refuse("null"); }
  bool boolean(bool) override { return refuse("true or false"); }
  bool number_integer(number_integer_t) override { return refuse("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return refuse("a number that is not whole and below 2^64");
  }
  bool binary(binary_t&) override { return refuse("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ != State::kArray) return refuse("a number");
    if (value > static_cast<std::uint64_t>(INT64_MAX)) return refuse("a number above 2^63");
    numbers_.push_back(value);
    return true;
  }

  bool string(string_t& text) override {
    if (state_ == State::kMetadata) return true;
    if (state_ != State::kField || field_ != "dtype") return refuse("a text");
    const auto* type = std::find_if(kTypes.begin(), kTypes.end(),
                                    [&](const TensorType& t) { return t.name == text; });
    if (type == kTypes.end()) {
      fail(file_, where() + ": type " + in_quotes(text) + " is not one of " + type_names());
    }
    tensors_.back().type = *type;
    state_ = State::kTensor;
    return true;
  }

  bool start_object(std::size_t) override {
    if (state_ == State::kStart) {
      state_ = State::kNames;
    } else if (state_ == State::kValue) {
      state_ = is_metadata_ ? State::kMetadata : State::kTensor;
      fields_.clear();
    } else {
      return refuse("an object");
    }
    return true;
  }

  bool key(string_t& name) override {
    if (state_ == State::kNames) {
      if (!names_.insert(name).second) fail(file_, "tensor " + in_quotes(name) + " appears twice");
      is_metadata_ = name == "__metadata__";
      if (!is_metadata_) {
        tensors_.emplace_back();
        tensors_.back().name = name;
      }
      state_ = State::kValue;
    } else if (state_ == State::kTensor) {
      if (name != "dtype" && name != "shape" && name != "data_offsets") {
        fail(file_, where() + ": unknown field " + in_quotes(name) +
                        "; expected dtype, shape and data_offsets");
      }
      if (!fields_.insert(name).second) {
        fail(file_, where() + ": field " + in_quotes(name) + " appears twice");
      }
      field_ = name;
      state_ = State::kField;
    }
    return true;
  }

  bool end_object() override {
    if (state_ == State::kTensor) {
      for (const char* field : {"dtype", "shape", "data_offsets"}) {
        if (!fields_.contains(field)) fail(file_, where() + ": no field \"" + field + "\"");
      }
    }
    state_ = state_ == State::kNames ? State::kEnd : State::kNames;
    return true;
  }

  bool start_array(std::size_t) override {
    if (state_ != State::kField || field_ == "dtype") return refuse("an array");
    numbers_.clear();
    state_ = State::kArray;
    return true;
  }

  bool end_array() override {
    Tensor& tensor = tensors_.back();
    if (field_ == "shape") {
      tensor.shape.assign(numbers_.begin(), numbers_.end());
    } else {
      if (numbers_.size() != 2) {
        fail(file_, where() + ": data_offsets has " + std::to_string(numbers_.size()) +
                        " numbers; expected [begin, end]");
      }
      tensor.begin = numbers_[0];
      tensor.end = numbers_[1];
    }
    state_ = State::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    fail(file_, "the header is not JSON at byte " + std::to_string(kLengthBytes + position - 1) +
                    ". Is this a safetensors file?");
  }

 private:
  enum class State { kStart, kNames, kValue, kMetadata, kTensor, kField, kArray, kEnd };

  static std::string type_names() {
    std::string names;
    for (const TensorType& type : kTypes)
      names += (names.empty() ? "" : ", ") + std::string(type.name);
    return names;
  }

  std::string where() const {
    if (state_ == State::kMetadata || (state_ == State::kValue && is_metadata_)) {
      return "\"__metadata__\"";
    }
    if (tensors_.empty()) return "the header";
    return "tensor " + in_quotes(tensors_.back().name);
  }

  bool refuse(const std::string& found) {
    std::string expected = "an object of names";
    if (state_ == State::kValue) expected = "an object";
    if (state_ == State::kMetadata) expected = "texts only";
    if (state_ == State::kArray) expected = "whole numbers in " + field_;
    if (state_ == State::kField)
      expected = field_ == "dtype" ? "a text as dtype" : "an array as " + field_;
    fail(file_, where() + ": expected " + expected + ", found " + found);
  }

  std::string file_;
  State state_ = State::kStart;
  bool is_metadata_ = false;
  std::set<std::string> names_;
  std::set<std::string> fields_;
  std::string field_;
  std::vector<std::uint64_t> numbers_;
  std::vector<Tensor> tensors_;
};

std::uint64_t header_length(std::span<const std::byte> bytes, const std::string& file) {
  if (bytes.size() < kLengthBytes) {
    fail(file, "has " + std::to_string(bytes.size()) +
                   " bytes; a safetensors file begins with 8 bytes that give its header's length");
  }
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  }
  if (length > kMaxHeader) {
    fail(file, "header says it has " + std::to_string(length) + " bytes, the format allows " +
                   std::to_string(kMaxHeader) + ". Is this a safetensors file?");
  }
  if (length > bytes.size() - kLengthBytes) {
    fail(file, "header says it ends at byte " + std::to_string(kLengthBytes + length) +
                   ", file ends at " + std::to_string(bytes.size()) +
                   ". Is the download complete?");
  }
  return length;
}

// Elements, or -1 when the product of the shape overflows.
std::int64_t product(std::span<const std::int64_t> shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) {
    if (__builtin_mul_overflow(count, size, &count)) return -1;
  }
  return count;
}

void check_size(Tensor& tensor, const std::string& file) {
  const std::string where = "tensor " + in_quotes(tensor.name);
  if (tensor.begin > tensor.end) {
    fail(file, where + ": data_offsets [" + std::to_string(tensor.begin) + ", " +
                   std::to_string(tensor.end) + "] end before they begin");
  }
  tensor.count = product(tensor.shape);
  std::int64_t bytes = 0;
  const bool overflow =
      tensor.count < 0 || __builtin_mul_overflow(tensor.count, tensor.type.bytes, &bytes);
  if (overflow || static_cast<std::uint64_t>(bytes) != tensor.end - tensor.begin) {
    fail(file, where + ": " + std::string(tensor.type.name) + " " + shape_text(tensor.shape) +
                   " needs " + (overflow ? "over 2^63" : std::to_string(bytes)) +
                   " bytes, data_offsets give " + std::to_string(tensor.end - tensor.begin));
  }
  if (tensor.begin % static_cast<std::uint64_t>(tensor.type.bytes) != 0) {
    fail(file, where + ": data begin at byte " + std::to_string(tensor.begin) +
                   " of the data, which is no multiple of the " +
                   std::to_string(tensor.type.bytes) + " bytes of " +
                   std::string(tensor.type.name));
  }
}

// The tensors lie one after the other and fill the data.
void check_layout(std::span<const Tensor> tensors, std::uint64_t data_begin,
                  std::uint64_t file_size, const std::string& file) {
  std::uint64_t next = 0;
  std::string before;
  for (const Tensor& tensor : tensors) {
    const std::string where = "tensor " + in_quotes(tensor.name);
    if (tensor.end > file_size - data_begin) {
      fail(file, where + ": ends at byte " + std::to_string(data_begin + tensor.end) +
                     ", file ends at " + std::to_string(file_size) + ". Is the download complete?");
    }
    if (tensor.begin < next) {
      fail(file, where + ": begins at byte " + std::to_string(data_begin + tensor.begin) +
                     ", inside tensor " + in_quotes(before) + " that ends at " +
                     std::to_string(data_begin + next));
    }
    if (tensor.begin > next) {
      fail(file, where + ": begins at byte " + std::to_string(data_begin + tensor.begin) +
                     "; bytes " + std::to_string(data_begin + next) +
                     " to there belong to no tensor");
    }
    next = tensor.end;
    before = tensor.name;
  }
  if (data_begin + next != file_size) {
    fail(file, "the tensors end at byte " + std::to_string(data_begin + next) + ", file ends at " +
                   std::to_string(file_size) + ": what follows belongs to no tensor");
  }
}

}  // namespace

Safetensors Safetensors::open(const std::filesystem::path& path) {
  return parse(FileBytes::open(path));
}

Safetensors Safetensors::parse(FileBytes file) {
  Safetensors result;
  const std::string name = file.name();
  const std::span<const std::byte> bytes = file.bytes();
  const std::uint64_t length = header_length(bytes, name);
  const std::uint64_t data_begin = kLengthBytes + length;

  HeaderReader reader(name);
  nlohmann::json::sax_parse(file.text().substr(kLengthBytes, length), &reader);
  result.tensors_ = reader.take();
  for (Tensor& tensor : result.tensors_) check_size(tensor, name);
  std::sort(result.tensors_.begin(), result.tensors_.end(), [](const Tensor& a, const Tensor& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  check_layout(result.tensors_, data_begin, bytes.size(), name);
  for (Tensor& tensor : result.tensors_) tensor.data = bytes.data() + data_begin + tensor.begin;
  result.file_ = std::move(file);
  return result;
}

const Tensor* Safetensors::find(std::string_view name) const {
  for (const Tensor& tensor : tensors_) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

std::vector<float> Safetensors::floats(const Tensor& tensor) const {
  std::vector<float> values(static_cast<std::size_t>(tensor.count));
  if (values.empty()) return values;
  if (tensor.type.name == "F32") {
    std::memcpy(values.data(), tensor.data, values.size() * sizeof(float));
    return values;
  }
  const bool half = tensor.type.name == "F16";
  if (!half && tensor.type.name != "BF16") {
    fail(name(), "tensor " + in_quotes(tensor.name) + " has type " + std::string(tensor.type.name) +
                     "; expected F32, F16 or BF16");
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, tensor.data + 2 * i, sizeof(bits));
    values[i] =
        half ? half_to_float(bits) : std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
  return values;
}

}  // namespace fovea
