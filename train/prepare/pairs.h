// Sentence pairs from text files, with errors that name the file and the line.
#pragma once

#include <string>
#include <vector>

#include "fovea/record.h"

namespace fovea::train {

struct TextPair {
  std::string source, target;
  std::vector<Link> links;  // between words, where alignments were given
};

// Reads `source TAB target` lines from each file; a name that ends in .gz is unpacked. Columns
// after the second are ignored. Throws std::runtime_error("FILE:LINE: what; cure").
std::vector<TextPair> read_tsv(const std::vector<std::string>& paths);

// Reads two files aligned by line.
std::vector<TextPair> read_aligned(const std::string& source_path, const std::string& target_path);

}  // namespace fovea::train
