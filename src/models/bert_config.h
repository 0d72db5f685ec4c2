// config.json of a reader's folder, checked field by field.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "models/rows.h"

namespace fovea {

struct BertConfig {
  int width = 0;
  int layers = 0;
  int heads = 0;
  int inner = 0;
  int vocabulary = 0;
  int positions = 0;
  int types = 0;
  float epsilon = 0;
  Activation activation = Activation::kGelu;
  std::vector<std::string> labels;
  bool mean = false;
};

// Throws Error naming file and field.
BertConfig read_bert_config(const std::filesystem::path& folder);
BertConfig parse_bert_config(std::string_view text, const std::string& name);

}  // namespace fovea
