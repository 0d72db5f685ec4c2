#include "vocabulary.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <unordered_map>

namespace fovea::train {
namespace {

constexpr std::int32_t kEndId = 0;

class SideBySide : public sentencepiece::SentenceIterator {
 public:
  explicit SideBySide(const std::vector<TextPair>& pairs) : pairs_(pairs) {}
  bool done() const override { return at_ >= 2 * pairs_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override {
    return at_ % 2 == 0 ? pairs_[at_ / 2].source : pairs_[at_ / 2].target;
  }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<TextPair>& pairs_;
  std::size_t at_ = 0;
};

void check(const sentencepiece::util::Status& status, const std::string& doing) {
  if (status.ok()) return;
  // "Internal: ./src/file.cc(1) [condition] What it means."
  std::string what = status.ToString();
  const std::size_t place = what.rfind("] ");
  if (place != std::string::npos) what.erase(0, place + 2);
  throw std::runtime_error(doing + ": " + what);
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      constexpr char kHex[] = "0123456789abcdef";
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.flush();
  if (!out) throw std::runtime_error(path + ": cannot write (is the disk full?)");
}

}  // namespace

Vocabulary::Vocabulary(std::string model)
    : model_(std::move(model)),
      processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
  check(processor_->LoadFromSerializedProto(model_), "vocabulary");
}
Vocabulary::~Vocabulary() = default;
Vocabulary::Vocabulary(Vocabulary&&) noexcept = default;

Vocabulary Vocabulary::learn(const std::vector<TextPair>& pairs, int size) {
  // The model's own ids are laid out so that vocab.json is the identity plus <pad> at the end.
  // nmt_nfkc folds the no-break spaces of French punctuation into plain ones; sentencepiece keeps
  // the way back to the reader's text. A fixed number of threads keeps the sums of the training,
  // and so the pieces, the same.
  const std::unordered_map<std::string, std::string> options = {
      {"model_type", "unigram"},
      {"character_coverage", "0.9999"},
      {"normalization_rule_name", "nmt_nfkc"},
      {"unk_id", "1"},
      {"eos_id", "0"},
      {"bos_id", "-1"},
      {"pad_id", "-1"},
      {"hard_vocab_limit", "false"},  // a small text gives fewer pieces
      {"num_threads", "4"},
      {"input_sentence_size", "0"},
      {"minloglevel", "2"},
      {"vocab_size", std::to_string(size - 1)}};
  SideBySide sentences(pairs);
  std::string model;
  check(sentencepiece::SentencePieceTrainer::Train(options, &sentences, &model),
        "cannot learn a vocabulary of " + std::to_string(size) +
            " pieces from this text (try another --vocab)");
  return Vocabulary(std::move(model));
}

Vocabulary Vocabulary::load(const std::string& folder) {
  const std::string path = folder + "/source.spm";
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error(path + ": cannot open");
  return Vocabulary(std::string(std::istreambuf_iterator<char>(in), {}));
}

int Vocabulary::size() const { return processor_->GetPieceSize() + 1; }

std::vector<std::int32_t> Vocabulary::encode(std::string_view text) const {
  std::vector<int> ids;
  check(processor_->Encode(text, &ids), "cannot split a sentence into pieces");
  ids.push_back(kEndId);
  return {ids.begin(), ids.end()};
}

void Vocabulary::write(const std::string& folder, const std::string& source_language,
                       const std::string& target_language) const {
  write_text(folder + "/source.spm", model_);
  write_text(folder + "/target.spm", model_);
  std::string json = "{\n";
  for (int id = 0; id < processor_->GetPieceSize(); ++id) {
    json += json_string(processor_->IdToPiece(id)) + ": " + std::to_string(id) + ",\n";
  }
  json += "\"<pad>\": " + std::to_string(processor_->GetPieceSize()) + "\n}\n";
  write_text(folder + "/vocab.json", json);
  write_text(folder + "/tokenizer_config.json",
             "{\n  \"tokenizer_class\": \"MarianTokenizer\",\n  \"source_lang\": " +
                 json_string(source_language) +
                 ",\n  \"target_lang\": " + json_string(target_language) +
                 ",\n  \"separate_vocabs\": false,\n  \"model_max_length\": 512,\n"
                 "  \"unk_token\": \"<unk>\",\n  \"eos_token\": \"</s>\",\n  \"pad_token\": "
                 "\"<pad>\"\n}\n");
  write_text(folder + "/special_tokens_map.json",
             "{\"unk_token\": \"<unk>\", \"eos_token\": \"</s>\", \"pad_token\": \"<pad>\"}\n");
}

}  // namespace fovea::train
