#include "export_bert.h"

#include <cstdio>
#include <filesystem>

#include "files.h"
#include "safetensors.h"

namespace fovea::fit {
namespace {

std::string json_string(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", c);
      out += code;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string config_json(const Shape& shape, const std::vector<std::string>& labels, bool half) {
  std::string names, numbers;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::string number = std::to_string(i), comma = i > 0 ? ", " : "";
    names += comma + "\"" + number + "\": " + json_string(labels[i]);
    numbers += comma + json_string(labels[i]) + ": " + number;
  }
  std::string json =
      "{\n  \"architectures\": [\"BertModel\"],\n  \"model_type\": \"bert\",\n"
      "  \"hidden_act\": \"silu\",\n  \"hidden_dropout_prob\": 0.1,\n"
      "  \"attention_probs_dropout_prob\": 0.0,\n  \"layer_norm_eps\": 1e-05,\n"
      "  \"type_vocab_size\": 2,\n";
  const auto field = [&](const char* name, int value) {
    json += std::string("  \"") + name + "\": " + std::to_string(value) + ",\n";
  };
  field("pad_token_id", kPadPiece);
  field("hidden_size", shape.width);
  field("num_attention_heads", shape.heads);
  field("intermediate_size", shape.ffn);
  field("num_hidden_layers", shape.encoder_layers);
  field("max_position_embeddings", shape.positions);
  field("vocab_size", shape.vocabulary);
  return json + "  \"torch_dtype\": \"" + (half ? "float16" : "float32") +
         "\",\n  \"id2label\": {" + names + "},\n  \"label2id\": {" + numbers +
         "},\n  \"fovea\": {\"pooling\": \"" + (shape.mean_context ? "mean" : "attention") +
         "\"}\n}\n";
}

}  // namespace

void export_bert(const std::string& folder, const std::string& ids_folder, const Shape& shape,
                 const BertParameters& parameters, const std::vector<std::string>& labels,
                 bool half) {
  torch::NoGradGuard no_grad;
  std::filesystem::create_directories(folder);
  const torch::ScalarType type = half ? torch::kHalf : torch::kFloat;
  for (const char* name : {"vocab.txt", "tokenizer_config.json"}) {
    write_whole(folder + "/" + name, read_whole(ids_folder + "/" + name));
  }
  write_whole(folder + "/config.json", config_json(shape, labels, half));
  NamedTensors tensors;
  tensors.emplace_back("bert.embeddings.position_embeddings.weight",
                       parameters.positions.to(torch::kCPU, type));
  tensors.emplace_back("bert.embeddings.token_type_embeddings.weight",
                       torch::zeros({2, shape.width}, type));
  for (const Parameter& parameter : parameters.all()) {
    for (std::size_t i = 0; i < parameter.names.size(); ++i) {
      tensors.emplace_back(parameter.names[i],
                           parameter.part(parameter.averaged, i).to(torch::kCPU, type));
    }
  }
  write_safetensors(folder + "/model.safetensors", tensors);
}

}  // namespace fovea::fit
