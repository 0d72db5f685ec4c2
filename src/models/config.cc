#include "models/config.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/file.h"
#include "fovea/error.h"
#include "models/fields.h"

namespace fovea {
namespace {

using Json = nlohmann::json;

void check_model_type(const Fields& fields) {
  const Json* type = fields.find("model_type");
  if (type == nullptr) {
    fields.fail("model_type", "is missing; fovea runs \"marian\". Is this a model folder?");
  }
  if (*type != "marian") {
    fields.expected(
        "model_type",
        "\"marian\": fovea translates with MarianMT models (the opus-mt family, and what "
        "fovea train writes)");
  }
}

int heads_of(const Fields& fields, const std::string& name, int width) {
  const int heads = fields.size(name, kMaxWidth, 16);
  if (width % heads != 0) {
    fields.fail(name, "is " + std::to_string(heads) + ", which does not divide d_model " +
                          std::to_string(width));
  }
  return heads;
}

// The settings of transformers' generation that change what comes out and that fovea lacks. Each is
// fine with the value that does nothing.
void refuse_unsupported(const Fields& fields) {
  struct Setting {
    const char* name;
    double harmless;
  };
  constexpr std::array<Setting, 7> kNumbers = {{{"repetition_penalty", 1},
                                                {"encoder_repetition_penalty", 1},
                                                {"encoder_no_repeat_ngram_size", 0},
                                                {"num_beam_groups", 1},
                                                {"diversity_penalty", 0},
                                                {"penalty_alpha", 0},
                                                {"guidance_scale", 1}}};
  constexpr std::array<const char*, 12> kAnything = {"sequence_bias",
                                                     "exponential_decay_length_penalty",
                                                     "constraints",
                                                     "force_words_ids",
                                                     "watermarking_config",
                                                     "stop_strings",
                                                     "max_time",
                                                     "prompt_lookup_num_tokens",
                                                     "assistant_early_exit",
                                                     "dola_layers",
                                                     "low_memory",
                                                     "use_mtp"};
  const std::string cure =
      ", which fovea's search does not have: take it out of the file to go without";
  if (fields.flag("do_sample", false)) fields.fail("do_sample", "is true" + cure);
  if (fields.flag("remove_invalid_values", false))
    fields.fail("remove_invalid_values", "is true" + cure);
  for (const Setting& s : kNumbers) {
    if (fields.number(s.name, s.harmless) != s.harmless) fields.fail(s.name, "is set" + cure);
  }
  for (const char* name : kAnything) {
    const Json* value = fields.find(name);
    if (value != nullptr && *value != false) fields.fail(name, "is set" + cure);
  }
}

EarlyStopping early_stopping_of(const Fields& fields) {
  const Json* value = fields.find("early_stopping");
  if (value == nullptr || *value == false) return EarlyStopping::kNo;
  if (*value == true) return EarlyStopping::kYes;
  if (*value == "never") return EarlyStopping::kNever;
  fields.expected("early_stopping", "true, false or \"never\"");
}

std::int32_t one_id(const Fields& first, const Fields& second, const std::string& name,
                    int vocabulary) {
  for (const Fields* fields : {&first, &second}) {
    const auto id = fields->whole(name, 0, vocabulary - 1);
    if (id) return static_cast<std::int32_t>(*id);
  }
  second.fail(name, "is missing; expected an id");
}

// `fields` is generation_config.json where there is one, else config.json; `model` is config.json.
SearchConfig search_of(const Fields& fields, const Fields& model, const MarianConfig& config) {
  refuse_unsupported(fields);
  const int vocabulary = config.target_vocabulary;
  SearchConfig s;
  // The pad id is only ever read as a source or target id where it is also the start id.
  s.pad = one_id(fields, model, "pad_token_id", std::max(vocabulary, config.source_vocabulary));
  s.start = one_id(fields, model, "decoder_start_token_id", vocabulary);
  s.ends = fields.ids("eos_token_id", vocabulary);
  if (s.ends.empty()) s.ends = model.ids("eos_token_id", vocabulary);
  if (s.ends.empty()) model.fail("eos_token_id", "is missing; expected an id");

  s.beams = fields.size("num_beams", 1024, 1);
  s.length_penalty = fields.number("length_penalty", 1);
  s.early_stopping = early_stopping_of(fields);
  s.renormalize = fields.flag("renormalize_logits", false);
  s.no_repeat_ngram =
      static_cast<int>(fields.whole("no_repeat_ngram_size", 0, 1 << 20).value_or(0));
  s.bad_words = fields.lists_of_ids("bad_words_ids", vocabulary);
  std::erase_if(s.bad_words, [&](const std::vector<std::int32_t>& word) {  // an end is never bad
    return word.size() == 1 && std::ranges::find(s.ends, word[0]) != s.ends.end();
  });
  s.suppressed = fields.ids("suppress_tokens", vocabulary);
  s.begin_suppressed = fields.ids("begin_suppress_tokens", vocabulary);
  s.forced_ends = fields.ids("forced_eos_token_id", vocabulary);
  s.forced_begin = fields.ids("forced_bos_token_id", vocabulary);
  if (s.forced_begin.size() > 1) fields.expected("forced_bos_token_id", "one id");

  constexpr std::int64_t kLongest = INT32_MAX - 1;
  const auto new_ids = fields.whole("max_new_tokens", 1, kLongest);
  const auto longest = fields.whole("max_length", 2, kLongest);
  const std::int64_t room = config.positions + std::int64_t{1};  // the last id is never read
  s.max_length = static_cast<int>(
      std::min(room, new_ids ? *new_ids + 1
                             : longest.value_or(std::max<std::int64_t>(2, config.positions))));
  const auto least_new = fields.whole("min_new_tokens", 0, kLongest);
  s.min_length = static_cast<int>(least_new ? *least_new + 1
                                            : fields.whole("min_length", 0, kLongest).value_or(0));
  return s;
}

}  // namespace

MarianConfig parse_marian_config(const ConfigTexts& texts) {
  const Fields fields(texts.config, texts.config_name);
  check_model_type(fields);
  MarianConfig c;
  c.file = texts.config_name;
  c.width = fields.size("d_model", kMaxWidth);
  c.encoder_layers = fields.size("encoder_layers", kMaxLayers);
  c.decoder_layers = fields.size("decoder_layers", kMaxLayers);
  c.encoder_heads = heads_of(fields, "encoder_attention_heads", c.width);
  c.decoder_heads = heads_of(fields, "decoder_attention_heads", c.width);
  c.encoder_ffn = fields.size("encoder_ffn_dim", kMaxWidth);
  c.decoder_ffn = fields.size("decoder_ffn_dim", kMaxWidth);
  c.source_vocabulary = fields.size("vocab_size", kMaxVocabulary);
  c.shared_vocabulary = fields.flag("share_encoder_decoder_embeddings", true);
  c.target_vocabulary = c.source_vocabulary;
  if (!c.shared_vocabulary) {
    c.target_vocabulary = fields.size("decoder_vocab_size", kMaxVocabulary, c.source_vocabulary);
  }
  c.positions = fields.size("max_position_embeddings", kMaxPositions, 1024);
  c.tied = fields.flag("tie_word_embeddings", true);
  c.scaled_embedding = fields.flag("scale_embedding", false);
  c.activation = fields.activation("activation_function");

  const bool alone = texts.generation.empty();
  const Fields generation(alone ? texts.config : texts.generation,
                          alone ? texts.config_name : texts.generation_name);
  c.search = search_of(generation, fields, c);
  return c;
}

MarianConfig read_marian_config(const std::filesystem::path& folder) {
  const FileBytes config = FileBytes::open(folder / "config.json");
  FileBytes generation;
  const std::filesystem::path path = folder / "generation_config.json";
  if (std::filesystem::exists(path)) {
    generation = FileBytes::open(path);
    if (generation.bytes().empty())
      throw Error("config: " + path.string() + ": not JSON at byte 1");
  }
  return parse_marian_config({config.text(), config.name(), generation.text(), generation.name()});
}

}  // namespace fovea
