// Word alignments of the training text, as the trainer takes them: between pieces.
#pragma once

#include <string>
#include <vector>

#include "../ids_file.h"
#include "fovea/tokenizer.h"
#include "pairs.h"

namespace fovea::train {

// Reads a line of links ("0-0 1-2") for each pair, from the files one after the other. Possible
// links (1p2) are passed over. Throws std::runtime_error("FILE:LINE: what; cure"): not links, words
// that are not there, too few or too many lines.
void read_links(const std::vector<std::string>& paths, std::vector<TextPair>& pairs);

// Links between the pieces of linked words. Where a word has letters, the pieces of the punctuation
// around it take no part. `ids` are how the trainer will see the pair; a pair whose text has
// special tokens written out gets no links.
std::vector<PieceLink> piece_links(const TextPair& pair, const MarianTokenizer& tokenizer,
                                   const std::vector<std::int32_t>& source_ids,
                                   const std::vector<std::int32_t>& target_ids);

}  // namespace fovea::train
