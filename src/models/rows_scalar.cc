// The loops of rows.cc for any CPU: see rows-inl.h.
#include "models/rows-inl.h"

namespace fovea::rows {

const Loops& loops_scalar() { return kLoops; }

}  // namespace fovea::rows
