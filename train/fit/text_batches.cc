#include "text_batches.h"

#include "dropout.h"

namespace fovea::fit {

namespace {

// What is left of a text; its first piece where nothing is.
std::vector<std::int32_t> kept_pieces(const std::int32_t* pieces, std::int32_t length,
                                      const Thinning& thinning, std::int64_t text) {
  const auto bar = static_cast<std::uint64_t>(thinning.share * 9007199254740992.0);  // of 2^53
  std::uint64_t state = mix(thinning.key ^ mix(static_cast<std::uint64_t>(text)));
  std::vector<std::int32_t> kept;
  for (std::int32_t i = 0; i < length; ++i) {
    state = mix(state);
    if ((state >> 11) >= bar) kept.push_back(pieces[i]);
  }
  if (kept.empty()) kept.push_back(pieces[0]);
  return kept;
}

}  // namespace

TextBatch text_batch(const Corpus& corpus, const std::vector<std::int64_t>& chosen, int positions,
                     const Thinning& thinning, torch::Device device) {
  TextBatch batch;
  std::vector<std::int32_t> ids, at;
  std::vector<std::int64_t> piece_rows, labels;
  const std::int32_t room = positions - 2;
  for (const std::int64_t text : chosen) {
    const std::vector<std::int32_t> pieces =
        kept_pieces(corpus.source(text), corpus.source_length(text), thinning, text);
    const auto length = static_cast<std::int32_t>(pieces.size());
    const auto number = static_cast<std::int32_t>(batch.texts.size());
    batch.texts.push_back({number, 1, static_cast<std::int32_t>(piece_rows.size()), length});
    labels.push_back(*corpus.target(text));
    const std::int32_t windows = (length + room - 1) / room;
    for (std::int32_t w = 0, next = 0; w < windows; ++w) {
      const std::int32_t count = length / windows + (w < length % windows ? 1 : 0);
      const auto start = static_cast<std::int32_t>(ids.size());
      batch.windows.push_back({start, count + 2, start, count + 2});
      ids.push_back(kBeginPiece);
      for (std::int32_t i = 0; i < count; ++i) {
        piece_rows.push_back(static_cast<std::int64_t>(ids.size()));
        ids.push_back(pieces[next++]);
      }
      ids.push_back(kEndPiece);
      for (std::int32_t i = 0; i < count + 2; ++i) at.push_back(i);
    }
  }
  batch.ids = torch::tensor(ids, torch::kInt).to(device);
  batch.at = torch::tensor(at, torch::kInt).to(device);
  batch.piece_rows = torch::tensor(piece_rows, torch::kLong).to(device);
  batch.labels = torch::tensor(labels, torch::kLong).to(device);
  return batch;
}

}  // namespace fovea::fit
