// The loops of rows.cc for avx512: see rows-inl.h.
#include "models/rows_isa.h"
#if defined(__x86_64__)
#include "models/rows-inl.h"

namespace fovea::rows {

const Loops& loops_avx512() { return kLoops; }

}  // namespace fovea::rows
#else

namespace fovea::rows {

const Loops& loops_avx512() { return loops_scalar(); }

}  // namespace fovea::rows
#endif
