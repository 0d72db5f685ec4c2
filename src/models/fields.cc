#include "models/fields.h"

#include <cmath>
#include <set>
#include <utility>

#include "fovea/error.h"

namespace fovea {
namespace {

using Json = nlohmann::json;

// Copying and printing a value recurse: a hostile file could make them run out of stack.
constexpr int kDeepest = 64;

std::string printable(std::string text) {
  constexpr std::size_t kLongest = 60;
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  for (char& c : text) c = static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  return text;
}

std::string range_text(std::int64_t least, std::int64_t most) {
  return "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
}

std::optional<std::int64_t> whole_of(const Json& value, std::int64_t least, std::int64_t most) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) return std::nullopt;
  const std::int64_t number = value.get<std::int64_t>();
  if (number < least || number > most) return std::nullopt;
  return number;
}

}  // namespace

Fields::Fields(std::string_view text, std::string file) : file_(std::move(file)) {
  std::string twice;
  std::vector<std::set<std::string>> names;
  const auto on_event = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth > kDeepest) {
      throw Error("config: " + file_ + ": nested more than " + std::to_string(kDeepest) + " deep");
    }
    if (event == Json::parse_event_t::object_start) names.emplace_back();
    if (event == Json::parse_event_t::object_end) names.pop_back();
    if (event == Json::parse_event_t::key &&
        !names.back().insert(value.get<std::string>()).second) {
      twice = value.get<std::string>();
    }
    return true;
  };
  try {
    object_ = Json::parse(text, on_event);
  } catch (const Json::parse_error& error) {
    throw Error("config: " + file_ + ": not JSON at byte " + std::to_string(error.byte));
  } catch (const Json::out_of_range&) {  // well-formed, and beyond a double: 1e999
    throw Error("config: " + file_ + ": a number is beyond the range of a double");
  }
  if (!object_.is_object()) throw Error("config: " + file_ + ": expected a JSON object");
  if (!twice.empty()) fail(twice, "appears twice");
}

void Fields::fail(const std::string& name, const std::string& what) const {
  throw Error("config: " + file_ + ": \"" + printable(name) + "\" " + what);
}

void Fields::expected(const std::string& name, const std::string& what) const {
  fail(name, "is " + text_of(name) + "; expected " + what);
}

const Json* Fields::find(const std::string& name) const {
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<std::int64_t> Fields::whole(const std::string& name, std::int64_t least,
                                          std::int64_t most) const {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const std::optional<std::int64_t> number = whole_of(*value, least, most);
  if (!number) expected(name, range_text(least, most));
  return number;
}

int Fields::size(const std::string& name, std::int64_t most, std::optional<int> fallback) const {
  const std::optional<std::int64_t> value = whole(name, 1, most);
  if (!value && !fallback) fail(name, "is missing; expected " + range_text(1, most));
  return static_cast<int>(value.value_or(fallback.value_or(0)));
}

bool Fields::flag(const std::string& name, bool fallback) const {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) expected(name, "true or false");
  return value->get<bool>();
}

double Fields::number(const std::string& name, double fallback) const {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_number() || !std::isfinite(value->get<double>())) expected(name, "a number");
  return value->get<double>();
}

std::vector<std::int32_t> Fields::ids(const std::string& name, int vocabulary) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  return ids_of(name, value->is_array() ? *value : Json::array({*value}), vocabulary);
}

std::vector<std::vector<std::int32_t>> Fields::lists_of_ids(const std::string& name,
                                                            int vocabulary) const {
  std::vector<std::vector<std::int32_t>> lists;
  const Json* value = find(name);
  if (value == nullptr) return lists;
  const std::string wanted = "a list of lists of ids";
  if (!value->is_array()) expected(name, wanted);
  for (const Json& list : *value) {
    if (!list.is_array() || list.empty()) expected(name, wanted + ", none of them empty");
    lists.push_back(ids_of(name, list, vocabulary));
  }
  return lists;
}

std::string Fields::text_of(const std::string& name) const {
  return printable(find(name)->dump(-1, ' ', true, Json::error_handler_t::replace));
}

std::vector<std::int32_t> Fields::ids_of(const std::string& name, const Json& list,
                                         int vocabulary) const {
  std::vector<std::int32_t> ids;
  for (const Json& value : list) {
    const std::optional<std::int64_t> id = whole_of(value, 0, vocabulary - 1);
    if (!id) expected(name, "ids from 0 to " + std::to_string(vocabulary - 1));
    ids.push_back(static_cast<std::int32_t>(*id));
  }
  return ids;
}

Activation Fields::activation(const std::string& key) const {
  const Json* value = find(key);
  const std::string name = value == nullptr     ? "gelu"
                           : value->is_string() ? value->get<std::string>()
                                                : std::string();
  if (name == "swish" || name == "silu") return Activation::kSwish;
  if (name == "relu") return Activation::kRelu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::kGeluTanh;
  expected(key, "swish, silu, relu, gelu, gelu_new or gelu_pytorch_tanh");
}

}  // namespace fovea
