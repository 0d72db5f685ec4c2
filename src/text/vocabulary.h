// vocab.json: piece -> id, read strictly.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace fovea {

class Vocabulary {
 public:
  // `bytes` is one JSON object of whole numbers: every id from 0 to the number of pieces - 1, once.
  // Throws Error that begins with `name`.
  static Vocabulary parse(std::string_view bytes, const std::string& name);

  int size() const { return static_cast<int>(pieces_.size()); }
  // -1 if it has none.
  std::int32_t id(std::string_view piece) const;
  const std::string& piece(std::int32_t id) const { return pieces_[static_cast<std::size_t>(id)]; }

 private:
  std::unordered_map<std::string, std::int32_t> ids_;
  std::vector<std::string> pieces_;
};

}  // namespace fovea
