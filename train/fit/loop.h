// The training itself: steps, validations, checkpoints, and an orderly end.
#pragma once

#include "arguments.h"

namespace fovea::fit {

// Rises for `warmup` steps, stays, and falls to 0 over the last `decay_steps`: a run can be stopped
// before its fall and given more steps.
double rate_at(const Arguments& arguments, std::int64_t step);

// Returns the exit status.
int fit(Arguments arguments);

}  // namespace fovea::fit
