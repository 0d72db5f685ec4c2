// The front of backward: cuts a call into blocks of keys and runs of queries, and spreads the
// blocks over threads.
//
// A task is one block of keys of one key head: it holds their dk and dv while all queries pass. dq,
// and biases that are shared, are sums over tasks: for a run of queries a task waits until the task
// before it, in the order of the sum, has passed that run. So sums have one order, whatever the
// threads, without memory of their own. Tasks begin in ascending order (fovea/threads.h), and those
// that wait for each other lie far apart where there are heads enough.
#include "fovea/backward.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "attention/checks.h"
#include "attention/rows.h"
#include "attention/scratch.h"
#include "fovea/isa.h"
#include "kernels/backward.h"

namespace fovea {
namespace {

using attention::Call;
using kernels::Backward;
using kernels::GradientRow;
using kernels::kGradientRows;
using kernels::kKeys;
using Stage = Backward::Stage;

// Rows of one task of kStartRows and kFinishRows.
constexpr std::int64_t kRowsOfTask = 512;

std::int64_t parts(std::int64_t n, std::int64_t size) { return (n + size - 1) / size; }

// How far each task is: runs of queries that it has passed.
class Turns {
 public:
  explicit Turns(std::int64_t tasks) : passed_(static_cast<std::size_t>(tasks)) {}

  // Until `task` has passed so many runs; there is no task below 0.
  void wait(std::int64_t task, std::int64_t runs) const {
    if (task < 0) return;
    const std::atomic<std::int64_t>& passed = passed_[static_cast<std::size_t>(task)];
    for (;;) {
      const std::int64_t now = passed.load(std::memory_order_acquire);
      if (now >= runs) return;
      passed.wait(now, std::memory_order_acquire);
    }
  }
  void pass(std::int64_t task, std::int64_t runs) {
    std::atomic<std::int64_t>& passed = passed_[static_cast<std::size_t>(task)];
    passed.store(runs, std::memory_order_release);
    passed.notify_all();
  }

  static constexpr std::int64_t kAll = INT64_MAX;

 private:
  std::vector<std::atomic<std::int64_t>> passed_;
};

// Whoever waits for a task goes on when the task ends, by an exception too.
class Turn {
 public:
  Turn(Turns& turns, std::int64_t task) : turns_(turns), task_(task) {}
  ~Turn() { turns_.pass(task_, Turns::kAll); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Turns& turns_;
  std::int64_t task_;
};

// The rows of all queries of all heads: sequence after sequence, [H, its queries] each.
struct Rows {
  std::vector<GradientRow>& all;
  std::vector<std::int64_t> first;  // where a sequence begins

  GradientRow* of(const Call& call, std::int64_t b, std::int64_t h) const {
    return all.data() + first[static_cast<std::size_t>(b)] + h * attention::query_room(call, b);
  }
};

// Kept by the thread from call to call, as scratch is.
Rows rows_of(const Call& call) {
  thread_local std::vector<GradientRow> all;
  all.clear();
  Rows rows{all, {}};
  for (std::int64_t b = 0; b < call.z.B; ++b) {
    rows.first.push_back(static_cast<std::int64_t>(all.size()));
    for (std::int64_t h = 0; h < call.z.H; ++h) attention::add_gradient_rows(call, b, h, all);
  }
  if (!call.backward->gradients.dq.given()) return rows;
  const std::int64_t step = kernels::gradient_step(call.z.D);
  float* sums = attention::scratch<1>(static_cast<std::int64_t>(all.size()) * step);
  for (GradientRow& row : all) {
    row.sums = sums;
    sums += step;
  }
  return rows;
}

// What holds for all rows and keys of head h of sequence b.
Backward backward_of(const Call& call, std::int64_t b, std::int64_t h) {
  const attention::BackwardViews& views = *call.backward;
  const Gradients& gradients = views.gradients;
  Backward a;
  a.keys = attention::sweep_of(call, b, h);
  a.out_type = attention::number_of(views.forward.out.type);
  a.dq_type = attention::number_of(gradients.dq.type);
  a.dk_type = attention::number_of(gradients.dk.type);
  a.dv_type = attention::number_of(gradients.dv.type);
  a.spreads = gradients.dq.given();
  const MutableView& dbias = gradients.dbias;
  a.bias_rows = dbias.given() && dbias.size(2) > 1;
  if (a.bias_rows && dbias.size(3) > 1) a.dbias_step = dbias.step(3);
  return a;
}

// kStartRows or kFinishRows, for all rows.
void run_rows(const Call& call, const Rows& rows, Stage stage, Threads& threads, Isa isa) {
  const auto count = static_cast<std::int64_t>(rows.all.size());
  threads.run(parts(count, kRowsOfTask), [&](std::int64_t task, int) {
    Backward a = backward_of(call, 0, 0);
    a.stage = stage;
    a.rows = rows.all.data() + task * kRowsOfTask;
    a.row_count = std::min(kRowsOfTask, count - task * kRowsOfTask);
    kernels::run(a, isa);
  });
}

void clear(const MutableView& bias) {
  if (!bias.given()) return;
  auto* data = static_cast<float*>(bias.data);
  for (std::int64_t b = 0; b < bias.size(0); ++b) {
    for (std::int64_t h = 0; h < bias.size(1); ++h) {
      for (std::int64_t i = 0; i < bias.size(2); ++i) {
        float* row = data + b * bias.step(0) + h * bias.step(1) + i * bias.step(2);
        for (std::int64_t j = 0; j < bias.size(3); ++j) row[j * bias.step(3)] = 0;
      }
    }
  }
}

class Tasks {
 public:
  Tasks(const Call& call, const Rows& rows, Isa isa)
      : call_(call),
        rows_(rows),
        isa_(isa),
        group_(call.z.H / std::max<std::int64_t>(call.z.G, 1)),
        turns_(count()) {
    const MutableView& dbias = gradients().dbias;
    shares_bias_ = dbias.given() &&
                   ((dbias.size(0) == 1 && call.z.B > 1) || (dbias.size(1) == 1 && call.z.H > 1));
    sums_bias_ = dbias.given() && dbias.size(2) == 1;
  }

  std::int64_t count() const { return parts(call_.z.M, kKeys) * call_.z.B * call_.z.G; }

  void run(std::int64_t task) {
    const Turn turn(turns_, task);
    const std::int64_t heads = call_.z.B * call_.z.G;
    const Block block{task / heads * kKeys, task % heads / call_.z.G, task % call_.z.G};
    // What sums over heads or sequences runs through all tasks; else blocks of one head follow each
    // other.
    const std::int64_t before = shares_bias_ ? task - 1 : task - heads;
    const float* bias_sums = nullptr;
    if (block.begin < attention::key_room(call_, block.b)) {
      bias_sums = run_block(block, task, before);
    }
    if (shares_bias_ || sums_bias_) turns_.wait(before, Turns::kAll);
    if (sums_bias_ && bias_sums != nullptr) add_bias(block, bias_sums);
  }

 private:
  struct Block {
    std::int64_t begin, b, g;
  };

  const Gradients& gradients() const { return call_.backward->gradients; }

  // Returns the sums of ds over queries, [group, kKeys], until this thread's next block.
  const float* run_block(const Block& block, std::int64_t task, std::int64_t before) {
    const std::int64_t n = attention::query_room(call_, block.b);
    Backward a = backward_of(call_, block.b, block.g * group_);
    a.begin = block.begin;
    a.count = std::min<std::int64_t>(kKeys, attention::key_room(call_, block.b) - block.begin);
    place(block, gradients().dk, a.dk, a.dk_step);
    place(block, gradients().dv, a.dv, a.dv_step);
    const std::int64_t size = kernels::backward_scratch_size(a);
    a.scratch = attention::scratch(size + 2 * group_ * kKeys);
    float* bias_sums = a.scratch + size;
    float* product_sums = bias_sums + group_ * kKeys;
    std::fill(bias_sums, product_sums + group_ * kKeys, 0.0F);

    GradientRow* rows = rows_.of(call_, block.b, block.g * group_);
    a.rows = rows;
    a.row_count = group_ * n;
    run_stage(a, Stage::kPack);
    for (std::int64_t i = 0; i < n; i += kGradientRows) {
      a.row_count = std::min<std::int64_t>(kGradientRows, n - i);
      for (std::int64_t h = 0; h < group_; ++h) {
        a.rows = rows + h * n + i;
        if (sums_bias_) a.bias_sums = bias_sums + h * kKeys;
        if (gradients().key_gradient.given()) a.product_sums = product_sums + h * kKeys;
        run_stage(a, Stage::kGather);
        if (h == 0) turns_.wait(before, i / kGradientRows + 1);
        run_stage(a, Stage::kSpread);
      }
      turns_.pass(task, i / kGradientRows + 1);
    }
    run_stage(a, Stage::kStoreKeys);
    if (gradients().key_gradient.given()) store_products(block, a.count, product_sums);
    return bias_sums;
  }

  void run_stage(Backward& a, Stage stage) const {
    a.stage = stage;
    kernels::run(a, isa_);
  }

  // Where the first key of the block lies.
  void place(const Block& block, const MutableView& view, void*& data, std::int64_t& step) const {
    if (!view.given()) return;
    const attention::KeyRows keys = attention::key_rows(call_, view, block.b, block.g);
    const auto size = static_cast<std::int64_t>(size_of(view.type));
    data = static_cast<char*>(keys.data) + block.begin * keys.step * size;
    step = keys.step;
  }

  void store_products(const Block& block, std::int64_t count, const float* sums) const {
    for (std::int64_t h = 0; h < group_; ++h) {
      const attention::KeyLine to =
          attention::key_line(call_, gradients().key_gradient, block.b, block.g * group_ + h);
      for (std::int64_t j = 0; j < count; ++j) {
        to.data[(block.begin + j) * to.step] = sums[h * kKeys + j];
      }
    }
  }

  // Sums over queries go to a bias that is the same for all of them.
  void add_bias(const Block& block, const float* sums) const {
    const MutableView& dbias = gradients().dbias;
    const std::int64_t step = dbias.size(3) > 1 ? dbias.step(3) : 0;
    const std::int64_t count =
        std::min<std::int64_t>(kKeys, attention::key_room(call_, block.b) - block.begin);
    for (std::int64_t h = 0; h < group_; ++h) {
      float* to = attention::broadcast_line(dbias, block.b, block.g * group_ + h);
      for (std::int64_t j = 0; j < count; ++j) to[(block.begin + j) * step] += sums[h * kKeys + j];
    }
  }

  const Call& call_;
  const Rows& rows_;
  Isa isa_;
  std::int64_t group_;
  bool shares_bias_ = false;  // biases are shared by heads or sequences
  bool sums_bias_ = false;    // and, or, by queries
  Turns turns_;
};

}  // namespace

void attend_backward(const Inputs& inputs, const Options& options, const Forward& forward,
                     const View& out_gradient, const Gradients& gradients, Threads& threads) {
  const Outputs none;
  const attention::BackwardViews views{forward, out_gradient, gradients};
  Call call{inputs, options, none,
            attention::checked_backward_sizes(inputs, options, forward, out_gradient, gradients)};
  call.lse = forward.lse;
  call.backward = &views;
  const Isa isa = current_isa();
  const Rows rows = rows_of(call);
  clear(gradients.dbias);
  run_rows(call, rows, Stage::kStartRows, threads, isa);
  Tasks tasks(call, rows, isa);
  threads.run(tasks.count(), [&](std::int64_t task, int) { tasks.run(task); });
  if (gradients.dq.given()) run_rows(call, rows, Stage::kFinishRows, threads, isa);
}

}  // namespace fovea
