#include "wordpieces.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <fstream>
#include <set>
#include <stdexcept>
#include <string_view>
#include <unordered_map>

#include "fovea/text.h"
#include "text/basic_words.h"

namespace fovea::train {
namespace {

constexpr std::string_view kWordMark = "\xE2\x96\x81";  // U+2581: SentencePiece's space

// Texts as the words that WordPiece will see, some hundreds a line: SentencePiece passes over lines
// that are too long.
class WordLines : public sentencepiece::SentenceIterator {
 public:
  explicit WordLines(const std::vector<std::string>& texts) {
    constexpr std::size_t kWords = 200;
    for (const std::string& text : texts) {
      std::size_t words = 0;
      for (const BasicWord& word : basic_words(code_points(text), BasicRules{})) {
        if (words++ % kWords == 0) lines_.emplace_back();
        if (!lines_.back().empty()) lines_.back() += ' ';
        lines_.back() += to_utf8(word.text);
      }
    }
  }
  bool empty() const { return lines_.empty(); }
  bool done() const override { return at_ >= lines_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return lines_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string> lines_;
  std::size_t at_ = 0;
};

std::vector<std::string> merged_pieces(WordLines& lines, int size) {
  const std::unordered_map<std::string, std::string> options = {
      {"model_type", "bpe"},
      {"character_coverage", "0.9999"},
      {"normalization_rule_name", "identity"},
      {"split_by_unicode_script", "false"},
      {"split_by_number", "false"},
      {"max_sentence_length", "1000000"},
      {"unk_id", "0"},
      {"bos_id", "-1"},
      {"eos_id", "-1"},
      {"pad_id", "-1"},
      {"hard_vocab_limit", "false"},
      {"num_threads", "1"},
      {"minloglevel", "2"},
      {"vocab_size", std::to_string(size)}};
  std::string model;
  sentencepiece::SentencePieceProcessor processor;
  const auto trained = sentencepiece::SentencePieceTrainer::Train(options, &lines, &model);
  if (!trained.ok() || !processor.LoadFromSerializedProto(model).ok()) {
    throw std::runtime_error("cannot learn a vocabulary of " + std::to_string(size) +
                             " pieces from this text (try another --vocab): " +
                             trained.ToString());
  }
  std::vector<std::string> pieces;
  for (int id = 1; id < processor.GetPieceSize(); ++id) pieces.push_back(processor.IdToPiece(id));
  return pieces;
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  if (!out) throw std::runtime_error(path + ": cannot write (is the disk full?)");
}

}  // namespace

void learn_wordpieces(const std::vector<std::string>& texts, int size, int window,
                      const std::string& folder) {
  WordLines lines(texts);
  if (lines.empty()) throw std::runtime_error("the training text has no words");
  const std::vector<std::string> merged = merged_pieces(lines, size);
  std::vector<std::string> pieces;
  std::set<std::string> seen;
  const auto put = [&](const std::string& piece) {
    if (seen.insert(piece).second) pieces.push_back(piece);
  };
  for (const char* special : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) put(special);
  std::set<std::string> characters;
  for (const std::string& piece : merged) {
    if (piece != kWordMark && code_points(piece).size() == 1) characters.insert(piece);
  }
  for (const std::string& character : characters) {
    put(character);
    put("##" + character);
  }
  for (const std::string& piece : merged) {
    if (pieces.size() >= static_cast<std::size_t>(size)) break;
    if (piece == kWordMark) continue;
    const bool begins = piece.starts_with(kWordMark);
    put(begins ? piece.substr(kWordMark.size()) : "##" + piece);
  }
  std::string vocabulary;
  for (const std::string& piece : pieces) vocabulary += piece + "\n";
  write_text(folder + "/vocab.txt", vocabulary);
  write_text(folder + "/tokenizer_config.json",
             "{\n  \"tokenizer_class\": \"BertTokenizer\",\n  \"do_lower_case\": true,\n"
             "  \"strip_accents\": null,\n  \"tokenize_chinese_chars\": true,\n"
             "  \"model_max_length\": " +
                 std::to_string(window) +
                 ",\n  \"pad_token\": \"[PAD]\",\n  \"unk_token\": \"[UNK]\",\n"
                 "  \"cls_token\": \"[CLS]\",\n  \"sep_token\": \"[SEP]\",\n"
                 "  \"mask_token\": \"[MASK]\"\n}\n");
}

}  // namespace fovea::train
