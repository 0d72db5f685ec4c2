// How fast attend is, as a share of what this CPU can do at most, and what highlights add.
//
//   attend_bench [--only NAME,NAME] [--threads 1,2] [--seconds 2] [--json FILE]
//
// For each situation and number of threads: some rows are checked against the fp64 reference, then
// the variants (plain, with highlights) and the peak are timed in turn, round after round. Reported
// are medians over the rounds with their quartiles; ratios are medians of the rounds' own ratios,
// so that a slow moment of the machine hits both sides. The peak is a loop of multiply-adds without
// memory, in the same instruction set, on all threads at once. Counted are 2 (D + E) operations for
// each visible query-key pair. A situation that moves more memory than it computes (decode) also
// gets its GB/s.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/random.h"
#include "fovea/attend.h"
#include "fovea/isa.h"
#include "kernels/peak.h"
#include "reference/attend.h"

namespace {

using namespace fovea;  // a program of its own
using Json = nlohmann::ordered_json;

struct Situation {
  const char* name;
  const char* what;
  std::int64_t B, H, G, N, M, D;
  Causal causal;
  std::optional<std::int64_t> window_before = std::nullopt;  // with causal only
};

constexpr Situation kSituations[] = {
    {"self_2k", "one text of 2,048 positions", 1, 8, 8, 2048, 2048, 64, Causal::kNone},
    {"causal_2k", "the same, causal", 1, 8, 8, 2048, 2048, 64, Causal::kBottomRight},
    {"self_2k_wide", "the same, heads of 128", 1, 8, 8, 2048, 2048, 128, Causal::kNone},
    {"self_512", "one text of 512 positions", 1, 8, 8, 512, 512, 64, Causal::kNone},
    {"document_8k", "one text of 8,192 positions", 1, 8, 8, 8192, 8192, 64, Causal::kNone},
    {"sentence_batch", "32 sentences, 24 queries on 28 keys", 32, 8, 8, 24, 28, 64, Causal::kNone},
    {"translate_step", "one new word, 28 keys", 1, 8, 8, 1, 28, 64, Causal::kNone},
    {"translate_step_32", "one new word of 32 sentences", 32, 8, 8, 1, 28, 64, Causal::kNone},
    {"decode_8k", "one new word, 8,192 keys kept", 1, 8, 8, 1, 8192, 64, Causal::kNone},
    {"decode_8k_grouped", "the same, 4 heads share keys", 1, 8, 2, 1, 8192, 64, Causal::kNone},
    {"window_8k", "8,192 positions, causal, 512 keys back", 1, 8, 8, 8192, 8192, 64,
     Causal::kBottomRight, 512},
};

constexpr std::int64_t kTop = 8;

enum Variant { kPlain, kTopEntropy, kReceived, kVariants };
constexpr const char* kVariantNames[] = {"plain", "top8_entropy", "received"};

struct Arrays {
  std::vector<float> q, k, v, out, lse, entropy, top_weight, received;
  std::vector<std::int32_t> top_index;

  explicit Arrays(const Situation& s)
      : q(size(s.B * s.H * s.N * s.D)),
        k(size(s.B * s.G * s.M * s.D)),
        v(k.size()),
        out(q.size()),
        lse(size(s.B * s.H * s.N)),
        entropy(lse.size()),
        top_weight(lse.size() * kTop),
        received(size(s.B * s.H * s.M)),
        top_index(top_weight.size()) {
    Random random(1);
    for (std::vector<float>* x : {&q, &k, &v}) {
      for (float& value : *x) value = static_cast<float>(random.normal());
    }
  }
  static std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }
};

struct Call {
  Inputs inputs;
  Options options;
  Outputs outputs[kVariants];
};

Call call_of(const Situation& s, Arrays& a) {
  Call call;
  call.inputs.q = View(a.q.data(), {s.B, s.H, s.N, s.D});
  call.inputs.k = View(a.k.data(), {s.B, s.G, s.M, s.D});
  call.inputs.v = View(a.v.data(), {s.B, s.G, s.M, s.D});
  call.options.causal = s.causal;
  call.options.window_before = s.window_before;
  for (Outputs& outputs : call.outputs) {
    outputs.out = MutableView(a.out.data(), {s.B, s.H, s.N, s.D});
    outputs.lse = MutableView(a.lse.data(), {s.B, s.H, s.N});
  }
  Outputs& rich = call.outputs[kTopEntropy];
  rich.entropy = MutableView(a.entropy.data(), {s.B, s.H, s.N});
  rich.top_index = MutableView(a.top_index.data(), {s.B, s.H, s.N, kTop});
  rich.top_weight = MutableView(a.top_weight.data(), {s.B, s.H, s.N, kTop});
  call.outputs[kReceived].received = MutableView(a.received.data(), {s.B, s.H, s.M});
  return call;
}

void require(bool good, const std::string& what) {
  if (!good) throw std::runtime_error("attend_bench: wrong result: " + what);
}

// Query i of head h of sequence b again, alone, by the reference.
void check_row(const Situation& s, const Arrays& a, std::int64_t b, std::int64_t h,
               std::int64_t i) {
  const std::int64_t keys = s.causal == Causal::kNone ? s.M : i + 1 + s.M - s.N;
  const std::int64_t row = (b * s.H + h) * s.N + i;
  const std::int64_t first_key = (b * s.G + h / (s.H / s.G)) * s.M * s.D;
  Inputs inputs;
  inputs.q = View(a.q.data() + row * s.D, {1, 1, 1, s.D});
  inputs.k = View(a.k.data() + first_key, {1, 1, keys, s.D});
  inputs.v = View(a.v.data() + first_key, {1, 1, keys, s.D});
  std::vector<double> out(Arrays::size(s.D)), weight(kTop);
  std::vector<std::int32_t> index(kTop);
  double lse = 0;
  double entropy = 0;
  Outputs truth;
  truth.out = MutableView(out.data(), {1, 1, 1, s.D});
  truth.lse = MutableView(&lse, {1, 1, 1});
  truth.entropy = MutableView(&entropy, {1, 1, 1});
  truth.top_index = MutableView(index.data(), {1, 1, 1, kTop});
  truth.top_weight = MutableView(weight.data(), {1, 1, 1, kTop});
  reference::attend(inputs, {.window_before = s.window_before}, truth);
  const std::string where = std::string(s.name) + ", row " + std::to_string(row);
  for (std::int64_t e = 0; e < s.D; ++e) {
    const double error = std::abs(out[Arrays::size(e)] - a.out[Arrays::size(row * s.D + e)]);
    require(error <= 5e-6, where + ", out");  // NaN fails
  }
  require(std::abs(lse - a.lse[Arrays::size(row)]) <= 5e-6, where + ", lse");
  require(std::abs(entropy - a.entropy[Arrays::size(row)]) <= 5e-5, where + ", entropy");
  for (std::size_t t = 0; t < kTop; ++t) {
    const float got = a.top_weight[Arrays::size(row) * kTop + t];
    require(std::abs(weight[t] - got) <= 2e-6, where + ", top weight " + std::to_string(t));
  }
}

void check(const Situation& s, const Arrays& a) {
  Random random(2);
  for (int n = 0; n < 12; ++n) {
    const auto pick = [&](std::int64_t size) {
      return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(size)));
    };
    check_row(s, a, pick(s.B), pick(s.H), pick(s.N));
  }
  // Each query gives away a weight of 1.
  const double received = std::accumulate(a.received.begin(), a.received.end(), 0.0);
  const double given = static_cast<double>(s.B * s.H * s.N);
  require(std::abs(received / given - 1) <= 1e-5, std::string(s.name) + ", sum of received");
}

double seconds_of(const std::function<void()>& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// GFLOP/s of all threads together.
double peak_of(Threads& threads) {
  constexpr std::int64_t kRounds = 1 << 21;  // 7 ms: waking the threads is nothing beside it
  std::vector<std::int64_t> operations(static_cast<std::size_t>(threads.count()));
  const double seconds = seconds_of([&] {
    threads.run(threads.count(), [&](std::int64_t task, int) {
      operations[static_cast<std::size_t>(task)] =
          kernels::run_multiply_adds(current_isa(), kRounds);
    });
  });
  return static_cast<double>(std::accumulate(operations.begin(), operations.end(), 0LL)) / seconds *
         1e-9;
}

struct Spread {
  double median, low, high, best;  // quartiles; best is the smallest
};

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double part) {
    return values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1))];
  };
  return {at(0.5), at(0.25), at(0.75), values.front()};
}

Json json_of(const Spread& s) {
  return {{"median", s.median}, {"quartiles", {s.low, s.high}}, {"best", s.best}};
}

double operations_of(const Situation& s) {
  if (s.window_before) {
    double pairs = 0;
    for (std::int64_t i = 0; i < s.N; ++i) {
      pairs += static_cast<double>(std::min(i + s.M - s.N, *s.window_before) + 1);
    }
    return 4 * static_cast<double>(s.B * s.H * s.D) * pairs;
  }
  double pairs = static_cast<double>(s.N * s.M);
  if (s.causal != Causal::kNone) pairs -= static_cast<double>(s.N * (s.N - 1) / 2);
  return 4 * static_cast<double>(s.B * s.H * s.D) * pairs;
}

Json measure(const Situation& s, int thread_count, double seconds) {
  Arrays arrays(s);
  const Call call = call_of(s, arrays);
  Threads threads(thread_count);
  for (const Outputs& outputs : call.outputs) attend(call.inputs, call.options, outputs, threads);
  check(s, arrays);

  const double operations = operations_of(s);
  const auto repeats = static_cast<std::int64_t>(std::max(1.0, 2e8 / operations));
  std::vector<double> times[kVariants], ratios[kVariants], peaks;
  double spent = 0;
  while (peaks.size() < 5 || spent < seconds) {
    peaks.push_back(peak_of(threads));
    for (int variant = 0; variant < kVariants; ++variant) {
      const double time = seconds_of([&] {
        for (std::int64_t n = 0; n < repeats; ++n) {
          attend(call.inputs, call.options, call.outputs[variant], threads);
        }
      });
      spent += time;
      times[variant].push_back(time / static_cast<double>(repeats));
      ratios[variant].push_back(times[variant].back() / times[kPlain].back());
    }
  }
  const double peak = *std::max_element(peaks.begin(), peaks.end());
  const Spread plain = spread_of(times[kPlain]);
  const double bytes = 4.0 * static_cast<double>(2 * s.B * s.G * s.M * s.D);

  Json row = {{"situation", s.name},
              {"what", s.what},
              {"B", s.B},
              {"H", s.H},
              {"G", s.G},
              {"N", s.N},
              {"M", s.M},
              {"D", s.D},
              {"causal", s.causal != Causal::kNone},
              {"window_before", s.window_before ? Json(*s.window_before) : Json()},
              {"threads", thread_count},
              {"rounds", peaks.size()},
              {"peak_gflops", peak},
              {"gflops", operations / plain.median * 1e-9},
              {"share_of_peak", operations / plain.median * 1e-9 / peak},
              {"share_of_peak_best", operations / plain.best * 1e-9 / peak},
              {"key_value_gigabytes_per_second", bytes / plain.median * 1e-9}};
  for (int variant = 0; variant < kVariants; ++variant) {
    row["seconds"][kVariantNames[variant]] = json_of(spread_of(times[variant]));
    if (variant != kPlain) {
      row["ratio_to_plain"][kVariantNames[variant]] = json_of(spread_of(ratios[variant]));
    }
  }
  std::printf(
      "%-18s %d  %10.1f us  %6.1f GFLOP/s  %5.1f %% (best %5.1f %%)  top8+entropy %+6.1f %%"
      "  received %+6.1f %%\n",
      s.name, thread_count, plain.median * 1e6, operations / plain.median * 1e-9,
      100 * operations / plain.median * 1e-9 / peak, 100 * operations / plain.best * 1e-9 / peak,
      100 * (spread_of(ratios[kTopEntropy]).median - 1),
      100 * (spread_of(ratios[kReceived]).median - 1));
  std::fflush(stdout);
  return row;
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
  return name + " (family " + family + ", model " + model + ")";
}

struct Arguments {
  std::string only, json;
  std::vector<int> threads = {1};
  double seconds = 2;
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int at = 1; at < argc; at += 2) {
    const std::string name = argv[at];
    if (at + 1 == argc) {
      throw std::runtime_error(
          "attend_bench: usage: attend_bench [--only SITUATION,...] [--threads T,...] "
          "[--seconds S] [--json FILE]");
    }
    const std::string value = argv[at + 1];
    if (name == "--only") {
      arguments.only = value;
    } else if (name == "--json") {
      arguments.json = value;
    } else if (name == "--seconds") {
      arguments.seconds = std::stod(value);
    } else if (name == "--threads") {
      arguments.threads.clear();
      for (std::size_t from = 0; from < value.size(); from = value.find(',', from) + 1) {
        arguments.threads.push_back(std::stoi(value.substr(from)));
        if (value.find(',', from) == std::string::npos) break;
      }
    } else {
      throw std::runtime_error("attend_bench: unknown option " + name);
    }
  }
  return arguments;
}

// True when `name` is one of `list`, which is parted by commas.
bool listed(const std::string& list, const std::string& name) {
  return ("," + list + ",").find("," + name + ",") != std::string::npos;
}

void run(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  std::string command = "attend_bench";
  for (int at = 1; at < argc; ++at) command += std::string(" ") + argv[at];
  Json report = {{"command", command},
                 {"cpu", cpu_name()},
                 {"isa", name_of(current_isa())},
                 {"compiler", __VERSION__},
                 {"flops_counted", "2 (D + E) for each visible query-key pair and head"},
                 {"situations", Json::array()}};
  std::printf("%s, %s\n", cpu_name().c_str(), name_of(current_isa()));
  for (const Situation& s : kSituations) {
    if (!arguments.only.empty() && !listed(arguments.only, s.name)) continue;
    for (int threads : arguments.threads) {
      report["situations"].push_back(measure(s, threads, arguments.seconds));
    }
  }
  if (arguments.json.empty()) return;
  write_file(arguments.json, report.dump(1) + "\n");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
