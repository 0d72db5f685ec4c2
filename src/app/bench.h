// `fovea bench`: this machine's limits and what the engine reaches of them, as text and as JSON.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/view.h"

namespace fovea {

struct BenchRequest {
  std::vector<std::string> only;  // situations; empty: the quick ones, or all with `full`
  bool full = false;
  std::vector<int> threads = {1,
                              0};  // 0: one for each processor; the same number twice counts once
  std::vector<DataType> types = {DataType::kFloat32};
  double seconds = 0;   // for each figure, about; 0: 1, or 3 with `full`
  std::string command;  // how it was asked for, kept in the JSON
};

struct BenchListener {
  std::function<void(std::string_view text)> print;  // lines, as they are known
  std::function<void(std::string_view what)> doing;  // what takes time now; "": nothing
};

// "self_512", ...: in the order in which they are measured.
std::vector<std::string> bench_situations();

// Measures, prints, and returns the JSON. Throws Error for a name that is no situation.
std::string run_bench(const BenchRequest& request, const BenchListener& listener);

}  // namespace fovea
