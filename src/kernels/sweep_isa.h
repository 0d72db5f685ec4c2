// One entry for each instruction set, each in a file of its own compiler flags. Called by run()
// only.
#pragma once

#include "kernels/sweep.h"

namespace fovea::kernels {

void sweep_scalar(const Sweep& a);
std::int64_t multiply_adds_scalar(std::int64_t rounds, Number type);
void sweep_avx2(const Sweep& a);
std::int64_t multiply_adds_avx2(std::int64_t rounds, Number type);
void sweep_avx512(const Sweep& a);
std::int64_t multiply_adds_avx512(std::int64_t rounds, Number type);
void sweep_avx512_bf16(const Sweep& a);
std::int64_t multiply_adds_avx512_bf16(std::int64_t rounds, Number type);
void sweep_amx_bf16(const Sweep& a);
std::int64_t multiply_adds_amx_bf16(std::int64_t rounds, Number type);
void sweep_neon(const Sweep& a);
std::int64_t multiply_adds_neon(std::int64_t rounds, Number type);

}  // namespace fovea::kernels
