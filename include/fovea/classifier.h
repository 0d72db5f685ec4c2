// Texts in; their labels, and which words that rests on, out: a BERT folder that fovea train --task
// classify wrote (fovea/bert.h, fovea/wordpiece.h).
//
// Words    weights and evidence of a word are the sums over its pieces; the pieces of punctuation
//          at words' ends stand apart. All of them together: weights sum to 1, and evidence to what
//          the label's score has over the mean of all labels, less the same of the biases.
// Empty    a text without pieces (white space, controls) has no labels, and the model is not asked.
// Long     nothing is cut off: see Windows in fovea/bert.h
// Throws   Error naming the file, field, or the text (from 1) that is not UTF-8
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fovea/bert.h"
#include "fovea/record.h"
#include "fovea/threads.h"
#include "fovea/wordpiece.h"

namespace fovea {

class Classifier {
 public:
  static Classifier load(const std::filesystem::path& folder);
  Classifier(Classifier&&) noexcept;
  Classifier& operator=(Classifier&&) noexcept;
  ~Classifier();

  const BertInfo& info() const;
  const WordPieceFacts& tokenizer() const;

  // In the order of the texts.
  std::vector<Classification> classify(std::span<const std::string> texts, Threads& threads) const;

 private:
  struct State;
  explicit Classifier(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fovea
