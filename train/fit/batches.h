// The order of the training sentences, and ragged batches made of them.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "../ids_file.h"
#include "shape.h"
#include "span.h"

namespace fovea::fit {

struct Batch {
  torch::Tensor source_ids, source_at;  // int32, all sentences' rows in line
  torch::Tensor target_inputs, target_at,
      target_ids;  // inputs: <pad>, then the targets but the last
  std::vector<Span> source_spans, target_spans, cross_spans;
  std::vector<GuidedLink> links;  // of given alignments; empty where there are none
  std::int64_t pairs = 0;

  std::int64_t target_tokens() const { return target_ids.size(0); }
};

class Corpus {
 public:
  explicit Corpus(const train::IdPairs& pairs, const train::PairLinks* links = nullptr);

  std::int64_t size() const { return static_cast<std::int64_t>(source_starts_.size()) - 1; }
  std::int32_t source_length(std::int64_t pair) const { return length(source_starts_, pair); }
  std::int32_t target_length(std::int64_t pair) const { return length(target_starts_, pair); }
  const std::int32_t* source(std::int64_t pair) const {
    return &pairs_.source_ids[source_starts_[pair]];
  }
  const std::int32_t* target(std::int64_t pair) const {
    return &pairs_.target_ids[target_starts_[pair]];
  }

  Batch batch(const std::vector<std::int64_t>& chosen, const Shape& shape,
              torch::Device device) const;

 private:
  static std::int32_t length(const std::vector<std::int64_t>& starts, std::int64_t pair) {
    return static_cast<std::int32_t>(starts[pair + 1] - starts[pair]);
  }
  const train::IdPairs& pairs_;
  const train::PairLinks* links_;
  std::vector<std::int64_t> source_starts_, target_starts_;
};

// Where the training is in its data; all that a checkpoint needs to go on with the next batch.
struct Place {
  std::int64_t epoch = 0, index = 0;
};

// Walks through a fresh shuffle of the corpus each epoch, in slices of at most `tokens` rows on the
// longer side. The shuffle follows from seed and epoch alone.
class Walk {
 public:
  Walk(const Corpus& corpus, std::int64_t tokens, std::uint64_t seed, Place place);

  std::vector<std::int64_t> next();
  Place place() const { return place_; }

 private:
  void shuffle();
  const Corpus& corpus_;
  std::int64_t tokens_;
  std::uint64_t seed_;
  Place place_;
  std::vector<std::int64_t> order_;
};

}  // namespace fovea::fit
