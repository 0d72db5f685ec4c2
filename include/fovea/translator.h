// Lines of text in; translations, and what the model looked at, out.
//
// A MarianMT folder (tokenizer, weights, configs). What only fovea knows stands under the key
// "fovea" of its config.json; all of it may be missing:
//   "fovea": {"reading": {"layer": 2, "head": "mean", "step": "input", "weighting": "norm"},
//             "longest_source": 100}
// Layers and heads count from 1 there, as on screen. Without a reading: heads averaged; in decoders
// of up to three layers the last one, output step, raw; in deeper ones the layer a third of the way
// up, input step, norm-weighted (why: docs/record.md).
//
// Empty    a line without text gives an empty translation, and the model is not asked.
// Long     a line of more ids than `longest_source` (the model's positions unless given) is cut at
//          the end of every sentence in it, a sentence that is still too long at clauses, else at spaces.
//          The parts are translated each for itself and joined by a space. Translation::parts says
//          how. Nothing is left out.
// Order    translations stand in the order of the lines.
// Throws   Error naming the file, field, or the line (from 1) that is not UTF-8.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/marian.h"
#include "fovea/record.h"
#include "fovea/threads.h"
#include "fovea/tokenizer.h"

namespace fovea {

struct TranslateOptions {
  SearchOptions search;
  int batch = 32;          // sentences decoded together; changes speed and memory, not translations
  bool attention = false;  // fill what Translation says of attention: one more pass over the best
  std::optional<Reading> reading;  // the model's own unless given
  // Called after every batch with the parts done so far; returning false stops with an Error.
  std::function<bool(std::size_t done, std::size_t parts)> progress;
};

// A given pair of texts as the model sees it, teacher-forced.
struct PieceAttention {
  Pieces source;
  Pieces target;  // spans in the target text
  CrossAttention attention;
};

class Translator {
 public:
  static Translator load(const std::filesystem::path& folder);
  Translator(Translator&&) noexcept;
  Translator& operator=(Translator&&) noexcept;
  ~Translator();

  const MarianInfo& info() const;
  const TokenizerFacts& tokenizer() const;
  const Reading& reading() const;  // the model's own
  int longest_source() const;      // in ids, with the end id

  std::vector<Translation> translate(std::span<const std::string> lines,
                                     const TranslateOptions& options, Threads& threads) const;

  // Throws Error if either text has more ids than the model has positions.
  PieceAttention attention(std::string_view source, std::string_view target,
                           Threads& threads) const;

 private:
  struct State;
  explicit Translator(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fovea
