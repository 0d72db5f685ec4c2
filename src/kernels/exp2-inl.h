// 2^x for x up to some ten on vectors: what softmax needs of an exponential.
#pragma once

namespace fovea::kernels {
namespace {

constexpr float kHidden = -__builtin_inff();        // the score of a key that a row may not see
constexpr float kLowest = -3.4028234663852886e38f;  // the lowest score of one that it sees

constexpr float kLeast = -126.0f;  // 2^x is 0 below

// 2^x = 2^n 2^f, n = round(x), |f| <= 1/2. For x below 127.
//
// Exact   1 at x = 0; 0 below -126, so that no result is denormal and 2^-inf = 0; NaN stays NaN.
// Error   at most 1.72e-7 relative, 1.94e-7 where fma rounds twice (all floats in [-126, 10]: docs/numerics.md):
//         9.1e-8 of the polynomial (minimax of degree 5 with constant term 1, fitted with the Remez
//         exchange), the rest rounding.
[[gnu::always_inline]] inline Floats exp2(Floats x) {
  // Adding 1.5 * 2^23 rounds to an integer, held in the last bits; 127 more is the exponent's bias.
  const Floats magic = all(12582912.0f + 127.0f);
  const Floats shifted = x + magic;
  const Floats f = x - (shifted - magic);
  Floats p = all(1.3264727140072014e-03f);
  p = fma(p, f, all(9.671512639956454e-03f));
  p = fma(p, f, all(5.5507337434700856e-02f));
  p = fma(p, f, all(2.4022242090385470e-01f));
  p = fma(p, f, all(6.9314697759899200e-01f));
  p = fma(p, f, all(1.0f));
  return zero_where_less(x, all(kLeast), p * power_of_bits(shifted));
}

}  // namespace
}  // namespace fovea::kernels
