// Data-parallel training: the processes that torchrun started, and sums over them (torch's process
// groups: gloo between CPUs, nccl between GPUs).
#pragma once

#include <torch/torch.h>

#include <memory>

namespace fovea::fit {

class Processes {
 public:
  // Joins the others that the environment tells of (RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR,
  // MASTER_PORT, as torchrun sets them); alone where it tells of none. `device` is cpu or cuda.
  explicit Processes(const std::string& device);
  ~Processes();
  Processes(const Processes&) = delete;
  Processes& operator=(const Processes&) = delete;

  int rank() const { return rank_; }
  int count() const { return count_; }
  bool first() const { return rank_ == 0; }
  torch::Device device() const { return device_; }

  // All processes must call these in the same order. The sums have the same bits everywhere.
  void sum(torch::Tensor& tensor) const;  // on the device
  double sum(double value) const;
  bool any(bool value) const { return sum(value ? 1.0 : 0.0) > 0; }

 private:
  struct Group;
  std::unique_ptr<Group> group_;  // null: alone
  int rank_ = 0, count_ = 1;
  torch::Device device_;
};

}  // namespace fovea::fit
