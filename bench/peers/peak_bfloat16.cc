#include "peers/peak_bfloat16.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

namespace peers {

bool has_bfloat16_products() {
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512f");
}

__attribute__((target("avx512f,avx512bf16"))) std::int64_t run_bfloat16_products(
    std::int64_t rounds) {
  constexpr int kSums = 12;  // latency 6, at most two a cycle
  __m512 sums[kSums];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  __m512bh a = reinterpret_cast<__m512bh>(_mm512_setzero_si512());
  __m512bh b = a;
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, a, b);
    asm volatile("" : "+v"(a), "+v"(b));
  }
  __m512 total = _mm512_setzero_ps();
  for (__m512 sum : sums) total = _mm512_add_ps(total, sum);
  asm volatile("" : : "v"(total));
  return rounds * kSums * 64;  // 32 products and 32 sums an instruction
}

}  // namespace peers

#else

namespace peers {
bool has_bfloat16_products() { return false; }
std::int64_t run_bfloat16_products(std::int64_t) { return 0; }
}  // namespace peers

#endif
