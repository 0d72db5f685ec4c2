// The front of attention: cuts a call into sweeps of kernels and spreads them over threads.
#include "fovea/attend.h"

#include <algorithm>
#include <vector>

#include "attention/checks.h"
#include "attention/rows.h"
#include "base/aligned.h"
#include "fovea/isa.h"
#include "kernels/sweep.h"

namespace fovea {
namespace {

using attention::Call;
using kernels::kQueries;
using kernels::Row;
using kernels::Sweep;

// Queries whose column sums are added up one after another. The sums of chunks are then added in
// order, so that the result does not depend on threads. A multiple of kQueries.
constexpr std::int64_t kChunk = 3 * kQueries;

// Multiply-adds of one task at least: about 20 microseconds, so that taking a task costs nothing.
constexpr std::int64_t kGrain = 1 << 20;

std::int64_t parts(std::int64_t n, std::int64_t size) { return (n + size - 1) / size; }

// Scratch of this thread, kept from call to call: fresh memory costs a page fault for each 4 KiB.
float* scratch(std::int64_t floats) {
  thread_local AlignedArray<float> memory;
  thread_local std::int64_t size = 0;
  if (size < floats) {
    memory.reset();
    size = 0;
    memory = aligned_array<float>(static_cast<std::size_t>(floats));
    size = floats;
  }
  return memory.get();
}

// Rows of this thread, kept likewise.
std::vector<Row>& empty_rows() {
  thread_local std::vector<Row> rows;
  rows.clear();
  return rows;
}

void run_sweep(Sweep& sweep, const std::vector<Row>& rows, std::int64_t keys, Isa isa) {
  sweep.rows = rows.data();
  sweep.row_count = static_cast<int>(rows.size());
  sweep.scratch = scratch(kernels::scratch_size(sweep, sweep.row_count, keys));
  kernels::run(sweep, isa);
}

// Queries [i, i + count) of heads [h, h + heads) of sequence b. The heads share their keys.
struct Item {
  std::int64_t b, h, heads, i, count;
};

void run_item(const Call& call, const Item& item, float* received, Isa isa) {
  const attention::Sizes& z = call.z;
  std::vector<Row>& rows = empty_rows();
  Sweep sweep = attention::sweep_of(call, item.b, item.h / (z.H / z.G));
  if (call.inputs.factor.given()) {
    const View& factor = call.inputs.factor;
    sweep.factor =
        static_cast<const float*>(factor.data) + item.b * factor.step(0) + item.h * factor.step(1);
    sweep.factor_step = factor.step(2);
  }
  sweep.received = received;
  for (std::int64_t h = item.h; h < item.h + item.heads; ++h) {
    for (std::int64_t i = item.i; i < item.i + item.count; ++i) {
      rows.push_back(attention::row_of(call, item.b, h, i));
    }
  }
  run_sweep(sweep, rows, z.M, isa);
}

// Runs f(item) for all items, several in a task when they are small.
template <class F>
void spread(std::int64_t items, std::int64_t cost, Threads& threads, const F& f) {
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, cost));
  threads.run(parts(items, grain), [&](std::int64_t task, int) {
    const std::int64_t end = std::min(items, (task + 1) * grain);
    for (std::int64_t item = task * grain; item < end; ++item) f(item);
  });
}

// How many query heads of one key head share a sweep: more than one only where a head alone has few
// queries (decoding), and not so many that threads stand idle.
std::int64_t heads_together(const Call& call, int threads) {
  const attention::Sizes& z = call.z;
  if (call.inputs.factor.given() || call.outputs.received.given()) return 1;
  const std::int64_t group = z.H / z.G;
  std::int64_t heads = std::clamp<std::int64_t>(kQueries / z.N, 1, group);
  while (heads > 1 && z.B * z.G * parts(group, heads) < threads) heads = (heads + 1) / 2;
  return heads;
}

// Everything but column sums and whole rows.
void attend_rows(const Call& call, Threads& threads, Isa isa) {
  const attention::Sizes& z = call.z;
  const std::int64_t group = z.H / z.G;
  const std::int64_t together = heads_together(call, threads.count());
  const std::int64_t heads = z.B * z.G * parts(group, together);
  const std::int64_t blocks = parts(z.N, kQueries);
  const std::int64_t cost = std::min<std::int64_t>(z.N, kQueries) * together * z.M * (z.D + z.E);
  spread(heads * blocks, cost, threads, [&](std::int64_t at) {
    // The last queries first: with a causal mask they see most.
    const std::int64_t block = blocks - 1 - at / heads;
    const std::int64_t part = at % heads % parts(group, together);
    const std::int64_t g = at % heads / parts(group, together);
    Item item{g / z.G, g % z.G * group + part * together, 0, block * kQueries, 0};
    item.heads = std::min(together, group - part * together);
    item.count = std::min<std::int64_t>(kQueries, z.N - item.i);
    run_item(call, item, nullptr, isa);
  });
}

// Everything but whole rows, with column sums: one task takes the queries of a chunk in order.
void attend_columns(const Call& call, Threads& threads, Isa isa) {
  const attention::Sizes& z = call.z;
  const std::int64_t chunks = parts(z.N, kChunk);
  const auto sums = aligned_array<float>(static_cast<std::size_t>(z.B * z.H * chunks * z.M));
  const std::int64_t cost = std::min<std::int64_t>(z.N, kChunk) * z.M * (2 * z.D + z.E);
  spread(z.B * z.H * chunks, cost, threads, [&](std::int64_t at) {
    const std::int64_t chunk = chunks - 1 - at / (z.B * z.H);
    const std::int64_t bh = at % (z.B * z.H);
    float* received = sums.get() + (bh * chunks + chunk) * z.M;
    std::fill(received, received + z.M, 0.0f);
    const std::int64_t end = std::min(z.N, (chunk + 1) * kChunk);
    for (std::int64_t i = chunk * kChunk; i < end; i += kQueries) {
      const Item item{bh / z.H, bh % z.H, 1, i, std::min<std::int64_t>(kQueries, end - i)};
      run_item(call, item, received, isa);
    }
  });
  const MutableView& to = call.outputs.received;
  const View& factor = call.inputs.factor;
  spread(z.B * z.H, chunks * z.M, threads, [&](std::int64_t bh) {
    const std::int64_t b = bh / z.H;
    const std::int64_t h = bh % z.H;
    const float* from = sums.get() + bh * chunks * z.M;
    float* out = static_cast<float*>(to.data) + b * to.step(0) + h * to.step(1);
    const float* factors =
        static_cast<const float*>(factor.data) + b * factor.step(0) + h * factor.step(1);
    for (std::int64_t j = 0; j < z.M; ++j) {
      float sum = 0;
      for (std::int64_t c = 0; c < chunks; ++c) sum += from[c * z.M + j];
      // A key that nobody sees has sum 0, and its factor is not read: it may be NaN.
      if (factor.given() && sum != 0) sum *= factors[j * factor.step(2)];
      out[j * to.step(2)] = sum;
    }
  });
}

// Whole rows: sweeps of their own, without values.
void attend_whole_rows(const Call& call, Threads& threads, Isa isa) {
  const attention::Sizes& z = call.z;
  const std::int64_t blocks = parts(z.R, kQueries);
  const std::int64_t cost = std::min<std::int64_t>(z.R, kQueries) * z.M * 2 * z.D;
  spread(z.B * z.H * blocks, cost, threads, [&](std::int64_t at) {
    const std::int64_t b = at / blocks / z.H;
    const std::int64_t h = at / blocks % z.H;
    const std::int64_t begin = at % blocks * kQueries;
    std::vector<Row>& rows = empty_rows();
    Sweep sweep = attention::sweep_of(call, b, h / (z.H / z.G));
    sweep.v = nullptr;
    sweep.entropy = false;
    sweep.top = 0;
    sweep.wholes = true;
    for (std::int64_t r = begin; r < std::min<std::int64_t>(z.R, begin + kQueries); ++r) {
      rows.push_back(attention::whole_row_of(call, b, h, r));
      std::fill(rows.back().whole, rows.back().whole + z.M, 0.0f);
    }
    run_sweep(sweep, rows, z.M, isa);
  });
}

}  // namespace

void attend(const Inputs& inputs, const Options& options, const Outputs& outputs,
            Threads& threads) {
  const Call call{inputs, options, outputs, attention::checked_sizes(inputs, options, outputs)};
  const Isa isa = current_isa();
  if (call.z.B == 0 || call.z.H == 0) return;
  if (outputs.received.given()) {
    attend_columns(call, threads, isa);
  } else if (call.z.N > 0 && (outputs.out.given() || outputs.lse.given() ||
                              outputs.entropy.given() || outputs.top_index.given())) {
    attend_rows(call, threads, isa);
  }
  if (call.z.R > 0) attend_whole_rows(call, threads, isa);
}

}  // namespace fovea
