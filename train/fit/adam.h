// Adam with clipping by the global norm, and the moving average of the weights.
#pragma once

#include "parameters.h"

namespace fovea::fit {

struct AdamOptions {
  double beta1 = 0.9, beta2 = 0.98, epsilon = 1e-9;
  double clip = 1.0;        // largest norm of the gradient; 0 for none
  double average = 0.9995;  // of the moving average, reached slowly from 0
};

// Applies the gradients of the leaves, as step number `step` (from 1), and refreshes the leaves.
// Returns the norm of the gradient before clipping; a norm that is not finite changes nothing.
double adam_step(Parameters& parameters, const AdamOptions& options, double rate,
                 std::int64_t step);

}  // namespace fovea::fit
