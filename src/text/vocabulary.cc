#include "text/vocabulary.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "fovea/error.h"

namespace fovea {
namespace {

using Entries = std::unordered_map<std::string, std::int32_t>;

constexpr std::int64_t kMostIds =
    1 << 24;  // far beyond any vocabulary; keeps a lying file from asking for memory

// Takes the one object of numbers that a vocabulary is, and refuses everything else where it
// stands. (A parser into a tree would let the last of two equal keys win in silence.)
class Reader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Reader(std::string name) : name_(std::move(name)) {}

  Entries& entries() { return entries_; }
  const std::string& problem() const { return problem_; }

  bool null() override { return wrong_value("null"); }
  bool boolean(bool) override { return wrong_value("true or false"); }
  bool number_integer(number_integer_t value) override {
    return refuse("the id of " + quoted(key_) + " is " + std::to_string(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (!inside_) return wrong_value("a number");
    if (value >= static_cast<std::uint64_t>(kMostIds)) {
      return refuse("the id of " + quoted(key_) + " is " + std::to_string(value));
    }
    if (!entries_.emplace(key_, static_cast<std::int32_t>(value)).second) {
      return refuse("the piece " + quoted(key_) + " stands in it twice");
    }
    return true;
  }
  bool number_float(number_float_t, const string_t& text) override { return wrong_value(text); }
  bool string(string_t&) override { return wrong_value("a string"); }
  bool binary(binary_t&) override { return wrong_value("bytes"); }
  bool start_object(std::size_t) override {
    if (inside_) return wrong_value("an object");
    inside_ = true;
    return true;
  }
  bool key(string_t& text) override {
    key_ = text;
    return true;
  }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return wrong_value("a list"); }
  bool end_array() override { return true; }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception&) override {
    return refuse("not JSON at byte " + std::to_string(position));
  }

  static std::string quoted(const std::string& piece) { return '"' + piece.substr(0, 60) + '"'; }

 private:
  bool wrong_value(const std::string& what) {
    if (!inside_) return refuse("expected an object {piece: id}, found " + what);
    return refuse("the id of " + quoted(key_) + " is " + what + ", not a whole number");
  }
  bool refuse(const std::string& problem) {
    if (problem_.empty()) problem_ = problem;
    return false;
  }

  std::string name_;
  Entries entries_;
  std::string key_;
  std::string problem_;
  bool inside_ = false;
};

}  // namespace

Vocabulary Vocabulary::parse(std::string_view bytes, const std::string& name) {
  Reader reader(name);
  if (!nlohmann::json::sax_parse(bytes.begin(), bytes.end(), &reader)) {
    throw Error(name + ": " + reader.problem() + "; copy the file again from where the model came");
  }
  Vocabulary result;
  result.ids_ = std::move(reader.entries());
  if (result.ids_.empty()) throw Error(name + ": it has no pieces");
  result.pieces_.resize(result.ids_.size());
  std::vector<bool> seen(result.ids_.size());
  for (const auto& [piece, id] : result.ids_) {
    const auto at = static_cast<std::size_t>(id);
    if (at >= seen.size()) {
      throw Error(name + ": " + Reader::quoted(piece) + " has id " + std::to_string(id) +
                  ", but with " + std::to_string(seen.size()) + " pieces ids end at " +
                  std::to_string(seen.size() - 1) + ": some are missing");
    }
    if (seen[at]) {
      throw Error(name + ": id " + std::to_string(id) + " belongs to " +
                  Reader::quoted(result.pieces_[at]) + " and to " + Reader::quoted(piece));
    }
    seen[at] = true;
    result.pieces_[at] = piece;
  }
  return result;
}

std::int32_t Vocabulary::id(std::string_view piece) const {
  const auto found = ids_.find(std::string(piece));
  return found == ids_.end() ? -1 : found->second;
}

}  // namespace fovea
