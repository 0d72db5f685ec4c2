// The kernels for avx512: see sweep-inl.h.
#include "kernels/lanes_avx512.h"
#include "kernels/sweep-inl.h"
#include "kernels/sweep_isa.h"

namespace fovea::kernels {

void sweep_avx512(const Sweep& a) { sweep(a); }

}  // namespace fovea::kernels
