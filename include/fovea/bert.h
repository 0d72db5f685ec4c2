// A reader: a BERT encoder, one query that pools what it read, and a choice of labels. Ids in,
// probabilities and what they rest on out; it knows no text.
//
//   h_j   the encoder's last state of piece j, as transformers' BertModel computes it
//   p     softmax_j(<query, h_j>)      c = sum_j p_j h_j       over the pieces of the text
//   z_l   <w_l, c> + b_l                         probabilities softmax(z)
//
//   pieces [n]   ->   weights p [n]    probabilities [C]    evidence [C, n]
//   evidence_lj = p_j (<w_l, h_j> - mean over the labels of the same)
//
// Keys and values are the states themselves: a key projection in front of a single query, and a value
// projection behind which all is linear, would change nothing that training cannot. So the label's
// score is a sum over pieces, and evidence is its exact share of each: z_l less the mean of z is the sum
// of the label's evidence and of its bias less the mean bias. A query of zeros makes p uniform: the
// plain mean is the same model, code and shapes.
//
// Windows  The encoder reads at most `positions` ids at once. A text of n pieces is read in
//          ceil(n / (positions - 2)) windows, as equal as can be, the longer ones first, each between [CLS]
//          and [SEP]. The pooling runs over the pieces of all of them; [CLS] and [SEP] are not pooled.
//          Nothing is left out.
//
// The folder is Hugging Face's own (config.json of model_type "bert", model.safetensors) and adds
// fovea.pooling.query [d], fovea.classifier.weight [C, d] and .bias [C], and in config.json
// id2label and "fovea": {"pooling": "attention" or "mean"}.
//
// Edge       a text without pieces has the probabilities of the biases alone
// Accuracy   states and probabilities within 1e-4 of transformers'
// Same bits  a result depends on the text, not on its neighbours in the batch or on threads
// Throws     Error naming file, tensor, field or text
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fovea/threads.h"

namespace fovea {

struct BertInfo {
  int width = 0;  // hidden_size
  int layers = 0;
  int heads = 0;
  int vocabulary = 0;
  int positions = 0;  // the most ids in a window, [CLS] and [SEP] among them
  std::vector<std::string> labels;
  bool mean = false;  // the query is zero by construction
  std::int64_t parameters = 0;
};

// What stands before and after every window.
struct WindowEnds {
  std::int32_t begin = 0;  // [CLS]
  std::int32_t end = 0;    // [SEP]
};

struct ReadText {
  std::vector<double> probabilities;  // [C]
  std::vector<float> weights;         // [n], sum to 1
  std::vector<float> evidence;        // [C, n]
  int windows = 0;
};

// How many pieces each window of a text takes.
std::vector<std::int32_t> window_lengths(std::int64_t pieces, std::int64_t positions);

class BertReader {
 public:
  static BertReader load(const std::filesystem::path& folder);
  BertReader(BertReader&&) noexcept;
  BertReader& operator=(BertReader&&) noexcept;
  ~BertReader();

  const BertInfo& info() const;

  // Texts as their pieces, without [CLS] and [SEP].
  std::vector<ReadText> read(std::span<const std::vector<std::int32_t>> texts, WindowEnds ends,
                             Threads& threads) const;

  // The states of one window, [ids, width]; `ids` are taken as they are.
  std::vector<float> states(std::span<const std::int32_t> ids, Threads& threads) const;

 private:
  struct State;
  explicit BertReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fovea
