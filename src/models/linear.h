// The one seam for plain matrix products: y = x W^T + b, W packed once at load.
//
//   x [rows, in]    W [out, in]    b [out] or none    ->   y [rows, out]      all dense, float32
//
// oneDNN does the work, chosen by measurement: docs/design/matmul.md.
// Same bits  A row of y depends on its row of x alone: not on how many rows there are, where it
// stands
//            among them, or on threads. oneDNN does not promise that, so each shape is tried at
//            load and only the block sizes that keep the promise on this machine are used.
// Threads    Any number of threads may call apply at once; each call stays on its own thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace fovea {

class Linear {
 public:
  Linear() = default;
  Linear(std::span<const float> weight, std::span<const float> bias, std::int64_t in,
         std::int64_t out);

  std::int64_t in() const;
  std::int64_t out() const;
  void apply(const float* x, std::int64_t rows, float* y) const;

 private:
  struct Packed;
  std::shared_ptr<const Packed> packed_;
};

}  // namespace fovea
