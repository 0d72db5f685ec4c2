// What this machine can do at most: the limits that the engine is measured against.
//
// All programs are fixed, run on every thread of the pool at once, and pin nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "fovea/threads.h"
#include "fovea/view.h"

namespace fovea::measure {

struct Cache {
  int level = 0;
  bool data = true;  // false: instructions only
  std::int64_t bytes = 0;
  int count = 0;  // of this kind, over the processors that this process may use
};

struct Machine {
  std::string cpu;            // "AMD EPYC (family 25, model 17)"
  std::string governor;       // of the clock; empty where the system does not say
  int processors = 0;         // that this process may use
  std::vector<Cache> caches;  // by level; empty where the system does not say
};

Machine this_machine();

// How many threads of all programs ran or waited to run in the last minute, on average; negative: unknown.
double load_average();

// All last-level caches together; 64 MiB where the system does not say.
std::int64_t last_level_cache(const Machine& machine);

// Cycles a second in 10^9, from a chain of additions that take a cycle each.
double clock_gigahertz();

// GFLOP/s of multiply-adds in registers, all threads together: 7 ms. kBFloat16: of products of bfloat16,
// 0 where there is no instruction for them. Other types are computed in float32.
double peak_gflops(DataType type, Threads& threads);

// Memory to be read from: 4 times the last-level cache, at most a quarter of what is free.
class ReadMemory {
 public:
  // Huge pages: asked for; the system may not have them.
  ReadMemory(const Machine& machine, bool huge_pages, Threads& threads);

  std::int64_t bytes() const { return bytes_; }

  // GB/s of reading all of it once, each thread its part, in `streams` places at a time (1, 2 or 4).
  double gigabytes_per_second(Threads& threads, int streams) const;

  // The number of streams that reads fastest; sets what it reached.
  int best_streams(Threads& threads, double* gigabytes_per_second) const;

 private:
  AlignedArray<std::uint64_t> data_;
  std::int64_t bytes_ = 0;
};

}  // namespace fovea::measure
