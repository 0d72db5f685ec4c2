#include "fovea/wordpiece.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/file.h"
#include "fovea/error.h"
#include "fovea/text.h"
#include "text/basic_words.h"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::size_t kLongestWord = 100;  // characters; BERT's own limit
constexpr std::string_view kGoesOn = "##";

// The special tokens, by their keys in tokenizer_config.json, under the names that BERT gives them.
struct Special {
  const char* key;
  std::string text;
};

struct Settings {
  BasicRules rules;
  std::array<Special, 5> special = {{{"pad_token", "[PAD]"},
                                     {"unk_token", "[UNK]"},
                                     {"cls_token", "[CLS]"},
                                     {"sep_token", "[SEP]"},
                                     {"mask_token", "[MASK]"}}};
};

std::optional<bool> flag(const Json& config, const char* key, const std::string& name) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return std::nullopt;
  if (!found->is_boolean()) throw Error(name + ": " + key + " is not true or false");
  return found->get<bool>();
}

Settings parse_settings(std::string_view text, const std::string& name) {
  Settings settings;
  const Json config = Json::parse(text.begin(), text.end(), nullptr, false);
  if (!config.is_object()) throw Error(name + ": not a JSON object");
  BasicRules& rules = settings.rules;
  rules.lower_case = flag(config, "do_lower_case", name).value_or(true);
  rules.strip_accents = flag(config, "strip_accents", name).value_or(rules.lower_case);
  rules.chinese_alone = flag(config, "tokenize_chinese_chars", name).value_or(true);
  for (Special& special : settings.special) {
    const auto found = config.find(special.key);
    if (found == config.end() || found->is_null()) continue;
    const Json& value =
        found->is_object() && found->contains("content") ? (*found)["content"] : *found;
    if (!value.is_string() || value.get_ref<const std::string&>().empty()) {
      throw Error(name + ": " + special.key + " is not a token's text");
    }
    special.text = value.get<std::string>();
  }
  return settings;
}

// For hashing without a copy.
struct Hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>{}(text);
  }
};
using Ids = std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>>;

Ids parse_vocabulary(std::string_view text, const std::string& name) {
  Ids ids;
  std::int32_t line = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view piece = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (piece.ends_with('\r')) piece.remove_suffix(1);
    const std::string where = name + ":" + std::to_string(line + 1) + ": ";
    if (piece.empty()) throw Error(where + "an empty line; expected one piece a line");
    if (invalid_utf8(piece)) throw Error(where + "not UTF-8");
    if (!ids.emplace(piece, line).second) {
      throw Error(where + "piece \"" + std::string(piece) + "\" stands here for the second time");
    }
    ++line;
  }
  if (ids.empty()) throw Error(name + ": holds no pieces; expected one a line");
  return ids;
}

}  // namespace

struct WordPiece::State {
  Settings settings;
  Ids ids;
  std::vector<const std::string*> texts;                             // of each id
  std::vector<std::pair<std::u32string, std::int32_t>> written_out;  // the special tokens
  WordPieceFacts facts;

  void add(std::int32_t id, std::int32_t begin, std::int32_t end, Pieces& pieces) const {
    pieces.ids.push_back(id);
    pieces.texts.push_back(*texts[static_cast<std::size_t>(id)]);
    pieces.spans.push_back({begin, end});
  }

  // A special token written out in the text.
  struct Found {
    std::size_t at = 0, length = 0;
    std::int32_t id = 0;
  };
  std::optional<Found> next_special(const std::u32string& text, std::size_t from) const {
    std::optional<Found> first;
    for (const auto& [name, id] : written_out) {
      const std::size_t at = text.find(name, from);
      if (at != std::u32string::npos && (!first || at < first->at)) first = {at, name.size(), id};
    }
    return first;
  }

  // The pieces of a word, or none if it cannot be cut into them.
  bool cut(const BasicWord& word, Pieces& pieces) const {
    const std::size_t size = word.text.size();
    const std::size_t before = pieces.ids.size();
    for (std::size_t at = 0; at < size;) {
      std::string rest = (at > 0 ? std::string(kGoesOn) : std::string()) +
                         to_utf8(std::u32string_view(word.text).substr(at));
      std::size_t end = size;
      auto found = ids.find(rest);
      while (found == ids.end() && end > at + 1) {
        // One code point shorter.
        while ((static_cast<unsigned char>(rest.back()) & 0xC0u) == 0x80u) rest.pop_back();
        rest.pop_back();
        --end;
        found = ids.find(rest);
      }
      if (found == ids.end()) {
        pieces.ids.resize(before);
        pieces.texts.resize(before);
        pieces.spans.resize(before);
        return false;
      }
      add(found->second, word.places[at], word.places[end - 1] + 1, pieces);
      at = end;
    }
    return true;
  }

  void encode_plain(std::u32string_view text, std::int32_t first, Pieces& pieces) const {
    for (const BasicWord& word : basic_words(text, settings.rules, first)) {
      if (word.text.size() <= kLongestWord && cut(word, pieces)) continue;
      add(facts.unknown, word.places.front(), word.places.back() + 1, pieces);
    }
  }
};

WordPiece::WordPiece(std::unique_ptr<State> state) : state_(std::move(state)) {}
WordPiece::WordPiece(WordPiece&&) noexcept = default;
WordPiece& WordPiece::operator=(WordPiece&&) noexcept = default;
WordPiece::~WordPiece() = default;

WordPiece WordPiece::load(const fs::path& folder) {
  const fs::path settings_path = folder / "tokenizer_config.json";
  std::optional<FileBytes> settings;
  if (fs::exists(settings_path)) settings = FileBytes::open(settings_path);
  const FileBytes vocabulary = FileBytes::open(folder / "vocab.txt");
  WordPieceFiles files{vocabulary.text(), vocabulary.name(), {}, settings_path.string()};
  if (settings) files.settings = settings->text();
  return parse(files);
}

WordPiece WordPiece::parse(const WordPieceFiles& files) {
  auto state = std::make_unique<State>();
  if (files.settings) state->settings = parse_settings(*files.settings, files.settings_name);
  state->ids = parse_vocabulary(files.vocabulary, files.vocabulary_name);
  state->texts.resize(state->ids.size());
  for (const auto& [text, id] : state->ids) state->texts[static_cast<std::size_t>(id)] = &text;
  for (const Special& special : state->settings.special) {
    const auto found = state->ids.find(special.text);
    if (found == state->ids.end()) {
      throw Error(files.vocabulary_name + ": no piece \"" + special.text +
                  "\", which BERT's layout has");
    }
    state->written_out.emplace_back(code_points(special.text), found->second);
  }
  const auto id_of = [&](std::size_t special) { return state->written_out[special].second; };
  state->facts.size = static_cast<int>(state->ids.size());
  state->facts.pad = id_of(0);
  state->facts.unknown = id_of(1);
  state->facts.begin = id_of(2);
  state->facts.end = id_of(3);
  state->facts.lower_case = state->settings.rules.lower_case;
  return WordPiece(std::move(state));
}

const WordPieceFacts& WordPiece::facts() const { return state_->facts; }

Pieces WordPiece::encode(std::string_view text) const {
  const std::u32string all = code_points(text);
  Pieces pieces;
  std::size_t done = 0;
  const auto encode_to = [&](std::size_t end) {
    state_->encode_plain(std::u32string_view(all).substr(done, end - done),
                         static_cast<std::int32_t>(done), pieces);
  };
  while (const auto found = state_->next_special(all, done)) {
    encode_to(found->at);
    done = found->at + found->length;
    state_->add(found->id, static_cast<std::int32_t>(found->at), static_cast<std::int32_t>(done),
                pieces);
  }
  encode_to(all.size());
  return pieces;
}

}  // namespace fovea
