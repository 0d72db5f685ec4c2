// A MarianMT translation model: ids in, ids and records of attention out. It knows no text.
//
// The folder is Hugging Face's own: config.json, generation_config.json, model.safetensors. What
// transformers' MarianMTModel computes from it, this computes (logits within 1e-4 of the largest).
// Search follows transformers: generation_config.json wins over config.json;
//   score = sum of log-probabilities / (generated length, end of sentence counted) ^ length_penalty.
//
// Letters: L decoder layers, H heads, S source ids, T target ids, V vocabulary.
// Same bits  a result depends on the sentence, not on its neighbours in the batch or on threads, as far
//            as docs/performance.md measures.
// Throws     Error naming file, tensor or field.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "fovea/threads.h"

namespace fovea {

// What the translator needs to know of config.json and generation_config.json.
struct MarianInfo {
  int width = 0;  // d_model
  int encoder_layers = 0;
  int decoder_layers = 0;
  int encoder_heads = 0;
  int decoder_heads = 0;
  int source_vocabulary = 0;
  int target_vocabulary = 0;
  int positions = 0;  // longest source or target, in ids
  std::int32_t pad = 0;
  std::int32_t end = 0;    // end of sentence
  std::int32_t start = 0;  // first decoder input
  int beams = 1;
  double length_penalty = 1;
  int max_length = 0;
  std::int64_t parameters = 0;
};

// What is not given is taken from the model folder.
struct SearchOptions {
  std::optional<int> beams;  // 1: greedy
  int n_best = 1;            // at most beams
  std::optional<double> length_penalty;
  std::optional<int> max_length;  // of the target, with start and end
};

struct IdHypothesis {
  std::vector<std::int32_t> ids;  // without the start id, with the end id if it was reached
  double log_prob = 0;            // sum of log-probabilities of `ids`
  double score = 0;               // what the beam ranked by
};

// Cross-attention of one teacher-forced pass. Step t reads decoder input t (the start id, then
// target[0], target[1], ...) and predicts target[t].
struct CrossAttention {
  int layers = 0;
  int heads = 0;
  int steps = 0;               // T
  int keys = 0;                // S
  std::vector<float> weights;  // [L, H, T, S]; each row sums to 1
  // [L, S, H, H]: <f_g(v_j), f_h(v_j)>, f_h(v_j) = head h's part of the output projection of value j.
  // The norm of what key j brings at step t is sqrt(sum_gh p_g p_h products_gh), p_h = weights[., h, t, j].
  std::vector<float> value_products;
};

class Marian {
 public:
  static Marian load(const std::filesystem::path& folder);
  Marian(Marian&&) noexcept;
  Marian& operator=(Marian&&) noexcept;
  ~Marian();

  const MarianInfo& info() const;

  // One list of hypotheses (best first) for each source. Sources end with the end id.
  std::vector<std::vector<IdHypothesis>> search(std::span<const std::vector<std::int32_t>> sources,
                                                const SearchOptions& options,
                                                Threads& threads) const;

  // Logits of every step, [T, V], for a given target.
  std::vector<float> logits(std::span<const std::int32_t> source,
                            std::span<const std::int32_t> target, Threads& threads) const;

  CrossAttention cross_attention(std::span<const std::int32_t> source,
                                 std::span<const std::int32_t> target, Threads& threads) const;

 private:
  struct State;
  explicit Marian(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fovea
