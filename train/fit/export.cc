#include "export.h"

#include <filesystem>
#include <stdexcept>

#include "files.h"
#include "safetensors.h"

namespace fovea::fit {
namespace {

using torch::Tensor;
namespace fs = std::filesystem;

std::string config_json(const Shape& shape, bool half, int guided_layer) {
  auto n = [](int value) { return std::to_string(value); };
  const std::string reading = guided_layer == 0 ? ""
                                                : ", \"reading\": {\"layer\": " + n(guided_layer) +
                                                      ", \"head\": 1, \"step\": \"output\", "
                                                      "\"weighting\": \"raw\"}";
  return "{\n"
         "  \"architectures\": [\"MarianMTModel\"],\n"
         "  \"model_type\": \"marian\",\n"
         "  \"activation_function\": \"swish\",\n"
         "  \"activation_dropout\": 0.0,\n"
         "  \"attention_dropout\": 0.0,\n"
         "  \"dropout\": 0.1,\n"
         "  \"bos_token_id\": 0,\n"
         "  \"eos_token_id\": 0,\n"
         "  \"forced_eos_token_id\": 0,\n"
         "  \"pad_token_id\": " +
         n(shape.pad()) +
         ",\n"
         "  \"decoder_start_token_id\": " +
         n(shape.pad()) +
         ",\n"
         "  \"d_model\": " +
         n(shape.width) +
         ",\n"
         "  \"encoder_attention_heads\": " +
         n(shape.heads) +
         ",\n"
         "  \"decoder_attention_heads\": " +
         n(shape.heads) +
         ",\n"
         "  \"encoder_ffn_dim\": " +
         n(shape.ffn) +
         ",\n"
         "  \"decoder_ffn_dim\": " +
         n(shape.ffn) +
         ",\n"
         "  \"encoder_layers\": " +
         n(shape.encoder_layers) +
         ",\n"
         "  \"decoder_layers\": " +
         n(shape.decoder_layers) +
         ",\n"
         "  \"num_hidden_layers\": " +
         n(shape.encoder_layers) +
         ",\n"
         "  \"is_encoder_decoder\": true,\n"
         "  \"max_position_embeddings\": " +
         n(shape.positions) +
         ",\n"
         "  \"normalize_before\": false,\n"
         "  \"normalize_embedding\": false,\n"
         "  \"add_final_layer_norm\": false,\n"
         "  \"scale_embedding\": true,\n"
         "  \"static_position_embeddings\": true,\n"
         "  \"share_encoder_decoder_embeddings\": true,\n"
         "  \"tie_word_embeddings\": true,\n"
         "  \"use_cache\": true,\n"
         "  \"vocab_size\": " +
         n(shape.vocabulary) +
         ",\n"
         "  \"decoder_vocab_size\": " +
         n(shape.vocabulary) +
         ",\n"
         "  \"torch_dtype\": \"" +
         (half ? "float16" : "float32") +
         "\",\n"
         "  \"fovea\": {\"context\": \"" +
         (shape.mean_context ? "mean" : "attention") +
         "\", \"longest_source\": " + n(shape.longest_source) + reading +
         "}\n"
         "}\n";
}

std::string generation_json(const Shape& shape) {
  const std::string pad = std::to_string(shape.pad());
  return "{\n"
         "  \"bad_words_ids\": [[" +
         pad +
         "]],\n"
         "  \"bos_token_id\": 0,\n"
         "  \"decoder_start_token_id\": " +
         pad +
         ",\n"
         "  \"eos_token_id\": 0,\n"
         "  \"forced_eos_token_id\": 0,\n"
         "  \"max_length\": " +
         std::to_string(shape.positions) +
         ",\n"
         "  \"num_beams\": 4,\n"
         "  \"pad_token_id\": " +
         pad +
         "\n"
         "}\n";
}

}  // namespace

void export_model(const std::string& folder, const std::string& ids_folder, const Shape& shape,
                  const Parameters& parameters, bool half, int guided_layer) {
  torch::NoGradGuard no_grad;
  fs::create_directories(folder);
  const torch::ScalarType type = half ? torch::kHalf : torch::kFloat;
  for (const char* name : {"source.spm", "target.spm", "vocab.json", "tokenizer_config.json",
                           "special_tokens_map.json"}) {
    write_whole(folder + "/" + name, read_whole(ids_folder + "/" + name));
  }
  write_whole(folder + "/config.json", config_json(shape, half, guided_layer));
  write_whole(folder + "/generation_config.json", generation_json(shape));
  NamedTensors tensors;
  tensors.emplace_back("final_logits_bias", torch::zeros({1, shape.vocabulary}, type));
  for (const Parameter& parameter : parameters.all()) {
    for (std::size_t i = 0; i < parameter.names.size(); ++i) {
      tensors.emplace_back(parameter.names[i],
                           parameter.part(parameter.averaged, i).to(torch::kCPU, type));
    }
  }
  write_safetensors(folder + "/model.safetensors", tensors);
}

void import_weights(const std::string& folder, Parameters& parameters) {
  torch::NoGradGuard no_grad;
  const std::string path = folder + "/model.safetensors";
  const auto tensors = read_safetensors(path);
  for (Parameter& parameter : parameters.all()) {
    if (parameter.frozen) continue;
    for (std::size_t i = 0; i < parameter.names.size(); ++i) {
      const auto found = tensors.find(parameter.names[i]);
      if (found == tensors.end())
        throw std::runtime_error(path + ": no tensor " + parameter.names[i]);
      const Tensor part = parameter.part(parameter.value, i);
      if (found->second.sizes() != part.sizes()) {
        throw std::runtime_error(path + ": " + parameter.names[i] +
                                 " has another shape than this model's");
      }
      part.copy_(found->second);
    }
    parameter.averaged.copy_(parameter.value);
  }
  parameters.refresh_leaves(false);
}

}  // namespace fovea::fit
