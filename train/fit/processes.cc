#include "processes.h"

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#if defined(USE_C10D_NCCL)
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

namespace fovea::fit {
namespace {

// The first process validates and writes while the others wait; torchrun ends all when one fails.
constexpr std::chrono::hours kPatience(24);

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

int number(const char* name) {
  const std::string text = variable(name);
  int value = -1;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size() || value < 0) {
    throw std::runtime_error("WORLD_SIZE is " + variable("WORLD_SIZE") + ", but " + name + " is '" +
                             text + "', expected a number; start the processes with torchrun");
  }
  return value;
}

c10::intrusive_ptr<c10d::Store> meeting_place(int rank, int count) {
  const std::string host = variable("MASTER_ADDR");
  if (host.empty()) {
    throw std::runtime_error("WORLD_SIZE is " + std::to_string(count) +
                             ", but MASTER_ADDR is not set; start the processes with torchrun");
  }
  // torchrun may serve the store itself, for all attempts; each attempt then has its own names.
  const bool served = variable("TORCHELASTIC_USE_AGENT_STORE") == "True";
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(number("MASTER_PORT"));
  options.isServer = !served && rank == 0;
  options.numWorkers = static_cast<std::size_t>(count);
  auto store = c10::make_intrusive<c10d::TCPStore>(host, options);
  return c10::make_intrusive<c10d::PrefixStore>(
      "fovea-fit/" + variable("TORCHELASTIC_RESTART_COUNT"), store);
}

}  // namespace

struct Processes::Group {
  c10::intrusive_ptr<c10d::Backend> backend;
};

Processes::Processes(const std::string& device) : device_(device) {
  const std::string size = variable("WORLD_SIZE");
  if (size.empty() || size == "1") return;
  count_ = number("WORLD_SIZE");
  rank_ = number("RANK");
  if (rank_ >= count_) {
    throw std::runtime_error("RANK is " + std::to_string(rank_) + ", but WORLD_SIZE is " +
                             std::to_string(count_) + "; start the processes with torchrun");
  }
  const auto store = meeting_place(rank_, count_);
  group_ = std::make_unique<Group>();
  if (device_.is_cpu()) {
    group_->backend = c10::make_intrusive<c10d::ProcessGroupGloo>(
        store, rank_, count_, c10d::ProcessGroupGloo::Options::create_default(kPatience));
    return;
  }
#if defined(USE_C10D_NCCL)
  if (!device_.has_index()) {
    device_ = torch::Device(device_.type(), static_cast<c10::DeviceIndex>(number("LOCAL_RANK")));
  }
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = kPatience;
  group_->backend = c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank_, count_, options);
#else
  throw std::runtime_error(
      "several processes on " + device +
      " need nccl, which this fovea-fit was built without (was nccl.h missing?)");
#endif
}

Processes::~Processes() = default;

void Processes::sum(torch::Tensor& tensor) const {
  if (!group_) return;
  std::vector<torch::Tensor> tensors = {tensor};
  group_->backend->allreduce(tensors)->wait();
}

double Processes::sum(double value) const {
  if (!group_) return value;
  torch::Tensor tensor = torch::full({1}, value, torch::kDouble).to(device_);
  sum(tensor);
  return tensor.item<double>();
}

}  // namespace fovea::fit
