// One SentencePiece vocabulary for both languages, and the files around it in MarianMT's layout.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pairs.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace fovea::train {

class Vocabulary {
 public:
  // Trains a unigram model of `size` ids, the end of sentence (0), unknown (1) and padding (last)
  // among them.
  static Vocabulary learn(const std::vector<TextPair>& pairs, int size);
  // Takes source.spm of a model folder.
  static Vocabulary load(const std::string& folder);

  ~Vocabulary();
  Vocabulary(Vocabulary&&) noexcept;

  int size() const;
  // Ids as transformers' MarianTokenizer gives them: pieces mapped by vocab.json, end of sentence
  // appended.
  std::vector<std::int32_t> encode(std::string_view text) const;
  // source.spm, target.spm (the same), vocab.json, tokenizer_config.json, special_tokens_map.json
  void write(const std::string& folder, const std::string& source_language,
             const std::string& target_language) const;

 private:
  explicit Vocabulary(std::string model);
  std::string model_;
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
};

}  // namespace fovea::train
