// config.json and generation_config.json of a MarianMT folder, checked field by field.
//
// generation_config.json, where there is one, decides the search alone, as in transformers; only
// the ids pad, end and start are taken from config.json when it lacks them. A setting of
// transformers' search that would change the output and is not implemented here is refused, never
// ignored. Throws  Error naming file and field.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "models/rows.h"

namespace fovea {

enum class EarlyStopping : std::uint8_t {
  kNo,    // stop when the best open beam, at its present length, cannot beat the worst finished one
  kYes,   // stop when as many as beams are finished
  kNever  // as kNo, but an open beam may still grow to max_length
};

// Where transformers 5 differs, it says so: without max_length it stops after 20 ids, which would
// cut sentences silently; here the limit is then the model's positions.
struct SearchConfig {
  std::int32_t pad = 0;
  std::int32_t start = 0;
  std::vector<std::int32_t> ends;
  int beams = 1;
  double length_penalty = 1;
  EarlyStopping early_stopping = EarlyStopping::kNo;
  bool renormalize = false;
  int max_length = 0;  // start and end counted
  int min_length = 0;  // start counted, end not
  int no_repeat_ngram = 0;
  std::vector<std::vector<std::int32_t>> bad_words;
  std::vector<std::int32_t> suppressed;  // never
  std::vector<std::int32_t>
      begin_suppressed;                    // not as the first id (the second where one is forced)
  std::vector<std::int32_t> forced_begin;  // none or one
  std::vector<std::int32_t> forced_ends;   // at max_length
};

struct MarianConfig {
  std::string file;  // for messages
  int width = 0;
  int encoder_layers = 0;
  int decoder_layers = 0;
  int encoder_heads = 0;
  int decoder_heads = 0;
  int encoder_ffn = 0;
  int decoder_ffn = 0;
  int source_vocabulary = 0;
  int target_vocabulary = 0;
  int positions = 0;
  bool shared_vocabulary = true;
  bool tied = true;  // the output matrix is the target embedding
  bool scaled_embedding = false;
  Activation activation = Activation::kGelu;
  SearchConfig search;
};

MarianConfig read_marian_config(const std::filesystem::path& folder);

// From texts in memory; `generation` is empty when there is no such file. The names are for
// messages.
struct ConfigTexts {
  std::string_view config;
  std::string config_name;
  std::string_view generation;
  std::string generation_name;
};
MarianConfig parse_marian_config(const ConfigTexts& texts);

}  // namespace fovea
