#include "models/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

#include "base/random.h"

namespace fovea {
namespace {

std::vector<float> normals(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> x(count);
  for (float& v : x) v = static_cast<float>(random.normal());
  return x;
}

struct Case {
  std::int64_t in, out, rows;
};

TEST(Linear, IsTheProduct) {
  for (const auto& [in, out, rows] :
       {Case{1, 1, 1}, Case{3, 5, 2}, Case{24, 72, 7}, Case{33, 17, 70}, Case{256, 1024, 5},
        Case{1024, 256, 131}, Case{64, 1000, 3}}) {
    const std::vector<float> w = normals(static_cast<std::size_t>(in * out), 1);
    const std::vector<float> b = normals(static_cast<std::size_t>(out), 2);
    const std::vector<float> x = normals(static_cast<std::size_t>(in * rows), 3);
    std::vector<float> y(static_cast<std::size_t>(out * rows), NAN);
    const Linear linear(w, b, in, out);
    linear.apply(x.data(), rows, y.data());
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t o = 0; o < out; ++o) {
        double want = static_cast<double>(b[static_cast<std::size_t>(o)]);
        for (std::int64_t i = 0; i < in; ++i) {
          want += static_cast<double>(w[static_cast<std::size_t>(o * in + i)]) *
                  x[static_cast<std::size_t>(r * in + i)];
        }
        const float got = y[static_cast<std::size_t>(r * out + o)];
        ASSERT_TRUE(std::abs(got - want) <= 1e-5 * std::sqrt(static_cast<double>(in)))
            << in << " " << out << " row " << r << ": " << got << " " << want;
      }
    }
  }
}

TEST(Linear, BiasMayBeMissing) {
  const std::vector<float> w = {2, 3};
  const Linear linear(w, {}, 2, 1);
  const std::vector<float> x = {5, 7};
  float y = 0;
  linear.apply(x.data(), 1, &y);
  EXPECT_EQ(y, 31);
}

// The promise that translations rest on: no row knows how many rows there are.
TEST(Linear, ARowHasTheSameBitsInAnyCompany) {
  for (const auto& [in, out] : {std::pair<std::int64_t, std::int64_t>{256, 768},
                                {256, 1024},
                                {1024, 256},
                                {24, 72},
                                {37, 129},
                                {512, 2048}}) {
    const std::int64_t most = 133;
    const std::vector<float> w = normals(static_cast<std::size_t>(in * out), 1);
    const std::vector<float> b = normals(static_cast<std::size_t>(out), 2);
    const std::vector<float> x = normals(static_cast<std::size_t>(in * most), 3);
    const Linear linear(w, b, in, out);
    std::vector<float> whole(static_cast<std::size_t>(out * most));
    linear.apply(x.data(), most, whole.data());
    for (const std::int64_t rows : {1, 2, 3, 5, 8, 13, 31, 64, 65, 100}) {
      for (const std::int64_t first : {std::int64_t{0}, std::int64_t{7}, most - rows}) {
        std::vector<float> part(static_cast<std::size_t>(out * rows));
        linear.apply(x.data() + first * in, rows, part.data());
        ASSERT_EQ(std::memcmp(part.data(), whole.data() + first * out, part.size() * sizeof(float)),
                  0)
            << in << " " << out << ": " << rows << " rows from " << first;
      }
    }
  }
}

TEST(Linear, MayBeCalledFromManyThreads) {
  const std::vector<float> w = normals(96 * 96, 1);
  const std::vector<float> x = normals(96 * 19, 3);
  const Linear linear(w, {}, 96, 96);
  std::vector<float> want(96 * 19);
  linear.apply(x.data(), 19, want.data());
  std::vector<std::vector<float>> got(4, std::vector<float>(96 * 19));
  {
    std::vector<std::jthread> threads;
    for (auto& y : got) {
      threads.emplace_back([&] {
        for (int i = 0; i < 50; ++i) linear.apply(x.data(), 19, y.data());
      });
    }
  }
  for (const auto& y : got) EXPECT_EQ(y, want);
}

}  // namespace
}  // namespace fovea
