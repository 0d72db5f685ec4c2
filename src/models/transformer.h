// The two stacks of a MarianMT model. Post-norm: x <- norm(x + attention(x)), x <- norm(x +
// ffn(x)). Every attention is fovea::attend; every product is a Linear.
//
// Letters: B sentences, S source places (padded), k beams, d width, L decoder layers, H heads, T
// steps.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "fovea/threads.h"
#include "models/config.h"
#include "models/layers.h"
#include "models/weights.h"

namespace fovea {

struct Model {
  MarianConfig config;
  MarianWeights weights;
};

using Ids = std::vector<std::int32_t>;

// What the decoder reads of the source: per layer, keys and values of every place.
struct Encoded {
  std::int64_t sentences = 0;          // B
  std::int64_t places = 0;             // S, the longest
  std::vector<std::int32_t> lengths;   // [B]
  std::vector<std::vector<float>> kv;  // [L][B, S, 2d]: [k | v]
};

Encoded encode(const Model& model, std::span<const Ids* const> sources, Threads& threads);

// One step after another for B sentences of k beams each. Nothing is copied when beams are
// exchanged: every beam's past keys stay where they were written, and a mask says which of them a
// beam sees.
class Decoder {
 public:
  // `encoded` belongs to the decoder from here on: sentences leave it by keep().
  Decoder(const Model& model, Encoded encoded, int beams, Threads& threads);

  // The next position of every beam. ids, parents: [B * k]; parent p of a beam: its past is that of
  // beam p of the same sentence. Afterwards hidden() is what the vocabulary product reads.
  void step(std::span<const std::int32_t> ids, std::span<const std::int32_t> parents);
  const std::vector<float>& hidden() const { return x_; }  // [B * k, d]

  // Goes on with these sentences only, ascending.
  void keep(std::span<const std::int32_t> sentences);

  std::int64_t sentences() const { return encoded_.sentences; }

 private:
  void make_room();
  void see(std::span<const std::int32_t> parents);
  void self_attention(std::size_t layer);
  void cross_attention(std::size_t layer);

  const Model& model_;
  Encoded encoded_;
  std::int64_t beams_;
  Threads& threads_;
  std::int64_t steps_ = 0;                // done
  std::int64_t capacity_ = 0;             // steps there is room for
  std::vector<std::vector<float>> past_;  // [L][B, capacity * k, 2d]: [k | v], slot = step k + beam
  AlignedArray<bool> sees_;               // [B, k, capacity * k]; none for one beam
  std::vector<float> x_;
  Scratch scratch_;
};

// The decoder over a whole given target at once (teacher forcing), one sentence.
struct Forced {
  std::vector<float> hidden;   // [T, d]
  std::vector<float> weights;  // [L, H, T, S] when asked for: the cross-attention
};
Forced force(const Model& model, const Encoded& encoded, std::span<const std::int32_t> inputs,
             bool with_weights, Threads& threads);

}  // namespace fovea
