#include "support/case.h"

namespace fovea::testing {

Results<float> engine(const Problem& problem, Threads& threads, const Wanted& wanted) {
  Results<float> results(problem, wanted);
  fovea::attend(problem.inputs(), problem.options(), results.outputs(), threads);
  results.widen();
  return results;
}

Results<float> engine(const Problem& problem, const Wanted& wanted) {
  Threads one(1);
  return engine(problem, one, wanted);
}

}  // namespace fovea::testing
