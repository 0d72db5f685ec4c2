// A WordPiece vocabulary learnt from text, in BERT's layout.
#pragma once

#include <string>
#include <vector>

namespace fovea::train {

// Writes vocab.txt and tokenizer_config.json for lower-cased text: [PAD] [UNK] [CLS] [SEP] [MASK],
// then the characters, each as a word's first and as "##" one, then the pieces that merging the
// most frequent neighbours again and again gives (byte-pair encoding over words, by SentencePiece;
// so does the tokenizers package's own WordPiece trainer). `size` counts all of them; a small text
// gives fewer. `window`: the most ids that the model reads at once.
void learn_wordpieces(const std::vector<std::string>& texts, int size, int window,
                      const std::string& folder);

}  // namespace fovea::train
