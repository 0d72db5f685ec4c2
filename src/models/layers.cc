#include "models/layers.h"

#include <algorithm>

namespace fovea {
namespace {

constexpr std::int64_t kRowsOfATask = 64;  // the largest block of Linear

}  // namespace

float* room(std::vector<float>& memory, std::int64_t count) {
  if (memory.size() < static_cast<std::size_t>(count))
    memory.resize(static_cast<std::size_t>(count));
  return memory.data();
}

void apply(const Linear& linear, const float* x, std::int64_t rows, float* y, Threads& threads) {
  const std::int64_t tasks = (rows + kRowsOfATask - 1) / kRowsOfATask;
  if (threads.count() == 1 || tasks == 1) return linear.apply(x, rows, y);
  threads.run(tasks, [&](std::int64_t task, int) {
    const std::int64_t first = task * kRowsOfATask;
    linear.apply(x + first * linear.in(), std::min(kRowsOfATask, rows - first),
                 y + first * linear.out());
  });
}

void feed_forward(const FeedForward& ffn, Activation activation, float* x, std::int64_t rows,
                  Scratch& s, Threads& threads) {
  float* wide = room(s.wide, rows * ffn.in.out());
  float* delta = room(s.delta, rows * ffn.out.out());
  const std::int64_t tasks = (rows + kRowsOfATask - 1) / kRowsOfATask;
  threads.run(tasks, [&](std::int64_t task, int) {
    const std::int64_t first = task * kRowsOfATask;
    const std::int64_t count = std::min(kRowsOfATask, rows - first);
    const std::int64_t in = ffn.in.in();
    float* inner = wide + first * ffn.in.out();
    ffn.in.apply(x + first * in, count, inner);
    activate(activation, {inner, static_cast<std::size_t>(count * ffn.in.out())});
    ffn.out.apply(inner, count, delta + first * in);
    add_norm(x + first * in, delta + first * in, count, ffn.norm);
  });
}

}  // namespace fovea
