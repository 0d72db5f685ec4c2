// The kernels for amx_bf16: products of bfloat16 in tile registers. Sequences of a few queries or keys would leave
// most of a tile empty: they are widened, as avx512 does (processors with tiles do half as many multiply-adds
// in their dot products of pairs as in float32). Everything else is that of avx512_bf16. See sweep-inl.h.
// The lanes come first, the kernels are written in them:
// clang-format off
#include "kernels/lanes_amx_bf16.h"
#include "kernels/sweep-inl.h"
#include "kernels/sweep_isa.h"
// clang-format on

namespace fovea::kernels {

void sweep_amx_bf16(const Sweep& a) {
  if (a.type != Number::kBFloat16) return sweep_avx512_bf16(a);
  if (a.few || a.short_keys) return sweep_avx512(a);
  const TileRegisters registers;
  sweep<TilePair>(a);
}

std::int64_t multiply_adds_amx_bf16(std::int64_t rounds, Number type) {
  if (type != Number::kBFloat16) return multiply_adds_avx512_bf16(rounds, type);
  const TileRegisters registers;              // which sets all tiles to 0
  const std::int64_t times = rounds / 8 + 1;  // a round takes 64 cycles
  for (std::int64_t i = 0; i < times; ++i) {
    multiply_tiles<0, 4, 6>();
    multiply_tiles<1, 4, 7>();
    multiply_tiles<2, 5, 6>();
    multiply_tiles<3, 5, 7>();
  }
  return times * 4 * kTileSide * kTileSide * kTileSide * 4;
}

}  // namespace fovea::kernels
