#include "app/practice_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>

#include "fovea/attend.h"

namespace fovea::practice {
namespace {

bool is_whole(double x) { return std::abs(x) < 1e6 && x == std::round(x); }

// NaN and infinity are written as NumPy writes them.
std::string number(double x, bool whole, int decimals) {
  if (std::isnan(x)) return "nan";
  if (std::isinf(x)) return x > 0 ? "inf" : "-inf";
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", whole ? 0 : decimals, x);
  const std::string_view digits(text);
  const bool zero = digits.find_first_not_of("-0.") == std::string_view::npos;
  return zero && text[0] == '-' ? text + 1 : text;
}

std::vector<float> floats_of(const Matrix& a) { return {a.values.begin(), a.values.end()}; }

}  // namespace

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix c(a.rows, b.columns);
  for (int i = 0; i < a.rows; ++i) {
    for (int j = 0; j < b.columns; ++j) {
      for (int d = 0; d < a.columns; ++d) c.at(i, j) += a.at(i, d) * b.at(d, j);
    }
  }
  return c;
}

Matrix transposed(const Matrix& a) {
  Matrix t(a.columns, a.rows);
  for (int r = 0; r < a.rows; ++r) {
    for (int c = 0; c < a.columns; ++c) t.at(c, r) = a.at(r, c);
  }
  return t;
}

Matrix scaled(const Matrix& a, double factor) {
  Matrix b = a;
  for (double& x : b.values) x *= factor;
  return b;
}

Matrix softmax_of_rows(const Matrix& a) {
  Matrix p = a;
  for (int r = 0; r < a.rows; ++r) {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int c = 0; c < a.columns; ++c) largest = std::max(largest, a.at(r, c));
    for (int c = 0; c < a.columns; ++c) sum += p.at(r, c) = std::exp(a.at(r, c) - largest);
    for (int c = 0; c < a.columns; ++c) p.at(r, c) /= sum;
  }
  return p;
}

Matrix softmax_of_columns(const Matrix& a) { return transposed(softmax_of_rows(transposed(a))); }

Matrix mean_of_rows(const Matrix& a, int copies) {
  Matrix m(copies, a.columns);
  for (int i = 0; i < copies; ++i) {
    for (int c = 0; c < a.columns; ++c) {
      for (int r = 0; r < a.rows; ++r) m.at(i, c) += a.at(r, c) / a.rows;
    }
  }
  return m;
}

Matrix row_of(const Matrix& a, int row) {
  Matrix one(1, a.columns);
  for (int c = 0; c < a.columns; ++c) one.at(0, c) = a.at(row, c);
  return one;
}

Attended attended(const Matrix& q, const Matrix& k, const Matrix& v, double scale,
                  Threads& threads) {
  const std::vector<float> queries = floats_of(q), keys = floats_of(k), values = floats_of(v);
  std::vector<std::int32_t> every_query(static_cast<std::size_t>(q.rows));
  std::iota(every_query.begin(), every_query.end(), 0);
  std::vector<float> out(static_cast<std::size_t>(q.rows * v.columns));
  std::vector<float> rows(static_cast<std::size_t>(q.rows * k.rows));
  Inputs inputs;
  inputs.q = View(queries.data(), {1, 1, q.rows, q.columns});
  inputs.k = View(keys.data(), {1, 1, k.rows, k.columns});
  inputs.v = View(values.data(), {1, 1, v.rows, v.columns});
  inputs.row_queries = every_query;
  Options options;
  options.scale = static_cast<float>(scale);
  Outputs outputs;
  outputs.out = MutableView(out.data(), {1, 1, q.rows, v.columns});
  outputs.rows = MutableView(rows.data(), {1, 1, q.rows, k.rows});
  attend(inputs, options, outputs, threads);
  Attended result{Matrix(q.rows, k.rows), Matrix(q.rows, v.columns)};
  result.weights.values.assign(rows.begin(), rows.end());
  result.output.values.assign(out.begin(), out.end());
  return result;
}

std::string text_of(double value, int decimals) { return number(value, is_whole(value), decimals); }

std::string text_of(const Matrix& a, int decimals) {
  const bool whole = std::all_of(a.values.begin(), a.values.end(), is_whole);
  std::string text = a.rows == 1 ? "" : "[";
  for (int r = 0; r < a.rows; ++r) {
    text += r == 0 ? "[" : ", [";
    for (int c = 0; c < a.columns; ++c) {
      text += (c == 0 ? "" : ", ") + number(a.at(r, c), whole, decimals);
    }
    text += "]";
  }
  if (a.rows != 1) text += "]";
  return text;
}

std::string literal(const Matrix& a) {
  std::string text = a.rows == 1 ? "[" : "";
  text += text_of(a);
  if (a.rows == 1) text += "]";
  return text;
}

double distance(const Matrix& a, const Matrix& b) {
  double largest = 0;
  for (std::size_t x = 0; x < a.values.size(); ++x) {
    const double d = std::abs(a.values[x] - b.values[x]);
    if (!(d <= largest)) largest = d;
  }
  return largest;
}

}  // namespace fovea::practice
