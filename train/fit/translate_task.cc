#include <algorithm>
#include <filesystem>
#include <functional>
#include <numeric>
#include <optional>

#include "batches.h"
#include "events.h"
#include "export.h"
#include "files.h"
#include "greedy.h"
#include "model.h"
#include "safetensors.h"
#include "task.h"

namespace fovea::fit {
namespace {

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

class TranslateTask : public Task {
 public:
  TranslateTask(const Arguments& arguments, torch::Device device, torch::ScalarType type,
                train::IdPairs train, std::optional<train::PairLinks> links, train::IdPairs valid)
      : arguments_(arguments),
        device_(device),
        train_pairs_(std::move(train)),
        valid_pairs_(std::move(valid)),
        links_(std::move(links)),
        parameters_(arguments.shape, arguments.seed, device, type),
        model_(arguments.shape, parameters_, type, arguments.guided_layer - 1),
        train_(train_pairs_, links_ ? &*links_ : nullptr),
        valid_(valid_pairs_) {}

  Parameters& parameters() override { return parameters_; }
  const Corpus& train() const override { return train_; }
  std::int64_t weight(std::int64_t pair) const override { return train_.target_length(pair); }
  std::int64_t tokens(std::int64_t pair) const override { return train_.target_length(pair); }
  bool guided() const override { return links_.has_value(); }

  PartLoss learn(const std::vector<std::int64_t>& own, double all, std::uint64_t seed,
                 std::uint64_t step) override {
    const Batch batch = train_.batch(own, arguments_.shape, device_);
    const TokenLoss loss =
        model_.loss(batch, seed, step, arguments_.dropout, arguments_.smoothing);
    PartLoss part;
    torch::Tensor total = loss.mean * (static_cast<double>(batch.target_tokens()) / all);
    if (loss.guided.defined()) {
      total = total + loss.guided * (arguments_.guided_weight / all);
      part.guided = loss.guided.item<double>() / all;
    }
    part.mean = loss.sums.smoothed / all;
    total.backward();
    return part;
  }

  std::optional<double> validate(std::int64_t step, double seconds) override {
    if (valid_.size() == 0) return std::nullopt;
    torch::NoGradGuard no_grad;
    parameters_.refresh_leaves(true);
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
    loss /= tokens;
    const auto hypotheses = translate(model_, valid_, all, device_);
    std::string lines;
    for (const auto& ids : hypotheses) {
      for (std::size_t i = 0; i < ids.size(); ++i) lines += (i ? " " : "") + std::to_string(ids[i]);
      lines += '\n';
    }
    const std::string written = arguments_.run + "/hypotheses/" + std::to_string(step) + ".ids";
    write_whole(written, lines);
    Event("valid")
        .add("step", step)
        .add("loss", loss)
        .add("hypotheses", written)
        .add("seconds", seconds)
        .say();
    const std::int64_t shown = step / arguments_.valid_every * 97 % valid_.size();
    Event("sample")
        .add("step", step)
        .add("pair", shown)
        .add("source",
             std::vector<std::int32_t>(valid_.source(shown),
                                       valid_.source(shown) + valid_.source_length(shown)))
        .add("hypothesis", hypotheses[shown])
        .say();
    parameters_.refresh_leaves(false);
    return loss;
  }

  void write_model(const std::string& folder) override {
    export_model(folder, arguments_.ids, arguments_.shape, parameters_, arguments_.half,
                 guided() ? arguments_.guided_layer : 0);
  }

  void write_logits(const std::string& path) override {
    torch::NoGradGuard no_grad;
    parameters_.refresh_leaves(true);
    std::vector<std::int64_t> first(std::min<std::int64_t>(valid_.size(), 32));
    std::iota(first.begin(), first.end(), 0);
    const Batch batch = valid_.batch(first, arguments_.shape, device_);
    const torch::Tensor memory = model_.encode(batch, DropoutSource(0, 0, 0));
    const torch::Tensor hidden = model_.decode(batch, memory, DropoutSource(0, 0, 0));
    write_safetensors(path, {{"logits", model_.logits(hidden).to(torch::kFloat)}});
  }

  void init_from(const std::string& folder) override { import_weights(folder, parameters_); }

 private:
  const Arguments& arguments_;
  torch::Device device_;
  train::IdPairs train_pairs_, valid_pairs_;
  std::optional<train::PairLinks> links_;
  MarianParameters parameters_;
  Model model_;
  Corpus train_, valid_;
};

}  // namespace

std::unique_ptr<Task> make_translate_task(Arguments& arguments, torch::Device device,
                                          torch::ScalarType type) {
  train::IdPairs train = train::read_ids(arguments.ids + "/train.ids");
  train::IdPairs valid = train::read_ids(arguments.ids + "/valid.ids");
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
  auto links = alignments(arguments, train);
  return std::make_unique<TranslateTask>(arguments, device, type, std::move(train), std::move(links),
                                         std::move(valid));
}

}  // namespace fovea::fit
