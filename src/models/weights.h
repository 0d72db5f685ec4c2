// The weights of a MarianMT model, checked by name and shape against its config, ready to run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "models/config.h"
#include "models/linear.h"
#include "models/rows.h"

namespace fovea {

struct FeedForward {
  Linear in;   // fc1
  Linear out;  // fc2
  Norm norm;
};

// q, k and v are one product: the rows of its result are [q | k | v].
struct SelfAttention {
  Linear qkv;
  Linear out;
  Norm norm;
};

struct CrossAttentionWeights {
  Linear q;
  Linear kv;  // of the encoder's output: [k | v]
  Linear out;
  Norm norm;
  std::vector<float> out_weight;  // [width, width], for what each head brings
};

struct EncoderLayer {
  SelfAttention self;
  FeedForward ffn;
};

struct DecoderLayer {
  SelfAttention self;
  CrossAttentionWeights cross;
  FeedForward ffn;
};

// x = rows[id] scale + positions[place]
struct Embedding {
  std::shared_ptr<const std::vector<float>> rows;  // [vocabulary, width]; tied ones are one
  std::vector<float> positions;                    // [positions, width]
  float scale = 1;
};

// The vocabulary is cut into blocks of this many ids, whose logits stay in the second-level cache
// and which threads can share.
inline constexpr std::int64_t kVocabularyBlock = 1024;

struct MarianWeights {
  Embedding source;
  Embedding target;
  std::vector<EncoderLayer> encoder;
  std::vector<DecoderLayer> decoder;
  std::vector<Linear> vocabulary;  // hidden to logits, with final_logits_bias, block by block
  std::int64_t parameters = 0;     // as transformers counts them: shared ones once, positions too
};

// `config` says what must be there. A tensor that has no place in this model is an Error too.
MarianWeights load_marian_weights(const std::filesystem::path& file, const MarianConfig& config);

// sin and cos of position / 10000^(2i / width), [positions, width]: the sines first, not
// interleaved.
std::vector<float> static_positions(std::int64_t positions, std::int64_t width);

}  // namespace fovea
