#include "fovea/highlights.h"
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

Results<float> engine_later(const Problem& problem, const std::vector<float>& lse, Threads& threads,
                            Wanted wanted) {
  wanted.out = wanted.lse = false;
  Results<float> results(problem, wanted);
  const View of_queries = lse.empty() ? View() : problem.places.view_of_queries(lse);
  fovea::highlights(problem.inputs(), of_queries, problem.options(), results.outputs(), threads);
  return results;
}

Results<float> engine_later(const Problem& problem, const std::vector<float>& lse, Wanted wanted) {
  Threads one(1);
  return engine_later(problem, lse, one, wanted);
}

}  // namespace fovea::testing
