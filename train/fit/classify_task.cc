#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>

#include "bert_parameters.h"
#include "events.h"
#include "export.h"
#include "export_bert.h"
#include "ops.h"
#include "safetensors.h"
#include "task.h"
#include "text_batches.h"

namespace fovea::fit {
namespace {

using torch::Tensor;

// Logits [texts, labels], float: BERT's encoder over every window, then one query over all pieces
// of a text, whose keys and values are the encoder's output itself.
Tensor logits_of(const TextBatch& batch, const BertParameters& p, int heads, DropoutSource dropouts,
                 torch::ScalarType type) {
  Tensor x = embed(batch.ids, batch.at, p.table, p.positions, 1, kPadPiece, dropouts.next(), type);
  x = add_norm(x, torch::zeros_like(x), p.embedding_norm.gamma, p.embedding_norm.beta, {});
  for (const EncoderLayer& layer : p.encoder) {
    const Tensor qkv = linear(x, layer.qkv.weight, layer.qkv.bias);
    const Tensor context = self_attention(qkv, batch.windows, heads, false);
    x = add_norm(x, linear(context, layer.out.weight, layer.out.bias), layer.self_norm.gamma,
                 layer.self_norm.beta, dropouts.next());
    const Tensor wide = swish(linear(x, layer.up.weight, layer.up.bias));
    x = add_norm(x, linear(wide, layer.down.weight, layer.down.bias), layer.last_norm.gamma,
                 layer.last_norm.beta, dropouts.next());
  }
  const Tensor pieces = x.index_select(0, batch.piece_rows);
  const auto texts = static_cast<std::int64_t>(batch.texts.size());
  // The pooling has no scale; the attention divides by the root of the width.
  const double scale = std::sqrt(static_cast<double>(x.size(1)));
  const Tensor queries = (p.query * scale).to(type).expand({texts, x.size(1)}).contiguous();
  const Tensor pooled = cross_attention(queries, torch::cat({pieces, pieces}, 1), batch.texts, 1);
  return at::linear(pooled.to(torch::kFloat), p.labels.weight.to(torch::kFloat),
                    p.labels.bias.to(torch::kFloat));
}

class ClassifyTask : public Task {
 public:
  ClassifyTask(const Arguments& arguments, torch::Device device, torch::ScalarType type,
               train::IdPairs train, train::IdPairs valid, std::vector<std::string> names)
      : arguments_(arguments),
        device_(device),
        type_(type),
        train_pairs_(std::move(train)),
        valid_pairs_(std::move(valid)),
        names_(std::move(names)),
        parameters_(arguments.shape, arguments.seed, device, type, arguments.query_pace),
        train_(train_pairs_),
        valid_(valid_pairs_) {}

  Parameters& parameters() override { return parameters_; }
  const Corpus& train() const override { return train_; }
  std::int64_t weight(std::int64_t) const override { return 1; }
  std::int64_t tokens(std::int64_t pair) const override { return train_.source_length(pair); }

  PartLoss learn(const std::vector<std::int64_t>& own, double all, std::uint64_t seed,
                 std::uint64_t step) override {
    const Thinning thinning{arguments_.piece_dropout, mix(mix(seed) ^ mix(2 * step + 1))};
    const TextBatch batch = text_batch(train_, own, arguments_.shape.positions, thinning, device_);
    const Tensor logits = logits_of(batch, parameters_, arguments_.shape.heads,
                                    DropoutSource(seed, 2 * step, arguments_.dropout), type_);
    const Tensor loss = at::cross_entropy_loss(logits, batch.labels, {}, at::Reduction::Sum, -100,
                                               arguments_.smoothing) /
                        all;
    loss.backward();
    return {loss.item<double>(), 0};
  }

  std::optional<double> validate(std::int64_t step, double seconds) override {
    if (valid_.size() == 0) return std::nullopt;
    torch::NoGradGuard no_grad;
    parameters_.refresh_leaves(true);
    double loss = 0, right = 0;
    constexpr std::int64_t kTexts = 64;
    for (std::int64_t begin = 0; begin < valid_.size(); begin += kTexts) {
      const TextBatch batch = valid_batch(begin, kTexts);
      const Tensor logits =
          logits_of(batch, parameters_, arguments_.shape.heads, DropoutSource(0, 0, 0), type_);
      loss += at::cross_entropy_loss(logits, batch.labels, {}, at::Reduction::Sum).item<double>();
      right += logits.argmax(1).eq(batch.labels).sum().item<double>();
    }
    parameters_.refresh_leaves(false);
    const auto count = static_cast<double>(valid_.size());
    Event("valid")
        .add("step", step)
        .add("loss", loss / count)
        .add("accuracy", right / count)
        .add("seconds", seconds)
        .say();
    return loss / count;
  }

  void write_model(const std::string& folder) override {
    export_bert(folder, arguments_.ids, arguments_.shape, parameters_, names_, arguments_.half);
  }

  void write_logits(const std::string& path) override {
    torch::NoGradGuard no_grad;
    parameters_.refresh_leaves(true);
    constexpr std::int64_t kTexts = 32;
    write_safetensors(
        path, {{"logits", logits_of(valid_batch(0, kTexts), parameters_, arguments_.shape.heads,
                                    DropoutSource(0, 0, 0), type_)}});
  }

  void init_from(const std::string& folder) override { import_weights(folder, parameters_); }

 private:
  TextBatch valid_batch(std::int64_t begin, std::int64_t most) const {
    std::vector<std::int64_t> some(std::min(most, valid_.size() - begin));
    std::iota(some.begin(), some.end(), begin);
    return text_batch(valid_, some, arguments_.shape.positions, {}, device_);
  }

  const Arguments& arguments_;
  torch::Device device_;
  torch::ScalarType type_;
  train::IdPairs train_pairs_, valid_pairs_;
  std::vector<std::string> names_;
  BertParameters parameters_;
  Corpus train_, valid_;
};

std::vector<std::string> read_labels(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<std::string> names;
  for (std::string line; std::getline(in, line);) names.push_back(line);
  if (names.size() < 2) {
    throw std::runtime_error(path +
                             ": expected a label a line, two at least; `fovea-prepare --task "
                             "classify` writes it");
  }
  return names;
}

}  // namespace

std::unique_ptr<Task> make_classify_task(Arguments& arguments, torch::Device device,
                                         torch::ScalarType type) {
  train::IdPairs train = train::read_ids(arguments.ids + "/train.ids");
  train::IdPairs valid = train::read_ids(arguments.ids + "/valid.ids");
  std::vector<std::string> names = read_labels(arguments.ids + "/labels.txt");
  if (train.size() == 0) throw std::runtime_error(arguments.ids + "/train.ids: holds no texts");
  if (valid.vocabulary != train.vocabulary) {
    throw std::runtime_error(arguments.ids +
                             ": train.ids and valid.ids have different vocabularies");
  }
  if (arguments.shape.positions < 3) {
    throw std::runtime_error("--positions " + std::to_string(arguments.shape.positions) +
                             ": a window needs 3, for [CLS], a piece and [SEP]");
  }
  arguments.shape.vocabulary = train.vocabulary;
  arguments.shape.labels = static_cast<int>(names.size());
  for (const train::IdPairs* pairs : {&train, &valid}) {
    for (std::int64_t i = 0; i < pairs->size(); ++i) {
      // One id each, so that target i is pair i's.
      if (pairs->target_lengths[i] != 1 || pairs->target_ids[i] >= arguments.shape.labels) {
        throw std::runtime_error(arguments.ids +
                                 ": the ids are not of labelled texts; write them with "
                                 "`fovea-prepare --task classify`");
      }
    }
  }
  return std::make_unique<ClassifyTask>(arguments, device, type, std::move(train), std::move(valid),
                                        std::move(names));
}

}  // namespace fovea::fit
