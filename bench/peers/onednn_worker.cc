// oneDNN's graph API as one of the engines compared: scaled dot-product attention as one partition.
// See worker.py for what is asked and answered. Built by peers.py against the wheels of PyPI.
//
//   onednn_worker THREADS
//
// The number of threads is that of the processors this process may use.
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <oneapi/dnnl/dnnl_graph.hpp>

#include "worker.h"

namespace {

using namespace dnnl::graph;
using peers::Json;
using peers::Skip;
using peers::Task;
using peers::Way;
using Type = logical_tensor::data_type;
using Dims = logical_tensor::dims;
using Kind = op::kind;
using Bytes = std::vector<std::uint8_t>;

enum class Scale { kInGraph, kInQueries };
enum class Mask { kNone, kAdded, kByIndex };

std::size_t bytes_of(Type type) { return type == Type::bf16 || type == Type::f16 ? 2 : 4; }

Type type_of(const std::string& name) {
  if (name == "float32") return Type::f32;
  if (name == "bfloat16") return Type::bf16;
  if (name == "float16") return Type::f16;
  throw Skip("no type " + name);
}

float float_of_bfloat16(std::uint16_t bits) {
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float value = 0;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

// q times a power of two (the scale of width 64), or as good as: what a model folds into its weights.
void scale_in_place(Bytes& q, Type type, float scale) {
  if (type == Type::f32) {
    auto* values = reinterpret_cast<float*>(q.data());
    for (std::size_t i = 0; i < q.size() / 4; ++i) values[i] *= scale;
    return;
  }
  auto* bits = reinterpret_cast<std::uint16_t*>(q.data());
  for (std::size_t i = 0; i < q.size() / 2; ++i) {
    const float value = float_of_bfloat16(bits[i]) * scale;
    std::uint32_t wide = 0;
    std::memcpy(&wide, &value, sizeof wide);
    bits[i] = static_cast<std::uint16_t>((wide + 0x7fff + ((wide >> 16) & 1)) >> 16);
  }
}

class Attention {
 public:
  Attention(const Task& task, Scale scale, Mask mask)
      : task_(task),
        type_(type_of(task.type)),
        engine_(dnnl::engine::kind::cpu, 0),
        stream_(engine_) {
    // Grouped heads have a dimension of their own, in which keys and values are broadcast.
    const bool grouped = task.G != task.H;
    const std::int64_t each = task.H / task.G;
    const auto dims = [&](std::int64_t heads, std::int64_t n, std::int64_t width) {
      return grouped ? Dims{task.B, task.G, heads, n, width} : Dims{task.B, task.H, n, width};
    };
    const Dims row = dims(each, task.N, task.D), column = dims(1, task.M, task.D);
    const Dims matrix = dims(each, task.N, task.M);
    std::size_t id = 0;
    const auto tensor_of = [&](Type type, const Dims& shape) {
      return logical_tensor(id++, type, shape, logical_tensor::layout_type::strided);
    };
    std::vector<op> ops;
    const auto add = [&](Kind kind, std::vector<logical_tensor> in, logical_tensor out) -> op& {
      ops.emplace_back(id++, kind, std::move(in), std::vector<logical_tensor>{out}, "op");
      return ops.back();
    };
    ops.reserve(16);
    q_ = tensor_of(type_, row);
    k_ = tensor_of(type_, column);
    v_ = tensor_of(type_, column);
    out_ = tensor_of(type_, row);
    logical_tensor scores = tensor_of(Type::f32, matrix);
    add(Kind::MatMul, {q_, k_}, scores).set_attr<bool>(op::attr::transpose_b, true);
    std::vector<logical_tensor> ports = {q_, k_};

    q_bytes_ = peers::array_of(task, "q");
    const float factor = 1 / std::sqrt(static_cast<float>(task.D));
    if (scale == Scale::kInQueries) {
      scale_in_place(q_bytes_, type_, factor);
    } else {
      const logical_tensor by = constant(tensor_of(Type::f32, Dims(row.size(), 1)), {factor});
      const logical_tensor scaled = tensor_of(Type::f32, matrix);
      add(Kind::Multiply, {scores, by}, scaled);
      ports.push_back(by);
      scores = scaled;
    }
    const float hidden = -std::numeric_limits<float>::infinity();
    if (mask == Mask::kAdded) {
      std::vector<float> values;
      Dims shape(row.size(), 1);
      shape.back() = task.M;
      if (task.causal) {
        shape[shape.size() - 2] = task.N;
        for (std::int64_t i = 0; i < task.N; ++i) {
          for (std::int64_t j = 0; j < task.M; ++j) {
            values.push_back(j <= i + task.M - task.N ? 0 : hidden);
          }
        }
      } else {
        shape[0] = task.B;
        for (std::int32_t length : task.lengths) {
          for (std::int64_t j = 0; j < task.M; ++j) values.push_back(j < length ? 0 : hidden);
        }
      }
      const logical_tensor added = constant(tensor_of(Type::f32, shape), values);
      const logical_tensor masked = tensor_of(Type::f32, matrix);
      add(Kind::Add, {scores, added}, masked);
      ports.push_back(added);
      scores = masked;
    } else if (mask == Mask::kByIndex) {  // square: the key's index against the query's
      const auto dim = static_cast<std::int64_t>(row.size());
      const logical_tensor rows = tensor_of(Type::s32, matrix),
                           columns = tensor_of(Type::s32, matrix);
      add(Kind::GenIndex, {scores}, rows).set_attr<std::int64_t>(op::attr::axis, dim - 2);
      add(Kind::GenIndex, {scores}, columns).set_attr<std::int64_t>(op::attr::axis, dim - 1);
      const logical_tensor sees = tensor_of(Type::boolean, matrix);
      add(Kind::GreaterEqual, {rows, columns}, sees);
      const logical_tensor out_of_sight =
          constant(tensor_of(Type::f32, Dims(row.size(), 1)), {hidden});
      const logical_tensor masked = tensor_of(Type::f32, matrix);
      add(Kind::Select, {sees, scores, out_of_sight}, masked);
      ports.push_back(out_of_sight);
      scores = masked;
    }
    const logical_tensor weights = tensor_of(type_, matrix);
    op& softmax = add(Kind::SoftMax, {scores}, weights);
    softmax.set_attr<std::int64_t>(op::attr::axis, -1);
    add(Kind::MatMul, {weights, v_}, out_);
    ports.push_back(v_);

    graph whole(dnnl::engine::kind::cpu);
    for (const op& each_op : ops) whole.add_op(each_op);
    whole.finalize();
    const std::vector<partition> partitions = whole.get_partitions();
    if (partitions.size() != 1 || !partitions[0].is_supported()) {
      throw Skip("the graph is not taken as one partition (" + std::to_string(partitions.size()) +
                 ")");
    }
    // The partition's ports in its own order.
    std::vector<logical_tensor> in;
    for (const logical_tensor& port : partitions[0].get_input_ports()) {
      for (const logical_tensor& known : ports) {
        if (known.get_id() == port.get_id()) in.push_back(known);
      }
    }
    compiled_ = partitions[0].compile(in, {out_}, engine_);
    out_bytes_.reset(new std::uint8_t[peers_size(row) * bytes_of(type_)]);
    results_ = {tensor(out_, engine_, out_bytes_.get())};
    for (int copy = 0; copy < task.copies; ++copy) {
      k_bytes_.push_back(peers::array_of(task, "k"));
      v_bytes_.push_back(peers::array_of(task, "v"));
      std::vector<tensor> arguments;
      for (const logical_tensor& each_in : in) {
        arguments.emplace_back(each_in, engine_, memory_of(each_in));
      }
      arguments_.push_back(std::move(arguments));
    }
  }

  void call(int copy) {
    compiled_.execute(stream_, arguments_[static_cast<std::size_t>(copy)], results_);
    stream_.wait();
  }

  std::map<std::string, std::vector<float>> results() const {
    const auto value = [this](std::size_t i) {
      return type_ == Type::f32
                 ? reinterpret_cast<const float*>(out_bytes_.get())[i]
                 : float_of_bfloat16(reinterpret_cast<const std::uint16_t*>(out_bytes_.get())[i]);
    };
    return {{"out", peers::chosen(task_, "out", {task_.B, task_.H, task_.N, task_.D}, value)}};
  }

 private:
  static std::size_t peers_size(const Dims& dims) {
    std::size_t size = 1;
    for (std::int64_t dim : dims) size *= static_cast<std::size_t>(dim);
    return size;
  }

  logical_tensor constant(const logical_tensor& tensor, std::vector<float> values) {
    constants_.emplace_back(tensor.get_id(), std::move(values));
    return tensor;
  }

  void* memory_of(const logical_tensor& port) {
    for (auto& [id, values] : constants_) {
      if (id == port.get_id()) return values.data();
    }
    if (port.get_id() == q_.get_id()) return q_bytes_.data();
    return port.get_id() == k_.get_id() ? k_bytes_.back().data() : v_bytes_.back().data();
  }

  Task task_;
  Type type_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  logical_tensor q_, k_, v_, out_;
  Bytes q_bytes_;
  std::vector<Bytes> k_bytes_, v_bytes_;
  std::vector<std::pair<std::size_t, std::vector<float>>> constants_;
  std::unique_ptr<std::uint8_t[]> out_bytes_;
  compiled_partition compiled_;
  std::vector<std::vector<tensor>> arguments_;
  std::vector<tensor> results_;
};

std::vector<Way> ways_of(const Task& task) {
  if (task.want != "out") throw Skip("a graph that is one partition gives no weights");
  if (task.type == "float16") throw Skip("not tried");
  std::vector<std::pair<std::string, Mask>> masks = {{"no mask", Mask::kNone}};
  if (task.causal) {
    masks = {{"mask [N,M] added", Mask::kAdded}};
    // With 2,048 positions five times as slow, and it wants several matrices: not tried beyond.
    if (task.N <= 2048 && task.H == task.G)
      masks.push_back({"GenIndex and Select", Mask::kByIndex});
  }
  if (!task.lengths.empty()) masks = {{"mask [B,1,1,M] added", Mask::kAdded}};
  std::vector<Way> ways;
  std::string why;
  for (const auto& [mask_name, mask] : masks) {
    for (const auto& [scale_name, scale] :
         {std::pair{"scale in the graph", Scale::kInGraph},
          std::pair{"scale in the queries beforehand", Scale::kInQueries}}) {
      try {
        const auto attention = std::make_shared<Attention>(task, scale, mask);
        ways.push_back({mask_name + ", " + scale_name,
                        [attention](int copy) { attention->call(copy); },
                        [attention] { return attention->results(); }});
      } catch (const std::exception& error) {
        why += (why.empty() ? "" : "; ") + mask_name + ", " + scale_name + ": " + error.what();
      }
    }
  }
  if (ways.empty()) throw Skip(why);
  if (!why.empty()) std::fprintf(stderr, "%s\n", why.c_str());
  return ways;
}

Json refuse(const Json&) { throw std::runtime_error("onednn_worker: no such request"); }

}  // namespace

int main(int argc, char**) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: onednn_worker THREADS (started by bench/peers/peers.py)\n");
    return 2;
  }
  const dnnl_version_t* version = dnnl_version();
  peers::serve(
      {{"version", "oneDNN " + std::to_string(version->major) + "." +
                       std::to_string(version->minor) + "." + std::to_string(version->patch)},
       {"settings",
        "graph API, one partition; threads by the processors that the process may use"}},
      ways_of, refuse);
  return 0;
}
