// fovea attend --explain: the same attention again, in plain steps with every number in sight.
#pragma once

#include <string>

#include "app/attend_run.h"

namespace fovea {

// Queries, keys (packed: of the longest sequence), key width and value width may each be this much, so that a matrix fits on a
// screen.
inline constexpr std::int64_t kMaxExplained = 12;
// Heads of all batches together.
inline constexpr std::int64_t kMaxExplainedHeads = 4;

// The steps are worked out in float64 from the arrays as the engine reads them; then the engine is asked for
// its weights and its output, and the last line says by how much the two differ. Throws  Error when
// an array is too large, saying how to cut it; or if engine and steps disagree.
std::string explain_attend(const AttendArrays& arrays, const AttendRequest& request,
                           Threads& threads);

}  // namespace fovea
