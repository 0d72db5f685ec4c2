#include "fovea/classifier.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "fovea/alignment.h"
#include "fovea/error.h"
#include "fovea/text.h"

namespace fovea {
namespace {

void check_utf8_text(const std::string& text, std::size_t index) {
  if (const auto bad = invalid_utf8(text)) {
    throw Error("text " + std::to_string(index + 1) + ", byte " + std::to_string(*bad + 1) +
                " is not UTF-8; convert it, for example with iconv -f latin1 -t utf-8");
  }
}

Classification classification_of(const std::string& text, const Pieces& pieces,
                                 const ReadText& read, const std::vector<std::string>& labels) {
  Classification result;
  result.text = text;
  result.words = words(text);
  result.weights.resize(result.words.size());
  result.evidence.resize(result.words.size());
  result.pieces = static_cast<std::int32_t>(pieces.ids.size());
  result.windows = read.windows;
  if (pieces.ids.empty()) return result;

  std::vector<std::size_t> order(labels.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater{},
                           [&](std::size_t l) { return read.probabilities[l]; });
  for (const std::size_t l : order) result.labels.push_back({labels[l], read.probabilities[l]});

  const float* evidence = read.evidence.data() + order[0] * pieces.ids.size();
  const PieceOwners owners = owners_of(pieces.spans, result.words);
  for (std::size_t j = 0; j < pieces.ids.size(); ++j) {
    const bool of_word = owners.word[j] >= 0 && owners.in_core[j] != 0;
    const auto word = static_cast<std::size_t>(std::max(owners.word[j], 0));
    (of_word ? result.weights[word] : result.punctuation_weight) += read.weights[j];
    (of_word ? result.evidence[word] : result.punctuation_evidence) += evidence[j];
  }
  return result;
}

}  // namespace

struct Classifier::State {
  WordPiece tokenizer;
  BertReader reader;
};

Classifier::Classifier(std::unique_ptr<State> state) : state_(std::move(state)) {}
Classifier::Classifier(Classifier&&) noexcept = default;
Classifier& Classifier::operator=(Classifier&&) noexcept = default;
Classifier::~Classifier() = default;

Classifier Classifier::load(const std::filesystem::path& folder) {
  BertReader reader = BertReader::load(folder);  // first: it knows whether this is a reader at all
  WordPiece tokenizer = WordPiece::load(folder);
  if (tokenizer.facts().size > reader.info().vocabulary) {
    throw Error((folder / "vocab.txt").string() + ": " + std::to_string(tokenizer.facts().size) +
                " pieces, but the model's embedding has " +
                std::to_string(reader.info().vocabulary) + "; they belong to different models");
  }
  return Classifier(std::make_unique<State>(State{std::move(tokenizer), std::move(reader)}));
}

const BertInfo& Classifier::info() const { return state_->reader.info(); }
const WordPieceFacts& Classifier::tokenizer() const { return state_->tokenizer.facts(); }

std::vector<Classification> Classifier::classify(std::span<const std::string> texts,
                                                 Threads& threads) const {
  std::vector<Pieces> pieces;
  std::vector<std::vector<std::int32_t>> ids;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    check_utf8_text(texts[i], i);
    pieces.push_back(state_->tokenizer.encode(texts[i]));
    ids.push_back(pieces.back().ids);
  }
  const WindowEnds ends{state_->tokenizer.facts().begin, state_->tokenizer.facts().end};
  const std::vector<ReadText> read = state_->reader.read(ids, ends, threads);
  std::vector<Classification> results;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    results.push_back(
        classification_of(texts[i], pieces[i], read[i], state_->reader.info().labels));
  }
  return results;
}

}  // namespace fovea
