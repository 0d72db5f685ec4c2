#include "fovea/isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "fovea/error.h"

namespace fovea {
namespace {

// Best first; no CPU has both those of x86 and NEON.
constexpr Isa kAll[] = {Isa::kAmxBf16, Isa::kAvx512Bf16, Isa::kAvx512,
                        Isa::kAvx2,    Isa::kNeon,       Isa::kScalar};

#if defined(__x86_64__)
// gcc 12 knows no name for it in __builtin_cpu_supports. The system keeps the registers if it keeps
// those of AVX.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

// The state that the system keeps for a thread (XCR0). Only where cpuid says that it may be asked.
std::uint64_t kept_state() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_OSXSAVE) == 0) return 0;
  std::uint32_t low = 0, high = 0;
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32U | low;
}

// Tiles are 8 KiB a thread, which Linux keeps only for processes that asked; who uses them without is killed. One
// request holds for all threads, those that run already too. Refused where an alternate signal stack
// is too small for what a signal would then store.
bool tiles_granted() {
#if defined(__linux__)
  constexpr long kRequest = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;     // XFEATURE_XTILEDATA
  static const bool granted = syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
  return granted;
#else
  return false;
#endif
}

bool has_tiles() {
  constexpr unsigned kAmxBf16 = 1U << 22U, kAmxTile = 1U << 24U;  // of cpuid 7, edx
  constexpr std::uint64_t kState = 3U << 17U;                     // configuration and data
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kAmxBf16) != 0 &&
         (d & kAmxTile) != 0 && (kept_state() & kState) == kState && tiles_granted();
}
#endif

bool cpu_has(Isa isa) {
  switch (isa) {
    case Isa::kScalar: return true;
#if defined(__x86_64__)
    // What sweep_avx2.cc and sweep_avx512.cc are compiled with; the builtins ask the system too.
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    case Isa::kAvx512:
      return cpu_has(Isa::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
    // With them the byte compress of top keys, which all but one early kind of these processors have.
    case Isa::kAvx512Bf16:
      return cpu_has(Isa::kAvx512) && __builtin_cpu_supports("avx512bf16") &&
             __builtin_cpu_supports("avx512vbmi2");
    case Isa::kAmxBf16: return cpu_has(Isa::kAvx512Bf16) && has_tiles();
#elif defined(__aarch64__)
    case Isa::kNeon: return true;  // part of the architecture
#endif
    default: return false;
  }
}

// Refuses `name`. `said_by` is "" or "FOVEA_ISA=".
[[noreturn]] void refuse(const std::string& said_by, std::string_view name) {
  std::string names;
  for (Isa isa : available_isas()) names += (names.empty() ? "" : ", ") + std::string(name_of(isa));
  throw Error("isa: " + said_by + std::string(name) + " is not one of " + names +
              " (what this CPU can run)");
}

Isa chosen(std::string_view name, const std::string& said_by) {
  for (Isa isa : available_isas()) {
    if (name == name_of(isa)) return isa;
  }
  refuse(said_by, name);
}

Isa first_choice() {
  const char* name = std::getenv("FOVEA_ISA");
  if (name != nullptr && *name != '\0') return chosen(name, "FOVEA_ISA=");
  return available_isas().front();
}

// A bad FOVEA_ISA throws at each use, until it is mended.
std::atomic<Isa>& current() {
  static std::atomic<Isa> isa{first_choice()};
  return isa;
}

}  // namespace

const char* name_of(Isa isa) {
  switch (isa) {
    case Isa::kScalar: return "scalar";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
    case Isa::kAvx512Bf16: return "avx512_bf16";
    case Isa::kAmxBf16: return "amx_bf16";
    case Isa::kNeon: return "neon";
  }
  return "?";
}

std::vector<Isa> available_isas() {
  std::vector<Isa> isas;
  for (Isa isa : kAll) {
    if (cpu_has(isa)) isas.push_back(isa);
  }
  return isas;
}

Isa current_isa() { return current().load(std::memory_order_relaxed); }

void set_isa(Isa isa) {
  if (!cpu_has(isa)) refuse("", name_of(isa));
  current().store(isa, std::memory_order_relaxed);
}

Isa isa_from_name(std::string_view name) { return chosen(name, ""); }

}  // namespace fovea
