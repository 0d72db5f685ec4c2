#include "text_batches.h"

#include "dropout.h"

namespace fovea::fit {

TextBatch text_batch(const Corpus& corpus, const std::vector<std::int64_t>& chosen, int positions,
                     const Masking& masking, torch::Device device) {
  TextBatch batch;
  std::vector<std::int32_t> ids, at;
  std::vector<std::int64_t> piece_rows, labels;
  const std::int32_t room = positions - 2;
  const auto bar = static_cast<std::uint64_t>(masking.share * 9007199254740992.0);  // of 2^53
  for (const std::int64_t text : chosen) {
    const std::int32_t length = corpus.source_length(text);
    const std::int32_t* pieces = corpus.source(text);
    const auto number = static_cast<std::int32_t>(batch.texts.size());
    batch.texts.push_back({number, 1, static_cast<std::int32_t>(piece_rows.size()), length});
    labels.push_back(*corpus.target(text));
    std::uint64_t state = mix(masking.key ^ mix(static_cast<std::uint64_t>(text)));
    const std::int32_t windows = (length + room - 1) / room;
    for (std::int32_t w = 0, next = 0; w < windows; ++w) {
      const std::int32_t count = length / windows + (w < length % windows ? 1 : 0);
      const auto start = static_cast<std::int32_t>(ids.size());
      batch.windows.push_back({start, count + 2, start, count + 2});
      ids.push_back(kBeginPiece);
      for (std::int32_t i = 0; i < count; ++i, ++next) {
        state = mix(state);
        piece_rows.push_back(static_cast<std::int64_t>(ids.size()));
        ids.push_back((state >> 11) < bar ? kMaskPiece : pieces[next]);
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
