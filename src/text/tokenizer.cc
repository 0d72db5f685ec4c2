#include "fovea/tokenizer.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/file.h"
#include "fovea/error.h"
#include "fovea/text.h"
#include "text/vocabulary.h"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using sentencepiece::ImmutableSentencePieceText;
using sentencepiece::SentencePieceProcessor;
using Json = nlohmann::json;

constexpr std::string_view kWordMark = "\xE2\x96\x81";  // U+2581, SentencePiece's white space

// The names of the special tokens and the one switch of tokenizer_config.json.
struct Settings {
  std::string end = "</s>";
  std::string unknown = "<unk>";
  std::string pad = "<pad>";
  bool separate_vocabularies = false;
};

// Either a string or {"content": a string}, as transformers writes them.
void take_token(const Json& config, const char* key, const std::string& name, std::string& token) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return;
  const Json* value = &*found;
  if (value->is_object() && value->contains("content")) value = &(*value)["content"];
  if (!value->is_string() || value->get_ref<const std::string&>().empty()) {
    throw Error(name + ": " + key + " is not a token's text");
  }
  token = value->get<std::string>();
}

Settings read_settings(const fs::path& path) {
  Settings settings;
  if (!fs::exists(path)) return settings;  // older models have none
  const FileBytes file = FileBytes::open(path);
  const std::string_view text = file.text();
  const Json config = Json::parse(text.begin(), text.end(), nullptr, false);
  if (!config.is_object()) throw Error(file.name() + ": not a JSON object");
  take_token(config, "eos_token", file.name(), settings.end);
  take_token(config, "unk_token", file.name(), settings.unknown);
  take_token(config, "pad_token", file.name(), settings.pad);
  if (const auto found = config.find("separate_vocabs"); found != config.end()) {
    if (!found->is_boolean()) throw Error(file.name() + ": separate_vocabs is not true or false");
    settings.separate_vocabularies = found->get<bool>();
  }
  return settings;
}

std::unique_ptr<SentencePieceProcessor> load_pieces(const fs::path& path) {
  const FileBytes file = FileBytes::open(path);
  auto processor = std::make_unique<SentencePieceProcessor>();
  const auto status = processor->LoadFromSerializedProto(file.text());
  if (!status.ok() || processor->GetPieceSize() == 0) {
    throw Error(file.name() + ": not a SentencePiece model; copy it again from where it came");
  }
  return processor;
}

// Pieces that text can become and that have no id. Most of them without one: another model's file.
int count_unknown(const SentencePieceProcessor& processor, const Vocabulary& vocabulary,
                  const fs::path& path, const std::string& vocabulary_name) {
  int pieces = 0;
  int unknown = 0;
  for (int i = 0; i < processor.GetPieceSize(); ++i) {
    if (processor.IsControl(i) || processor.IsUnknown(i) || processor.IsUnused(i)) continue;
    ++pieces;
    if (vocabulary.id(processor.IdToPiece(i)) < 0) ++unknown;
  }
  if (2 * unknown > pieces) {
    throw Error(path.string() + ": " + std::to_string(unknown) + " of its " +
                std::to_string(pieces) + " pieces are not in " + vocabulary_name +
                "; it belongs to another model");
  }
  return unknown;
}

// Code points that begin before each byte offset of `text`.
std::vector<std::int32_t> offsets_in_code_points(std::string_view text) {
  std::vector<std::int32_t> offsets(text.size() + 1);
  std::int32_t count = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool begins = (static_cast<unsigned char>(text[i]) & 0xC0u) != 0x80u;
    offsets[i] = begins ? count++ : count - 1;
  }
  offsets[text.size()] = count;
  return offsets;
}

// `span` without white space at its ends. White space only: empty, at the span's end, which is
// where the word begins that the mark stands before.
Span trimmed(std::u32string_view text, Span span) {
  const auto space = [&](std::int32_t i) { return is_space(text[static_cast<std::size_t>(i)]); };
  while (span.begin < span.end && space(span.begin)) ++span.begin;
  while (span.end > span.begin && space(span.end - 1)) --span.end;
  return span;
}

}  // namespace

struct MarianTokenizer::State {
  Settings settings;
  TokenizerFacts facts;
  std::unique_ptr<SentencePieceProcessor> source, target;
  Vocabulary source_vocabulary;
  std::optional<Vocabulary> own_target_vocabulary;

  const Vocabulary& target_vocabulary() const {
    return own_target_vocabulary ? *own_target_vocabulary : source_vocabulary;
  }

  std::int32_t id_of(const Vocabulary& vocabulary, std::string_view piece) const {
    const std::int32_t id = vocabulary.id(piece);
    return id >= 0 ? id : vocabulary.id(settings.unknown);
  }

  // The special token that `text` begins with; empty if none.
  std::string_view special_at(std::string_view text) const {
    for (const std::string* token : {&settings.end, &settings.unknown, &settings.pad}) {
      if (source_vocabulary.id(*token) >= 0 && text.substr(0, token->size()) == *token) {
        return *token;
      }
    }
    return {};
  }

  Pieces encode(std::string_view text, const SentencePieceProcessor& processor,
                const Vocabulary& vocabulary) const;
  void append(Pieces& pieces, std::string_view chunk, std::size_t chunk_begin,
              const SentencePieceProcessor& processor, const Vocabulary& vocabulary) const;
};

// Pieces of a text that holds no special token; spans in bytes, shifted by chunk_begin.
void MarianTokenizer::State::append(Pieces& pieces, std::string_view chunk, std::size_t chunk_begin,
                                    const SentencePieceProcessor& processor,
                                    const Vocabulary& vocabulary) const {
  const auto add = [&](std::string_view piece, std::size_t begin, std::size_t end) {
    pieces.ids.push_back(id_of(vocabulary, piece));
    pieces.texts.emplace_back(piece);
    pieces.spans.push_back({static_cast<std::int32_t>(chunk_begin + begin),
                            static_cast<std::int32_t>(chunk_begin + end)});
  };
  std::size_t code = 0;
  if (chunk.substr(0, 2) == ">>") {
    const std::size_t close = chunk.find("<<");
    if (close != std::string_view::npos) code = close + 2;
  }
  if (code > 0) add(chunk.substr(0, code), 0, code);
  ImmutableSentencePieceText encoded;
  const auto status = processor.Encode(chunk.substr(code), encoded.mutable_proto());
  if (!status.ok()) throw Error("tokenizer: SentencePiece: " + status.ToString());
  for (const auto& piece : encoded.pieces()) {
    add(piece.piece(), code + piece.begin(), code + piece.end());
  }
}

Pieces MarianTokenizer::State::encode(std::string_view text,
                                      const SentencePieceProcessor& processor,
                                      const Vocabulary& vocabulary) const {
  if (const auto bad = invalid_utf8(text)) {
    throw Error("tokenizer: byte " + std::to_string(*bad + 1) +
                " is not UTF-8; convert the text to UTF-8");
  }
  Pieces pieces;
  std::size_t begin = 0;
  for (std::size_t at = 0; at <= text.size();) {
    const std::string_view special = at < text.size() ? special_at(text.substr(at)) : "";
    if (special.empty() && at < text.size()) {
      ++at;
      continue;
    }
    if (at > begin) append(pieces, text.substr(begin, at - begin), begin, processor, vocabulary);
    if (at == text.size()) break;
    // Of the source vocabulary even in a target text: transformers does so, and models were trained
    // so.
    pieces.ids.push_back(source_vocabulary.id(special));
    pieces.texts.emplace_back(special);
    pieces.spans.push_back(
        {static_cast<std::int32_t>(at), static_cast<std::int32_t>(at + special.size())});
    at += special.size();
    begin = at;
  }
  const std::vector<std::int32_t> offsets = offsets_in_code_points(text);
  const std::u32string points = code_points(text);
  for (Span& span : pieces.spans) {
    span = trimmed(points, {offsets[static_cast<std::size_t>(span.begin)],
                            offsets[static_cast<std::size_t>(span.end)]});
  }
  pieces.ids.push_back(facts.end);
  pieces.texts.push_back(settings.end);
  pieces.spans.push_back({offsets.back(), offsets.back()});
  return pieces;
}

MarianTokenizer MarianTokenizer::load(const fs::path& folder) {
  if (!fs::is_directory(folder)) {
    throw Error(folder.string() + ": no such folder; a model is a folder with config.json, " +
                "model.safetensors, source.spm, target.spm and vocab.json");
  }
  auto state = std::make_unique<State>();
  state->settings = read_settings(folder / "tokenizer_config.json");
  const auto vocabulary = [&](const char* file) {
    const FileBytes bytes = FileBytes::open(folder / file);
    return Vocabulary::parse(bytes.text(), bytes.name());
  };
  state->source_vocabulary = vocabulary("vocab.json");
  const bool separate = state->settings.separate_vocabularies;
  if (separate) state->own_target_vocabulary = vocabulary("target_vocab.json");
  state->source = load_pieces(folder / "source.spm");
  state->target = load_pieces(folder / "target.spm");

  const Vocabulary& source = state->source_vocabulary;
  const Vocabulary& target = state->target_vocabulary();
  const std::string source_name = (folder / "vocab.json").string();
  TokenizerFacts& facts = state->facts;
  facts.source_size = source.size();
  facts.target_size = target.size();
  facts.end = source.id(state->settings.end);
  facts.unknown = source.id(state->settings.unknown);
  facts.pad = source.id(state->settings.pad);
  if (facts.end < 0) throw Error(source_name + ": it has no " + state->settings.end);
  if (facts.unknown < 0) throw Error(source_name + ": it has no " + state->settings.unknown);
  if (separate && target.id(state->settings.unknown) < 0) {
    throw Error((folder / "target_vocab.json").string() + ": it has no " + state->settings.unknown);
  }
  facts.source_pieces_unknown =
      count_unknown(*state->source, source, folder / "source.spm", "vocab.json");
  facts.target_pieces_unknown = count_unknown(*state->target, target, folder / "target.spm",
                                              separate ? "target_vocab.json" : "vocab.json");
  return MarianTokenizer(std::move(state));
}

MarianTokenizer::MarianTokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
MarianTokenizer::MarianTokenizer(MarianTokenizer&&) noexcept = default;
MarianTokenizer& MarianTokenizer::operator=(MarianTokenizer&&) noexcept = default;
MarianTokenizer::~MarianTokenizer() = default;

const TokenizerFacts& MarianTokenizer::facts() const { return state_->facts; }

Pieces MarianTokenizer::encode(std::string_view text) const {
  return state_->encode(text, *state_->source, state_->source_vocabulary);
}

Pieces MarianTokenizer::encode_target(std::string_view text) const {
  return state_->encode(text, *state_->target, state_->target_vocabulary());
}

DecodedText MarianTokenizer::decode(std::span<const std::int32_t> ids) const {
  const Vocabulary& vocabulary = state_->target_vocabulary();
  const Settings& settings = state_->settings;
  std::vector<std::string> pieces;
  std::vector<std::size_t> places;  // in `ids`, of each piece
  const TokenizerFacts& facts = state_->facts;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] == facts.end || ids[i] == facts.unknown || (ids[i] == facts.pad && facts.pad >= 0)) {
      continue;
    }
    if (ids[i] < 0 || ids[i] >= vocabulary.size()) {
      throw Error("tokenizer: id " + std::to_string(ids[i]) + " is not in the vocabulary of " +
                  std::to_string(vocabulary.size()) + " pieces");
    }
    const std::string& piece = vocabulary.piece(ids[i]);
    if (piece == settings.end || piece == settings.unknown || piece == settings.pad) continue;
    pieces.push_back(piece);
    places.push_back(i);
  }
  // As transformers: a shared vocabulary is decoded by source.spm, an own one by target.spm.
  const SentencePieceProcessor& processor =
      state_->own_target_vocabulary ? *state_->target : *state_->source;
  ImmutableSentencePieceText decoded;
  const auto status = processor.Decode(pieces, decoded.mutable_proto());
  if (!status.ok()) throw Error("tokenizer: SentencePiece: " + status.ToString());

  const std::vector<std::int32_t> offsets = offsets_in_code_points(decoded.text());
  std::u32string text = code_points(decoded.text());
  std::replace(text.begin(), text.end(), code_points(kWordMark)[0], U' ');
  const Span kept = trimmed(text, {0, static_cast<std::int32_t>(text.size())});
  DecodedText result;
  result.text = to_utf8(std::u32string_view(text).substr(
      static_cast<std::size_t>(kept.begin), static_cast<std::size_t>(kept.end - kept.begin)));
  result.spans.assign(ids.size(), Span{});
  std::int32_t end = 0;  // skipped ids stand, empty, where the piece before them ends
  std::size_t next = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (next == places.size() || places[next] != i) {
      result.spans[i] = {end, end};
      continue;
    }
    const auto piece = decoded.pieces(static_cast<int>(next++));
    Span span = trimmed(text, {offsets[piece.begin()], offsets[piece.end()]});
    span.begin = std::clamp(span.begin - kept.begin, 0, kept.end - kept.begin);
    span.end = std::clamp(span.end - kept.begin, span.begin, kept.end - kept.begin);
    result.spans[i] = span;
    end = span.end;
  }
  return result;
}

std::vector<std::int32_t> words_of_pieces(const std::vector<Span>& pieces,
                                          const std::vector<Word>& words) {
  std::vector<std::int32_t> result;
  result.reserve(pieces.size());
  for (const Span& piece : pieces) {
    // The first word that ends after the piece's begin: the one around it, or the next.
    const auto word = std::partition_point(
        words.begin(), words.end(), [&](const Word& w) { return w.span.end <= piece.begin; });
    result.push_back(word == words.end() ? -1 : static_cast<std::int32_t>(word - words.begin()));
  }
  return result;
}

}  // namespace fovea
