// Greedy and beam search as transformers does them, for a group of sentences.
//
// At every step the 2 k best continuations of a sentence's k beams are looked at, in order; those
// that end are finished if they are among the first k, the first k of the others go on. (With more
// than one end id, 1 + ends times k.)
#pragma once

#include <span>
#include <vector>

#include "fovea/marian.h"
#include "fovea/threads.h"
#include "models/transformer.h"

namespace fovea {

// What SearchOptions leaves open is filled in; everything is checked.
struct SearchPlan {
  int beams = 1;
  int n_best = 1;
  double length_penalty = 1;
  int max_length = 2;
};

// One list of hypotheses for each member, best first. `members` are places in `sources`; messages
// name them.
std::vector<std::vector<IdHypothesis>> search_group(const Model& model,
                                                    std::span<const Ids> sources,
                                                    std::span<const std::size_t> members,
                                                    const SearchPlan& plan, Threads& threads);

}  // namespace fovea
