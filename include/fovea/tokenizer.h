// Text to the ids of a MarianMT model, and back: what transformers' MarianTokenizer gives, and
// where in the reader's own text each piece came from.
//
// The folder: source.spm, target.spm (SentencePiece), vocab.json (piece -> id; with
// "separate_vocabs" in tokenizer_config.json also target_vocab.json). A piece without an id becomes
// <unk>. A leading
// >>code<< and the special tokens written out (</s>, <unk>, <pad>) are taken whole, as transformers
// does. The end id is appended.
//
// Spans   half-open, in code points of the text as given, whatever normalisation did in between;
// white
//         space at their ends is left out. A piece that is nothing but a word's beginning mark has
//         an empty span where that word begins.
// Throws  Error naming the file and what is wrong with it (missing, not JSON, an id twice, ids with
//         gaps, pieces of another model); for text that is not UTF-8, naming the byte.
// Threads All const members may be called from several threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/record.h"

namespace fovea {

// Three lists of one length, one entry a piece.
struct Pieces {
  std::vector<std::int32_t> ids;  // the last one is the end id
  std::vector<std::string>
      texts;                // as the SentencePiece model spells them; the last is the end token
  std::vector<Span> spans;  // the last is empty, at the end of the text
};

struct DecodedText {
  std::string text;
  std::vector<Span> spans;  // one for each id; empty for the ids that are not text
};

struct TokenizerFacts {
  int source_size = 0;  // ids of the source vocabulary
  int target_size = 0;
  int source_pieces_unknown = 0;  // pieces of source.spm without an id: they become <unk>
  int target_pieces_unknown = 0;
  std::int32_t end = 0;
  std::int32_t unknown = 0;
  std::int32_t pad = -1;  // -1: the vocabulary has none
};

class MarianTokenizer {
 public:
  static MarianTokenizer load(const std::filesystem::path& folder);
  MarianTokenizer(MarianTokenizer&&) noexcept;
  MarianTokenizer& operator=(MarianTokenizer&&) noexcept;
  ~MarianTokenizer();

  const TokenizerFacts& facts() const;

  // A source text.
  Pieces encode(std::string_view text) const;
  // A target text, as transformers' text_target: for scoring a given translation.
  Pieces encode_target(std::string_view text) const;
  // Special tokens are left out. Throws Error for an id outside the target vocabulary.
  DecodedText decode(std::span<const std::int32_t> ids) const;

 private:
  struct State;
  explicit MarianTokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// For every piece the word that it belongs to (index into `words`): the one its span begins in; a
// piece with an empty span belongs to the next word; -1 if there is none (end of sentence).
std::vector<std::int32_t> words_of_pieces(const std::vector<Span>& pieces,
                                          const std::vector<Word>& words);

}  // namespace fovea
