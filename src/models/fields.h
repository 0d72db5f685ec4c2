// config.json field by field, strictly, with errors that name file and field.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/rows.h"

namespace fovea {

inline constexpr std::int64_t kMaxWidth = 1 << 16;   // limits that no real model comes near, and that keep
inline constexpr std::int64_t kMaxLayers = 1 << 10;  // every product of sizes far below 2^63
inline constexpr std::int64_t kMaxVocabulary = 1 << 24;
inline constexpr std::int64_t kMaxPositions = 1 << 16;

// One JSON object of a file. A field that is null counts as absent, as it does for transformers.
class Fields {
 public:
  Fields(std::string_view text, std::string file);

  [[noreturn]] void fail(const std::string& name, const std::string& what) const;
  [[noreturn]] void expected(const std::string& name, const std::string& what) const;

  const nlohmann::json* find(const std::string& name) const;  // null: not there
  std::optional<std::int64_t> whole(const std::string& name, std::int64_t least,
                                    std::int64_t most) const;
  int size(const std::string& name, std::int64_t most, std::optional<int> fallback = {}) const;
  bool flag(const std::string& name, bool fallback) const;
  double number(const std::string& name, double fallback) const;
  // One id, or a list of them.
  std::vector<std::int32_t> ids(const std::string& name, int vocabulary) const;
  std::vector<std::vector<std::int32_t>> lists_of_ids(const std::string& name,
                                                      int vocabulary) const;
  // Under transformers' names.
  Activation activation(const std::string& name) const;

  const std::string& file() const { return file_; }

 private:
  std::string text_of(const std::string& name) const;
  std::vector<std::int32_t> ids_of(const std::string& name, const nlohmann::json& list,
                                   int vocabulary) const;

  std::string file_;
  nlohmann::json object_;
};

}  // namespace fovea
