#include <algorithm>
#include <cmath>
#include <string>

#include "fovea/alignment.h"
#include "fovea/error.h"

namespace fovea {
namespace {

void check(const CrossAttention& attention, const Reading& reading) {
  const auto no_such = [](const char* what, std::int32_t asked, int there) {
    return Error(std::string("highlight: the model has no ") + what + " " +
                 std::to_string(asked + 1) + ": its decoder has " + std::to_string(there) + " " +
                 what + (there == 1 ? "" : "s"));
  };
  if (reading.layer < 0 || reading.layer >= attention.layers) {
    throw no_such("layer", reading.layer, attention.layers);
  }
  if (reading.head < -1 || reading.head >= attention.heads) {
    throw no_such("head", reading.head, attention.heads);
  }
}

// Norms of what each key brings at one step: sqrt(sum_gh p_g p_h products_gh).
void add_norms(const CrossAttention& attention, const Reading& reading, const float* rows,
               double* shares) {
  const auto heads = static_cast<std::size_t>(attention.heads);
  const auto keys = static_cast<std::size_t>(attention.keys);
  const std::size_t row_step = static_cast<std::size_t>(attention.steps) * keys;
  const float* products = attention.value_products.data() +
                          static_cast<std::size_t>(reading.layer) * keys * heads * heads;
  const std::size_t first = reading.head < 0 ? 0 : static_cast<std::size_t>(reading.head);
  const std::size_t last = reading.head < 0 ? heads : first + 1;
  for (std::size_t j = 0; j < keys; ++j) {
    double square = 0;
    for (std::size_t g = first; g < last; ++g) {
      for (std::size_t h = first; h < last; ++h) {
        square += static_cast<double>(rows[g * row_step + j]) * rows[h * row_step + j] *
                  products[(j * heads + g) * heads + h];
      }
    }
    shares[j] = std::sqrt(std::max(square, 0.0));  // rounding may leave a sum just below 0
  }
}

void add_weights(const CrossAttention& attention, const Reading& reading, const float* rows,
                 double* shares) {
  const auto keys = static_cast<std::size_t>(attention.keys);
  const std::size_t row_step = static_cast<std::size_t>(attention.steps) * keys;
  const int first = reading.head < 0 ? 0 : reading.head;
  const int last = reading.head < 0 ? attention.heads : first + 1;
  for (int h = first; h < last; ++h) {
    for (std::size_t j = 0; j < keys; ++j) {
      shares[j] += static_cast<double>(rows[static_cast<std::size_t>(h) * row_step + j]);
    }
  }
}

}  // namespace

std::vector<double> piece_shares(const CrossAttention& attention, const Reading& reading) {
  check(attention, reading);
  const auto keys = static_cast<std::size_t>(attention.keys);
  const auto steps = static_cast<std::size_t>(attention.steps);
  const std::size_t pieces = steps > 0 ? steps - 1 : 0;
  const float* layer = attention.weights.data() + static_cast<std::size_t>(reading.layer) *
                                                      static_cast<std::size_t>(attention.heads) *
                                                      steps * keys;
  std::vector<double> shares(pieces * keys);
  for (std::size_t t = 0; t < pieces; ++t) {
    const std::size_t step = reading.input_step ? t + 1 : t;
    double* row = shares.data() + t * keys;
    if (reading.norm_weighted) {
      add_norms(attention, reading, layer + step * keys, row);
    } else {
      add_weights(attention, reading, layer + step * keys, row);
    }
    double sum = 0;
    for (std::size_t j = 0; j < keys; ++j) sum += row[j];
    // All norms 0 (a layer that brings nothing): every key the same share.
    for (std::size_t j = 0; j < keys; ++j) {
      row[j] = sum > 0 ? row[j] / sum : 1.0 / static_cast<double>(keys);
    }
  }
  return shares;
}

}  // namespace fovea
