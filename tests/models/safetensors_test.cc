#include "models/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tiny.h"

namespace fovea {
namespace {

using test::error_of;
using test::safetensors_bytes;

std::string error_in(const std::string& bytes) {
  return error_of([&] { Safetensors::parse(FileBytes::copy_of(bytes, "m.safetensors")); });
}

std::string error_of_header(const std::string& header, std::size_t data = 0) {
  return error_in(safetensors_bytes(header, std::string(data, '\0')));
}

std::string tensor(const std::string& type, const std::string& shape, const std::string& offsets) {
  return R"({"dtype": ")" + type + R"(", "shape": )" + shape + R"(, "data_offsets": )" + offsets +
         "}";
}

TEST(Safetensors, ReadsTheThreeTypesOfWeights) {
  const float one[2] = {1.5f, -2.0f};
  std::string data(reinterpret_cast<const char*>(one), sizeof(one));
  data += std::string("\x00\x3e\x00\xc0\x01\x00\x00\x7c", 8);  // F16: 1.5, -2, 2^-24, inf
  data += std::string("\xc0\x3f\x00\xc0", 4);                  // BF16: 1.5, -2
  const std::string header = R"({"a": )" + tensor("F32", "[2]", "[0, 8]") + R"(, "b": )" +
                             tensor("F16", "[2, 2]", "[8, 16]") + R"(, "c": )" +
                             tensor("BF16", "[2, 1]", "[16, 20]") + R"(, "empty": )" +
                             tensor("F32", "[0, 3]", "[20, 20]") +
                             R"(, "__metadata__": {"format": "pt"}}   )";
  const Safetensors file =
      Safetensors::parse(FileBytes::copy_of(safetensors_bytes(header, data), "m"));
  ASSERT_EQ(file.tensors().size(), 4u);
  EXPECT_EQ(file.floats(*file.find("a")), (std::vector<float>{1.5f, -2.0f}));
  const std::vector<float> half = file.floats(*file.find("b"));
  EXPECT_EQ(half, (std::vector<float>{1.5f, -2.0f, 0x1p-24f, INFINITY}));
  EXPECT_EQ(file.floats(*file.find("c")), (std::vector<float>{1.5f, -2.0f}));
  EXPECT_EQ(file.find("c")->shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_TRUE(file.floats(*file.find("empty")).empty());
  EXPECT_EQ(file.find("d"), nullptr);
}

TEST(Safetensors, RefusesABrokenFile) {
  EXPECT_EQ(
      error_in("abc"),
      "weights: m.safetensors: has 3 bytes; a safetensors file begins with 8 bytes that give its "
      "header's length");
  EXPECT_EQ(
      error_in(std::string("\x01\xe1\xf5\x05\0\0\0\0{}", 10)),
      "weights: m.safetensors: header says it has 100000001 bytes, the format allows 100000000. "
      "Is this a safetensors file?");
  EXPECT_EQ(
      error_in(std::string("\x03\0\0\0\0\0\0\0{}", 10)),
      "weights: m.safetensors: header says it ends at byte 11, file ends at 10. Is the download "
      "complete?");
  EXPECT_EQ(error_of_header(R"({"a": 1,, })"),
            "weights: m.safetensors: tensor \"a\": expected an object, found a number");
  EXPECT_EQ(
      error_of_header("{nonsense}"),
      "weights: m.safetensors: the header is not JSON at byte 10. Is this a safetensors file?");
  EXPECT_EQ(error_of_header("[]"),
            "weights: m.safetensors: the header: expected an object of names, found an array");
}

TEST(Safetensors, RefusesABrokenTensor) {
  const std::string m = "weights: m.safetensors: tensor \"a\": ";
  const auto error = [](const std::string& t, std::size_t data = 8) {
    return error_of_header(R"({"a": )" + t + "}", data);
  };
  EXPECT_EQ(
      error(tensor("F99", "[2]", "[0, 8]")),
      m + "type \"F99\" is not one of F64, F32, F16, BF16, F8_E4M3, F8_E5M2, F8_E8M0, I64, I32, "
          "I16, I8, U64, U32, U16, U8, BOOL");
  EXPECT_EQ(error(tensor("F32", "[3]", "[0, 8]")),
            m + "F32 [3] needs 12 bytes, data_offsets give 8");
  EXPECT_EQ(error(tensor("F32", "[4611686018427387904, 4]", "[0, 8]")),
            m + "F32 [4611686018427387904, 4] needs over 2^63 bytes, data_offsets give 8");
  EXPECT_EQ(error(tensor("F32", "[2]", "[8, 0]")), m + "data_offsets [8, 0] end before they begin");
  EXPECT_EQ(error(tensor("F32", "[2]", "[0, 8]"), 4),
            m + "ends at byte 77, file ends at 73. Is the download complete?");
  EXPECT_EQ(error(tensor("F32", "[2]", "[2, 10]"), 10),
            m + "data begin at byte 2 of the data, which is no multiple of the 4 bytes of F32");
  EXPECT_EQ(error(tensor("F32", "[2]", "[0]")),
            m + "data_offsets has 1 numbers; expected [begin, end]");
  EXPECT_EQ(error(tensor("F32", "[-2]", "[0, 8]")),
            m + "expected whole numbers in shape, found a negative number");
  EXPECT_EQ(error(tensor("F32", "2", "[0, 8]")), m + "expected an array as shape, found a number");
  EXPECT_EQ(error(R"({"dtype": "F32", "shape": [2]})"), m + "no field \"data_offsets\"");
  EXPECT_EQ(error(R"({"dtype": "F32", "shape": [2], "shape": [2]})"),
            m + "field \"shape\" appears twice");
  EXPECT_EQ(error(R"({"dtype": "F32", "size": 2})"),
            m + "unknown field \"size\"; expected dtype, shape and data_offsets");
}

TEST(Safetensors, RefusesLyingLayouts) {
  const std::string m = "weights: m.safetensors: ";
  const std::string a = R"({"a": )" + tensor("F32", "[2]", "[0, 8]") + R"(, "b": )";
  EXPECT_EQ(error_of_header(a + tensor("F32", "[2]", "[4, 12]") + "}", 12),
            m + "tensor \"b\": begins at byte 135, inside tensor \"a\" that ends at 139");
  EXPECT_EQ(error_of_header(a + tensor("F32", "[2]", "[12, 20]") + "}", 20),
            m + "tensor \"b\": begins at byte 144; bytes 140 to there belong to no tensor");
  EXPECT_EQ(error_of_header(a + tensor("F32", "[2]", "[8, 16]") + "}", 20),
            m + "the tensors end at byte 147, file ends at 151: what follows belongs to no tensor");
  EXPECT_EQ(error_of_header(R"({"a": )" + tensor("F32", "[2]", "[0, 8]") + R"(, "a": {}})", 8),
            m + "tensor \"a\" appears twice");
  EXPECT_EQ(error_of_header(R"({"__metadata__": {"x": 1}})"),
            m + "\"__metadata__\": expected texts only, found a number");
}

TEST(Safetensors, RefusesToReadIntegersAsWeights) {
  const std::string header = R"({"a\u0007": )" + tensor("I32", "[1]", "[0, 4]") + "}";
  const Safetensors file =
      Safetensors::parse(FileBytes::copy_of(safetensors_bytes(header, "1234"), "m.safetensors"));
  EXPECT_EQ(error_of([&] { file.floats(file.tensors()[0]); }),
            "weights: m.safetensors: tensor \"a?\" has type I32; expected F32, F16 or BF16");
}

TEST(Safetensors, EveryTruncationIsAnError) {
  const std::string bytes = safetensors_bytes(test::random_weights({}, 1));
  for (std::size_t size = 0; size < bytes.size(); size += 1 + size / 50) {
    EXPECT_NE(error_in(bytes.substr(0, size)), "") << size;
  }
  EXPECT_EQ(error_in(bytes), "");
}

}  // namespace
}  // namespace fovea
