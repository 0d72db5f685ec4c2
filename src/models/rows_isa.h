// The loops of rows.cc as each instruction set has them.
#pragma once

namespace fovea::rows {

struct Loops {
  void (*norm_row)(float* x, const float* delta, unsigned long width, const float* weight,
                   const float* bias, float epsilon);
  void (*swish)(float* x, unsigned long count);
  void (*gelu_tanh)(float* x, unsigned long count);
  float (*largest)(const float* x, unsigned long count);              // NaN is passed over
  float (*exp_sum)(const float* x, unsigned long count, float most);  // sum of exp(x - most)
};

const Loops& loops_scalar();
const Loops& loops_avx2();
const Loops& loops_avx512();

}  // namespace fovea::rows
