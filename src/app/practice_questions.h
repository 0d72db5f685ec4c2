// The questions of the lesson, one function a template. choices[0] is the right one; practice.cc
// mixes them.
#pragma once

#include "app/practice.h"
#include "base/random.h"

namespace fovea::practice {

// More choices may be offered than are shown: practice.cc keeps the right one and three others.
Question purpose_question(Random& random, Threads& threads);
Question formula_question(Random& random, Threads& threads);
Question work_question(Random& random, Threads& threads);
Question mistake_question(Random& random, Threads& threads);
Question scale_question(Random& random, Threads& threads);

}  // namespace fovea::practice
