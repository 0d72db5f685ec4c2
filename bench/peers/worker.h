// What the workers written in C++ share: the protocol of worker.py, for one situation a process.
#pragma once

#include <malloc.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace peers {

using Json = nlohmann::json;

struct Skip : std::runtime_error {  // the engine does not have this; the text says why
  using std::runtime_error::runtime_error;
};

struct Task {
  std::int64_t B = 0, H = 0, G = 0, N = 0, M = 0, D = 0;
  bool causal = false;
  std::vector<std::int32_t> lengths;  // of keys; empty: all
  std::string type, want, folder;
  int threads = 1, copies = 1;
  std::vector<std::array<std::int64_t, 3>> rows;  // b, h, i: what results are compared at
};

// One layout and setting of an engine.
struct Way {
  std::string name;
  std::function<void(int copy)> call;
  std::function<std::map<std::string, std::vector<float>>()> results;
};

inline Task task_of(const Json& request) {
  Task task;
  const Json& s = request.at("shape");
  task.B = s.at("B");
  task.H = s.at("H");
  task.G = s.at("G");
  task.N = s.at("N");
  task.M = s.at("M");
  task.D = s.at("D");
  task.causal = s.at("causal");
  if (!s.at("lengths").is_null()) task.lengths = s.at("lengths").get<std::vector<std::int32_t>>();
  task.type = request.at("type");
  task.want = request.at("want");
  task.folder = request.at("folder");
  task.threads = request.at("threads");
  task.copies = request.at("copies");
  task.rows = request.at("rows").get<decltype(task.rows)>();
  return task;
}

// The bytes of q, k or v as they lie in the file, in memory of their own.
inline std::vector<std::uint8_t> array_of(const Task& task, const std::string& name) {
  std::ifstream file(task.folder + "/" + name + ".bin", std::ios::binary | std::ios::ate);
  if (!file) throw std::runtime_error("no array " + name);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(file.tellg()));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

// What of a result is compared: of [B, H, N, ...] the chosen rows, of `received` all.
inline std::vector<float> chosen(const Task& task, const std::string& name,
                                 const std::vector<std::int64_t>& shape,
                                 const std::function<float(std::size_t)>& value) {
  std::vector<float> values;
  if (name == "received") {
    for (std::int64_t i = 0; i < shape[0] * shape[1] * shape[2]; ++i) {
      values.push_back(value(static_cast<std::size_t>(i)));
    }
    return values;
  }
  const std::int64_t width = shape.size() == 4 ? shape[3] : 1;
  for (const auto& [b, h, i] : task.rows) {
    const std::int64_t begin = ((b * shape[1] + h) * shape[2] + i) * width;
    for (std::int64_t e = 0; e < width; ++e) {
      values.push_back(value(static_cast<std::size_t>(begin + e)));
    }
  }
  return values;
}

// MiB of this process: "VmRSS:" (now), "VmHWM:" (highest).
inline double memory(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word == field) {
      double kib = 0;
      status >> kib;
      return kib / 1024;
    }
  }
  throw std::runtime_error("no " + field + " in /proc/self/status");
}

inline Json first(const Way& way, const std::string& folder) {
  using Clock = std::chrono::steady_clock;
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5" << std::flush;  // VmHWM starts again
  const double before = memory("VmRSS:");
  const std::clock_t worked = std::clock();
  const auto begin = Clock::now();
  way.call(0);
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  const double cpu = static_cast<double>(std::clock() - worked) / CLOCKS_PER_SEC;
  Json answer = {{"seconds", seconds}, {"cpu", cpu}, {"MiB", memory("VmHWM:") - before}};
  for (const auto& [name, values] : way.results()) {
    std::ofstream file(folder + "/result." + name + ".bin", std::ios::binary);
    file.write(reinterpret_cast<const char*>(values.data()),
               static_cast<std::streamsize>(values.size() * sizeof(float)));
    answer["results"].push_back(name);
  }
  return answer;
}

inline Json timed(const Way& way, int copies, double least) {
  using Clock = std::chrono::steady_clock;
  int calls = 0;
  const std::clock_t worked = std::clock();
  const auto begin = Clock::now();
  for (;;) {
    for (int copy = 0; copy < copies; ++copy) way.call(copy);
    calls += copies;
    const double spent = std::chrono::duration<double>(Clock::now() - begin).count();
    if (spent >= least) {
      const double cpu = static_cast<double>(std::clock() - worked) / CLOCKS_PER_SEC;
      return {{"seconds", spent / calls}, {"calls", calls}, {"cpu", cpu / calls}};
    }
  }
}

// Serves until "end". `other` answers what is not of the protocol.
inline void serve(const Json& about, const std::function<std::vector<Way>(const Task&)>& ways_of,
                  const std::function<Json(const Json& request)>& other) {
  const auto answer = [](const Json& json) { std::cout << json.dump() << std::endl; };
  answer({{"about", about}});
  std::vector<Way> ways;
  Task task;
  for (std::string line; std::getline(std::cin, line);) {
    try {
      const Json request = Json::parse(line);
      const std::string what = request.at("do");
      if (what == "begin") {
        task = task_of(request);
        try {
          ways = ways_of(task);
        } catch (const std::exception& error) {
          answer({{"skip", error.what()}});
          return;
        }
        Json names = Json::array();
        for (const Way& way : ways) names.push_back(way.name);
        answer({{"ways", names}});
      } else if (what == "end") {
        return;
      } else if (what == "first") {
        answer(first(ways.at(request.at("way")), task.folder));
      } else if (what == "time") {
        answer(timed(ways.at(request.at("way")), task.copies, request.at("seconds")));
      } else {
        answer(other(request));
      }
    } catch (const std::exception& error) {
      answer({{"error", error.what()}});
    }
  }
}

}  // namespace peers
