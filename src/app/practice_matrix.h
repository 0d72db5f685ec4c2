// Small matrices for the lesson: the steps of attention one by one, in fp64, so that each of them
// can be left out or done wrongly. The right answers come from the engine.
#pragma once

#include <string>
#include <vector>

#include "fovea/threads.h"

namespace fovea::practice {

struct Matrix {
  int rows = 0;
  int columns = 0;
  std::vector<double> values;  // row-major

  Matrix() = default;
  Matrix(int row_count, int column_count)
      : rows(row_count),
        columns(column_count),
        values(static_cast<std::size_t>(row_count) * static_cast<std::size_t>(column_count)) {}
  double& at(int r, int c) { return values[static_cast<std::size_t>(r * columns + c)]; }
  double at(int r, int c) const { return values[static_cast<std::size_t>(r * columns + c)]; }
};

Matrix product(const Matrix& a, const Matrix& b);  // a.columns == b.rows
Matrix transposed(const Matrix& a);
Matrix scaled(const Matrix& a, double factor);
Matrix softmax_of_rows(const Matrix& a);     // each row sums to 1: over the keys
Matrix softmax_of_columns(const Matrix& a);  // the mistake axis=0
Matrix mean_of_rows(const Matrix& a, int copies);
Matrix row_of(const Matrix& a, int row);

// What `attend` says: one head, any number of queries.
struct Attended {
  Matrix weights;
  Matrix output;
};
Attended attended(const Matrix& q, const Matrix& k, const Matrix& v, double scale,
                  Threads& threads);

// As NumPy prints and reads it: "[[1, 0], [-10, 1]]", one row "[1, 0]". Whole numbers without
// decimals, others with `decimals`.
std::string text_of(const Matrix& a, int decimals = 3);
std::string text_of(double value, int decimals = 3);

// The same, with both pairs of brackets whatever the number of rows: to paste into NumPy.
std::string literal(const Matrix& a);

// Largest difference between two matrices of one shape.
double distance(const Matrix& a, const Matrix& b);

}  // namespace fovea::practice
