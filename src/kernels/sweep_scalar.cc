// The kernels for scalar: see sweep-inl.h.
#include "kernels/lanes_scalar.h"
#include "kernels/sweep-inl.h"
#include "kernels/sweep_isa.h"

namespace fovea::kernels {

void sweep_scalar(const Sweep& a) { sweep(a); }

}  // namespace fovea::kernels
