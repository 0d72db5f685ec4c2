// A small reader's folder with random weights and a vocabulary written by hand. Header only, so that
// the tests of several rooms can use it.
#pragma once

#include <string>
#include <vector>

#include "app/tiny_folder.h"

namespace fovea::test {

// Ids 0 to 4 are the special tokens.
inline std::vector<std::string> tiny_wordpieces() {
  return {"[PAD]", "[UNK]",  "[CLS]", "[SEP]", "[MASK]", "the",  "film",        "##s", "is",
          "good",  "bad",    "very",  ".",     ",",      "play", "##ed",        "##f", "un",
          "##aff", "##able", "e",     "a",     "##b",    "$",    "\xE4\xB8\xAD"};
}

inline void write_tiny_wordpieces(const fs::path& folder, const std::string& settings = "{}") {
  std::string text;
  for (const std::string& piece : tiny_wordpieces()) text += piece + "\n";
  write_text(folder / "vocab.txt", text);
  write_text(folder / "tokenizer_config.json", settings);
}

// Large, and no reader's default: whoever forgets it is seen.
inline constexpr double kTinyEpsilon = 1e-2;

struct TinyReader {
  int width = 12;
  int heads = 3;
  int layers = 2;
  int inner = 20;
  int positions = 8;
  int labels = 3;
};

inline nlohmann::ordered_json tiny_reader_config(const TinyReader& shape = {}) {
  nlohmann::ordered_json labels;
  const std::vector<std::string> names = {"bad", "fair", "good"};
  for (int i = 0; i < shape.labels; ++i) {
    labels[std::to_string(i)] = names[static_cast<std::size_t>(i)];
  }
  return {{"model_type", "bert"},
          {"vocab_size", tiny_wordpieces().size()},
          {"hidden_size", shape.width},
          {"num_hidden_layers", shape.layers},
          {"num_attention_heads", shape.heads},
          {"intermediate_size", shape.inner},
          {"max_position_embeddings", shape.positions},
          {"type_vocab_size", 2},
          {"layer_norm_eps", kTinyEpsilon},
          {"hidden_act", "gelu"},
          {"id2label", labels},
          {"fovea", {{"pooling", "attention"}}}};
}

// Names and shapes, in the order of the file.
inline std::vector<std::pair<std::string, std::vector<int>>> tiny_reader_tensors(
    const TinyReader& shape = {}) {
  const int d = shape.width;
  std::vector<std::pair<std::string, std::vector<int>>> tensors = {
      {"bert.embeddings.word_embeddings.weight", {static_cast<int>(tiny_wordpieces().size()), d}},
      {"bert.embeddings.position_embeddings.weight", {shape.positions, d}},
      {"bert.embeddings.token_type_embeddings.weight", {2, d}}};
  const auto linear = [&](const std::string& name, int out, int in) {
    tensors.push_back({name + ".weight", {out, in}});
    tensors.push_back({name + ".bias", {out}});
  };
  const auto norm = [&](const std::string& name) {
    tensors.push_back({name + ".weight", {d}});
    tensors.push_back({name + ".bias", {d}});
  };
  norm("bert.embeddings.LayerNorm");
  for (int layer = 0; layer < shape.layers; ++layer) {
    const std::string name = "bert.encoder.layer." + std::to_string(layer) + ".";
    for (const char* part : {"query", "key", "value"})
      linear(name + "attention.self." + part, d, d);
    linear(name + "attention.output.dense", d, d);
    norm(name + "attention.output.LayerNorm");
    linear(name + "intermediate.dense", shape.inner, d);
    linear(name + "output.dense", d, shape.inner);
    norm(name + "output.LayerNorm");
  }
  tensors.push_back({"fovea.pooling.query", {d}});
  tensors.push_back({"fovea.classifier.weight", {shape.labels, d}});
  tensors.push_back({"fovea.classifier.bias", {shape.labels}});
  return tensors;
}

inline void write_tiny_reader(const fs::path& folder, const TinyReader& shape = {}) {
  write_tiny_wordpieces(folder);
  write_text(folder / "config.json", tiny_reader_config(shape).dump(1));
  write_safetensors(folder / "model.safetensors", tiny_reader_tensors(shape), 0.6, 11);
}

}  // namespace fovea::test
