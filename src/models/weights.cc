#include "models/weights.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "models/shelf.h"

namespace fovea {
namespace {

SelfAttention self_attention(Shelf& shelf, const std::string& layer, std::int64_t width) {
  const std::string prefix = layer + "self_attn.";
  return {joined(shelf, prefix, {"q_proj", "k_proj", "v_proj"}, width, width),
          joined(shelf, prefix, {"out_proj"}, width, width),
          norm(shelf, layer + "self_attn_layer_norm", width)};
}

CrossAttentionWeights cross_attention(Shelf& shelf, const std::string& layer, std::int64_t width) {
  const std::string prefix = layer + "encoder_attn.";
  return {joined(shelf, prefix, {"q_proj"}, width, width),
          joined(shelf, prefix, {"k_proj", "v_proj"}, width, width),
          joined(shelf, prefix, {"out_proj"}, width, width),
          norm(shelf, layer + "encoder_attn_layer_norm", width),
          shelf.take(prefix + "out_proj.weight", {width, width})};
}

FeedForward feed_forward(Shelf& shelf, const std::string& layer, std::int64_t width,
                         std::int64_t inner) {
  return {joined(shelf, layer, {"fc1"}, width, inner), joined(shelf, layer, {"fc2"}, inner, width),
          norm(shelf, layer + "final_layer_norm", width)};
}

using Matrix = std::shared_ptr<const std::vector<float>>;

struct Matrices {
  Matrix source;
  Matrix target;
  Matrix output;
};

constexpr const char* kShared = "model.shared.weight";
constexpr const char* kSource = "model.encoder.embed_tokens.weight";
constexpr const char* kTarget = "model.decoder.embed_tokens.weight";
constexpr const char* kOutput = "lm_head.weight";

// The three big matrices. transformers' rule: one that has its own tensor is that tensor, one that
// lacks it is the one it is tied to.
class MatrixPicker {
 public:
  explicit MatrixPicker(Shelf& shelf) : shelf_(shelf) {}

  // `names`: its own, then those it may be tied to; the message names the last if none is there.
  Matrix pick(const std::vector<std::string>& names, const Sizes& shape) {
    std::string name = names.back();
    for (auto it = names.rbegin(); it != names.rend(); ++it) {
      if (shelf_.has(*it)) name = *it;
    }
    Matrix& matrix = read_[name];
    if (matrix == nullptr) matrix = std::make_shared<std::vector<float>>(shelf_.take(name, shape));
    return matrix;
  }

 private:
  Shelf& shelf_;
  std::map<std::string, Matrix> read_;
};

Matrices matrices(Shelf& shelf, const MarianConfig& c) {
  MatrixPicker picker(shelf);
  const Sizes source{c.source_vocabulary, c.width};
  const Sizes target{c.target_vocabulary, c.width};
  if (c.shared_vocabulary && c.tied) {
    return {picker.pick({kSource, kShared, kTarget, kOutput, kShared}, source),
            picker.pick({kTarget, kShared, kSource, kOutput, kShared}, target),
            picker.pick({kOutput, kShared, kSource, kTarget, kShared}, target)};
  }
  if (c.shared_vocabulary) {
    return {picker.pick({kSource, kShared}, source), picker.pick({kTarget, kShared}, target),
            picker.pick({kOutput}, target)};
  }
  if (!c.tied) {
    return {picker.pick({kSource}, source), picker.pick({kTarget}, target),
            picker.pick({kOutput}, target)};
  }
  return {picker.pick({kSource}, source), picker.pick({kTarget, kOutput, kTarget}, target),
          picker.pick({kOutput, kTarget}, target)};
}

std::vector<float> positions_of(Shelf& shelf, const std::string& name, const MarianConfig& c) {
  if (shelf.has(name)) return shelf.take(name, {c.positions, c.width});
  return static_positions(c.positions, c.width);
}

std::vector<Linear> vocabulary_of(const std::vector<float>& output, const std::vector<float>& bias,
                                  const MarianConfig& c) {
  std::vector<Linear> blocks;
  for (std::int64_t first = 0; first < c.target_vocabulary; first += kVocabularyBlock) {
    const std::int64_t ids = std::min<std::int64_t>(kVocabularyBlock, c.target_vocabulary - first);
    const std::span<const float> weight(output.data() + first * c.width,
                                        static_cast<std::size_t>(ids * c.width));
    const std::span<const float> part(bias.data() + first, static_cast<std::size_t>(ids));
    blocks.emplace_back(weight, part, c.width, ids);
  }
  return blocks;
}

// Without the three big matrices.
std::int64_t parameters_of(const MarianConfig& c) {
  const std::int64_t d = c.width;
  const std::int64_t attention = 4 * (d * d + d);
  const auto ffn = [&](std::int64_t inner) { return 2 * d * inner + inner + d; };
  const std::int64_t norm = 2 * d;
  return c.encoder_layers * (attention + ffn(c.encoder_ffn) + 2 * norm) +
         c.decoder_layers * (2 * attention + ffn(c.decoder_ffn) + 3 * norm) + 2 * c.positions * d;
}

}  // namespace

std::vector<float> static_positions(std::int64_t positions, std::int64_t width) {
  std::vector<float> table(static_cast<std::size_t>(positions * width));
  const std::int64_t sines = (width + 1) / 2;
  for (std::int64_t p = 0; p < positions; ++p) {
    for (std::int64_t i = 0; i < width; ++i) {
      const std::int64_t pair = i < sines ? i : i - sines;
      const double angle =
          static_cast<double>(p) /
          std::pow(10000.0, static_cast<double>(2 * pair) / static_cast<double>(width));
      table[static_cast<std::size_t>(p * width + i)] =
          static_cast<float>(i < sines ? std::sin(angle) : std::cos(angle));
    }
  }
  return table;
}

MarianWeights load_marian_weights(const std::filesystem::path& file, const MarianConfig& c) {
  Shelf shelf(file);
  MarianWeights w;
  const float scale =
      c.scaled_embedding ? static_cast<float>(std::sqrt(static_cast<double>(c.width))) : 1.0f;
  Matrices m = matrices(shelf, c);
  std::int64_t big = 0;
  for (const auto& matrix : std::set<Matrix>{m.source, m.target, m.output}) {
    big += static_cast<std::int64_t>(matrix->size());
  }
  w.source = {std::move(m.source), positions_of(shelf, "model.encoder.embed_positions.weight", c),
              scale};
  w.target = {std::move(m.target), positions_of(shelf, "model.decoder.embed_positions.weight", c),
              scale};
  const std::vector<float> bias =
      shelf.has("final_logits_bias")
          ? shelf.take("final_logits_bias", {1, c.target_vocabulary})
          : std::vector<float>(static_cast<std::size_t>(c.target_vocabulary));
  w.vocabulary = vocabulary_of(*m.output, bias, c);
  for (int i = 0; i < c.encoder_layers; ++i) {
    const std::string layer = "model.encoder.layers." + std::to_string(i) + ".";
    w.encoder.push_back({self_attention(shelf, layer, c.width),
                         feed_forward(shelf, layer, c.width, c.encoder_ffn)});
  }
  for (int i = 0; i < c.decoder_layers; ++i) {
    const std::string layer = "model.decoder.layers." + std::to_string(i) + ".";
    w.decoder.push_back({self_attention(shelf, layer, c.width),
                         cross_attention(shelf, layer, c.width),
                         feed_forward(shelf, layer, c.width, c.decoder_ffn)});
  }
  // Without tying, `shared` is a module that transformers saves and never reads.
  shelf.check_all_taken({kShared});
  w.parameters = parameters_of(c) + big;
  return w;
}

}  // namespace fovea
