#include "fovea/bert.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fovea/attend.h"
#include "fovea/error.h"
#include "models/bert_config.h"
#include "models/layers.h"
#include "models/shelf.h"

namespace fovea {
namespace {

struct Weights {
  std::vector<float> words;      // [vocabulary, d]
  std::vector<float> positions;  // [positions, d], with the embedding of the first type added
  Norm embedding_norm;
  std::vector<EncoderLayer> layers;
  std::vector<float> query;   // [d]
  std::vector<float> labels;  // [C, d]
  std::vector<float> biases;  // [C]
  std::int64_t parameters = 0;
};

Weights load_weights(const std::filesystem::path& file, const BertConfig& c) {
  Shelf shelf(file);
  const std::int64_t d = c.width;
  const auto C = static_cast<std::int64_t>(c.labels.size());
  // transformers saves a bare encoder without the prefix.
  const std::string bert =
      shelf.has("embeddings.word_embeddings.weight") ? std::string() : std::string("bert.");
  const auto norm_of = [&](const std::string& name) {
    Norm n = norm(shelf, name, d);
    n.epsilon = c.epsilon;
    return n;
  };
  Weights w;
  const std::string embeddings = bert + "embeddings.";
  w.words = shelf.take(embeddings + "word_embeddings.weight", {c.vocabulary, d});
  w.positions = shelf.take(embeddings + "position_embeddings.weight", {c.positions, d});
  const auto types = shelf.take(embeddings + "token_type_embeddings.weight", {c.types, d});
  for (std::size_t i = 0; i < w.positions.size(); ++i) {
    w.positions[i] += types[i % static_cast<std::size_t>(d)];
  }
  w.embedding_norm = norm_of(embeddings + "LayerNorm");
  for (int i = 0; i < c.layers; ++i) {
    const std::string layer = bert + "encoder.layer." + std::to_string(i) + ".";
    const std::string own = layer + "attention.";
    w.layers.push_back({{joined(shelf, own + "self.", {"query", "key", "value"}, d, d),
                         joined(shelf, own + "output.", {"dense"}, d, d),
                         norm_of(own + "output.LayerNorm")},
                        {joined(shelf, layer + "intermediate.", {"dense"}, d, c.inner),
                         joined(shelf, layer + "output.", {"dense"}, c.inner, d),
                         norm_of(layer + "output.LayerNorm")}});
  }
  w.query = shelf.take("fovea.pooling.query", {d});
  w.labels = shelf.take("fovea.classifier.weight", {C, d});
  w.biases = shelf.take("fovea.classifier.bias", {C});
  // BERT's own pooling of [CLS] is saved with it, and nothing here reads it; old files have a table
  // of the numbers 0, 1, 2 ... too.
  shelf.check_all_taken({bert + "pooler.dense.weight", bert + "pooler.dense.bias",
                         embeddings + "position_ids"});
  const bool zero = std::ranges::all_of(w.query, [](float x) { return x == 0; });
  if (c.mean && !zero) {
    shelf.fail("config.json says that the pooling is the mean, but fovea.pooling.query is not zero");
  }
  const std::int64_t layer = 4 * (d * d + d) + 2 * d * c.inner + c.inner + d + 4 * d;
  w.parameters = (c.vocabulary + c.positions + c.types) * d + 2 * d + c.layers * layer + d +
                 C * (d + 1);
  return w;
}

// Windows one after another, without padding between them.
struct Rows {
  std::vector<float> x;                    // [rows, d]
  std::vector<std::int32_t> windows = {0};  // [windows + 1], offsets of rows
};

std::vector<double> softmax(const std::vector<double>& scores) {
  std::vector<double> shares(scores.size());
  const double most = *std::ranges::max_element(scores);
  double sum = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) sum += shares[i] = std::exp(scores[i] - most);
  for (double& share : shares) share /= sum;
  return shares;
}

double dot(const float* a, const float* b, std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

constexpr std::int64_t kGroupRows = 4096;  // rows that are read together, or one text if it is longer

}  // namespace

std::vector<std::int32_t> window_lengths(std::int64_t pieces, std::int64_t positions) {
  const std::int64_t room = positions - 2;
  const std::int64_t windows = (pieces + room - 1) / room;
  std::vector<std::int32_t> lengths;
  for (std::int64_t w = 0; w < windows; ++w) {
    lengths.push_back(static_cast<std::int32_t>(pieces / windows + (w < pieces % windows ? 1 : 0)));
  }
  return lengths;
}

struct BertReader::State {
  BertConfig config;
  Weights weights;
  BertInfo info;

  void add_row(Rows& rows, std::int32_t id, std::int64_t place) const {
    const std::int64_t d = config.width;
    const float* word = weights.words.data() + id * d;
    const float* position = weights.positions.data() + place * d;
    for (std::int64_t i = 0; i < d; ++i) rows.x.push_back(word[i] + position[i]);
  }

  void check(std::int32_t id, std::size_t at, const std::string& what) const {
    if (id >= 0 && id < config.vocabulary) return;
    throw Error("bert: " + what + " has id " + std::to_string(id) + " at place " +
                std::to_string(at) + ", but the vocabulary has ids 0 to " +
                std::to_string(config.vocabulary - 1));
  }

  // Embeddings in, states out.
  void encode(Rows& rows, Threads& threads) const {
    const std::int64_t d = config.width;
    const std::int64_t H = config.heads;
    const std::int64_t N = rows.windows.back();
    float* x = rows.x.data();
    Scratch s;
    float* delta = room(s.delta, N * d);
    std::fill_n(delta, N * d, 0.0f);
    add_norm(x, delta, N, weights.embedding_norm);
    for (const EncoderLayer& layer : weights.layers) {
      float* qkv = room(s.wide, N * 3 * d);
      float* context = room(s.context, N * d);
      delta = room(s.delta, N * d);
      apply(layer.self.qkv, x, N, qkv, threads);
      Inputs inputs;
      inputs.q = View(qkv, {N, H, d / H}, {3 * d, d / H, 1});
      inputs.k = View(qkv + d, {N, H, d / H}, {3 * d, d / H, 1});
      inputs.v = View(qkv + 2 * d, {N, H, d / H}, {3 * d, d / H, 1});
      inputs.query_offsets = rows.windows;
      inputs.key_offsets = rows.windows;
      Outputs outputs;
      outputs.out = MutableView(context, {N, H, d / H});
      attend(inputs, {}, outputs, threads);
      apply(layer.self.out, context, N, delta, threads);
      add_norm(x, delta, N, layer.self.norm);
      feed_forward(layer.ffn, config.activation, x, N, s, threads);
    }
  }

  // The states of the pieces, text after text, without those of [CLS] and [SEP].
  static std::vector<float> pieces_of(const Rows& rows, std::int64_t d) {
    std::vector<float> pieces;
    for (std::size_t w = 0; w + 1 < rows.windows.size(); ++w) {
      const auto from = rows.x.begin() + (rows.windows[w] + 1) * d;
      const auto to = rows.x.begin() + (rows.windows[w + 1] - 1) * d;
      pieces.insert(pieces.end(), from, to);
    }
    return pieces;
  }

  // One query over the pieces of each text: the weights are what attend says that keys received.
  void pool(const std::vector<float>& pieces, std::span<const std::int32_t> offsets,
            std::span<ReadText> results, Threads& threads) const {
    const std::int64_t d = config.width;
    const auto T = static_cast<std::int64_t>(results.size());
    const std::int64_t S = offsets.back();
    std::vector<float> pooled(static_cast<std::size_t>(T * d));
    std::vector<float> weight(static_cast<std::size_t>(S));
    if (S > 0) {
      Inputs inputs;
      inputs.q = View(weights.query.data(), {T, 1, 1, d}, {0, 0, 0, 1});
      inputs.k = View(pieces.data(), {S, 1, d});
      inputs.v = inputs.k;
      inputs.key_offsets = offsets;
      Options options;
      options.scale = 1.0f;
      Outputs outputs;
      outputs.out = MutableView(pooled.data(), {T, 1, 1, d});
      outputs.received = MutableView(weight.data(), {S, 1});
      attend(inputs, options, outputs, threads);
    }
    threads.run(T, [&](std::int64_t t, int) {
      const auto begin = offsets[static_cast<std::size_t>(t)];
      const auto end = offsets[static_cast<std::size_t>(t) + 1];
      ReadText& result = results[static_cast<std::size_t>(t)];
      result.weights.assign(weight.begin() + begin, weight.begin() + end);
      judge(pooled.data() + t * d, pieces.data() + begin * d, result);
    });
  }

  void judge(const float* pooled, const float* pieces, ReadText& result) const {
    const std::int64_t d = config.width;
    const std::size_t C = config.labels.size();
    const std::size_t n = result.weights.size();
    std::vector<double> scores(C);
    for (std::size_t l = 0; l < C; ++l) {
      scores[l] = dot(weights.labels.data() + static_cast<std::int64_t>(l) * d, pooled, d) +
                  weights.biases[l];
    }
    result.probabilities = softmax(scores);
    result.evidence.resize(C * n);
    std::vector<double> says(C);
    for (std::size_t j = 0; j < n; ++j) {
      double mean = 0;
      for (std::size_t l = 0; l < C; ++l) {
        says[l] = dot(weights.labels.data() + static_cast<std::int64_t>(l) * d,
                      pieces + static_cast<std::int64_t>(j) * d, d);
        mean += says[l] / static_cast<double>(C);
      }
      for (std::size_t l = 0; l < C; ++l) {
        result.evidence[l * n + j] = static_cast<float>(result.weights[j] * (says[l] - mean));
      }
    }
  }

  void read_group(std::span<const std::vector<std::int32_t>> texts, WindowEnds ends,
                  std::span<ReadText> results, Threads& threads) const {
    Rows rows;
    std::vector<std::int32_t> offsets = {0};  // of pieces, text after text
    for (std::size_t t = 0; t < texts.size(); ++t) {
      const std::vector<std::int32_t>& pieces = texts[t];
      const auto lengths =
          window_lengths(static_cast<std::int64_t>(pieces.size()), config.positions);
      results[t].windows = static_cast<int>(lengths.size());
      std::size_t next = 0;
      for (const std::int32_t length : lengths) {
        add_row(rows, ends.begin, 0);
        for (std::int32_t i = 0; i < length; ++i) add_row(rows, pieces[next++], i + 1);
        add_row(rows, ends.end, length + 1);
        rows.windows.push_back(rows.windows.back() + length + 2);
      }
      offsets.push_back(offsets.back() + static_cast<std::int32_t>(pieces.size()));
    }
    if (offsets.back() > 0) encode(rows, threads);
    pool(pieces_of(rows, config.width), offsets, results, threads);
  }
};

BertReader::BertReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
BertReader::BertReader(BertReader&&) noexcept = default;
BertReader& BertReader::operator=(BertReader&&) noexcept = default;
BertReader::~BertReader() = default;

BertReader BertReader::load(const std::filesystem::path& folder) {
  auto state = std::make_unique<State>();
  state->config = read_bert_config(folder);
  const BertConfig& c = state->config;
  state->weights = load_weights(folder / "model.safetensors", c);
  state->info = {c.width,     c.layers, c.heads, c.vocabulary,
                 c.positions, c.labels, c.mean,  state->weights.parameters};
  return BertReader(std::move(state));
}

const BertInfo& BertReader::info() const { return state_->info; }

std::vector<ReadText> BertReader::read(std::span<const std::vector<std::int32_t>> texts,
                                       WindowEnds ends, Threads& threads) const {
  state_->check(ends.begin, 0, "the begin of a window");
  state_->check(ends.end, 0, "the end of a window");
  for (std::size_t t = 0; t < texts.size(); ++t) {
    for (std::size_t i = 0; i < texts[t].size(); ++i) {
      state_->check(texts[t][i], i, "text " + std::to_string(t));
    }
  }
  std::vector<ReadText> results(texts.size());
  for (std::size_t begin = 0; begin < texts.size();) {
    std::size_t end = begin;
    std::int64_t rows = 0;
    do {
      rows += static_cast<std::int64_t>(texts[end++].size()) + 2;
    } while (end < texts.size() &&
             rows + static_cast<std::int64_t>(texts[end].size()) <= kGroupRows);
    state_->read_group(texts.subspan(begin, end - begin), ends,
                       std::span(results).subspan(begin, end - begin), threads);
    begin = end;
  }
  return results;
}

std::vector<float> BertReader::states(std::span<const std::int32_t> ids, Threads& threads) const {
  if (ids.empty() || ids.size() > static_cast<std::size_t>(state_->config.positions)) {
    throw Error("bert: a window of " + std::to_string(ids.size()) + " ids; expected 1 to " +
                std::to_string(state_->config.positions) + ", the model's positions");
  }
  Rows rows;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    state_->check(ids[i], i, "the window");
    state_->add_row(rows, ids[i], static_cast<std::int64_t>(i));
  }
  rows.windows.push_back(static_cast<std::int32_t>(ids.size()));
  state_->encode(rows, threads);
  return std::move(rows.x);
}

}  // namespace fovea
