// fovea attend as its users meet it: files in, files and text out, one clear line when it fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <numeric>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/npy.h"
#include "base/random.h"
#include "fovea/half.h"

namespace {

namespace fs = std::filesystem;
using fovea::FileBytes;
using fovea::NpyArray;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

using Shape = std::vector<std::int64_t>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::int64_t count_of(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::string npy_bytes(const std::string& descr, const Shape& shape, const std::string& data,
                      bool fortran = false) {
  std::string text = "{'descr': '" + descr + "', 'fortran_order': " + (fortran ? "True" : "False") +
                     ", 'shape': (";
  for (const std::int64_t size : shape) text += std::to_string(size) + ", ";
  text += "), }";
  text = std::regex_replace(text, std::regex(", \\), "), shape.size() == 1 ? ",), " : "), ");
  text += std::string((64 - (10 + text.size() + 1) % 64) % 64, ' ') + "\n";
  std::string file("\x93NUMPY\1\0", 8);
  file += static_cast<char>(text.size() & 0xff);
  file += static_cast<char>(text.size() >> 8);
  return file + text + data;
}

template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

struct Ran {
  int code = -1;  // exit status; -1: ended by a signal
  std::string out;
  std::string err;
};

class AttendCli : public ::testing::Test {
 protected:
  AttendCli() {
    std::string name = (fs::temp_directory_path() / "fovea_attend_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    folder_ = name;
  }
  ~AttendCli() override { fs::remove_all(folder_); }

  // `fovea attend ARGUMENTS`, in the test's folder; `more` goes after it (a redirection, a pipe).
  Ran run(const std::string& arguments, const std::string& more = "") const {
    const std::string command = "cd '" + folder_.string() + "' && '" FOVEA_PROGRAM "' attend " +
                                arguments + " >_out 2>_err " + more;
    const int status = std::system(command.c_str());
    Ran ran;
    if (WIFEXITED(status)) ran.code = WEXITSTATUS(status);
    ran.out = slurp(folder_ / "_out");
    ran.err = slurp(folder_ / "_err");
    fs::remove(folder_ / "_out");
    fs::remove(folder_ / "_err");
    return ran;
  }

  void put(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }
  void put_floats(const std::string& name, const Shape& shape,
                  const std::vector<float>& values) const {
    put(name, npy_bytes("<f4", shape, raw(values)));
  }
  std::vector<float> put_random(const std::string& name, const Shape& shape,
                                std::uint64_t seed) const {
    fovea::Random random(seed);
    std::vector<float> values(static_cast<std::size_t>(count_of(shape)));
    for (float& value : values) value = static_cast<float>(random.normal());
    put_floats(name, shape, values);
    return values;
  }
  // The example of the documentation: one query, two keys.
  void put_example() const {
    put("q.npy", npy_bytes("<f8", {1, 2}, raw<double>({1, 0})));
    put("k.npy", npy_bytes("<f8", {2, 2}, raw<double>({1, 0, -10, 1})));
    put("v.npy", npy_bytes("<f8", {2, 2}, raw<double>({10, 20, 30, 40})));
  }

  Shape shape_of(const std::string& name) const {
    return fovea::read_npy(FileBytes::open(folder_ / name)).header.shape;
  }
  std::vector<float> floats(const std::string& name) const {
    const NpyArray array = fovea::read_npy(FileBytes::open(folder_ / name));
    EXPECT_EQ(array.header.type, fovea::NpyType::kFloat32);
    std::vector<float> values(static_cast<std::size_t>(array.header.count));
    fovea::copy_to_float(array, values.data());
    return values;
  }

  fs::path folder_;
};

// Attention in float64 from the formula: [H, N, D] x [G, M, D] x [G, M, E] -> [H, N, E].
// sees(h, i, j) and bias(h, i, j) may be empty.
struct Plain {
  std::int64_t H, G, N, M, D, E;
  double scale;
  std::function<bool(std::int64_t, std::int64_t, std::int64_t)> sees;
  std::function<double(std::int64_t, std::int64_t, std::int64_t)> bias;

  std::vector<double> operator()(const std::vector<float>& q, const std::vector<float>& k,
                                 const std::vector<float>& v) const {
    std::vector<double> out(static_cast<std::size_t>(H * N * E), 0.0);
    for (std::int64_t h = 0; h < H; ++h) {
      const std::int64_t g = h / (H / G);
      for (std::int64_t i = 0; i < N; ++i) {
        std::vector<double> weights(static_cast<std::size_t>(M), 0.0);
        double sum = 0;
        for (std::int64_t j = 0; j < M; ++j) {
          if (sees && !sees(h, i, j)) continue;
          double score = 0;
          for (std::int64_t d = 0; d < D; ++d) {
            score += static_cast<double>(q[static_cast<std::size_t>((h * N + i) * D + d)]) *
                     static_cast<double>(k[static_cast<std::size_t>((g * M + j) * D + d)]);
          }
          weights[static_cast<std::size_t>(j)] =
              std::exp(scale * score + (bias ? bias(h, i, j) : 0));
          sum += weights[static_cast<std::size_t>(j)];
        }
        if (sum == 0) continue;
        for (std::int64_t j = 0; j < M; ++j) {
          for (std::int64_t e = 0; e < E; ++e) {
            out[static_cast<std::size_t>((h * N + i) * E + e)] +=
                weights[static_cast<std::size_t>(j)] / sum *
                static_cast<double>(v[static_cast<std::size_t>((g * M + j) * E + e)]);
          }
        }
      }
    }
    return out;
  }
};

void expect_close(const std::vector<float>& found, const std::vector<double>& wanted) {
  ASSERT_EQ(found.size(), wanted.size());
  double worst = 0;
  for (std::size_t n = 0; n < wanted.size(); ++n) {
    const double apart = std::abs(static_cast<double>(found[n]) - wanted[n]);
    if (!(apart <= worst)) worst = apart;
  }
  EXPECT_TRUE(worst <= 3e-6) << worst;  // values are of size 1, scores of size 3
}

TEST_F(AttendCli, TheWorkedExample) {
  put_example();
  const Ran ran = run("q.npy k.npy v.npy --scale 1");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "10.000334 20.000334\n");
  EXPECT_EQ(ran.err, "");
}

TEST_F(AttendCli, TheScaleIsOneOverTheRootOfTheWidthUnlessGiven) {
  const auto q = put_random("q.npy", {3, 16}, 1);
  const auto k = put_random("k.npy", {5, 16}, 2);
  const auto v = put_random("v.npy", {5, 4}, 3);
  ASSERT_EQ(run("q.npy k.npy v.npy -o o.npy").code, 0);
  EXPECT_THAT(shape_of("o.npy"), ElementsAre(3, 4));
  expect_close(floats("o.npy"), Plain{1, 1, 3, 5, 16, 4, 0.25, {}, {}}(q, k, v));
  ASSERT_EQ(run("q.npy k.npy v.npy -o o.npy --scale -0.5").code, 0);
  expect_close(floats("o.npy"), Plain{1, 1, 3, 5, 16, 4, -0.5, {}, {}}(q, k, v));
}

TEST_F(AttendCli, AScaleOfZeroIsThePlainMean) {
  put_random("q.npy", {3, 4}, 1);
  put_random("k.npy", {5, 4}, 2);  // 5 keys: whole vectors have hidden lanes
  put_floats("v.npy", {5, 1}, {1, 2, 3, 4, 10});
  EXPECT_EQ(run("q.npy k.npy v.npy --scale 0").out, "4\n4\n4\n");
}

TEST_F(AttendCli, GroupedHeadsAndBatchKeepTheDimensions) {
  const auto q = put_random("q.npy", {4, 3, 8}, 1);
  const auto k = put_random("k.npy", {2, 7, 8}, 2);
  const auto v = put_random("v.npy", {2, 7, 5}, 3);
  ASSERT_EQ(run("q.npy k.npy v.npy -o o.npy --threads 2").code, 0);
  EXPECT_THAT(shape_of("o.npy"), ElementsAre(4, 3, 5));
  const auto wanted = Plain{4, 2, 3, 7, 8, 5, 1 / std::sqrt(8.0), {}, {}}(q, k, v);
  expect_close(floats("o.npy"), wanted);
  put_floats("q.npy", {1, 4, 3, 8}, q);
  put_floats("k.npy", {1, 2, 7, 8}, k);
  put_floats("v.npy", {1, 2, 7, 5}, v);
  ASSERT_EQ(run("q.npy k.npy v.npy -o o.npy").code, 0);
  EXPECT_THAT(shape_of("o.npy"), ElementsAre(1, 4, 3, 5));
  expect_close(floats("o.npy"), wanted);
}

TEST_F(AttendCli, CausalBothWays) {
  const auto q = put_random("q.npy", {3, 4}, 1);
  const auto k = put_random("k.npy", {5, 4}, 2);
  const auto v = put_random("v.npy", {5, 4}, 3);
  const auto wanted = [&](std::int64_t offset) {
    const auto sees = [offset](std::int64_t, std::int64_t i, std::int64_t j) {
      return j <= i + offset;
    };
    return Plain{1, 1, 3, 5, 4, 4, 0.5, sees, {}}(q, k, v);
  };
  for (const char* arguments :
       {"q.npy k.npy v.npy --causal", "--causal q.npy k.npy v.npy",
        "q.npy k.npy v.npy --causal=bottom-right", "q.npy k.npy --causal bottom-right v.npy"}) {
    ASSERT_EQ(run(std::string(arguments) + " -o o.npy").code, 0) << arguments;
    expect_close(floats("o.npy"), wanted(2));
  }
  for (const char* arguments :
       {"q.npy k.npy v.npy --causal=top-left", "--causal top-left q.npy k.npy v.npy",
        "q.npy k.npy v.npy --causal top-left"}) {
    ASSERT_EQ(run(std::string(arguments) + " -o o.npy").code, 0) << arguments;
    expect_close(floats("o.npy"), wanted(0));
  }
}

TEST_F(AttendCli, WindowBothWays) {
  const auto q = put_random("q.npy", {3, 4}, 1);
  const auto k = put_random("k.npy", {5, 4}, 2);
  const auto v = put_random("v.npy", {5, 4}, 3);
  const auto wanted = [&](std::int64_t before, std::int64_t after, std::int64_t offset) {
    const auto sees = [=](std::int64_t, std::int64_t i, std::int64_t j) {
      return j >= i + offset - before && j <= i + offset + after;
    };
    return Plain{1, 1, 3, 5, 4, 4, 0.5, sees, {}}(q, k, v);
  };
  ASSERT_EQ(run("q.npy k.npy v.npy --window 1 -o o.npy").code, 0);
  expect_close(floats("o.npy"), wanted(1, 9, 2));
  ASSERT_EQ(run("q.npy k.npy v.npy --window 1,0 -o o.npy").code, 0);
  expect_close(floats("o.npy"), wanted(1, 0, 2));
  ASSERT_EQ(run("q.npy k.npy v.npy --window=0,2 --causal=top-left -o o.npy").code, 0);
  expect_close(floats("o.npy"), wanted(0, 0, 0));
  const Ran ran =
      run("q.npy k.npy v.npy --window 1,0 --explain --top 1 -o o.npy --highlights h.json");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("Hidden are keys outside the window around each query's place."));
  EXPECT_THAT(ran.out, HasSubstr("Checked: "));
  EXPECT_THAT(slurp(folder_ / "h.json"),
              HasSubstr("\"causal\": \"none\",\n  \"window_before\": 1,\n  \"window_after\": 0"));
}

TEST_F(AttendCli, LengthsMaskAndBias) {
  const auto q = put_random("q.npy", {2, 3, 4, 8}, 1);
  const auto k = put_random("k.npy", {2, 3, 6, 8}, 2);
  const auto v = put_random("v.npy", {2, 3, 6, 8}, 3);
  put("l.npy", npy_bytes("<i8", {2}, raw<std::int64_t>({6, 2})));
  put("ql.npy", npy_bytes("<i4", {2}, raw<std::int32_t>({3, 4})));
  std::string mask;
  for (int n = 0; n < 3 * 4 * 6; ++n) mask += static_cast<char>(n % 5 != 0);
  put("m.npy", npy_bytes("|b1", {3, 4, 6}, mask));
  const std::vector<float> bias = {0.5f, -1, 2, -kInfinity, 0, 1};
  put_floats("b.npy", {6}, bias);
  const Ran ran =
      run("q.npy k.npy v.npy -o o.npy --lengths l.npy --query-lengths ql.npy --mask m.npy --bias "
          "b.npy");
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");  // -infinity in a bias is a word, not an accident
  const auto found = floats("o.npy");
  const std::size_t half = q.size() / 2;
  for (std::int64_t b = 0; b < 2; ++b) {
    const auto part = [&](const std::vector<float>& all) {
      const auto size = static_cast<std::ptrdiff_t>(all.size() / 2);
      return std::vector<float>(all.begin() + b * size, all.begin() + (b + 1) * size);
    };
    const auto sees = [&](std::int64_t h, std::int64_t i, std::int64_t j) {
      return i < (b == 0 ? 3 : 4) && j < (b == 0 ? 6 : 2) && j != 3 &&
             ((h * 4 + i) * 6 + j) % 5 != 0;
    };
    const auto add = [&](std::int64_t, std::int64_t, std::int64_t j) {
      return static_cast<double>(bias[static_cast<std::size_t>(j)]);
    };
    expect_close(part(found),
                 Plain{3, 3, 4, 6, 8, 8, 1 / std::sqrt(8.0), sees, add}(part(q), part(k), part(v)));
  }
  for (std::size_t n = 0; n < 8; ++n) EXPECT_EQ(found[half / 3 - 8 + n], 0);  // query 3 is padding
}

TEST_F(AttendCli, EveryTypeAndOrderGivesTheSame) {
  // Values that float16 holds exactly.
  const std::vector<float> values = {1, -2, 0.5f, 0.25f, 3, -1, 0, 1.5f};
  const std::vector<std::uint16_t> halves = {0x3c00, 0xc000, 0x3800, 0x3400,
                                             0x4200, 0xbc00, 0,      0x3e00};
  const std::vector<double> doubles(values.begin(), values.end());
  put_floats("x.npy", {4, 2}, values);
  ASSERT_EQ(run("x.npy x.npy x.npy -o wanted.npy").code, 0);
  const std::string wanted = slurp(folder_ / "wanted.npy");
  put("f2.npy", npy_bytes("<f2", {4, 2}, raw(halves)));
  put("f8.npy", npy_bytes("<f8", {4, 2}, raw(doubles)));
  put("fortran.npy",
      npy_bytes("<f4", {4, 2}, raw<float>({1, 0.5f, 3, 0, -2, 0.25f, -1, 1.5f}), true));
  for (const char* files : {"f2.npy x.npy x.npy", "x.npy f2.npy x.npy", "f8.npy f8.npy f8.npy",
                            "x.npy fortran.npy f2.npy", "x.npy x.npy fortran.npy"}) {
    ASSERT_EQ(run(std::string(files) + " -o o.npy").code, 0) << files;
    EXPECT_EQ(slurp(folder_ / "o.npy"), wanted) << files;
  }
  EXPECT_EQ(run("x.npy fortran.npy x.npy -o o.npy").err,
            "fovea attend: note: fortran.npy: is in Fortran order; copied once to rows "
            "(numpy.ascontiguousarray before numpy.save spares the copy)\n");
}

TEST_F(AttendCli, MasksInFortranOrderAndAsBytes) {
  put_random("q.npy", {2, 4}, 1);
  put_random("k.npy", {3, 4}, 2);
  put_random("v.npy", {3, 4}, 3);
  put("c.npy", npy_bytes("|b1", {2, 3}, std::string("\1\0\1\1\1\0", 6)));
  put("f.npy", npy_bytes("|b1", {2, 3}, std::string("\1\1\0\1\1\0", 6), true));
  put("u.npy", npy_bytes("|u1", {2, 3}, std::string("\1\0\1\1\1\0", 6)));
  ASSERT_EQ(run("q.npy k.npy v.npy --mask c.npy -o wanted.npy").code, 0);
  for (const char* mask : {"f.npy", "u.npy"}) {
    ASSERT_EQ(run(std::string("q.npy k.npy v.npy -o o.npy --mask ") + mask).code, 0);
    EXPECT_EQ(slurp(folder_ / "o.npy"), slurp(folder_ / "wanted.npy"));
  }
  ASSERT_EQ(run("q.npy k.npy v.npy -o o.npy").code, 0);
  EXPECT_NE(slurp(folder_ / "o.npy"), slurp(folder_ / "wanted.npy"));  // the mask did hide
}

// The head's slope times how far a key is from the query's place, taken from the score.
std::function<double(std::int64_t, std::int64_t, std::int64_t)> alibi(std::vector<double> slopes,
                                                                      std::int64_t shift) {
  return [slopes = std::move(slopes), shift](std::int64_t h, std::int64_t i, std::int64_t j) {
    return -slopes[static_cast<std::size_t>(h)] * static_cast<double>(std::abs(i + shift - j));
  };
}

TEST_F(AttendCli, AlibiFromAFileAndByItself) {
  const auto q = put_random("q.npy", {6, 3, 4}, 1);
  const auto k = put_random("k.npy", {2, 5, 4}, 2);
  const auto v = put_random("v.npy", {2, 5, 4}, 3);
  const std::vector<double> own = {1, 0, 0.5, -0.25, 2, 0.125};
  put("s.npy", npy_bytes("<f8", {6}, raw(own)));
  put("s1.npy", npy_bytes("<f8", {1, 6}, raw(own)));
  for (const char* file : {"s.npy", "s1.npy"}) {
    ASSERT_EQ(run(std::string("q.npy k.npy v.npy -o o.npy --alibi ") + file).code, 0);
    expect_close(floats("o.npy"), Plain{6, 2, 3, 5, 4, 4, 0.5, {}, alibi(own, 2)}(q, k, v));
  }
  // Six heads: those of four, then every other one of eight.
  const std::vector<double> usual = {0x1p-2, 0x1p-4, 0x1p-6, 0x1p-8, 0x1p-1, 0x1p-3};
  ASSERT_EQ(
      run("q.npy k.npy v.npy -o o.npy --alibi auto --causal=top-left --top 1 --highlights h.json")
          .code,
      0);
  const auto sees = [](std::int64_t, std::int64_t i, std::int64_t j) { return j <= i; };
  expect_close(floats("o.npy"), Plain{6, 2, 3, 5, 4, 4, 0.5, sees, alibi(usual, 0)}(q, k, v));
  EXPECT_THAT(slurp(folder_ / "h.json"),
              HasSubstr("\"alibi_slopes\": [\n      [0.25, 0.0625, 0.015625, 0.00390625, 0.5, "
                        "0.125]]"));
}

TEST_F(AttendCli, PackedSequencesAreTheSameAlone) {
  const std::vector<std::int64_t> query_offsets = {0, 3, 3, 5};
  const std::vector<std::int64_t> key_offsets = {0, 4, 6, 11};
  const auto q = put_random("q.npy", {5, 2, 4}, 1);
  const auto k = put_random("k.npy", {11, 1, 4}, 2);
  const auto v = put_random("v.npy", {11, 1, 3}, 3);
  put("qo.npy", npy_bytes("<i8", {4}, raw(query_offsets)));
  put("ko.npy", npy_bytes("<i4", {4}, raw<std::int32_t>({0, 4, 6, 11})));
  const std::string packed = "q.npy k.npy v.npy --query-offsets qo.npy --key-offsets ko.npy ";
  Ran ran = run(packed +
                "-o o.npy --causal --lse l.npy --top 2 --received --entropy --rows 0,4 "
                "--highlights h.json");
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(shape_of("o.npy"), ElementsAre(5, 2, 3));
  EXPECT_THAT(shape_of("l.npy"), ElementsAre(5, 2));
  const auto found = floats("o.npy");
  for (const std::size_t b : {0u, 2u}) {
    const auto part = [&](const std::vector<float>& all, const auto& offsets, std::int64_t heads,
                          std::int64_t width, std::int64_t h) {
      std::vector<float> values;
      for (std::int64_t r = offsets[b]; r < offsets[b + 1]; ++r) {
        const auto first = all.begin() + (r * heads + h) * width;
        values.insert(values.end(), first, first + width);
      }
      return values;
    };
    const std::int64_t n = query_offsets[b + 1] - query_offsets[b];
    const std::int64_t m = key_offsets[b + 1] - key_offsets[b];
    const auto sees = [=](std::int64_t, std::int64_t i, std::int64_t j) { return j <= i + m - n; };
    for (std::int64_t h = 0; h < 2; ++h) {
      expect_close(part(found, query_offsets, 2, 3, h),
                   Plain{1, 1, n, m, 4, 3, 0.5, sees, {}}(part(q, query_offsets, 2, 4, h),
                                                          part(k, key_offsets, 1, 4, 0),
                                                          part(v, key_offsets, 1, 3, 0)));
    }
  }
  const std::string json = slurp(folder_ / "h.json");
  for (const char* words : {"\"batch\": 3,\n  \"heads\": 2,\n  \"queries\": 3,\n  \"keys\": 5,",
                            "\"query_offsets\": [0, 3, 3, 5],\n  \"key_offsets\": [0, 4, 6, 11]",
                            "\"query\": [0, 4],"}) {
    EXPECT_THAT(json, HasSubstr(words));
  }
  // Sequence 1 has keys and no queries; the last sequence's queries count from 0 on the screen.
  ran = run(packed + "--causal --received --rows 4");
  EXPECT_THAT(ran.out, HasSubstr("# sequence 2, head 1\n"));
  EXPECT_THAT(ran.out, HasSubstr("  sequence 1, head 1, key 1:  0.000000\n"));
  EXPECT_THAT(ran.out, HasSubstr("  sequence 2, head 1, query 1:  0."));
  // Few new queries over packed keys: only one side is packed.
  put_floats("q4.npy", {3, 2, 1, 4}, std::vector<float>(q.begin(), q.begin() + 24));
  ASSERT_EQ(
      run("q4.npy k.npy v.npy --key-offsets ko.npy -o o.npy --entropy --highlights h.json").code,
      0);
  EXPECT_THAT(shape_of("o.npy"), ElementsAre(3, 2, 1, 3));
}

TEST_F(AttendCli, APartOfTheKeys) {
  const auto q = put_random("q.npy", {3, 4}, 1);
  const auto k = put_random("k.npy", {6, 4}, 2);
  const auto v = put_random("v.npy", {6, 4}, 3);
  const std::vector<std::pair<std::string, std::pair<std::int64_t, std::int64_t>>> parts = {
      {"1:4", {1, 4}}, {"2:", {2, 6}}, {":5", {0, 5}}, {"3:3", {3, 3}}};
  for (const auto& [keys, part] : parts) {
    ASSERT_EQ(run("q.npy k.npy v.npy --causal -o o.npy --keys " + keys).code, 0) << keys;
    const auto [begin, end] = part;
    const auto sees = [begin = begin, end = end](std::int64_t, std::int64_t i, std::int64_t j) {
      return j >= begin && j < end && j <= i + 3;
    };
    expect_close(floats("o.npy"), Plain{1, 1, 3, 6, 4, 4, 0.5, sees, {}}(q, k, v));
  }
  ASSERT_EQ(run("q.npy k.npy v.npy --keys 1:4 -o o.npy --top 9 --highlights h.json").code, 0);
  EXPECT_THAT(slurp(folder_ / "h.json"),
              HasSubstr("\"causal\": \"none\",\n  \"key_begin\": 1,\n  \"key_end\": 4"));
}

TEST_F(AttendCli, TheTypeThatIsComputedWith) {
  const auto q = put_random("q.npy", {4, 8}, 1);
  const auto k = put_random("k.npy", {6, 8}, 2);
  const auto v = put_random("v.npy", {6, 8}, 3);
  // Files of float32 and of the type itself say the same; the output is float32.
  const auto put_halves = [&](const std::string& name, const Shape& shape,
                              const std::vector<float>& values) {
    std::vector<std::uint16_t> halves;
    std::vector<float> rounded;
    for (const float value : values) {
      const fovea::Float16 half(value);
      halves.push_back(half.bits);
      rounded.push_back(static_cast<float>(half));
    }
    put(name, npy_bytes("<f2", shape, raw(halves)));
    return rounded;
  };
  const auto hq = put_halves("hq.npy", {4, 8}, q);
  const auto hk = put_halves("hk.npy", {6, 8}, k);
  const auto hv = put_halves("hv.npy", {6, 8}, v);
  const double scale = 1 / std::sqrt(8.0);
  ASSERT_EQ(run("q.npy k.npy v.npy --type float16 -o o.npy").code, 0);
  ASSERT_EQ(run("hq.npy hk.npy hv.npy --type float16 -o h.npy").code, 0);
  EXPECT_EQ(slurp(folder_ / "o.npy"), slurp(folder_ / "h.npy"));
  expect_close(floats("o.npy"), Plain{1, 1, 4, 6, 8, 8, scale, {}, {}}(hq, hk, hv));
  const auto brain = [](std::vector<float> values) {
    for (float& value : values) value = static_cast<float>(fovea::BFloat16(value));
    return values;
  };
  ASSERT_EQ(run("q.npy k.npy v.npy --type bfloat16 -o o.npy").code, 0);
  const auto wanted = Plain{1, 1, 4, 6, 8, 8, scale, {}, {}}(brain(q), brain(k), brain(v));
  const auto found = floats("o.npy");
  double worst = 0;  // its weights may have 8 bits too
  for (std::size_t n = 0; n < wanted.size(); ++n) {
    worst = std::max(worst, std::abs(static_cast<double>(found[n]) - wanted[n]));
  }
  EXPECT_LE(worst, 0x1p-8 * 3);
  ASSERT_EQ(run("q.npy k.npy v.npy -o f.npy").code, 0);
  EXPECT_NE(found, floats("f.npy"));
  put_floats("big.npy", {6, 8}, std::vector<float>(48, 70000.0f));
  EXPECT_EQ(run("q.npy k.npy big.npy --type float16").err,
            "fovea attend: note: big.npy: 48 of 48 values are NaN or infinite; what sees one of "
            "them becomes NaN (48 of them beyond float16)\n");
  EXPECT_EQ(run("q.npy k.npy big.npy --type bfloat16").err, "");
}

// The same words, and numbers that differ by two in their last digit at most.
void expect_alike(const std::string& found, const std::string& wanted) {
  const std::regex number("[0-9]+\\.([0-9]+)");
  EXPECT_EQ(std::regex_replace(found, number, "#"), std::regex_replace(wanted, number, "#"));
  const std::sregex_iterator end;
  std::sregex_iterator a(found.begin(), found.end(), number);
  std::sregex_iterator b(wanted.begin(), wanted.end(), number);
  ASSERT_NE(a, end);
  for (; a != end && b != end; ++a, ++b) {
    const double digit = std::pow(10, -static_cast<double>((*b)[1].length()));
    EXPECT_NEAR(std::stod((*a)[0]), std::stod((*b)[0]), 2.1 * digit);
  }
}

TEST_F(AttendCli, HighlightsAskedForLater) {
  put_random("q.npy", {2, 3, 4}, 1);
  put_random("k.npy", {1, 5, 4}, 2);
  const std::string asked = " --causal --alibi auto --top 2 --received --entropy --rows 1 ";
  const Ran whole = run("q.npy k.npy k.npy -o o.npy --lse l.npy" + asked);
  ASSERT_EQ(whole.code, 0) << whole.err;
  EXPECT_THAT(shape_of("l.npy"), ElementsAre(2, 3));
  const Ran later = run("q.npy k.npy --from-lse l.npy" + asked);
  EXPECT_EQ(later.code, 0) << later.err;
  expect_alike(later.out, whole.out);
  ASSERT_EQ(run("q.npy k.npy --causal top-left --from-lse l.npy --top 1").code, 0);
  EXPECT_EQ(run("q.npy k.npy --from-lse l.npy --entropy --highlights -").out.substr(0, 2), "{\n");
  // By the lse of all keys a part's weights are the whole's, and the rest are 0.
  const std::string place = "--causal --alibi auto --rows 2 ";
  const Ran row = run("q.npy k.npy --from-lse l.npy " + place);
  const Ran part = run("q.npy k.npy --from-lse l.npy --keys 2: --entropy " + place);
  EXPECT_THAT(part.out, HasSubstr("entropy in nats, these keys' share of it\n"));
  EXPECT_THAT(part.out, Not(HasSubstr("(")));
  const std::regex first_two("(query 2:)  [0-9.]+  [0-9.]+");
  const std::string rows = part.out.substr(part.out.find("rows: "));
  EXPECT_THAT(rows, HasSubstr("query 2:  0.000000  0.000000  0."));
  EXPECT_EQ(std::regex_replace(rows, first_two, "$1"),
            std::regex_replace(row.out, first_two, "$1"));
  // Packed: lse is [T, H].
  put("of.npy", npy_bytes("<i4", {3}, raw<std::int32_t>({0, 2, 3})));
  put_random("p.npy", {3, 2, 4}, 3);
  const std::string packed = " --query-offsets of.npy --key-offsets of.npy --top 1 --rows 2";
  const Ran once = run("p.npy p.npy p.npy -o o.npy --lse l.npy" + packed);
  ASSERT_EQ(once.code, 0) << once.err;
  expect_alike(run("p.npy p.npy --from-lse l.npy" + packed).out, once.out);
}

TEST_F(AttendCli, ExplainsAlibiPackedPartsAndTypes) {
  put_random("q.npy", {5, 2, 4}, 1);
  put_random("k.npy", {7, 1, 4}, 2);
  put("qo.npy", npy_bytes("<i4", {3}, raw<std::int32_t>({0, 2, 5})));
  put("ko.npy", npy_bytes("<i4", {3}, raw<std::int32_t>({0, 4, 7})));
  for (const char* type : {"float32", "float16", "bfloat16"}) {
    const Ran ran = run(
        std::string("q.npy k.npy k.npy --query-offsets qo.npy --key-offsets ko.npy --alibi auto "
                    "--keys 0:3 --explain --type ") +
        type);
    EXPECT_EQ(ran.code, 0) << ran.err;
    for (const std::string& part :
         {std::string("==== sequence 1, head 0 (keys and values of key head 0)\n"),
          std::string("3. Distances, which ALiBi takes from the scores: this head's slope, 0.0625, "
                      "times how far the key is from the query's own place.\n"
                      "             key 0    key 1    key 2    key 3\n"
                      "   query 0   0.125    0.0625   0        0.0625\n"),
          std::string("4. Scores less the distances.\n"),
          std::string("Hidden are keys outside --keys 0:3.\n"),
          std::string("Checked: the engine (") + type}) {
      EXPECT_THAT(ran.out, HasSubstr(part)) << type;
    }
  }
}

TEST_F(AttendCli, StandardInputAndOutput) {
  put_example();
  const Ran in = run("q.npy - v.npy --scale 1", "< k.npy");
  EXPECT_EQ(in.code, 0) << in.err;
  EXPECT_EQ(in.out, "10.000334 20.000334\n");
  ASSERT_EQ(run("q.npy k.npy v.npy --scale 1 -o o.npy").code, 0);
  EXPECT_EQ(run("q.npy k.npy v.npy --scale 1 -o -").out, slurp(folder_ / "o.npy"));
  const Ran json = run("q.npy k.npy v.npy --scale 1 -o o.npy --entropy --highlights -");
  EXPECT_EQ(json.out.substr(0, 2), "{\n");
}

TEST_F(AttendCli, HighlightsAsJson) {
  put_example();
  const Ran ran =
      run("q.npy k.npy v.npy --scale 1 -o o.npy --top 3 --received --entropy --rows 0 --highlights "
          "h.json");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out + ran.err, "");
  const std::string json = slurp(folder_ / "h.json");
  for (const char* part :
       {"\"format\": \"fovea-attend\",\n  \"version\": 1,\n  \"batch\": 1,\n  \"heads\": 1,\n  "
        "\"queries\": 1,\n  \"keys\": 2,\n  \"rank\": 2,\n  \"scale\": 1,\n  \"causal\": \"none\"",
        "\"top\": {\n    \"index\": [\n      [0, 1]],\n    \"weight\": [\n      [0.9999833, 1.670",
        "\"received\": [0.9999833, 1.670", "\"entropy\": [0.00020040",
        "\"rows\": {\n    \"query\": [0],\n"}) {
    EXPECT_THAT(json, HasSubstr(part));
  }
}

TEST_F(AttendCli, HighlightsOnTheScreen) {
  put_example();
  const Ran ran = run("q.npy k.npy v.npy --scale 1 --top 1 --received --entropy --rows 0");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out,
            "10.000334 20.000334\n"
            "\n"
            "top 1 of each query's keys, and their weights\n"
            "  query 0:  key 0 0.999983\n"
            "received: what each key got from all queries together\n"
            "  key 0:  0.999983\n"
            "  key 1:  0.000017\n"
            "entropy in nats, and exp(entropy): among how many keys the query spread itself\n"
            "  query 0:  0.000200  (1.000 keys)\n"
            "rows: the weights of a query on all keys\n"
            "  query 0:  0.999983  0.000017\n");
}

TEST_F(AttendCli, ALongSummarySaysHowMuchItLeavesOut) {
  put_random("q.npy", {2, 20, 4}, 1);
  put_random("k.npy", {2, 50, 4}, 2);
  const Ran ran = run("q.npy k.npy k.npy -o o.npy --entropy --rows 1");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("  head 1, query 3: "));
  EXPECT_THAT(ran.out, HasSubstr("  ... 16 more queries: --highlights FILE.json has them all\n"));
  EXPECT_THAT(ran.out, HasSubstr("  ... 34 more\n"));
}

TEST_F(AttendCli, PrintsHeadsUnderTheirNames) {
  put_floats("q.npy", {1, 2, 1, 1}, {1, 1});
  put_floats("v.npy", {1, 2, 1, 2}, {1, 0.1f, -3, 1e-20f});
  const Ran ran = run("q.npy q.npy v.npy");
  EXPECT_EQ(ran.out, "# batch 0, head 0\n    1   0.1\n# batch 0, head 1\n   -3 1e-20\n");
}

TEST_F(AttendCli, QueriesWithoutKeysAndEmptyArrays) {
  put_random("q.npy", {2, 4}, 1);
  put_floats("k.npy", {0, 4}, {});
  put_floats("v.npy", {0, 3}, {});
  Ran ran = run("q.npy k.npy v.npy --top 2 --received --entropy --rows 1");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out.substr(0, 12), "0 0 0\n0 0 0\n");
  EXPECT_THAT(ran.out, HasSubstr("weights\n  query 0:  sees no key\n"));
  EXPECT_THAT(ran.out, HasSubstr("itself\n  query 0:  sees no key\n"));
  ran = run("k.npy q.npy q.npy -o o.npy --top 2 --received --entropy");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(shape_of("o.npy"), ElementsAre(0, 4));
}

TEST_F(AttendCli, SaysHowManyValuesAreNotFinite) {
  put_floats("q.npy", {1, 2}, {1, 0});
  put_floats("k.npy", {2, 2}, {1, 0, 0, 1});
  put("v.npy", npy_bytes("<f8", {2, 2}, raw<double>({1, NAN, 1e300, 2})));
  const Ran ran = run("q.npy k.npy v.npy --scale 1");
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.err,
            "fovea attend: note: v.npy: 2 of 4 values are NaN or infinite; what sees one of them "
            "becomes NaN (1 of them beyond float32)\n");
  EXPECT_THAT(ran.out, HasSubstr("nan"));
  put_floats("k.npy", {2, 2}, {NAN, 0, 0, 1});  // JSON has no word for NaN
  ASSERT_EQ(run("q.npy k.npy k.npy -o o.npy --received --highlights h.json").code, 0);
  EXPECT_THAT(slurp(folder_ / "h.json"), HasSubstr("\"received\": [null, null]"));
}

TEST_F(AttendCli, HiddenValuesThatAreNotFiniteDoNoHarm) {
  put_floats("q.npy", {1, 2}, {1, 0});
  put_floats("k.npy", {2, 2}, {1, 0, kInfinity, 1});
  put_floats("v.npy", {2, 2}, {5, 6, NAN, NAN});
  put("l.npy", npy_bytes("<i4", {1}, raw<std::int32_t>({1})));
  const Ran ran = run("q.npy k.npy v.npy --lengths l.npy");
  EXPECT_EQ(ran.out, "5 6\n");
  EXPECT_THAT(ran.err, HasSubstr("note: k.npy: 1 of 4 values are NaN or infinite"));
  EXPECT_THAT(ran.err, HasSubstr("note: v.npy: 2 of 4 values are NaN or infinite"));
}

TEST_F(AttendCli, ExplainsEveryStep) {
  put_example();
  const Ran ran = run("q.npy k.npy v.npy --scale 1 --explain");
  EXPECT_EQ(ran.code, 0) << ran.err;
  std::string text = ran.out;
  const std::size_t last = text.find("Checked: ");
  ASSERT_NE(last, std::string::npos);
  // The figures of the last line depend on the instruction set.
  EXPECT_TRUE(std::regex_match(
      text.substr(last),
      std::regex("Checked: the engine \\(float32, [a-z0-9_]+\\) gives the same weights to within "
                 "[0-9.e-]+ and the same output to within [0-9.e-]+\\.\n")))
      << text.substr(last);
  EXPECT_EQ(text.substr(0, last), slurp(FOVEA_SOURCE_DIR "/tests/golden/attend_explain.txt"));
  EXPECT_THAT(slurp(FOVEA_SOURCE_DIR "/docs/attend.md"), HasSubstr(text.substr(0, last)));
}

TEST_F(AttendCli, ExplainsMasksBiasAndHeads) {
  put_random("q.npy", {4, 3, 4}, 1);
  put_random("k.npy", {2, 5, 4}, 2);
  put_floats("b.npy", {5}, {0, 1, -kInfinity, 2, 0.5f});
  const Ran ran = run("q.npy k.npy k.npy --explain --causal --bias b.npy -o o.npy");
  EXPECT_EQ(ran.code, 0) << ran.err;
  for (const char* part :
       {"==== batch 0, head 2 (keys and values of key head 1)\n", "1. Scores: ",
        "2. Scaled scores: times 0.5 = 1 / sqrt(4)", "3. Scores with the bias added.\n",
        "4. Masked scores: a point is hidden, a score of -infinity. Hidden are later keys (causal, "
        "aligned at the last query and key); where the bias is -infinity.\n",
        "5. Weights: ", "6. Output: ", "7. Beside it the plain mean", "Checked: "}) {
    EXPECT_THAT(ran.out, HasSubstr(part));
  }
  EXPECT_THAT(shape_of("o.npy"), ElementsAre(4, 3, 4));
}

TEST_F(AttendCli, ExplainRefusesWhatDoesNotFitOnAScreen) {
  put_random("q.npy", {13, 4}, 1);
  EXPECT_EQ(
      run("q.npy q.npy q.npy --explain").err,
      "fovea: attend: --explain shows every number, so it takes at most 12 queries, keys and "
      "features and 4 heads; these have 13 queries, 13 keys, widths 4 and 4 and 1 heads. Cut "
      "them, as in numpy.save('q_small.npy', q[..., :12, :12]), q[0] for one batch or head\n");
}

struct Failure {
  std::string arguments;
  std::string message;
};

TEST_F(AttendCli, EveryFailureIsOneClearLineAndWritesNothing) {
  put_random("q.npy", {5, 8}, 1);
  put_random("k.npy", {6, 8}, 2);
  put_random("v.npy", {6, 3}, 3);
  put_random("kt.npy", {8, 6}, 4);
  put_random("narrow.npy", {6, 7}, 5);
  put_random("vt.npy", {3, 6}, 6);
  put_random("v4.npy", {4, 3}, 7);
  put_random("line.npy", {5}, 8);
  put_random("q3.npy", {3, 5, 8}, 9);
  put_random("k3.npy", {2, 6, 8}, 10);
  put_random("v3.npy", {2, 6, 8}, 11);
  put_random("v33.npy", {3, 6, 8}, 12);
  put_random("q4.npy", {2, 2, 5, 8}, 13);
  put_random("k4.npy", {3, 2, 6, 8}, 14);
  put_random("long.npy", {200, 8}, 15);
  put_floats("none.npy", {5, 0}, {});
  put_floats("noheads.npy", {0, 5, 8}, {});
  put("i4.npy", npy_bytes("<i4", {5, 8}, std::string(160, '\0')));
  put("big.npy", npy_bytes(">f4", {5, 8}, std::string(160, '\0')));
  put("cut.npy", slurp(folder_ / "q.npy").substr(0, 200));
  put("wide.npy", npy_bytes("|b1", {3000000000, 0}, ""));
  put("wide4.npy", npy_bytes("<f4", {3000000000, 0}, ""));
  put("m2.npy", npy_bytes("|b1", {6, 5}, std::string(30, '\1')));
  put("m7.npy", npy_bytes("|u1", {5, 6}, std::string(30, '\7')));
  put("l2.npy", npy_bytes("<i4", {2}, raw<std::int32_t>({1, 2})));
  put("l9.npy", npy_bytes("<i4", {1}, raw<std::int32_t>({9})));
  put("lneg.npy", npy_bytes("<i8", {1}, raw<std::int64_t>({-1})));
  put_random("q0.npy", {5, 2, 8}, 16);
  put_random("k0.npy", {6, 1, 8}, 17);
  put("o5.npy", npy_bytes("<i4", {3}, raw<std::int32_t>({0, 2, 5})));
  put("o6.npy", npy_bytes("<i4", {3}, raw<std::int32_t>({0, 2, 6})));
  put("o1.npy", npy_bytes("<i4", {2}, raw<std::int32_t>({0, 6})));
  put("down.npy", npy_bytes("<i4", {4}, raw<std::int32_t>({0, 3, 2, 5})));
  put("late.npy", npy_bytes("<i4", {2}, raw<std::int32_t>({1, 5})));
  put("l22.npy", npy_bytes("<i4", {2}, raw<std::int32_t>({2, 4})));
  put_floats("nan.npy", {1}, {NAN});
  const std::string good = "q.npy k.npy v.npy ";
  const std::string packed = "q0.npy k0.npy k0.npy --key-offsets o6.npy ";
  const std::string offsets_of_q =
      ", but offsets are one more than sequences, ascending from 0 to 5, the rows of q, as in "
      "numpy.concatenate([[0], numpy.cumsum(lengths)])";
  const std::vector<Failure> failures = {
      {"gone.npy k.npy v.npy", "gone.npy: cannot open: No such file or directory"},
      {"q.npy kt.npy v.npy",
       "attend: k is [8, 6] but q has width 8: did you pass k transposed? fovea takes keys as rows "
       "[M, 8]"},
      {"q.npy narrow.npy v.npy",
       "attend: k is [6, 7] but q has width 8; fovea takes keys as rows [M, 8]"},
      {"q.npy k.npy vt.npy",
       "attend: v is [3, 6] but k has 6 keys: did you pass v transposed? fovea takes values as "
       "rows "
       "[6, E]"},
      {"q.npy k.npy v4.npy",
       "attend: v is [4, 3] but k has 6 keys; fovea takes values as rows [6, E]"},
      {"line.npy k.npy v.npy",
       "line.npy: has shape [5], but q is [N, D], [H, N, D] or [B, H, N, D]"},
      {"q.npy k3.npy v.npy",
       "attend: k is [2, 6, 8] but q is [5, 8]: q, k and v need the same number of dimensions"},
      {"q.npy k.npy v3.npy",
       "attend: v is [2, 6, 8] but q is [5, 8]: q, k and v need the same number of dimensions"},
      {"q3.npy k3.npy v3.npy",
       "attend: 3 query heads cannot share 2 key heads; the first must be a multiple of the second "
       "(q [3, 5, 8], k [2, 6, 8], v [2, 6, 8])"},
      {"q3.npy k3.npy v33.npy",
       "attend: k and v differ in heads (q [3, 5, 8], k [2, 6, 8], v [3, 6, 8])"},
      {"q4.npy k4.npy k4.npy",
       "attend: the batches differ (q [2, 2, 5, 8], k [3, 2, 6, 8], v [3, 2, 6, 8])"},
      {"none.npy none.npy none.npy", "attend: a width is 0 (q [5, 0], k [5, 0], v [5, 0])"},
      {"noheads.npy noheads.npy noheads.npy",
       "attend: there are no heads (q [0, 5, 8], k [0, 5, 8], v [0, 5, 8])"},
      {"i4.npy k.npy v.npy",
       "i4.npy: holds int32, but q is floats; save it as such, as in numpy.save('q.npy', "
       "q.astype('float32'))"},
      {"big.npy k.npy v.npy",
       "big.npy: holds big-endian numbers ('>f4'); save them little-endian, as in "
       "numpy.save('x.npy', array.astype(array.dtype.newbyteorder('<')))"},
      {"cut.npy k.npy v.npy",
       "cut.npy: has shape [5, 8] of float32, which takes 160 bytes, but 72 follow the header; is "
       "it "
       "truncated?"},
      {"wide4.npy k.npy v.npy",
       "wide4.npy: has shape [3000000000, 0]; a size may be at most 2147483647"},
      {good + "--mask q.npy",
       "q.npy: holds float32, but a mask is bool (true: may see); save it as such, as in "
       "numpy.save('mask.npy', mask.astype('bool')). Numbers to add to the scores go to --bias"},
      {good + "--mask m7.npy",
       "m7.npy: holds a byte of 7, but a mask is 0 (hidden) or 1 (may see); save it as bool, as in "
       "numpy.save('mask.npy', mask.astype('bool'))"},
      {good + "--mask m2.npy",
       "m2.npy: has shape [6, 5], which does not broadcast to the scores [5, 6] (queries, keys "
       "last)"},
      {good + "--bias i4.npy",
       "i4.npy: holds int32, but bias is floats; save it as such, as in numpy.save('bias.npy', "
       "bias.astype('float32'))"},
      {good + "--bias k3.npy",
       "k3.npy: has shape [2, 6, 8], which does not broadcast to the scores [5, 6] (queries, keys "
       "last)"},
      {good + "--lengths q.npy",
       "q.npy: holds float32, but lengths are int32 or int64; save them as such, as in "
       "numpy.save('lengths.npy', lengths.astype('int32'))"},
      {good + "--lengths l2.npy",
       "l2.npy: has shape [2], but there is 1 sequence: one length each, [1]"},
      {good + "--lengths l9.npy", "l9.npy: length 9 of sequence 0 is not in [0, 6] (M = 6)"},
      {good + "--query-lengths lneg.npy",
       "lneg.npy: length -1 of sequence 0 is not in [0, 5] (N = 5)"},
      {good + "--rows 0,5", "attend: --rows asks for query 5, but there are 5 queries (0 to 4)"},
      {good + "--alibi i4.npy",
       "i4.npy: holds int32, but alibi is floats; save it as such, as in numpy.save('alibi.npy', "
       "alibi.astype('float32'))"},
      {"q3.npy q3.npy q3.npy --alibi q.npy",
       "q.npy: has shape [5, 8], but ALiBi takes a slope for each head, [3] or [1, 3]; --alibi "
       "auto "
       "makes the usual ones"},
      {good + "--alibi nan.npy",
       "nan.npy: holds a slope of nan, but slopes are finite float32; 0 leaves a head without "
       "ALiBi"},
      {good + "--keys 3:7", "attend: --keys goes to 7, but there are 6 keys"},
      {packed + "--query-offsets o5.npy --keys 5:",
       "attend: --keys goes to 5, but there are 4 keys in the longest sequence"},
      {good + "--query-offsets o5.npy --key-offsets o6.npy",
       "q.npy: has shape [5, 8], but with --query-offsets q is [T, H, D], all sequences end to "
       "end; "
       "of one head, numpy.save('q.npy', q[:, None])"},
      {packed,
       "q0.npy: has shape [5, 2, 8], but q is [B, H, N, D] where only the other side is packed; or "
       "give --query-offsets too"},
      {packed + "--query-offsets late.npy", "late.npy: begins with 1" + offsets_of_q},
      {packed + "--query-offsets down.npy", "down.npy: has 2 after 3" + offsets_of_q},
      {packed + "--query-offsets o6.npy", "o6.npy: ends with 6" + offsets_of_q},
      {packed + "--query-offsets q.npy",
       "q.npy: holds float32, but offsets are int32 or int64; save them as such, as in "
       "numpy.save('offsets.npy', offsets.astype('int32'))"},
      {packed + "--query-offsets i4.npy", "i4.npy: has shape [5, 8]" + offsets_of_q},
      {"q0.npy k0.npy k0.npy --query-offsets o5.npy --key-offsets o1.npy",
       "attend: q has 2 sequences by --query-offsets but k has 1 by --key-offsets"},
      {packed + "--query-offsets o5.npy --lengths l22.npy --query-lengths l22.npy",
       "l22.npy: length 4 of sequence 1 is not in [0, 3] (what its offsets leave it)"},
      {packed + "--query-offsets o5.npy --mask m2.npy",
       "m2.npy: has shape [6, 5], which does not broadcast to the scores [2, 2, 3, 4] (queries, "
       "keys last; packed: of the longest sequence)"},
      {packed + "--query-offsets o5.npy --rows 5",
       "attend: --rows asks for query 5, but there are 5 queries (0 to 4)"},
      {"q.npy k.npy --from-lse q.npy --top 1",
       "q.npy: has shape [5, 8], but the lse that attend --lse stores for this q is [5]"},
      {"long.npy long.npy long.npy",
       "attend: the result is [200, 8], too large to print; give it a file: -o O.npy"},
  };
  for (const Failure& failure : failures) {
    const bool prints = failure.arguments.rfind("long", 0) == 0;
    const bool later = failure.arguments.find("--from-lse") != std::string::npos;
    const Ran ran = run(failure.arguments + (prints || later ? "" : " -o o.npy"));
    EXPECT_EQ(ran.code, 1) << failure.arguments;
    EXPECT_EQ(ran.err, "fovea: " + failure.message + "\n") << failure.arguments;
    EXPECT_EQ(ran.out, "") << failure.arguments;
    EXPECT_FALSE(fs::exists(folder_ / "o.npy")) << failure.arguments;
  }
}

TEST_F(AttendCli, MisuseIsToldFromFailure) {
  put_example();
  const std::string good = "q.npy k.npy v.npy ";
  const std::vector<Failure> misuses = {
      {"q.npy k.npy", "expected three files, Q.npy K.npy V.npy, found 2"},
      {"q.npy k.npy v.npy --causal sideways",
       "expected three files, Q.npy K.npy V.npy, found 4; --causal takes bottom-right or top-left"},
      {good + "--causal=sideways", "--causal is bottom-right or top-left, not 'sideways'"},
      {good + "--scale inf", "--scale must be a finite float32"},
      {good + "--scale 1e39", "--scale must be a finite float32"},
      {good + "--top 0", "--top must be 1 or more"},
      {good + "--rows 0,x", "--rows is a list of queries, as in 0,5, not '0,x'"},
      {good + "--rows 0,", "--rows is a list of queries, as in 0,5, not '0,'"},
      {good + "--rows -1", "--rows is a list of queries, as in 0,5, not '-1'"},
      {good + "--window x",
       "--window is how many keys before a query's place it sees, and after it, as in 256 or "
       "256,0, not 'x'"},
      {good + "--window 3,",
       "--window is how many keys before a query's place it sees, and after it, as in 256 or "
       "256,0, not '3,'"},
      {good + "--window=-1",
       "--window is how many keys before a query's place it sees, and after it, as in 256 or "
       "256,0, not '-1'"},
      {good + "--window 1,2,3",
       "--window is how many keys before a query's place it sees, and after it, as in 256 or "
       "256,0, not '1,2,3'"},
      {good + "--keys 3",
       "--keys is from which key to which, the last left out, as in 0:100, 100: or :100, not '3'"},
      {good + "--keys :",
       "--keys is from which key to which, the last left out, as in 0:100, 100: or :100, not ':'"},
      {good + "--keys 3:2",
       "--keys is from which key to which, the last left out, as in 0:100, 100: or :100, not "
       "'3:2'"},
      {good + "--keys 3:x",
       "--keys is from which key to which, the last left out, as in 0:100, 100: or :100, not "
       "'3:x'"},
      {good + "--type fp16", "--type is float32, float16 or bfloat16, not 'fp16'"},
      {good + "--from-lse l.npy --top 1",
       "--from-lse needs no V: expected two files, Q.npy K.npy, found 3"},
      {"q.npy k.npy --from-lse l.npy",
       "--from-lse needs one or more of --top, --received, --entropy, --rows"},
      {"q.npy k.npy --from-lse l.npy --top 1 -o o.npy",
       "--from-lse gives highlights alone; leave out --out or give V instead of --from-lse"},
      {"q.npy k.npy --from-lse l.npy --top 1 --lse m.npy",
       "--from-lse gives highlights alone; leave out --lse or give V instead of --from-lse"},
      {"q.npy k.npy --from-lse l.npy --top 1 --explain",
       "--from-lse gives highlights alone; leave out --explain or give V instead of --from-lse"},
      {good + "--threads -1", "--threads is 0 to 4096"},
      {good + "--highlights h.json",
       "--highlights needs one or more of --top, --received, --entropy, --rows"},
      {"- - v.npy", "- (standard input) stands for one file at most"},
      {good + "-o - --entropy --highlights -",
       "only one of -o, --lse and --highlights can be - (standard output)"},
      {good + "--lse - -o -", "only one of -o, --lse and --highlights can be - (standard output)"},
      {good + "--lse -",
       "--lse - leaves no room on standard output for the result: give it a file, -o O.npy"},
      {good + "-o - --explain", "-o - leaves no room on standard output for --explain"},
      {good + "-o - --entropy",
       "-o - leaves no room on standard output for highlights: name a file, --highlights H.json"},
      {good + "--entropy --highlights -",
       "--highlights - leaves no room on standard output for the result: give it a file, -o O.npy"},
  };
  for (const Failure& misuse : misuses) {
    const Ran ran = run(misuse.arguments);
    EXPECT_EQ(ran.code, 2) << misuse.arguments;
    EXPECT_EQ(ran.err, "fovea: attend: " + misuse.message +
                           " (see fovea attend --help)\nTry: fovea --help\n");
    EXPECT_EQ(ran.out, "");
  }
  EXPECT_EQ(run(good + "--colour").code, 2);
  EXPECT_EQ(run(good + "--scale one").code, 2);
  EXPECT_EQ(run(good + "--top").code, 2);
}

TEST_F(AttendCli, AFullDiskIsOneLineAndLeavesNothing) {
  put_random("q.npy", {100, 100}, 1);
  // A limit on file size (in blocks of 512 bytes) stands for a full disk.
  const Ran ran = run("q.npy q.npy q.npy -o o.npy");
  ASSERT_EQ(ran.code, 0);
  const std::string before = slurp(folder_ / "o.npy");
  const std::string command = "cd '" + folder_.string() +
                              "' && trap '' XFSZ && ulimit -f 20 && '" FOVEA_PROGRAM
                              "' attend q.npy q.npy q.npy --scale 9 -o o.npy 2>err";
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 1);
  EXPECT_THAT(slurp(folder_ / "err"),
              ::testing::MatchesRegex("fovea: o.npy: cannot write: File too large after [0-9]+ "
                                      "bytes; nothing was left behind\n"));
  EXPECT_EQ(slurp(folder_ / "o.npy"), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 3);
  if (fs::exists("/dev/full")) {
    put_example();
    const Ran full = run("q.npy k.npy v.npy", ">/dev/full");
    EXPECT_EQ(full.code, 1);
    EXPECT_EQ(full.err, "fovea: standard output: cannot write: No space left on device\n");
  }
}

TEST_F(AttendCli, AnInputMayBeTheOutput) {
  const auto x = put_random("x.npy", {9, 4}, 1);
  ASSERT_EQ(run("x.npy x.npy x.npy -o x.npy").code, 0);
  expect_close(floats("x.npy"), Plain{1, 1, 9, 9, 4, 4, 0.5, {}, {}}(x, x, x));
}

TEST_F(AttendCli, HelpIsTheGoldenTextAndNamesEveryOption) {
  const Ran ran = run("--help");
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out, slurp(FOVEA_SOURCE_DIR "/tests/golden/attend_help.txt"));
  // Each option with a way to give it; the list and the help must name the same ones.
  put_example();
  put("l.npy", npy_bytes("<i4", {1}, raw<std::int32_t>({1})));
  put("m.npy", npy_bytes("|b1", {1, 2}, "\1\1"));
  put_floats("b.npy", {2}, {0, 0});
  put("qo.npy", npy_bytes("<i4", {2}, raw<std::int32_t>({0, 1})));
  put("ko.npy", npy_bytes("<i4", {2}, raw<std::int32_t>({0, 2})));
  put_floats("q3.npy", {1, 1, 2}, {1, 0});
  put_floats("k3.npy", {2, 1, 2}, {1, 0, -10, 1});
  const std::vector<std::pair<std::string, std::string>> options = {
      {"--out", "--out o.npy"},
      {"--scale", "--scale 1"},
      {"--causal", "--causal"},
      {"--window", "--window 1,1"},
      {"--lengths", "--lengths l.npy"},
      {"--query-lengths", "--query-lengths l.npy"},
      {"--mask", "--mask m.npy"},
      {"--bias", "--bias b.npy"},
      {"--type", "--type bfloat16"},
      {"--alibi", "--alibi auto"},
      {"--keys", "--keys 0:1"},
      {"--query-offsets", "--query-offsets qo.npy --key-offsets ko.npy"},
      {"--key-offsets", "--key-offsets ko.npy --query-offsets qo.npy"},
      {"--lse", "--lse lse.npy"},
      {"--from-lse", "--from-lse lse.npy --top 1"},
      {"--top", "--top 1"},
      {"--received", "--received"},
      {"--entropy", "--entropy"},
      {"--rows", "--rows 0"},
      {"--highlights", "--entropy --highlights h.json"},
      {"--explain", "--explain"},
      {"--threads", "--threads 1"},
      {"--help", "--help"},
  };
  std::set<std::string> known;
  for (const auto& [name, use] : options) {
    known.insert(name);
    const std::string files = use.find("-offsets") != std::string::npos ? "q3.npy k3.npy k3.npy "
                              : name == "--from-lse"                    ? "q.npy k.npy "
                                                                        : "q.npy k.npy v.npy ";
    EXPECT_EQ(run(files + use).code, 0) << use;
  }
  std::set<std::string> named;
  const std::regex option("(^|[ ,])(--[a-z-]+)");
  for (std::sregex_iterator at(ran.out.begin(), ran.out.end(), option), end; at != end; ++at) {
    named.insert((*at)[2]);
  }
  EXPECT_EQ(named, known);
  // A line of help is at most 100 wide, save those to be pasted.
  std::istringstream lines(ran.out);
  for (std::string line; std::getline(lines, line);) {
    if (line.find("python3 -c") != std::string::npos) continue;
    EXPECT_LE(line.size(), 100u) << line;
  }
}

}  // namespace
