// The gradients for amx_bf16: products of bfloat16 in tile registers, and sequences of a few keys widened, as in
// sweep_amx_bf16.cc. Everything else is that of avx512_bf16. See backward-inl.h.
// The lanes come first, the kernels are written in them:
// clang-format off
#include "kernels/lanes_amx_bf16.h"
#include "kernels/backward-inl.h"
#include "kernels/backward_tiled-inl.h"
#include "kernels/backward_isa.h"
// clang-format on

namespace fovea::kernels {

void backward_amx_bf16(Backward& a) {
  using Stage = Backward::Stage;
  const bool of_rows = a.stage == Stage::kStartRows || a.stage == Stage::kFinishRows;  // no product
  if (a.keys.type != Number::kBFloat16 || of_rows) return backward_avx512_bf16(a);
  if (a.keys.short_keys) return backward_avx512(a);
  const TileRegisters registers;
  backward_in_tiles<TilePair>(a);
}

}  // namespace fovea::kernels
