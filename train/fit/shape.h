// What fixes a model's tensors.
#pragma once

namespace fovea::fit {

struct Shape {
  int vocabulary = 0;  // with end of sentence (0), unknown (1) and padding (last)
  int width = 256;
  int heads = 4;
  int ffn = 1024;
  int encoder_layers = 4;
  int decoder_layers = 3;
  int positions = 512;
  int longest_source = 0;     // as far as the training text goes; a note for whoever translates
  bool mean_context = false;  // cross-attention, or a reader's pooling, asks with zeros: the mean
  int labels = 0;             // of a reader, which has an encoder alone

  int pad() const { return vocabulary - 1; }
  bool operator==(const Shape&) const = default;
};

inline constexpr int kEndId = 0;

// BERT's special tokens, as fovea-prepare --task classify numbers them.
inline constexpr int kPadPiece = 0;
inline constexpr int kBeginPiece = 2;  // [CLS]
inline constexpr int kEndPiece = 3;    // [SEP]
inline constexpr int kMaskPiece = 4;

}  // namespace fovea::fit
