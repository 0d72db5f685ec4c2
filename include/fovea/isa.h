// The instruction set that the kernels use: a value that can be listed, read and set.
//
// Chosen once, at the first use: the best that this CPU has, or what the environment says
// (FOVEA_ISA=scalar | avx2 | avx512 | avx512_bf16 | amx_bf16 | neon). A name that is unknown, or that this CPU lacks, is an
// Error:
//   isa: FOVEA_ISA=avx512 is not one of avx2, scalar (what this CPU can run)
#pragma once

#include <string_view>
#include <vector>

namespace fovea {

// kAvx512Bf16 is kAvx512 with dot products of bfloat16 pairs (Zen 4, Sapphire Rapids and later).
// kAmxBf16 is kAvx512Bf16 with products of bfloat16 in tile registers (Sapphire Rapids and later, on Linux). The system
// hands those out to a process that asks: fovea does when it first looks what there is, once, for all threads. A
// call leaves no tiles behind; what a caller had in them is lost. docs/design/amx.md.
// kNeon is there on every AArch64 CPU, the others but kScalar on x86-64 only.
enum class Isa { kScalar, kAvx2, kAvx512, kAvx512Bf16, kAmxBf16, kNeon };

// "scalar", "avx2", "avx512", "avx512_bf16", "amx_bf16", "neon".
const char* name_of(Isa isa);

// Whether the set multiplies bfloat16 itself. Weights of bfloat16 calls may be rounded to bfloat16 then.
constexpr bool multiplies_bfloat16(Isa isa) {
  return isa == Isa::kAvx512Bf16 || isa == Isa::kAmxBf16;
}

// What this build and this CPU can run, best first. Never empty.
std::vector<Isa> available_isas();

// The one in use.
Isa current_isa();

// Takes effect for calls that start later; meant for tests and benchmarks. Throws Error if unavailable.
void set_isa(Isa isa);

// Throws Error, naming the available ones.
Isa isa_from_name(std::string_view name);

}  // namespace fovea
