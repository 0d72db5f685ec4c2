// Word alignments of a given pair of texts, read out of the model's attention.
#pragma once

#include <string>
#include <vector>

#include "fovea/alignment.h"
#include "fovea/translator.h"

namespace fovea {

// A text and its words, which links count.
struct WordText {
  std::string text;
  std::vector<Word> words;
};

// Runs without white space.
WordText plain_text(const std::string& line);

// The line's tokens are what links count ("l' homme ."), but the text is joined as people write it
// ("l'homme."): that is what the model has learned. Joined to their left: . , ) ] ... and what
// begins with an apostrophe; to their right: ( [ and what ends with an apostrophe.
WordText joined_text(const std::string& tokens);

// Links between the words of the texts that `pair` was made of.
std::vector<Link> align_words(const PieceAttention& pair, const WordText& source,
                              const WordText& target, const Reading& reading);

// Every reading that the model has: layers x steps x weightings, heads averaged and each alone.
std::vector<Reading> readings_of(const MarianInfo& info);

}  // namespace fovea
