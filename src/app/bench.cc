#include "app/bench.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "fovea/error.h"
#include "fovea/isa.h"
#include "fovea/threads.h"
#include "measure/engine.h"
#include "measure/machine.h"
#include "measure/situations.h"

namespace fovea {
namespace {

using measure::Measured;
using measure::Situation;
using measure::Spread;
using Json = nlohmann::ordered_json;

// printf into a string.
template <class... T>
std::string text_of(const char* format, T... values) {
  char buffer[256];
  std::snprintf(buffer, sizeof(buffer), format, values...);
  return buffer;
}

std::string threads_text(int threads) {
  return std::to_string(threads) + (threads == 1 ? " thread" : " threads");
}

std::string bytes_text(std::int64_t bytes) {
  const bool kibi = bytes < (std::int64_t{1} << 20);
  return std::to_string(bytes >> (kibi ? 10 : 20)) + (kibi ? " KiB" : " MiB");
}

std::string seconds_text(double seconds) {
  if (seconds < 1e-3) return text_of("%.1f us", seconds * 1e6);
  if (seconds < 1) return text_of("%.2f ms", seconds * 1e3);
  return text_of("%.2f s", seconds);
}

// The name under which a figure is kept: "self_2k", "self_2k bfloat16", "self_2k 2 threads".
std::string key_of(const Situation& s, DataType type, int threads) {
  return s.name + (type == DataType::kFloat32 ? "" : std::string(" ") + name_of(type)) +
         (threads == 1 ? "" : " " + threads_text(threads));
}

// What one number of threads can do at most, and the pool that does it.
struct Limits {
  std::unique_ptr<Threads> threads;
  std::unique_ptr<measure::ReadMemory> memory;
  int streams = 1;
  double float32 = 0, bfloat16 = 0;  // GFLOP/s; 0: no instruction for it
  double read = 0, read_huge = 0;    // GB/s
};

Limits limits_of(const measure::Machine& machine, int threads) {
  Limits limits;
  limits.threads = std::make_unique<Threads>(threads);
  for (int round = 0; round < 7; ++round) {
    for (auto [type, best] : {std::pair(DataType::kFloat32, &limits.float32),
                              std::pair(DataType::kBFloat16, &limits.bfloat16)}) {
      *best = std::max(*best, measure::peak_gflops(type, *limits.threads));
    }
  }
  {
    const measure::ReadMemory huge(machine, true, *limits.threads);
    huge.best_streams(*limits.threads, &limits.read_huge);
  }
  limits.memory = std::make_unique<measure::ReadMemory>(machine, false, *limits.threads);
  limits.streams = limits.memory->best_streams(*limits.threads, &limits.read);
  return limits;
}

std::string machine_text(const measure::Machine& machine) {
  std::string text = machine.cpu + ", " + std::to_string(machine.processors) +
                     (machine.processors == 1 ? " processor, " : " processors, ") +
                     name_of(current_isa()) +
                     (machine.governor.empty() ? "" : ", governor " + machine.governor) + "\n";
  std::string caches;
  for (const measure::Cache& cache : machine.caches) {
    if (!cache.data) continue;
    caches += (caches.empty() ? "caches  L" : ", L") + std::to_string(cache.level) + " " +
              (cache.count == 1 ? "" : std::to_string(cache.count) + " x ") +
              bytes_text(cache.bytes);
  }
  return text + (caches.empty() ? "" : caches + "\n");
}

// Of float32, in the registers of a set.
int lanes_of(Isa isa) {
  switch (isa) {
    case Isa::kAmxBf16:
    case Isa::kAvx512Bf16:
    case Isa::kAvx512: return 16;
    case Isa::kAvx2: return 8;
    case Isa::kNeon: return 4;
    default: return 1;
  }
}

std::string limits_text(const std::map<int, Limits>& all, double clock) {
  const auto line = [&](const std::string& name, const auto& figure, const char* unit) {
    std::string text = text_of("%-34s", name.c_str());
    for (const auto& [threads, limits] : all) {
      const double value = figure(limits);
      text += value > 0 ? text_of("%12.1f", value) : text_of("%12s", "-");
    }
    return text + "  " + unit + "\n";
  };
  std::string text = text_of("\n%-34s", "the limits, measured");
  for (const auto& [threads, limits] : all) text += text_of("%12s", threads_text(threads).c_str());
  text += "\n";
  text += line(
      "multiply-adds, float32", [](const Limits& l) { return l.float32; }, "GFLOP/s");
  text += line(
      "multiply-adds, bfloat16", [](const Limits& l) { return l.bfloat16; }, "GFLOP/s");
  text += line(
      "memory read", [](const Limits& l) { return l.read; }, "GB/s");
  text += line(
      "memory read, huge pages", [](const Limits& l) { return l.read_huge; }, "GB/s");
  const auto& [threads, limits] = *all.begin();
  const double a_cycle = limits.float32 / threads / clock;
  const int lanes = lanes_of(current_isa());
  text += text_of(
      "clock %.2f GHz: %.1f float32 operations a cycle and thread = 2 x %d lanes x %.2f units\n",
      clock, a_cycle, lanes, a_cycle / (2 * lanes));
  text += "memory is " + bytes_text(limits.memory->bytes()) + ", read once from end to end\n";
  return text;
}

Json json_of(const measure::Machine& machine) {
  Json list = Json::array();
  for (const measure::Cache& cache : machine.caches) {
    list.push_back({{"level", cache.level},
                    {"data", cache.data},
                    {"bytes", cache.bytes},
                    {"count", cache.count}});
  }
  return list;
}

Json json_of(const std::map<int, Limits>& all, double clock) {
  Json json = {{"clock_gigahertz", clock},
               {"lanes", lanes_of(current_isa())},
               {"read_bytes", all.begin()->second.memory->bytes()}};
  for (const auto& [threads, l] : all) {
    json["threads"][std::to_string(threads)] = {
        {"float32_gflops", l.float32},
        {"bfloat16_gflops", l.bfloat16 > 0 ? Json(l.bfloat16) : Json()},
        {"float32_operations_per_cycle_and_thread", l.float32 / threads / clock},
        {"read_gigabytes_per_second", l.read},
        {"read_huge_pages_gigabytes_per_second", l.read_huge},
        {"read_streams", l.streams}};
  }
  return json;
}

Json json_of(const Spread& s) {
  return {{"median", s.median}, {"quartiles", {s.low, s.high}}, {"best", s.best}};
}

double gflops(const Situation& s, const Measured& m) {
  return measure::operations(s) / m.seconds[measure::kPlain].median * 1e-9;
}

// Five products where forward has two.
double backward_gflops(const Situation& s, const Measured& m) {
  return 2.5 * measure::operations(s) / m.seconds[measure::kBackward].median * 1e-9;
}

std::int64_t key_value_bytes(const Situation& s, DataType type) {
  return measure::key_value_elements(s) * static_cast<std::int64_t>(size_of(type));
}

double gigabytes_per_second(const Situation& s, DataType type, const Measured& m) {
  return static_cast<double>(key_value_bytes(s, type)) / m.seconds[measure::kPlain].median * 1e-9;
}

Json json_of(const Situation& s, DataType type, int threads, const Measured& m) {
  Json row = {{"situation", s.name},
              {"what", s.what},
              {"type", name_of(type)},
              {"B", s.B},
              {"H", s.H},
              {"G", s.G},
              {"N", s.N},
              {"M", s.M},
              {"D", s.D},
              {"causal", s.causal != Causal::kNone},
              {"window_before", s.window_before ? Json(*s.window_before) : Json()},
              {"lengths", s.lengths},
              {"threads", threads}};
  if (!m.refused.empty()) {
    row["not_supported"] = m.refused;
    return row;
  }
  const double reached = gflops(s, m);
  row["visible_pairs"] = measure::visible_pairs(s);
  row["operations"] = measure::operations(s);
  row["rounds"] = m.rounds;
  row["peak_type"] = name_of(m.peak_type);
  row["peak_gflops"] = m.peak;
  row["gflops"] = reached;
  row["share_of_peak"] = reached / m.peak;
  row["share_of_peak_best"] =
      measure::operations(s) / m.seconds[measure::kPlain].best * 1e-9 / m.peak;
  if (measure::has(s, measure::kBackward)) {
    row["backward_gflops"] = backward_gflops(s, m);
    row["backward_share_of_peak"] = backward_gflops(s, m) / m.peak;
  }
  row["key_value_bytes"] = key_value_bytes(s, type);
  row["key_value_gigabytes_per_second"] = gigabytes_per_second(s, type, m);
  if (m.read > 0) {
    row["rotated_over_bytes"] = key_value_bytes(s, type) * m.copies;
    row["read_gigabytes_per_second"] = m.read;
    row["share_of_bandwidth"] = gigabytes_per_second(s, type, m) / m.read;
  }
  if (m.neighbour_ratio) row[std::string("gflops_to_") + s.neighbour] = json_of(*m.neighbour_ratio);
  for (std::size_t v = 0; v < measure::kVariants; ++v) {
    if (!measure::has(s, static_cast<measure::Variant>(v))) continue;
    const char* name = measure::name_of(static_cast<measure::Variant>(v));
    row["seconds"][name] = json_of(m.seconds[v]);
    if (v != measure::kPlain) row["ratio_to_plain"][name] = json_of(m.ratio[v]);
  }
  return row;
}

std::string heading(DataType type, int threads) {
  const std::string what = std::string(name_of(type)) + ", " + threads_text(threads);
  return text_of("\n%-21s%10s  %-14s %-18s%15s %9s %9s %15s\n", what.c_str(), "one call", "reached",
                 "of the limit", "top8 + entropy", "received", "all", "backward");
}

std::string row_text(const Situation& s, DataType type, const Measured& m) {
  if (!m.refused.empty()) return text_of("%-21snot supported yet\n", s.name);
  const bool memory = m.read > 0;
  const double reached = memory ? gigabytes_per_second(s, type, m) : gflops(s, m);
  const double share = reached / (memory ? m.read : m.peak);
  std::string text = text_of(
      "%-21s%10s  %-14s %-18s", s.name, seconds_text(m.seconds[measure::kPlain].median).c_str(),
      text_of("%.1f %s", reached, memory ? "GB/s" : "GFLOP/s").c_str(),
      text_of("%.0f %% of %s", 100 * share, memory ? "memory" : "peak").c_str());
  std::string backward;
  if (measure::has(s, measure::kBackward)) {
    backward = text_of("%.0f %% of peak", 100 * backward_gflops(s, m) / m.peak);
  }
  text += text_of("%15s %9s %9s %15s\n",
                  text_of("x %.2f", m.ratio[measure::kTopEntropy].median).c_str(),
                  text_of("x %.2f", m.ratio[measure::kReceived].median).c_str(),
                  text_of("x %.2f", m.ratio[measure::kAll].median).c_str(), backward.c_str());
  if (m.neighbour_ratio) {
    text += text_of("  %.2f times the GFLOP/s of its round neighbour, %s\n",
                    m.neighbour_ratio->median, s.neighbour);
  }
  return text;
}

[[noreturn]] void refuse(const std::string& name) {
  std::string names;
  for (const std::string& known : bench_situations()) {
    if (!names.empty()) names += ", ";
    names += known;
  }
  throw Error("bench: no situation is called '" + name + "'; there are " + names);
}

std::vector<const Situation*> chosen(const BenchRequest& request) {
  std::vector<const Situation*> list;
  for (const std::string& name : request.only) {
    const Situation* s = measure::situation_of(name);
    if (s == nullptr) refuse(name);
    list.push_back(s);
  }
  if (!list.empty()) return list;
  for (const Situation& s : measure::situations()) {
    if (request.full || s.quick) list.push_back(&s);
  }
  return list;
}

}  // namespace

std::vector<std::string> bench_situations() {
  std::vector<std::string> names;
  for (const Situation& s : measure::situations()) names.emplace_back(s.name);
  return names;
}

std::string run_bench(const BenchRequest& request, const BenchListener& listener) {
  const std::vector<const Situation*> list = chosen(request);
  const double seconds = request.seconds > 0 ? request.seconds : request.full ? 3 : 1;
  const measure::Machine machine = measure::this_machine();
  const double load = measure::load_average();
  listener.print(machine_text(machine));
  if (load > 0.5) {
    listener.print(
        text_of("note    other programs run beside this one (load %.1f): figures are low and "
                "uneven\n",
                load));
  }

  listener.doing("the limits of this machine");
  const double clock = measure::clock_gigahertz();
  std::map<int, Limits> limits;
  for (const int wanted : request.threads) {
    const int threads = wanted == 0 ? machine.processors : wanted;
    if (!limits.contains(threads)) limits.emplace(threads, limits_of(machine, threads));
  }
  listener.doing("");
  listener.print(limits_text(limits, clock));

  Json report = {{"command", request.command},
                 {"cpu", machine.cpu},
                 {"processors", machine.processors},
                 {"governor", machine.governor.empty() ? Json() : Json(machine.governor)},
                 {"caches", json_of(machine)},
                 {"load_average", load < 0 ? Json() : Json(load)},
                 {"isa", name_of(current_isa())},
                 {"compiler", __VERSION__},
                 {"limits", json_of(limits, clock)},
                 {"flops_counted",
                  "2 (D + E) for each visible query-key pair and head; backward 2.5 times that"},
                 {"situations", Json::object()}};
  for (const DataType type : request.types) {
    for (const auto& [threads, limit] : limits) {
      listener.print(heading(type, threads));
      for (const Situation* s : list) {
        listener.doing(key_of(*s, type, threads));
        const Measured m =
            measure::measure(*s, type, *limit.threads, limit.memory.get(), limit.streams, seconds);
        listener.doing("");
        listener.print(row_text(*s, type, m));
        report["situations"][key_of(*s, type, threads)] = json_of(*s, type, threads, m);
      }
    }
  }
  return report.dump(1) + "\n";
}

}  // namespace fovea
