#include "app/attend_reader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "fovea/error.h"

namespace fovea {
namespace {

constexpr std::int64_t kMaxSize = std::numeric_limits<std::int32_t>::max();  // indices are int32

using Shape = std::vector<std::int64_t>;

// Something to point at when there is no data: a view without a pointer would mean "not given".
const float kNothing = 0;

NpyArray open_array(const std::string& path) {
  NpyArray array = read_npy(path == "-" ? FileBytes::standard_input() : FileBytes::open(path));
  for (const std::int64_t size : array.header.shape) {
    if (size > kMaxSize) {
      throw Error(array.name() + ": has shape " + shape_text(array.header.shape) +
                  "; a size may be at most " + std::to_string(kMaxSize));
    }
  }
  return array;
}

// How to make `type` of an array, for a message.
std::string save_as(const std::string& letter, const char* type) {
  return "numpy.save('" + letter + ".npy', " + letter + ".astype('" + type + "'))";
}

void check_floats(const NpyArray& array, const std::string& letter) {
  const NpyType type = array.header.type;
  if (type == NpyType::kFloat16 || type == NpyType::kFloat32 || type == NpyType::kFloat64) return;
  throw Error(array.name() + ": holds " + name_of(type) + ", but " + letter +
              " is floats; save it as such, as in " + save_as(letter, "float32"));
}

void check_integers(const NpyArray& array, const std::string& what) {
  const NpyType type = array.header.type;
  if (type == NpyType::kInt32 || type == NpyType::kInt64) return;
  throw Error(array.name() + ": holds " + name_of(type) + ", but " + what +
              " are int32 or int64; save them as such, as in " + save_as(what, "int32"));
}

std::vector<std::int64_t> integers(const NpyArray& array) {
  std::vector<std::int64_t> values(static_cast<std::size_t>(array.header.count));
  copy_to_int64(array, values.data());
  return values;
}

// A dense row-major view of `rank` dimensions, filled from the right: what `shape` lacks on the left
// is 1.
View dense(const void* data, DataType type, const Shape& shape, int rank) {
  View view;
  view.data = data;
  view.type = type;
  view.rank = rank;
  std::int64_t step = 1;
  for (std::size_t n = 0; n < static_cast<std::size_t>(rank); ++n) {
    const std::size_t d = static_cast<std::size_t>(rank) - 1 - n;
    view.shape[d] = n < shape.size() ? shape[shape.size() - 1 - n] : 1;
    view.strides[d] = step;
    step *= std::max<std::int64_t>(view.shape[d], 1);
  }
  return view;
}

template <class T>
T element(const void* data, std::int64_t i) {
  T value;
  std::memcpy(&value, static_cast<const std::byte*>(data) + i * std::int64_t{sizeof(T)}, sizeof(T));
  return value;
}

// Elements, in whatever order, that are NaN or infinite.
template <class T>
std::int64_t count_not_finite(const void* data, std::int64_t count, bool minus_infinity) {
  std::int64_t found = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto value = static_cast<double>(static_cast<float>(element<T>(data, i)));
    const bool word = minus_infinity && value == -std::numeric_limits<double>::infinity();
    found += std::isfinite(value) || word ? 0 : 1;
  }
  return found;
}

template <>
std::int64_t count_not_finite<double>(const void* data, std::int64_t count, bool minus_infinity) {
  std::int64_t found = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto value = element<double>(data, i);
    const bool word = minus_infinity && value == -std::numeric_limits<double>::infinity();
    found += std::isfinite(value) || word ? 0 : 1;
  }
  return found;
}

template <class T>
AlignedArray<T> rounded(const float* values, std::size_t count) {
  AlignedArray<T> result = aligned_array<T>(count);
  for (std::size_t i = 0; i < count; ++i) result[i] = T(values[i]);
  return result;
}

}  // namespace

std::string several(std::int64_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

View AttendReader::numbers(const std::string& path, const std::string& letter, DataType type,
                           int rank) {
  const NpyArray& array = arrays_.files.emplace_back(open_array(path));
  check_floats(array, letter);
  const NpyHeader& header = array.header;
  const auto count = static_cast<std::size_t>(header.count);
  const NpyType wanted = type == DataType::kFloat16 ? NpyType::kFloat16 : NpyType::kFloat32;
  const bool as_it_lies = header.type == wanted && array.is_plain() && type != DataType::kBFloat16;
  const void* data = &kNothing;
  if (count == 0) return dense(data, type, header.shape, rank);
  if (as_it_lies) {
    data = array.data();
  } else if (type == DataType::kFloat32) {
    data = copied(array);
  } else {
    const AlignedArray<float> copy = aligned_array<float>(count);
    copy_to_float(array, copy.get());
    if (type == DataType::kFloat16) {
      data = arrays_.halves.emplace_back(rounded<Float16>(copy.get(), count)).get();
    } else {
      data = arrays_.brains.emplace_back(rounded<BFloat16>(copy.get(), count)).get();
    }
    note_copy(array);
  }
  note_not_finite(array, data, type, false);
  return dense(data, type, header.shape, rank);
}

View AttendReader::floats(const std::string& path, const std::string& letter, bool minus_infinity) {
  const NpyArray& array = arrays_.files.emplace_back(open_array(path));
  check_floats(array, letter);
  const NpyHeader& header = array.header;
  const void* data = &kNothing;
  if (header.count > 0) {
    data = header.type == NpyType::kFloat32 && array.is_plain()
               ? static_cast<const void*>(array.data())
               : copied(array);
  }
  note_not_finite(array, data, DataType::kFloat32, minus_infinity);
  return dense(data, DataType::kFloat32, header.shape, kMaxRank);
}

View AttendReader::bias(const std::string& path) { return floats(path, "bias", true); }

View AttendReader::lse(const std::string& path) { return floats(path, "lse", true); }

View AttendReader::mask(const std::string& path) {
  const NpyArray& array = arrays_.files.emplace_back(open_array(path));
  const NpyHeader& header = array.header;
  if (header.type != NpyType::kBool && header.type != NpyType::kUInt8) {
    throw Error(array.name() + ": holds " + name_of(header.type) +
                ", but a mask is bool (true: may see); save it as such, as in " +
                save_as("mask", "bool") + ". Numbers to add to the scores go to --bias");
  }
  for (std::int64_t i = 0; i < header.count; ++i) {
    if (std::to_integer<unsigned>(array.data()[i]) > 1) {
      throw Error(array.name() + ": holds a byte of " +
                  std::to_string(std::to_integer<unsigned>(array.data()[i])) +
                  ", but a mask is 0 (hidden) or 1 (may see); save it as bool, as in " +
                  save_as("mask", "bool"));
    }
  }
  const auto view = [&](const void* data) {
    return dense(data, DataType::kBool, header.shape, kMaxRank);
  };
  if (header.count == 0) return view(&kNothing);
  if (array.is_plain()) return view(array.data());
  const std::vector<std::int64_t> values = integers(array);
  AlignedArray<bool>& copy = arrays_.flags.emplace_back(aligned_array<bool>(values.size()));
  for (std::size_t i = 0; i < values.size(); ++i) copy[i] = values[i] != 0;
  note_copy(array);
  return view(copy.get());
}

std::vector<std::int32_t> AttendReader::lengths(const std::string& path,
                                                std::span<const std::int32_t> offsets,
                                                std::int64_t limit, char letter) {
  const NpyArray array = open_array(path);
  check_integers(array, "lengths");
  const NpyHeader& header = array.header;
  const std::int64_t sequences = arrays_.sizes.B;
  const bool fits = header.shape == Shape{sequences} || (sequences == 1 && array.rank() == 0);
  if (!fits) {
    throw Error(array.name() + ": has shape " + shape_text(header.shape) + ", but there " +
                (sequences == 1 ? "is 1 sequence" : "are " + several(sequences, "", "sequences")) +
                ": one length each, [" + std::to_string(sequences) + "]");
  }
  std::vector<std::int32_t> result;
  for (const std::int64_t value : integers(array)) {
    const std::size_t b = result.size();
    const std::int64_t most = offsets.empty() ? limit : offsets[b + 1] - offsets[b];
    if (value < 0 || value > most) {
      throw Error(array.name() + ": length " + std::to_string(value) + " of sequence " +
                  std::to_string(b) + " is not in [0, " + std::to_string(most) + "] (" +
                  (offsets.empty() ? std::string(1, letter) + " = " + std::to_string(most)
                                   : "what its offsets leave it") +
                  ")");
    }
    result.push_back(static_cast<std::int32_t>(value));
  }
  return result;
}

std::vector<std::int32_t> AttendReader::offsets(const std::string& path, std::int64_t rows,
                                                const std::string& letter) {
  const NpyArray array = open_array(path);
  check_integers(array, "offsets");
  const auto fail = [&](const std::string& found) {
    throw Error(array.name() + ": " + found +
                ", but offsets are one more than sequences, ascending from 0 to " +
                std::to_string(rows) + ", the rows of " + letter +
                ", as in numpy.concatenate([[0], numpy.cumsum(lengths)])");
  };
  if (array.rank() != 1 || array.header.count < 2) {
    fail("has shape " + shape_text(array.header.shape));
  }
  const std::vector<std::int64_t> values = integers(array);
  if (values.front() != 0) fail("begins with " + std::to_string(values.front()));
  for (std::size_t b = 1; b < values.size(); ++b) {
    if (values[b] < values[b - 1]) {
      fail("has " + std::to_string(values[b]) + " after " + std::to_string(values[b - 1]));
    }
  }
  if (values.back() != rows) fail("ends with " + std::to_string(values.back()));
  std::vector<std::int32_t> result;
  for (const std::int64_t value : values) result.push_back(static_cast<std::int32_t>(value));
  return result;
}

std::vector<float> AttendReader::slopes(const std::string& path) {
  const NpyArray array = open_array(path);
  check_floats(array, "alibi");
  const AttendSizes& s = arrays_.sizes;
  const Shape& shape = array.header.shape;
  const bool one = s.H == 1 && shape.empty();
  if (!one && shape != Shape{s.H} && shape != Shape{1, s.H} && shape != Shape{s.B, s.H}) {
    throw Error(array.name() + ": has shape " + shape_text(shape) +
                ", but ALiBi takes a slope for each head, [" + std::to_string(s.H) + "] or [" +
                std::to_string(s.B) + ", " + std::to_string(s.H) +
                "]; --alibi auto makes the usual ones");
  }
  std::vector<float> result(static_cast<std::size_t>(array.header.count));
  copy_to_float(array, result.data());
  for (const float slope : result) {
    if (!std::isfinite(slope)) {
      throw Error(array.name() + ": holds a slope of " + std::to_string(slope) +
                  ", but slopes are finite float32; 0 leaves a head without ALiBi");
    }
  }
  return result;
}

const float* AttendReader::copied(const NpyArray& array) {
  const auto count = static_cast<std::size_t>(array.header.count);
  AlignedArray<float>& copy = arrays_.floats.emplace_back(aligned_array<float>(count));
  copy_to_float(array, copy.get());
  note_copy(array);
  return copy.get();
}

void AttendReader::note_copy(const NpyArray& array) {
  if (!array.header.fortran_order || array.is_plain()) return;
  arrays_.notes.push_back(array.name() + ": is in Fortran order; copied once to rows (" +
                          "numpy.ascontiguousarray before numpy.save spares the copy)");
}

void AttendReader::note_not_finite(const NpyArray& array, const void* data, DataType type,
                                   bool minus_infinity) {
  const std::int64_t count = array.header.count;
  const auto found_in = [&](const void* values, DataType of) {
    switch (of) {
      case DataType::kFloat16: return count_not_finite<Float16>(values, count, minus_infinity);
      case DataType::kBFloat16: return count_not_finite<BFloat16>(values, count, minus_infinity);
      case DataType::kFloat64: return count_not_finite<double>(values, count, minus_infinity);
      default: return count_not_finite<float>(values, count, minus_infinity);
    }
  };
  const std::int64_t found = found_in(data, type);
  if (found == 0) return;
  std::string note = array.name() + ": " + std::to_string(found) + " of " +
                     several(count, "value is", "values are") + " NaN or infinite" +
                     "; what sees one of them becomes NaN";
  const DataType source = array.header.type == NpyType::kFloat16   ? DataType::kFloat16
                          : array.header.type == NpyType::kFloat64 ? DataType::kFloat64
                                                                   : DataType::kFloat32;
  const std::int64_t overflow = found - found_in(array.data(), source);
  if (overflow > 0) {
    note += " (" + std::to_string(overflow) + " of them beyond " + name_of(type) + ")";
  }
  arrays_.notes.push_back(note);
}

}  // namespace fovea
