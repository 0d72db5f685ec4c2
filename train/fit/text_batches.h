// Ragged batches of labelled texts.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "batches.h"
#include "shape.h"
#include "span.h"

namespace fovea::fit {

// A text longer than the encoder's positions is read in windows: as few as hold it, their pieces
// as equal in number as can be, the longer ones first, each between [CLS] and [SEP]
// (docs/design/classify.md).
struct TextBatch {
  torch::Tensor ids, at;           // int32, the rows of all windows of all texts in line
  std::vector<Span> windows;       // what attends to each other
  torch::Tensor piece_rows;        // int64: the rows that are pieces of a text
  std::vector<Span> texts;         // query i, and its keys among the piece rows
  torch::Tensor labels;            // int64, of each text
};

// Masking, for training: which pieces stand as [MASK] follows from `key`, text and place.
struct Masking {
  double share = 0;
  std::uint64_t key = 0;
};

TextBatch text_batch(const Corpus& corpus, const std::vector<std::int64_t>& chosen,
                     int positions, const Masking& masking, torch::Device device);

}  // namespace fovea::fit
