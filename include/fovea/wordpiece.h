// Text to the ids of a BERT model: what transformers' BertTokenizer gives, and where in the reader's
// own text each piece came from.
//
// The folder: vocab.txt (a piece a line, its id the line's number from 0) and tokenizer_config.json
// (do_lower_case, strip_accents, tokenize_chinese_chars, the names of the special tokens; may be
// missing).
//   1. Controls are dropped; Chinese characters and punctuation marks are words of their own; accents
//      are stripped and letters lowered, as the folder asks. A word is what lies between white space.
//   2. A word becomes the longest piece that it begins with, then the longest piece "##..." that the
//      rest begins with, and so on. A word that cannot be cut so, or that has over 100 characters,
//      is one [UNK].
// Special tokens written out in the text ([SEP], [MASK] ...) are taken whole, as transformers does.
//
// Spans   half-open, in code points of the text as given: from the first character that a piece
//         kept to its last
// Throws  Error naming the file and what is wrong with it (missing, a piece twice, no [UNK]); for
//         text that is not UTF-8, naming the byte
// Threads All const members may be called from several threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "fovea/tokenizer.h"

namespace fovea {

struct WordPieceFacts {
  int size = 0;  // ids
  std::int32_t pad = 0;
  std::int32_t unknown = 0;
  std::int32_t begin = 0;  // [CLS], which stands before what a model reads
  std::int32_t end = 0;    // [SEP], which stands after it
  bool lower_case = true;
};

// The folder's two files as their text, for a folder that is none: `settings` may be missing, and
// the names are what errors call them.
struct WordPieceFiles {
  std::string_view vocabulary;
  std::string vocabulary_name = "vocab.txt";
  std::optional<std::string_view> settings;
  std::string settings_name = "tokenizer_config.json";
};

class WordPiece {
 public:
  static WordPiece load(const std::filesystem::path& folder);
  static WordPiece parse(const WordPieceFiles& files);
  WordPiece(WordPiece&&) noexcept;
  WordPiece& operator=(WordPiece&&) noexcept;
  ~WordPiece();

  const WordPieceFacts& facts() const;

  // The pieces of the text alone, without [CLS] and [SEP]; none for a text without words.
  Pieces encode(std::string_view text) const;

 private:
  struct State;
  explicit WordPiece(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fovea
