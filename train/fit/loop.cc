#include "loop.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <numeric>
#include <optional>

#include "batches.h"
#include "checkpoint.h"
#include "events.h"
#include "export.h"
#include "files.h"
#include "greedy.h"
#include "model.h"
#include "processes.h"
#include "safetensors.h"

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

struct Validation {
  double loss = 0;  // negative log-likelihood a target piece, in nats
  std::string hypotheses;
};

class Fitting {
 public:
  // `links`: null where no alignments guide.
  Fitting(const Arguments& arguments, const Processes& processes, const train::IdPairs& train,
          const train::PairLinks* links, const train::IdPairs& valid)
      : arguments_(arguments),
        processes_(processes),
        device_(processes.device()),
        type_(computing_type(arguments)),
        parameters_(arguments.shape, arguments.seed, device_, type_),
        model_(arguments.shape, parameters_, type_, arguments.guided_layer - 1),
        train_(train, links),
        valid_(valid),
        guided_(links != nullptr) {}

  int run() {
    start();
    if (!arguments_.export_to.empty()) {
      if (!processes_.first()) return 0;
      write_model(arguments_.export_to);
      if (!arguments_.logits.empty()) write_logits();
      Event("export").add("step", state_.step).add("folder", arguments_.export_to).say();
      return 0;
    }
    announce();
    const double started = now(), seconds_before = state_.seconds;
    Walk walk(train_, arguments_.batch_tokens * processes_.count(), arguments_.seed, state_.place);
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

  void write_model(const std::string& folder) {
    export_model(folder, arguments_.ids, arguments_.shape, parameters_, arguments_.half,
                 guided_ ? arguments_.guided_layer : 0);
  }

  void save() {
    if (processes_.first()) {
      save_checkpoint(arguments_.run, arguments_.shape, parameters_, state_);
    }
  }

  void start() {
    std::filesystem::create_directories(arguments_.run + "/hypotheses");
    const bool there = has_checkpoint(arguments_.run);
    if (arguments_.resume || !arguments_.export_to.empty()) {
      const auto found = load_checkpoint(arguments_.run, arguments_.shape, parameters_);
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
      import_model(arguments_.init_from, parameters_);
  }

  void write_logits() {
    torch::NoGradGuard no_grad;
    parameters_.refresh_leaves(true);
    std::vector<std::int64_t> first(std::min<std::int64_t>(valid_.size(), 32));
    std::iota(first.begin(), first.end(), 0);
    const Batch batch = valid_.batch(first, arguments_.shape, device_);
    const torch::Tensor memory = model_.encode(batch, DropoutSource(0, 0, 0));
    const torch::Tensor hidden = model_.decode(batch, memory, DropoutSource(0, 0, 0));
    write_safetensors(arguments_.logits, {{"logits", model_.logits(hidden).to(torch::kFloat)}});
  }

  void announce() {
    if (!processes_.first()) return;
    Event("start")
        .add("step", state_.step)
        .add("parameters", parameters_.count())
        .add("pairs", train_.size())
        .add("device", arguments_.device)
        .add("precision", std::string(type_ == torch::kFloat ? "fp32" : "bf16"))
        .add("threads", static_cast<std::int64_t>(at::get_num_threads()))
        .add("processes", static_cast<std::int64_t>(processes_.count()))
        .say();
    std::fprintf(
        stderr,
        "%s at step %lld: %.2f million parameters, %lld pairs%s, %s on %s, %d threads in %d "
        "process%s\n",
        state_.step > 0 ? "going on" : "starting", (long long)state_.step,
        static_cast<double>(parameters_.count()) / 1e6, (long long)train_.size(),
        guided_ ? " with alignments" : "", type_ == torch::kFloat ? "fp32" : "bf16",
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
    parameters_.clear_gradients();
    std::int64_t tokens = 0;
    std::vector<std::int64_t> own;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      tokens += train_.target_length(chosen[i]);
      if (i % static_cast<std::size_t>(processes_.count()) == rank) own.push_back(chosen[i]);
    }
    if (!own.empty()) {
      const Batch batch = train_.batch(own, arguments_.shape, device_);
      const TokenLoss loss =
          model_.loss(batch, seed, number, arguments_.dropout, arguments_.smoothing);
      const auto all = static_cast<double>(tokens);
      torch::Tensor total = loss.mean * (static_cast<double>(batch.target_tokens()) / all);
      if (loss.guided.defined()) {
        total = total + loss.guided * (arguments_.guided_weight / all);
        passed.guided += loss.guided.item<double>() / all;
      }
      total.backward();
      passed.loss += loss.sums.smoothed / all;
    }
    sum_gradients();
    const double norm =
        adam_step(parameters_, arguments_.adam, rate_at(arguments_, state_.step), state_.step);
    if (!std::isfinite(norm)) {
      throw std::runtime_error("the gradient of step " + std::to_string(state_.step) +
                               " is not finite; resume with a lower --rate");
    }
    norm_ = norm;
    passed.tokens += tokens;
    ++passed.steps;
  }

  // In float, whatever the leaves compute in; in one piece, which is one message.
  void sum_gradients() {
    if (processes_.count() == 1) return;
    torch::NoGradGuard no_grad;
    std::vector<torch::Tensor> parts;
    for (Parameter& parameter : parameters_.all()) {
      if (parameter.frozen) continue;
      torch::Tensor& gradient = parameter.leaf.mutable_grad();
      if (!gradient.defined()) gradient = torch::zeros_like(parameter.leaf);  // of an empty part
      parts.push_back(gradient.flatten().to(torch::kFloat));
    }
    torch::Tensor all = torch::cat(parts);
    processes_.sum(all);
    std::int64_t begin = 0;
    for (Parameter& parameter : parameters_.all()) {
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
    const double guided = guided_ ? processes_.sum(passed.guided) / steps : 0;
    if (!processes_.first()) return;
    Event event("progress");
    event.add("step", state_.step)
        .add("steps", arguments_.steps)
        .add("epoch",
             static_cast<double>(state_.place.epoch) +
                 static_cast<double>(state_.place.index) / static_cast<double>(train_.size()))
        .add("loss", loss)
        .add("norm", norm_)
        .add("rate", rate_at(arguments_, state_.step))
        .add("tokens_per_second", static_cast<double>(passed.tokens) / seconds)
        .add("eta", seconds / steps * static_cast<double>(arguments_.steps - state_.step));
    if (guided_) event.add("alignment_loss", guided);
    event.say();
  }

  void validate_and_judge() {
    if (valid_.size() == 0) {
      write_model(arguments_.model);
      return;
    }
    const Validation result = validate();
    Event("valid")
        .add("step", state_.step)
        .add("loss", result.loss)
        .add("hypotheses", result.hypotheses)
        .add("seconds", state_.seconds)
        .say();
    if (result.loss < state_.best_loss) {
      state_.best_loss = result.loss;
      state_.validations_without_gain = 0;
      write_model(arguments_.model);
    } else {
      ++state_.validations_without_gain;
    }
    early_ = arguments_.patience > 0 && state_.validations_without_gain >= arguments_.patience;
    if (early_) std::fprintf(stderr, "no gain in %d validations: done\n", arguments_.patience);
  }

  // On the moving averages, as the exported model will be.
  Validation validate() {
    torch::NoGradGuard no_grad;
    parameters_.refresh_leaves(true);
    Validation result;
    std::vector<std::int64_t> all(valid_.size());
    std::iota(all.begin(), all.end(), 0);
    double loss = 0, tokens = 0;
    constexpr std::int64_t kPairs = 256;
    for (std::int64_t begin = 0; begin < valid_.size(); begin += kPairs) {
      const std::vector<std::int64_t> some(all.begin() + begin,
                                           all.begin() + std::min(valid_.size(), begin + kPairs));
      const Batch batch = valid_.batch(some, arguments_.shape, device_);
      loss += model_.loss(batch, 0, 0, 0, arguments_.smoothing).sums.plain;
      tokens += static_cast<double>(batch.target_tokens());
    }
    result.loss = loss / tokens;
    const auto hypotheses = translate(model_, valid_, all, device_);
    std::string lines;
    for (const auto& ids : hypotheses) {
      for (std::size_t i = 0; i < ids.size(); ++i) lines += (i ? " " : "") + std::to_string(ids[i]);
      lines += '\n';
    }
    result.hypotheses = arguments_.run + "/hypotheses/" + std::to_string(state_.step) + ".ids";
    write_whole(result.hypotheses, lines);
    const std::int64_t shown = state_.step / arguments_.valid_every * 97 % valid_.size();
    Event("sample")
        .add("step", state_.step)
        .add("pair", shown)
        .add("source",
             std::vector<std::int32_t>(valid_.source(shown),
                                       valid_.source(shown) + valid_.source_length(shown)))
        .add("hypothesis", hypotheses[shown])
        .say();
    parameters_.refresh_leaves(false);
    return result;
  }

  const Arguments& arguments_;
  const Processes& processes_;
  torch::Device device_;
  torch::ScalarType type_;
  Parameters parameters_;
  Model model_;
  Corpus train_, valid_;
  State state_;
  double norm_ = 0;
  bool guided_;         // by given alignments
  bool early_ = false;  // known to the first process, which judges
};

// The length that 3 in 1,000 training sources reach: the shipped model is at its best on longer
// text when that is cut there (docs/record.md), which is where the positions that it has hardly
// seen begin.
int longest_seen(std::vector<std::int32_t> lengths) {
  const std::size_t rank = lengths.size() * 3 / 1000;
  std::nth_element(lengths.begin(), lengths.begin() + static_cast<std::ptrdiff_t>(rank),
                   lengths.end(), std::greater<>());
  return std::max(2, lengths[rank]);
}

// The alignments beside the ids, if they are there and wanted; sets their weight.
std::optional<train::PairLinks> alignments(Arguments& arguments, const train::IdPairs& pairs) {
  const std::string path = arguments.ids + "/train.links";
  const bool asked = arguments.guided_weight > 0;
  if (arguments.guided_weight < 0) arguments.guided_weight = 0.1;
  if (arguments.guided_weight == 0 || (!asked && !std::filesystem::exists(path))) return {};
  if (!std::filesystem::exists(path)) {
    throw std::runtime_error(path +
                             ": not there, so nothing can guide the attention; give "
                             "fovea-prepare --guided-alignment");
  }
  if (arguments.shape.mean_context) {
    throw std::runtime_error(path +
                             ": alignments guide attention, and --context mean has none; "
                             "give --guided-alignment-weight 0 with it");
  }
  return train::read_links(path, pairs);
}

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
  const train::IdPairs train = train::read_ids(arguments.ids + "/train.ids");
  const train::IdPairs valid = train::read_ids(arguments.ids + "/valid.ids");
  if (train.size() == 0) throw std::runtime_error(arguments.ids + "/train.ids: holds no pairs");
  if (valid.vocabulary != train.vocabulary) {
    throw std::runtime_error(arguments.ids +
                             ": train.ids and valid.ids have different vocabularies");
  }
  arguments.shape.vocabulary = train.vocabulary;
  for (const auto* lengths : {&train.source_lengths, &train.target_lengths, &valid.source_lengths,
                              &valid.target_lengths}) {
    for (const std::int32_t length : *lengths) {
      if (length > arguments.shape.positions) {
        throw std::runtime_error(arguments.ids + ": a sentence has " + std::to_string(length) +
                                 " pieces; give --positions at least that");
      }
    }
  }
  arguments.shape.longest_source = longest_seen(train.source_lengths);
  const auto links = alignments(arguments, train);
  std::signal(SIGINT, ask_to_stop);
  std::signal(SIGTERM, ask_to_stop);
  const Processes processes(arguments.device);
  return Fitting(arguments, processes, train, links ? &*links : nullptr, valid).run();
}

}  // namespace fovea::fit
