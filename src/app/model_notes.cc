#include "app/model_notes.h"

#include <nlohmann/json.hpp>

#include "fovea/error.h"

namespace fovea {
namespace {

using Json = nlohmann::json;

// What is read of a model that does not say (docs/record.md): in deep decoders the early middle
// aligns, and the step where the word is the input; in shallow ones the last layer does, and the
// step that makes the word.
Reading default_reading(int layers) {
  constexpr int kShallow = 3;
  if (layers <= kShallow) return {layers - 1, -1, false, false};
  return {(layers - 1) / 3, -1, true, true};
}

int whole_number(const Json& value, const std::string& field, int least, int most) {
  if (!value.is_number_integer() || value.get<double>() < least || value.get<double>() > most) {
    throw Error(field + " is " + value.dump() + ", expected a whole number from " +
                std::to_string(least) + " to " + std::to_string(most));
  }
  return value.get<int>();
}

// True for `yes`, false for `no`.
bool choice(const Json& value, const std::string& field, const char* yes, const char* no) {
  if (value == yes) return true;
  if (value == no) return false;
  throw Error(field + " is " + value.dump() + ", expected \"" + yes + "\" or \"" + no + "\"");
}

void take_reading(const Json& notes, const std::string& name, const MarianInfo& info,
                  Reading& reading) {
  if (!notes.is_object()) throw Error(name + " is not an object");
  for (const auto& [key, value] : notes.items()) {
    const std::string field = name + "." + key;
    if (key == "layer") {
      reading.layer = whole_number(value, field, 1, info.decoder_layers) - 1;
    } else if (key == "head") {
      reading.head = value == "mean" ? -1 : whole_number(value, field, 1, info.decoder_heads) - 1;
    } else if (key == "step") {
      reading.input_step = choice(value, field, "input", "output");
    } else if (key == "weighting") {
      reading.norm_weighted = choice(value, field, "norm", "raw");
    } else {
      throw Error(field + " is not known; a reading has layer, head, step, weighting");
    }
  }
}

}  // namespace

ModelNotes read_model_notes(std::string_view config, const std::string& name,
                            const MarianInfo& info) {
  ModelNotes notes;
  notes.reading = default_reading(info.decoder_layers);
  notes.longest_source = info.positions;
  const Json root = Json::parse(config.begin(), config.end(), nullptr, false);
  if (!root.is_object()) throw Error(name + ": not a JSON object");
  const auto found = root.find("fovea");
  if (found == root.end()) return notes;
  if (!found->is_object()) throw Error(name + ": fovea is not an object");
  for (const auto& [key, value] : found->items()) {
    if (key == "reading") {
      take_reading(value, name + ": fovea.reading", info, notes.reading);
    } else if (key == "longest_source") {
      notes.longest_source =
          whole_number(value, name + ": fovea.longest_source", 2, info.positions);
    }  // other keys belong to other parts of fovea
  }
  return notes;
}

}  // namespace fovea
