#include "batches.h"

#include <algorithm>
#include <numeric>

#include "dropout.h"

namespace fovea::fit {
namespace {

torch::Tensor ids_tensor(const std::vector<std::int32_t>& ids, torch::Device device) {
  return torch::tensor(ids, torch::kInt).to(device);
}

// Row i of the decoder makes target piece i, so that is the row that a link of piece i guides.
void add_links(const std::vector<train::PieceLink>& links, std::int32_t rows, Batch& batch) {
  std::vector<std::int32_t> count(rows);
  for (const train::PieceLink& link : links) ++count[link.target];
  for (const train::PieceLink& link : links) {
    batch.links.push_back({static_cast<std::int32_t>(batch.cross_spans.size()) - 1, link.target,
                           link.source, 1.0f / static_cast<float>(count[link.target])});
  }
}

}  // namespace

Corpus::Corpus(const train::IdPairs& pairs, const train::PairLinks* links)
    : pairs_(pairs), links_(links) {
  source_starts_.push_back(0);
  target_starts_.push_back(0);
  for (const std::int32_t length : pairs.source_lengths)
    source_starts_.push_back(source_starts_.back() + length);
  for (const std::int32_t length : pairs.target_lengths)
    target_starts_.push_back(target_starts_.back() + length);
}

Batch Corpus::batch(const std::vector<std::int64_t>& chosen, const Shape& shape,
                    torch::Device device) const {
  Batch batch;
  batch.pairs = static_cast<std::int64_t>(chosen.size());
  std::vector<std::int32_t> source_ids, source_at, target_inputs, target_at, target_ids;
  for (const std::int64_t pair : chosen) {
    const std::int32_t n = source_length(pair), m = target_length(pair);
    const auto source_start = static_cast<std::int32_t>(source_ids.size());
    const auto target_start = static_cast<std::int32_t>(target_ids.size());
    batch.source_spans.push_back({source_start, n, source_start, n});
    batch.target_spans.push_back({target_start, m, target_start, m});
    batch.cross_spans.push_back({target_start, m, source_start, n});
    const std::int32_t *from = source(pair), *to = target(pair);
    source_ids.insert(source_ids.end(), from, from + n);
    target_ids.insert(target_ids.end(), to, to + m);
    target_inputs.push_back(shape.pad());
    target_inputs.insert(target_inputs.end(), to, to + m - 1);
    if (links_) add_links((*links_)[pair], m, batch);
    for (std::int32_t i = 0; i < n; ++i) source_at.push_back(i);
    for (std::int32_t i = 0; i < m; ++i) target_at.push_back(i);
  }
  batch.source_ids = ids_tensor(source_ids, device);
  batch.source_at = ids_tensor(source_at, device);
  batch.target_inputs = ids_tensor(target_inputs, device);
  batch.target_at = ids_tensor(target_at, device);
  batch.target_ids = ids_tensor(target_ids, device);
  return batch;
}

Walk::Walk(const Corpus& corpus, std::int64_t tokens, std::uint64_t seed, Place place)
    : corpus_(corpus), tokens_(tokens), seed_(seed), place_(place) {
  shuffle();
}

void Walk::shuffle() {
  order_.resize(corpus_.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::uint64_t state = mix(seed_ ^ mix(static_cast<std::uint64_t>(place_.epoch) + 1));
  for (std::size_t i = order_.size(); i > 1; --i) {
    state = mix(state);
    std::swap(order_[i - 1], order_[state % i]);
  }
}

std::vector<std::int64_t> Walk::next() {
  std::vector<std::int64_t> chosen;
  std::int64_t source_rows = 0, target_rows = 0;
  if (place_.index >= corpus_.size()) {
    ++place_.epoch;
    place_.index = 0;
    shuffle();
  }
  while (place_.index < corpus_.size()) {
    const std::int64_t pair = order_[place_.index];
    source_rows += corpus_.source_length(pair);
    target_rows += corpus_.target_length(pair);
    if (!chosen.empty() && std::max(source_rows, target_rows) > tokens_) break;
    chosen.push_back(pair);
    ++place_.index;
  }
  return chosen;
}

}  // namespace fovea::fit
