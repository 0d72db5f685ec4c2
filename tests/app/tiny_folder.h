// A small MarianMT folder made on the spot: a SentencePiece vocabulary learned from the text below,
// and (with weights) a random model. Header only, so that the tests of several rooms can use it.
#pragma once

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"

namespace fovea::test {

namespace fs = std::filesystem;

// A folder that is removed with its contents.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "fovea-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

inline void write_text(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::vector<std::string> tiny_corpus() {
  return {"Le chat noir dort sous la table.",
          "The black cat sleeps under the table.",
          "Je ne sais pas pourquoi il pleut.",
          "I do not know why it rains.",
          "Die Katze schl\xC3\xA4"
          "ft unter dem Tisch.",
          "Der Mann l\xC3\xA4uft nach Hause.",
          "The man is walking home.",
          "L'homme est parti \xC3\xA0 la maison, hier.",
          "Elle a achet\xC3\xA9 une voiture rouge.",
          "She bought a red car.",
          "Warum hast du nicht angerufen?",
          "Why did you not call?",
          "O\xC3\xB9 est la gare, s'il vous pla\xC3\xAEt?",
          "Where is the station, please?",
          "Ich wei\xC3\x9F es nicht: 3,5 oder 40.",
          "I do not know: 3.5 or 40."};
}

struct SentenceList : sentencepiece::SentenceIterator {
  explicit SentenceList(std::vector<std::string> lines) : lines_(std::move(lines)) {}
  bool done() const override { return at_ >= lines_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return lines_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string> lines_;
  std::size_t at_ = 0;
};

// The bytes of a unigram model: ids </s> 0, <unk> 1.
inline std::string learn_pieces(const std::vector<std::string>& corpus, int size,
                                const std::string& more = "") {
  SentenceList lines(corpus);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      "--model_type=unigram --character_coverage=1.0 --unk_id=1 --eos_id=0 --bos_id=-1 --pad_id=-1 "
      "--minloglevel=2 --num_threads=1 --hard_vocab_limit=false --vocab_size=" +
          std::to_string(size) + " " + more,
      &lines, &model);
  if (!status.ok()) throw std::runtime_error(status.ToString());
  return model;
}

// source.spm, target.spm (the same), vocab.json with <pad> last. Returns the number of ids.
inline int write_tiny_tokenizer(const fs::path& folder, int size = 90) {
  const std::string model = learn_pieces(tiny_corpus(), size);
  write_text(folder / "source.spm", model);
  write_text(folder / "target.spm", model);
  sentencepiece::SentencePieceProcessor processor;
  if (!processor.LoadFromSerializedProto(model).ok()) throw std::runtime_error("spm");
  nlohmann::ordered_json vocabulary;
  for (int i = 0; i < processor.GetPieceSize(); ++i) vocabulary[processor.IdToPiece(i)] = i;
  vocabulary["<pad>"] = processor.GetPieceSize();
  write_text(folder / "vocab.json", vocabulary.dump());
  return processor.GetPieceSize() + 1;
}

struct TinyShape {
  int width = 16;
  int layers = 2;
  int heads = 2;
  int inner = 32;
  int positions = 64;
};

// Float32 tensors in the safetensors layout: length of the header, header, data.
inline void write_safetensors(const fs::path& path,
                              const std::vector<std::pair<std::string, std::vector<int>>>& shapes,
                              double deviation, std::uint64_t seed) {
  Random random(seed);
  nlohmann::ordered_json header;
  std::vector<float> data;
  for (const auto& [name, shape] : shapes) {
    std::size_t count = 1;
    for (const int size : shape) count *= static_cast<std::size_t>(size);
    const std::size_t begin = 4 * data.size();
    const bool norm = name.ends_with("orm.weight");  // layer_norm and BERT's LayerNorm
    for (std::size_t i = 0; i < count; ++i) {
      data.push_back(static_cast<float>((norm ? 1.0 : 0.0) + deviation * random.normal()));
    }
    header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, 4 * data.size()}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t length = text.size();
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), 8);
  out << text;
  out.write(reinterpret_cast<const char*>(data.data()),
            static_cast<std::streamsize>(4 * data.size()));
}

// A whole folder with random weights: what it says is nonsense, but the same nonsense every time.
inline void write_tiny_model(const fs::path& folder, const TinyShape& shape = {}) {
  const int ids = write_tiny_tokenizer(folder);
  const int d = shape.width;
  std::vector<std::pair<std::string, std::vector<int>>> tensors = {
      {"model.shared.weight", {ids, d}}, {"final_logits_bias", {1, ids}}};
  const auto linear = [&](const std::string& name, int out, int in) {
    tensors.push_back({name + ".weight", {out, in}});
    tensors.push_back({name + ".bias", {out}});
  };
  const auto norm = [&](const std::string& name) {
    tensors.push_back({name + ".weight", {d}});
    tensors.push_back({name + ".bias", {d}});
  };
  const auto attention = [&](const std::string& name) {
    for (const char* part : {"q_proj", "k_proj", "v_proj", "out_proj"}) {
      linear(name + "." + part, d, d);
    }
    norm(name + "_layer_norm");
  };
  for (const std::string side : {"encoder", "decoder"}) {
    for (int layer = 0; layer < shape.layers; ++layer) {
      const std::string name = "model." + side + ".layers." + std::to_string(layer) + ".";
      attention(name + "self_attn");
      if (side == "decoder") attention(name + "encoder_attn");
      linear(name + "fc1", shape.inner, d);
      linear(name + "fc2", d, shape.inner);
      norm(name + "final_layer_norm");
    }
  }
  write_safetensors(folder / "model.safetensors", tensors, 0.3, 7);
  nlohmann::ordered_json config = {{"model_type", "marian"},
                                   {"architectures", {"MarianMTModel"}},
                                   {"vocab_size", ids},
                                   {"decoder_vocab_size", ids},
                                   {"d_model", d},
                                   {"encoder_layers", shape.layers},
                                   {"decoder_layers", shape.layers},
                                   {"encoder_attention_heads", shape.heads},
                                   {"decoder_attention_heads", shape.heads},
                                   {"encoder_ffn_dim", shape.inner},
                                   {"decoder_ffn_dim", shape.inner},
                                   {"activation_function", "swish"},
                                   {"scale_embedding", true},
                                   {"share_encoder_decoder_embeddings", true},
                                   {"tie_word_embeddings", true},
                                   {"max_position_embeddings", shape.positions},
                                   {"static_position_embeddings", true},
                                   {"pad_token_id", ids - 1},
                                   {"eos_token_id", 0},
                                   {"bos_token_id", 0},
                                   {"decoder_start_token_id", ids - 1},
                                   {"forced_eos_token_id", 0},
                                   {"is_encoder_decoder", true}};
  write_text(folder / "config.json", config.dump(1));
  nlohmann::ordered_json generation = {{"num_beams", 4},
                                       {"max_length", shape.positions},
                                       {"bad_words_ids", {{ids - 1}}},
                                       {"pad_token_id", ids - 1},
                                       {"eos_token_id", 0},
                                       {"decoder_start_token_id", ids - 1},
                                       {"forced_eos_token_id", 0}};
  write_text(folder / "generation_config.json", generation.dump(1));
}

}  // namespace fovea::test
