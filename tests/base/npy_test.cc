#include "base/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "fovea/error.h"

namespace {

using fovea::FileBytes;
using fovea::NpyArray;
using fovea::NpyHeader;
using fovea::NpyType;
using fovea::View;
using ::testing::ElementsAre;

// A version 1.0 file with this dictionary and these data.
std::string npy(const std::string& dictionary, const std::string& data, char major = 1) {
  std::string file = "\x93NUMPY";
  file += major;
  file += '\0';
  const std::size_t size = dictionary.size();
  for (int b = 0; b < (major == 1 ? 2 : 4); ++b) file += static_cast<char>(size >> (8 * b) & 0xff);
  return file + dictionary + data;
}

std::string dictionary(const std::string& descr, const std::string& shape,
                       const std::string& order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}

template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

NpyArray read(const std::string& file) {
  return fovea::read_npy(FileBytes::copy_of(file, "x.npy"));
}

std::vector<float> floats(const std::string& file) {
  const NpyArray array = read(file);
  std::vector<float> result(static_cast<std::size_t>(array.header.count));
  fovea::copy_to_float(array, result.data());
  return result;
}

std::vector<std::int64_t> integers(const std::string& file) {
  const NpyArray array = read(file);
  std::vector<std::int64_t> result(static_cast<std::size_t>(array.header.count));
  fovea::copy_to_int64(array, result.data());
  return result;
}

std::string error_of(const std::string& file) {
  try {
    fovea::parse_npy(file, "x.npy");
  } catch (const fovea::Error& error) {
    return error.what();
  }
  return "(no error)";
}

const std::string kFour = raw<float>({1, 2, 3, 4});

TEST(Npy, ReadsEveryVersionAndType) {
  for (char major : {1, 2, 3}) {
    EXPECT_THAT(floats(npy(dictionary("<f4", "(2, 2)"), kFour, major)), ElementsAre(1, 2, 3, 4));
  }
  EXPECT_THAT(floats(npy(dictionary("<f8", "(2,)"), raw<double>({0.5, -3}))),
              ElementsAre(0.5f, -3.0f));
  EXPECT_THAT(floats(npy(dictionary("<f2", "(2,)"), raw<std::uint16_t>({0x3c00, 0xc100}))),
              ElementsAre(1.0f, -2.5f));
  EXPECT_THAT(integers(npy(dictionary("<i4", "(2,)"), raw<std::int32_t>({7, -8}))),
              ElementsAre(7, -8));
  EXPECT_THAT(integers(npy(dictionary("<i8", "(2,)"), raw<std::int64_t>({1LL << 40, -8}))),
              ElementsAre(1LL << 40, -8));
  EXPECT_THAT(integers(npy(dictionary("|b1", "(2,)"), std::string("\1\0", 2))), ElementsAre(1, 0));
  EXPECT_THAT(integers(npy(dictionary("|u1", "(2,)"), "\xff\x05")), ElementsAre(255, 5));
}

TEST(Npy, ReadsScalarsAndEmptyArrays) {
  EXPECT_THAT(floats(npy(dictionary("<f4", "()"), raw<float>({7}))), ElementsAre(7));
  EXPECT_EQ(read(npy(dictionary("<f4", "()"), raw<float>({7}))).rank(), 0u);
  EXPECT_TRUE(floats(npy(dictionary("<f4", "(0, 5)"), "")).empty());
  EXPECT_TRUE(floats(npy(dictionary("<f4", "(5, 0)", "True"), "")).empty());
}

TEST(Npy, ReadsTheDictionaryInAnyOrderQuotesAndSpacing) {
  EXPECT_THAT(floats(npy("{\"shape\":(4,),'fortran_order':False,'descr':\"<f4\"}", kFour)),
              ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(
      floats(npy("  { 'shape' : ( 4 , ) ,'descr': '<f4', 'fortran_order': True } \n\n", kFour)),
      ElementsAre(1, 2, 3, 4));
}

TEST(Npy, ReadsFortranOrder) {
  const NpyArray array =
      read(npy(dictionary("<f4", "(2, 3)", "True"), raw<float>({1, 4, 2, 5, 3, 6})));
  EXPECT_THAT(array.strides(), ElementsAre(1, 2));
  EXPECT_FALSE(array.is_plain());
  EXPECT_THAT(floats(npy(dictionary("<f4", "(2, 3)", "True"), raw<float>({1, 4, 2, 5, 3, 6}))),
              ElementsAre(1, 2, 3, 4, 5, 6));
  // [2, 3, 2]: element (a, b, c) lies at a + 2 b + 6 c.
  std::vector<float> data(12);
  std::vector<float> wanted;
  for (int a = 0; a < 2; ++a) {
    for (int b = 0; b < 3; ++b) {
      for (int c = 0; c < 2; ++c) {
        data[static_cast<std::size_t>(a + 2 * b + 6 * c)] =
            static_cast<float>(100 * a + 10 * b + c);
        wanted.push_back(static_cast<float>(100 * a + 10 * b + c));
      }
    }
  }
  EXPECT_EQ(floats(npy(dictionary("<f4", "(2, 3, 2)", "True"), raw(data))), wanted);
}

TEST(Npy, PlainMeansRowMajorAndAligned) {
  EXPECT_TRUE(read(npy(dictionary("<f4", "(1, 4, 1)", "True") + "", kFour)).header.fortran_order);
  const auto padded = [](const std::string& shape, const std::string& order, std::size_t shift) {
    std::string text = dictionary("<f4", shape, order);
    text.insert(text.size() - 1, (64 + shift - (10 + text.size()) % 64) % 64, ' ');
    return read(npy(text, kFour)).is_plain();
  };
  EXPECT_TRUE(padded("(2, 2)", "False", 0));
  EXPECT_FALSE(padded("(2, 2)", "False", 2));  // data begin at an odd half word
  EXPECT_FALSE(padded("(2, 2)", "True", 0));
  EXPECT_TRUE(padded("(1, 4, 1)", "True", 0));
}

// The definition: (-1)^s 2^(e-15) (1 + f/1024), or (-1)^s 2^-14 f/1024 when e is 0.
float plain_half(unsigned half) {
  const double sign = (half >> 15) != 0 ? -1 : 1;
  const int exponent = static_cast<int>(half >> 10 & 31u);
  const double fraction = (half & 1023u) / 1024.0;
  if (exponent == 31 && fraction == 0) return static_cast<float>(sign * INFINITY);
  if (exponent == 31) return NAN;
  if (exponent == 0) return static_cast<float>(sign * std::ldexp(fraction, -14));
  return static_cast<float>(sign * std::ldexp(1 + fraction, exponent - 15));
}

TEST(Npy, ConvertsAllHalvesExactly) {
  int nans = 0;
  for (unsigned half = 0; half < 65536; ++half) {
    const float found = fovea::half_to_float(static_cast<std::uint16_t>(half));
    const float wanted = plain_half(half);
    if (std::isnan(wanted)) {
      ++nans;
      EXPECT_TRUE(std::isnan(found)) << half;
    } else {
      EXPECT_EQ(found, wanted) << half;
      EXPECT_EQ(std::signbit(found), std::signbit(wanted)) << half;
    }
  }
  EXPECT_EQ(nans, 2 * 1023);
}

TEST(Npy, Float64IsRoundedToNearest) {
  EXPECT_THAT(floats(npy(dictionary("<f8", "(4,)"),
                         raw<double>({1 + 0x1p-24, 1 + 0x1.8p-23, 1e300, -1e-300}))),
              ElementsAre(1.0f, 1 + 0x1p-22f, std::numeric_limits<float>::infinity(), -0.0f));
}

TEST(Npy, WrongKindOfNumberIsAnError) {
  std::array<float, 4> room{};
  std::array<std::int64_t, 4> places{};
  const NpyArray ints = read(npy(dictionary("<i4", "(1,)"), raw<std::int32_t>({1})));
  const NpyArray reals = read(npy(dictionary("<f4", "(4,)"), kFour));
  try {
    fovea::copy_to_float(ints, room.data());
    FAIL();
  } catch (const fovea::Error& error) {
    EXPECT_STREQ(error.what(), "x.npy: holds int32, where floats are needed");
  }
  try {
    fovea::copy_to_int64(reals, places.data());
    FAIL();
  } catch (const fovea::Error& error) {
    EXPECT_STREQ(error.what(), "x.npy: holds float32, where integers are needed");
  }
}

struct Bad {
  const char* what;
  std::string file;
  std::string message;
};

std::vector<Bad> bad_files() {
  const std::string again = "; write the file again with numpy.save";
  const std::string good = npy(dictionary("<f4", "(2, 2)"), kFour);
  std::string lying = good;
  lying[9] = '\x7f';
  std::string one_too_long = npy(dictionary("<f4", "(0,)"), "");
  ++one_too_long[8];
  std::string huge = npy(std::string(70000, ' '), "", 2);
  return {
      {"empty", "", "x.npy: is empty; an .npy file is written by numpy.save"},
      {"text", "1 2 3\n4 5 6\n",
       "x.npy: is not an .npy file (it begins with '1 2 3?4 '); write one with numpy.save"},
      {"npz", std::string("PK\3\4........"),
       "x.npy: is an .npz archive of several arrays; take one out, as in numpy.save('x.npy', "
       "numpy.load('x.npy')['arr_0'])"},
      {"only magic", "\x93NUMPY\1", "x.npy: is truncated within the .npy header"},
      {"half a length", std::string("\x93NUMPY\2\0\1\0\0", 11),
       "x.npy: is truncated within the .npy header"},
      {"version", npy(dictionary("<f4", "(2, 2)"), kFour, 9),
       "x.npy: is .npy version 9.0; versions 1.0, 2.0 and 3.0 are known"},
      {"header beyond the file", lying,
       "x.npy: says that its header has " + std::to_string(lying[8] + 0x7f00) +
           " bytes, but the file ends after " + std::to_string(good.size() - 10) +
           "; is it truncated?"},
      {"header one byte beyond the file", one_too_long,
       "x.npy: says that its header has " + std::to_string(one_too_long.size() - 9) +
           " bytes, but the file ends after " + std::to_string(one_too_long.size() - 10) +
           "; is it truncated?"},
      {"huge header", huge,
       "x.npy: has a header of 70000 bytes; 65536 are more than any array needs"},
      {"truncated data", good.substr(0, good.size() - 1),
       "x.npy: has shape [2, 2] of float32, which takes 16 bytes, but 15 follow the header; is it "
       "truncated?"},
      {"trailing data", good + "x",
       "x.npy: has shape [2, 2] of float32, which takes 16 bytes, but 17 follow the header; did "
       "more "
       "than one array go into it?"},
      {"product over 2^63", npy(dictionary("<f4", "(4294967296, 4294967296)"), ""),
       "x.npy: has shape [4294967296, 4294967296], more elements than any file can hold"},
      {"product over 2^63 beside a 0", npy(dictionary("<f4", "(0, 4294967296, 4294967296)"), ""),
       "x.npy: has shape [0, 4294967296, 4294967296], more elements than any file can hold"},
      {"product wraps to 0", npy(dictionary("<f4", "(4611686018427387904, 4)"), ""),
       "x.npy: has a size in its shape that no file can hold"},
      {"20 digits", npy(dictionary("<f4", "(99999999999999999999,)"), ""),
       "x.npy: has a size in its shape that no file can hold"},
      {"negative", npy(dictionary("<f4", "(-1, 4)"), kFour),
       "x.npy: has a negative size in its shape" + again},
      {"33 dimensions",
       npy(dictionary("|u1", "(" + std::string("1,1,1,1,1,1,1,1,1,1,1,") +
                                 "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)"),
           "x"),
       "x.npy: has more than 32 dimensions"},
      {"big-endian", npy(dictionary(">f4", "(2, 2)"), kFour),
       "x.npy: holds big-endian numbers ('>f4'); save them little-endian, as in "
       "numpy.save('x.npy', "
       "array.astype(array.dtype.newbyteorder('<')))"},
      {"objects", npy(dictionary("|O", "(1,)"), "\x80\x04K\x01."),
       "x.npy: holds pickled Python objects, which are never loaded; save numbers, as in "
       "numpy.save('x.npy', array.astype('float32'))"},
      {"records",
       npy("{'descr': [('a', '<f4'), ('b', '<i4')], 'fortran_order': False, 'shape': (1,), }",
           "12345678"),
       "x.npy: holds records with fields (a structured dtype); save one field, as in "
       "numpy.save('x.npy', array['field'])"},
      {"complex", npy(dictionary("<c8", "(1,)"), "12345678"),
       "x.npy: holds elements of type '<c8'; fovea reads float32, float64, float16, int32, int64, "
       "uint8 and bool: save it as one of them, as in numpy.save('x.npy', "
       "array.astype('float32'))"},
      {"no dictionary", npy("[1, 2]", ""),
       "x.npy: the .npy header should have a dictionary at character 0, but has '[1, 2]'" + again},
      {"dictionary without end", npy("{'descr': '<f4'", ""),
       "x.npy: the .npy header should have a comma or the end of the dictionary at character 15, "
       "but "
       "has ended" +
           again},
      {"text after the dictionary",
       npy("{'descr': '<f4', 'fortran_order': False, 'shape': ()} os", kFour),
       "x.npy: the .npy header should have nothing after the dictionary at character 54, but has "
       "'os'" +
           again},
      {"a call", npy("{'descr': exit(), 'fortran_order': False, 'shape': ()}", kFour),
       "x.npy: the .npy header should have a string at character 10, but has "
       "'exit(), 'fortran_order': False, 'shape':...'" +
           again},
      {"no colon", npy("{'descr' '<f4'}", ""),
       "x.npy: the .npy header should have a colon after 'descr' at character 9, but has ''<f4'}'" +
           again},
      {"string without end", npy("{'descr", ""),
       "x.npy: the .npy header should have a string that ends at character 1, but has ''descr'" +
           again},
      {"order neither true nor false", npy(dictionary("<f4", "(4,)", "Maybe"), kFour),
       "x.npy: the .npy header should have True or False at character 34, but has 'Maybe, 'shape': "
       "(4,), }?'" +
           again},
      {"shape is a number", npy(dictionary("<f4", "4"), kFour),
       "x.npy: the .npy header should have a shape at character 50, but has '4, }?'" + again},
      {"shape in brackets", npy(dictionary("<f4", "(4)"), kFour),
       "x.npy: the .npy header should have a comma after the only size at character 52, but has "
       "'), }?'" +
           again},
      {"size is a name", npy(dictionary("<f4", "(4, x)"), kFour),
       "x.npy: the .npy header should have a size at character 54, but has 'x), }?'" + again},
      {"sizes without comma", npy(dictionary("<f4", "(2, 2 2)"), kFour),
       "x.npy: the .npy header should have a comma or the end of the shape at character 56, but "
       "has "
       "'2), }?'" +
           again},
      {"no shape", npy("{'descr': '<f4', 'fortran_order': False}", kFour),
       "x.npy: the .npy header has no 'shape'" + again},
      {"descr twice", npy("{'descr': '<f4', 'descr': '<f4'}", kFour),
       "x.npy: the .npy header has 'descr' twice" + again},
      {"unknown key", npy("{'color': 1}", kFour),
       "x.npy: the .npy header has an unknown key 'color'" + again},
  };
}

TEST(Npy, EveryBadFileIsOneClearError) {
  for (const Bad& bad : bad_files()) EXPECT_EQ(error_of(bad.file), bad.message) << bad.what;
}

TEST(Npy, EveryTruncationIsAnError) {
  const std::string good = npy(dictionary("<f4", "(2, 2)"), kFour);
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(error_of(good.substr(0, size)), "(no error)") << size;
  }
  EXPECT_EQ(error_of(good), "(no error)");
}

// What write_npy makes of a view, as bytes.
std::string written(const View& view) {
  std::string name = (std::filesystem::temp_directory_path() / "fovea_npy_XXXXXX").string();
  const int descriptor = ::mkstemp(name.data());
  EXPECT_GE(descriptor, 0);
  ::close(descriptor);
  fovea::FileWriter writer(name);
  fovea::write_npy(writer, view);
  writer.commit();
  const std::string file(FileBytes::open(name).text());
  std::filesystem::remove(name);
  return file;
}

TEST(Npy, WritesExactlyWhatNumpyWrites) {
  const std::array<float, 6> data = {1, 2, 3, 4, 5, 6};
  // numpy.save of a [2, 3] float32 array: 118 characters of dictionary, spaces and a newline.
  std::string wanted("\x93NUMPY\1\0\x76\0", 10);
  wanted += "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  wanted += std::string(118 - 59 - 1, ' ') + "\n";
  wanted += raw<float>({1, 2, 3, 4, 5, 6});
  EXPECT_EQ(written(View(data.data(), {2, 3})), wanted);
}

TEST(Npy, WritesStridesTypesAndRanksThatItReadsBack) {
  const std::array<float, 6> data = {1, 2, 3, 4, 5, 6};
  EXPECT_THAT(floats(written(View(data.data(), {3, 2}, {1, 3}))), ElementsAre(1, 4, 2, 5, 3, 6));
  EXPECT_THAT(floats(written(View(data.data(), {3, 1, 2}, {2, 9, 1}))),
              ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(read(written(View(data.data(), {6}))).header.shape, ElementsAre(6));
  EXPECT_THAT(floats(written(View(data.data(), {}))), ElementsAre(1));
  EXPECT_THAT(read(written(View(data.data(), {2, 0, 3}))).header.shape, ElementsAre(2, 0, 3));
  const std::array<std::int32_t, 2> ints = {-1, 9};
  EXPECT_THAT(integers(written(View(ints.data(), {2}))), ElementsAre(-1, 9));
  const std::array<bool, 3> flags = {true, false, true};
  EXPECT_THAT(integers(written(View(flags.data(), {3}))), ElementsAre(1, 0, 1));
  const std::array<double, 1> wide = {1};
  EXPECT_THROW(written(View(wide.data(), {1})), fovea::Error);
}

}  // namespace
