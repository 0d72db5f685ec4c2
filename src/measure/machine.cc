#include "measure/machine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <thread>

#include "fovea/isa.h"
#include "kernels/peak.h"
#include "kernels/read.h"
#include "measure/timing.h"

namespace fovea::measure {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

std::string line_of(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string cpu_name() {
  std::ifstream in("/proc/cpuinfo");
  std::string family, model, name;
  for (std::string line; std::getline(in, line) && !line.empty();) {
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    const std::string value = line.substr(colon + 2);
    if (line.rfind("model name", 0) == 0) name = value;
    if (line.rfind("cpu family", 0) == 0) family = value;
    if (line.rfind("model\t", 0) == 0) model = value;
  }
  if (name.empty()) return "unknown CPU";
  return name + " (family " + family + ", model " + model + ")";
}

// "32K", "1024K", "260M".
std::int64_t bytes_of(const std::string& size) {
  if (size.empty()) return 0;
  const std::int64_t number = std::atoll(size.c_str());
  return number << (size.back() == 'K' ? 10 : size.back() == 'M' ? 20 : 0);
}

std::vector<Cache> caches() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return {};
  std::set<std::string> seen;  // a cache that several processors share counts once
  std::map<std::pair<int, bool>, Cache> kinds;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    const fs::path folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/cache";
    for (int index = 0; fs::exists(folder / ("index" + std::to_string(index))); ++index) {
      const fs::path cache = folder / ("index" + std::to_string(index));
      const std::string level = line_of(cache / "level");
      const std::string type = line_of(cache / "type");
      const std::int64_t bytes = bytes_of(line_of(cache / "size"));
      if (bytes == 0) continue;
      if (!seen.insert(level + type + " " + line_of(cache / "shared_cpu_list")).second) continue;
      Cache& kind = kinds[{std::atoi(level.c_str()), type == "Instruction"}];
      kind.level = std::atoi(level.c_str());
      kind.data = type != "Instruction";
      kind.bytes = std::max(kind.bytes, bytes);
      ++kind.count;
    }
  }
  std::vector<Cache> list;
  list.reserve(kinds.size());
  for (const auto& [key, kind] : kinds) list.push_back(kind);
  return list;
}

// Calls f(thread number) on every thread of the pool at once and returns the seconds from the first
// beginning to the last end. No thread begins before all are there, so none gets a second share.
double seconds_together(Threads& threads, const std::function<void(int)>& f) {
  const int count = threads.count();
  std::atomic<int> here{0};
  std::vector<Clock::time_point> begin(static_cast<std::size_t>(count)), end(begin);
  threads.run(count, [&](std::int64_t task, int) {
    here.fetch_add(1);
    while (here.load() < count) std::this_thread::yield();
    begin[static_cast<std::size_t>(task)] = Clock::now();
    f(static_cast<int>(task));
    end[static_cast<std::size_t>(task)] = Clock::now();
  });
  return std::chrono::duration<double>(*std::max_element(end.begin(), end.end()) -
                                       *std::min_element(begin.begin(), begin.end()))
      .count();
}

// Bytes of memory that are free; 0: unknown.
std::int64_t free_memory() {
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("MemAvailable:", 0) == 0) return std::atoll(line.c_str() + 13) << 10;
  }
  return 0;
}

}  // namespace

Machine this_machine() {
  return {cpu_name(), line_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
          available_processors(), caches()};
}

double load_average() {
  double load = -1;
  return getloadavg(&load, 1) == 1 ? load : -1;
}

std::int64_t last_level_cache(const Machine& machine) {
  if (machine.caches.empty()) return std::int64_t{64} << 20;
  return machine.caches.back().bytes * machine.caches.back().count;
}

double clock_gigahertz() {
  constexpr int kRounds = 1 << 20, kChain = 16;
  double best = 0;
  for (int n = 0; n < 20; ++n) {  // 5 ms each
    std::uint64_t sum = 1, one = 1;
    // Opaque to the compiler after each addition, or it would make one of all of them.
    asm volatile("" : "+r"(one));
    const double seconds = seconds_of([&] {
      std::uint64_t x = sum;
      for (int i = 0; i < kRounds; ++i) {
#pragma GCC unroll 16
        for (int link = 0; link < kChain; ++link) {
          x += one;
          asm volatile("" : "+r"(x));
        }
      }
      sum = x;
    });
    best = std::max(best, static_cast<double>(kRounds) * kChain / seconds * 1e-9);
  }
  return best;
}

double peak_gflops(DataType type, Threads& threads) {
  constexpr std::int64_t kRounds = 1 << 21;  // 7 ms: waking the threads is nothing beside it
  const Isa isa = current_isa();
  if (type == DataType::kBFloat16 && !multiplies_bfloat16(isa)) return 0;
  const kernels::Number number =
      type == DataType::kBFloat16 ? kernels::Number::kBFloat16 : kernels::Number::kFloat32;
  std::vector<std::int64_t> operations(static_cast<std::size_t>(threads.count()));
  const double seconds = seconds_together(threads, [&](int thread) {
    operations[static_cast<std::size_t>(thread)] = kernels::run_multiply_adds(isa, kRounds, number);
  });
  double sum = 0;
  for (const std::int64_t n : operations) sum += static_cast<double>(n);
  return sum / seconds * 1e-9;
}

ReadMemory::ReadMemory(const Machine& machine, bool huge_pages, Threads& threads) {
  constexpr std::int64_t kUnit = std::int64_t{4} << 20;
  bytes_ = 4 * last_level_cache(machine);
  if (const std::int64_t free = free_memory(); free > 0) bytes_ = std::min(bytes_, free / 4);
  bytes_ = std::max<std::int64_t>(1, bytes_ / kUnit) * kUnit;
  data_ = aligned_array<std::uint64_t>(static_cast<std::size_t>(bytes_) / 8);
  if (huge_pages) ask_for_huge_pages(data_.get(), static_cast<std::size_t>(bytes_));
  // Each thread touches what it will read: the memory then lies near it.
  seconds_together(threads, [&](int thread) {
    const std::int64_t part = bytes_ / threads.count() / 8;
    std::memset(data_.get() + thread * part, 1, static_cast<std::size_t>(part) * 8);
  });
}

double ReadMemory::gigabytes_per_second(Threads& threads, int streams) const {
  const std::int64_t part = bytes_ / threads.count() / 1024 * 1024;
  const double seconds = seconds_together(threads, [&](int thread) {
    const std::uint64_t sum =
        kernels::read_memory(current_isa(), data_.get() + thread * part / 8, part, streams);
    const volatile std::uint64_t used = sum;
    static_cast<void>(used);
  });
  return static_cast<double>(part * threads.count()) / seconds * 1e-9;
}

int ReadMemory::best_streams(Threads& threads, double* best) const {
  int choice = 1;
  *best = 0;
  for (int round = 0; round < 5; ++round) {
    for (const int streams : {1, 2, 4}) {
      const double reached = gigabytes_per_second(threads, streams);
      if (reached <= *best) continue;
      *best = reached;
      choice = streams;
    }
  }
  return choice;
}

}  // namespace fovea::measure
