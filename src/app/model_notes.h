// What only fovea knows of a model: the key "fovea" of its config.json.
#pragma once

#include <string>
#include <string_view>

#include "fovea/marian.h"
#include "fovea/record.h"

namespace fovea {

struct ModelNotes {
  Reading reading;
  int longest_source = 0;  // in ids
};

// Throws Error that begins with `name` and names the field.
ModelNotes read_model_notes(std::string_view config, const std::string& name,
                            const MarianInfo& info);

}  // namespace fovea
