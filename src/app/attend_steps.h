// Attention in plain steps, in float64: what fovea attend --explain shows.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "app/attend_run.h"

namespace fovea {

inline constexpr double kHiddenScore = -std::numeric_limits<double>::infinity();

// A small matrix of doubles.
struct AttendMatrix {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<double> values;

  AttendMatrix(std::int64_t r, std::int64_t c)
      : rows(r), columns(c), values(static_cast<std::size_t>(r * c)) {}
  double& at(std::int64_t r, std::int64_t c) {
    return values[static_cast<std::size_t>(r * columns + c)];
  }
  double at(std::int64_t r, std::int64_t c) const {
    return values[static_cast<std::size_t>(r * columns + c)];
  }
};

// The steps for one head of one sequence.
struct AttendSteps {
  AttendMatrix q, k, v;
  AttendMatrix products;  // q_i . k_j
  AttendMatrix scaled;    // x scale
  AttendMatrix biased;    // + bias
  AttendMatrix distance;  // ALiBi: slope |c_i - j|
  AttendMatrix near;      // - distance
  AttendMatrix masked;    // hidden: -infinity
  AttendMatrix weights;   // softmax of the rows
  AttendMatrix output;    // sum_j p_ij v_j
  AttendMatrix mean;      // of the values that the query may see

  AttendSteps(std::int64_t n, std::int64_t m, std::int64_t key_width, std::int64_t value_width)
      : q(n, key_width),
        k(m, key_width),
        v(m, value_width),
        products(n, m),
        scaled(n, m),
        biased(n, m),
        distance(n, m),
        near(n, m),
        masked(n, m),
        weights(n, m),
        output(n, value_width),
        mean(n, value_width) {}
};

// Head h of sequence b, from the arrays as the engine reads them.
AttendSteps work_out(const AttendArrays& arrays, const Options& options, std::int64_t b,
                     std::int64_t h);

// ALiBi's; 0 without it.
double slope_of(const AttendArrays& arrays, std::int64_t b, std::int64_t h);

bool windowed(const Options& options);
bool in_parts(const Options& options);
// Whether anything may hide a key from a query.
bool hides(const AttendArrays& arrays, const Options& options);

}  // namespace fovea
