#include "loop.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "batches.h"
#include "checkpoint.h"
#include "dropout.h"
#include "events.h"
#include "ops.h"
#include "processes.h"
#include "task.h"

namespace fovea::fit {
namespace {

volatile std::sig_atomic_t stop_asked = 0;
extern "C" void ask_to_stop(int) { stop_asked = 1; }

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

torch::ScalarType computing_type(const Arguments& arguments) {
  if (arguments.precision == "fp32") return torch::kFloat;
  if (arguments.precision == "bf16" || arguments.device != "cpu") return torch::kBFloat16;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512bf16")) return torch::kBFloat16;
#endif
  return torch::kFloat;
}

class Fitting {
 public:
  Fitting(const Arguments& arguments, const Processes& processes, Task& task,
          torch::ScalarType type)
      : arguments_(arguments), processes_(processes), task_(task), type_(type) {}

  int run() {
    start();
    if (!arguments_.export_to.empty()) {
      if (!processes_.first()) return 0;
      task_.write_model(arguments_.export_to);
      if (!arguments_.logits.empty()) task_.write_logits(arguments_.logits);
      Event("export").add("step", state_.step).add("folder", arguments_.export_to).say();
      return 0;
    }
    announce();
    const double started = now(), seconds_before = state_.seconds;
    Walk walk(task_.train(), arguments_.batch_tokens * processes_.count(), arguments_.seed, state_.place);
    std::int64_t saved = state_.step;
    double logged = now();
    Passed passed;
    while (state_.step < arguments_.steps && !processes_.any(wants_to_stop(started))) {
      const std::vector<std::int64_t> chosen = walk.next();
      state_.place = walk.place();
      ++state_.step;
      step(chosen, passed);
      if (state_.step % arguments_.log_every == 0 || state_.step == arguments_.steps) {
        progress(passed, now() - logged);
        logged = now(), passed = {};
      }
      state_.seconds = seconds_before + now() - started;
      if (state_.step % arguments_.valid_every == 0 || state_.step == arguments_.steps) {
        const double before = now();
        if (processes_.first()) validate_and_judge();
        logged += now() - before;
      }
      if (state_.step % arguments_.checkpoint_every == 0) {
        const double before = now();
        save();
        saved = state_.step;
        logged += now() - before;
      }
    }
    state_.seconds = seconds_before + now() - started;
    if (saved != state_.step) save();
    if (!processes_.first()) return 0;
    const bool complete = state_.step >= arguments_.steps || early_;
    Event("end")
        .add("step", state_.step)
        .add("complete", std::int64_t{complete})
        .add("seconds", state_.seconds)
        .add("model", arguments_.model)
        .say();
    if (!complete)
      std::fprintf(stderr, "stopped at step %lld; --resume goes on\n", (long long)state_.step);
    return 0;
  }

 private:
  // What passed since the last progress report.
  struct Passed {
    double loss = 0, guided = 0;  // sums over steps of this process's part of the means
    std::int64_t tokens = 0, steps = 0;
  };

  bool wants_to_stop(double started) const {
    return stop_asked || early_ ||
           (arguments_.time_limit > 0 && now() - started > arguments_.time_limit);
  }

  void save() {
    if (processes_.first()) {
      save_checkpoint(arguments_.run, task_.parameters(), state_);
    }
  }

  void start() {
    std::filesystem::create_directories(arguments_.run + "/hypotheses");
    const bool there = has_checkpoint(arguments_.run);
    if (arguments_.resume || !arguments_.export_to.empty()) {
      const auto found = load_checkpoint(arguments_.run, task_.parameters());
      if (found) {
        state_ = *found;
      } else if (there || !arguments_.export_to.empty()) {
        throw std::runtime_error(arguments_.run + ": no whole checkpoint to go on from");
      }
    } else if (there) {
      throw std::runtime_error(
          arguments_.run +
          ": holds a training already; --resume goes on with it, or give another --run");
    }
    if (state_.step == 0 && !arguments_.init_from.empty())
      task_.init_from(arguments_.init_from);
  }

  void announce() {
    if (!processes_.first()) return;
    Event("start")
        .add("step", state_.step)
        .add("parameters", task_.parameters().count())
        .add("pairs", task_.train().size())
        .add("device", arguments_.device)
        .add("precision", std::string(type_ == torch::kFloat ? "fp32" : "bf16"))
        .add("threads", static_cast<std::int64_t>(at::get_num_threads()))
        .add("processes", static_cast<std::int64_t>(processes_.count()))
        .say();
    std::fprintf(
        stderr,
        "%s at step %lld: %.2f million parameters, %lld %s%s, %s on %s, %d threads in %d "
        "process%s\n",
        state_.step > 0 ? "going on" : "starting", (long long)state_.step,
        static_cast<double>(task_.parameters().count()) / 1e6, (long long)task_.train().size(),
        arguments_.task == TaskKind::kClassify ? "texts" : "pairs",
        task_.guided() ? " with alignments" : "", type_ == torch::kFloat ? "fp32" : "bf16",
        arguments_.device.c_str(), at::get_num_threads(), processes_.count(),
        processes_.count() == 1 ? "" : "es");
  }

  // One step on `chosen`, of which every process takes its part: together they make the gradient
  // of the mean over the whole.
  void step(const std::vector<std::int64_t>& chosen, Passed& passed) {
    const auto number = static_cast<std::uint64_t>(state_.step);
    const auto rank = static_cast<std::uint64_t>(processes_.rank());
    const std::uint64_t seed = arguments_.seed ^ (rank == 0 ? 0 : mix(rank));  // what drops out
    // Only torch's own dropout draws from this generator; the fused one hashes seed and step.
    torch::manual_seed(mix(seed ^ mix(number)));
    task_.parameters().clear_gradients();
    std::int64_t all = 0;
    std::vector<std::int64_t> own;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      all += task_.weight(chosen[i]);
      passed.tokens += task_.tokens(chosen[i]);
      if (i % static_cast<std::size_t>(processes_.count()) == rank) own.push_back(chosen[i]);
    }
    if (!own.empty()) {
      const PartLoss part = task_.learn(own, static_cast<double>(all), seed, number);
      passed.loss += part.mean;
      passed.guided += part.guided;
    }
    sum_gradients();
    const double norm =
        adam_step(task_.parameters(), arguments_.adam, rate_at(arguments_, state_.step), state_.step);
    if (!std::isfinite(norm)) {
      throw std::runtime_error("the gradient of step " + std::to_string(state_.step) +
                               " is not finite; resume with a lower --rate");
    }
    norm_ = norm;
    ++passed.steps;
  }

  // In float, whatever the leaves compute in; in one piece, which is one message.
  void sum_gradients() {
    if (processes_.count() == 1) return;
    torch::NoGradGuard no_grad;
    std::vector<torch::Tensor> parts;
    for (Parameter& parameter : task_.parameters().all()) {
      if (parameter.frozen) continue;
      torch::Tensor& gradient = parameter.leaf.mutable_grad();
      if (!gradient.defined()) gradient = torch::zeros_like(parameter.leaf);  // of an empty part
      parts.push_back(gradient.flatten().to(torch::kFloat));
    }
    torch::Tensor all = torch::cat(parts);
    processes_.sum(all);
    std::int64_t begin = 0;
    for (Parameter& parameter : task_.parameters().all()) {
      if (parameter.frozen) continue;
      torch::Tensor& gradient = parameter.leaf.mutable_grad();
      const torch::Tensor part = all.narrow(0, begin, gradient.numel()).view(gradient.sizes());
      gradient = part.to(gradient.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
      begin += gradient.numel();
    }
  }

  void progress(const Passed& passed, double seconds) {
    const auto steps = static_cast<double>(passed.steps);
    const double loss = processes_.sum(passed.loss) / steps;
    const double guided = task_.guided() ? processes_.sum(passed.guided) / steps : 0;
    if (!processes_.first()) return;
    Event event("progress");
    event.add("step", state_.step)
        .add("steps", arguments_.steps)
        .add("epoch",
             static_cast<double>(state_.place.epoch) +
                 static_cast<double>(state_.place.index) / static_cast<double>(task_.train().size()))
        .add("loss", loss)
        .add("norm", norm_)
        .add("rate", rate_at(arguments_, state_.step))
        .add("tokens_per_second", static_cast<double>(passed.tokens) / seconds)
        .add("eta", seconds / steps * static_cast<double>(arguments_.steps - state_.step));
    if (task_.guided()) event.add("alignment_loss", guided);
    event.say();
  }

  void validate_and_judge() {
    const std::optional<double> loss = task_.validate(state_.step, state_.seconds);
    if (!loss) {
      task_.write_model(arguments_.model);
      return;
    }
    if (*loss < state_.best_loss) {
      state_.best_loss = *loss;
      state_.validations_without_gain = 0;
      task_.write_model(arguments_.model);
    } else {
      ++state_.validations_without_gain;
    }
    early_ = arguments_.patience > 0 && state_.validations_without_gain >= arguments_.patience;
    if (early_) std::fprintf(stderr, "no gain in %d validations: done\n", arguments_.patience);
  }

  const Arguments& arguments_;
  const Processes& processes_;
  Task& task_;
  torch::ScalarType type_;
  State state_;
  double norm_ = 0;
  bool early_ = false;  // known to the first process, which judges
};

}  // namespace

double rate_at(const Arguments& arguments, std::int64_t step) {
  double factor = 1;
  if (step < arguments.warmup)
    factor = static_cast<double>(step) / static_cast<double>(arguments.warmup);
  const std::int64_t left = arguments.steps - step;
  if (left < arguments.decay_steps) {
    // The last step still moves.
    factor = std::min(
        factor, static_cast<double>(left + 1) / static_cast<double>(arguments.decay_steps + 1));
  }
  return arguments.rate * factor;
}

int fit(Arguments arguments) {
  if (arguments.threads > 0) at::set_num_threads(arguments.threads);
  set_plain(arguments.plain);
  std::signal(SIGINT, ask_to_stop);
  std::signal(SIGTERM, ask_to_stop);
  const Processes processes(arguments.device);
  const torch::ScalarType type = computing_type(arguments);
  const auto make = arguments.task == TaskKind::kClassify ? make_classify_task : make_translate_task;
  const std::unique_ptr<Task> task = make(arguments, processes.device(), type);
  return Fitting(arguments, processes, *task, type).run();
}

}  // namespace fovea::fit
