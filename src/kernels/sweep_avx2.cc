// The kernels for avx2: see sweep-inl.h.
#include "kernels/lanes_avx2.h"
#include "kernels/sweep-inl.h"
#include "kernels/sweep_isa.h"

namespace fovea::kernels {

void sweep_avx2(const Sweep& a) { sweep(a); }

}  // namespace fovea::kernels
