// fovea as one of the engines compared: see worker.py for what is asked and answered.
//
//   fovea_worker THREADS
//
// It also measures the limit: {"do": "peak", "type": ..., "threads": ...} -> {"operations", "seconds", "cpu"}.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <numeric>
#include <optional>

#include "fovea/attend.h"
#include "fovea/half.h"
#include "fovea/isa.h"
#include "kernels/peak.h"
#include "peers/worker.h"

namespace {

using namespace fovea;  // a program of its own
using peers::Json;
using peers::Skip;
using peers::Task;
using peers::Way;

constexpr std::int64_t kTop = 8;

DataType type_of(const std::string& name) {
  for (DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    if (name == name_of(type)) return type;
  }
  throw Skip("no type " + name);
}

using Shape = std::vector<std::int64_t>;

std::int64_t size_of_shape(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

template <class ViewType, class Pointer>
ViewType view_of(Pointer data, DataType type, const Shape& shape) {
  ViewType view;
  view.data = data;
  view.type = type;
  view.rank = static_cast<int>(shape.size());
  std::int64_t step = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    view.shape[d] = shape[d];
    view.strides[d] = step;
    step *= shape[d];
  }
  return view;
}

// Room for one output. Left untouched until the engine writes it, as other engines' is.
struct Room {
  Room(DataType of, Shape dims)
      : type(of),
        shape(std::move(dims)),
        bytes(new std::uint8_t[static_cast<std::size_t>(size_of_shape(shape)) * size_of(of)]) {}

  MutableView view() const { return view_of<MutableView, void*>(bytes.get(), type, shape); }

  float value(std::size_t i) const {
    if (type == DataType::kFloat32) return reinterpret_cast<const float*>(bytes.get())[i];
    if (type == DataType::kBFloat16) {
      return static_cast<float>(reinterpret_cast<const BFloat16*>(bytes.get())[i]);
    }
    return static_cast<float>(reinterpret_cast<const Float16*>(bytes.get())[i]);
  }

  DataType type;
  Shape shape;
  std::unique_ptr<std::uint8_t[]> bytes;
};

struct Call {
  std::vector<std::uint8_t> q;
  std::vector<std::vector<std::uint8_t>> k, v;  // a cache each
  std::vector<std::int32_t> all_queries;
  Inputs inputs;
  Options options;
  Outputs outputs;
  std::vector<std::pair<std::string, Room>> rooms;
  std::unique_ptr<Threads> threads;
};

Way way_of(const Task& task, const std::string& name, const std::vector<std::string>& wanted) {
  const auto call = std::make_shared<Call>();
  const DataType type = type_of(task.type);
  call->q = peers::array_of(task, "q");
  for (int copy = 0; copy < task.copies; ++copy) {
    call->k.push_back(peers::array_of(task, "k"));
    call->v.push_back(peers::array_of(task, "v"));
  }
  const Shape keys = {task.B, task.G, task.M, task.D};
  const Shape rows = {task.B, task.H, task.N};
  call->inputs.q =
      view_of<View, const void*>(call->q.data(), type, {task.B, task.H, task.N, task.D});
  call->inputs.key_lengths = task.lengths;
  call->options.causal = task.causal ? Causal::kBottomRight : Causal::kNone;
  call->threads = std::make_unique<Threads>(task.threads);
  const auto room = [&](const std::string& what, DataType of, const Shape& shape) {
    call->rooms.emplace_back(what, Room(of, shape));
    return call->rooms.back().second.view();
  };
  const auto wants = [&](const char* what) {
    return std::find(wanted.begin(), wanted.end(), what) != wanted.end();
  };
  Outputs& outputs = call->outputs;
  outputs.out = room("out", type, {task.B, task.H, task.N, task.D});
  if (wants("top")) {
    outputs.top_weight = room("top", DataType::kFloat32, {task.B, task.H, task.N, kTop});
    outputs.top_index = room("", DataType::kInt32, {task.B, task.H, task.N, kTop});
    outputs.entropy = room("entropy", DataType::kFloat32, rows);
  }
  if (wants("received"))
    outputs.received = room("received", DataType::kFloat32, {task.B, task.H, task.M});
  if (wants("weights")) {
    call->all_queries.resize(static_cast<std::size_t>(task.N));
    std::iota(call->all_queries.begin(), call->all_queries.end(), 0);
    call->inputs.row_queries = call->all_queries;
    outputs.rows = room("weights", DataType::kFloat32, {task.B, task.H, task.N, task.M});
  }
  return {name,
          [call, type, keys](int copy) {
            const auto at = static_cast<std::size_t>(copy);
            call->inputs.k = view_of<View, const void*>(call->k[at].data(), type, keys);
            call->inputs.v = view_of<View, const void*>(call->v[at].data(), type, keys);
            attend(call->inputs, call->options, call->outputs, *call->threads);
          },
          [call, task] {
            std::map<std::string, std::vector<float>> results;
            for (const auto& [what, filled] : call->rooms) {
              if (what.empty()) continue;
              const Room& from = filled;
              results[what] = peers::chosen(task, what, from.shape,
                                            [&from](std::size_t i) { return from.value(i); });
            }
            return results;
          }};
}

std::vector<Way> ways_of(const Task& task) {
  std::vector<Way> ways;
  if (task.want == "weights") {
    ways.push_back(way_of(task, "rows of all queries", {"weights"}));
  } else if (task.want == "top") {
    ways.push_back(way_of(task, "top 8, entropy", {"top"}));
  } else if (task.want == "received") {
    ways.push_back(way_of(task, "top 8, entropy, received", {"top", "received"}));
  } else {
    ways.push_back(way_of(task, "[B,H,N,D]", {}));
  }
  if (task.type !=
      "float32") {  // refused here, before anything is measured, where it is not built yet
    Task small = task;
    small.B = small.H = small.G = small.N = small.M = 1;
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(task.D) * 4);
    const DataType type = type_of(task.type);
    Inputs inputs;
    const Shape shape = {1, 1, 1, task.D};
    inputs.q = inputs.k = inputs.v = view_of<View, const void*>(bytes.data(), type, shape);
    Room out(type, shape);
    Outputs outputs;
    outputs.out = out.view();
    Threads one(1);
    attend(inputs, {}, outputs, one);
  }
  return ways;
}

// GFLOP/s of all threads together, in registers.
Json peak(const Json& request) {
  if (request.at("do") != "peak") throw std::runtime_error("fovea_worker: no such request");
  const bool narrow = request.at("type") == "bfloat16";
  if (narrow && !multiplies_bfloat16(current_isa())) return {{"operations", nullptr}};
  Threads threads(request.at("threads").get<int>());
  constexpr std::int64_t kRounds = 1 << 21;
  std::vector<std::int64_t> operations(static_cast<std::size_t>(threads.count()));
  const std::clock_t worked = std::clock();
  const auto begin = std::chrono::steady_clock::now();
  threads.run(threads.count(), [&](std::int64_t task, int) {
    operations[static_cast<std::size_t>(task)] = kernels::run_multiply_adds(
        current_isa(), kRounds, narrow ? kernels::Number::kBFloat16 : kernels::Number::kFloat32);
  });
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double cpu = static_cast<double>(std::clock() - worked) / CLOCKS_PER_SEC;
  const auto sum =
      static_cast<double>(std::accumulate(operations.begin(), operations.end(), std::int64_t{0}));
  return {{"operations", sum}, {"seconds", seconds}, {"cpu", cpu}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: fovea_worker THREADS (started by bench/peers/peers.py)\n");
    return 2;
  }
  peers::serve({{"version", std::string("fovea ") + FOVEA_VERSION + ", " + name_of(current_isa())},
                {"settings", std::string("Threads(") + argv[1] + "), arrays [B, H, N, D]"}},
               ways_of, peak);
  return 0;
}
