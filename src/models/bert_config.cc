#include "models/bert_config.h"

#include "base/file.h"
#include "models/fields.h"

namespace fovea {
namespace {

using Json = nlohmann::json;

void check_model_type(const Fields& fields) {
  const Json* type = fields.find("model_type");
  if (type == nullptr) {
    fields.fail("model_type", "is missing; a reader's is \"bert\". Is this a model folder?");
  }
  if (*type != "bert") {
    fields.expected("model_type",
                    "\"bert\": fovea reads with BERT encoders that fovea train --task "
                    "classify wrote");
  }
}

// What BERT can be and this reader is not.
void refuse_unsupported(const Fields& fields) {
  const Json* kind = fields.find("position_embedding_type");
  if (kind != nullptr && *kind != "absolute")
    fields.expected("position_embedding_type", "\"absolute\"");
  for (const char* name : {"is_decoder", "add_cross_attention"}) {
    if (fields.flag(name, false)) fields.fail(name, "is true; a reader is an encoder alone");
  }
}

std::vector<std::string> labels_of(const Fields& fields) {
  const std::string wanted =
      "an object {\"0\": \"name\", \"1\": \"name\", ...} of two labels or more";
  const Json* names = fields.find("id2label");
  if (names == nullptr) fields.fail("id2label", "is missing; expected " + wanted);
  if (!names->is_object() || names->size() < 2) fields.expected("id2label", wanted);
  std::vector<std::string> labels;
  for (std::size_t i = 0; i < names->size(); ++i) {
    const auto name = names->find(std::to_string(i));
    if (name == names->end() || !name->is_string()) fields.expected("id2label", wanted);
    labels.push_back(name->get<std::string>());
  }
  return labels;
}

bool is_mean(const Fields& fields) {
  const Json* notes = fields.find("fovea");
  if (notes == nullptr) {
    fields.fail("fovea",
                "is missing; expected {\"pooling\": \"attention\" or \"mean\"}: this is a "
                "BERT model, but not a reader that fovea train --task classify wrote");
  }
  const Json pooling = notes->is_object() ? notes->value("pooling", Json()) : Json();
  if (pooling != "attention" && pooling != "mean") {
    fields.expected("fovea", "{\"pooling\": \"attention\" or \"mean\"}");
  }
  return pooling == "mean";
}

}  // namespace

BertConfig parse_bert_config(std::string_view text, const std::string& name) {
  const Fields fields(text, name);
  check_model_type(fields);
  refuse_unsupported(fields);
  BertConfig c;
  c.width = fields.size("hidden_size", kMaxWidth);
  c.layers = fields.size("num_hidden_layers", kMaxLayers);
  c.heads = fields.size("num_attention_heads", kMaxWidth);
  if (c.width % c.heads != 0) {
    fields.fail("num_attention_heads", "is " + std::to_string(c.heads) +
                                           ", which does not divide hidden_size " +
                                           std::to_string(c.width));
  }
  c.inner = fields.size("intermediate_size", kMaxWidth);
  c.vocabulary = fields.size("vocab_size", kMaxVocabulary);
  c.positions = fields.size("max_position_embeddings", kMaxPositions);
  if (c.positions < 3) {
    fields.expected("max_position_embeddings", "3 or more: [CLS], one piece and [SEP]");
  }
  c.types = fields.size("type_vocab_size", kMaxVocabulary, 2);
  const double epsilon = fields.number("layer_norm_eps", 1e-12);
  // Smaller ones are 0 as a float, and a row of equal numbers is then divided by it.
  if (!(epsilon >= 1e-37 && epsilon <= 0.5)) {
    fields.expected("layer_norm_eps", "a number from 1e-37 to 0.5");
  }
  c.epsilon = static_cast<float>(epsilon);
  c.activation = fields.activation("hidden_act");
  c.labels = labels_of(fields);
  c.mean = is_mean(fields);
  return c;
}

BertConfig read_bert_config(const std::filesystem::path& folder) {
  const FileBytes file = FileBytes::open(folder / "config.json");
  return parse_bert_config(file.text(), file.name());
}

}  // namespace fovea
