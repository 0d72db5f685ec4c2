// A MarianMT folder, as transformers loads it.
#pragma once

#include <string>

#include "marian_parameters.h"
#include "shape.h"

namespace fovea::fit {

// Writes the moving averages as half or float, the configs, and copies the vocabulary from
// `ids_folder`. model.safetensors comes last: where it is, the folder is whole. `guided_layer`: the
// layer, from 1, whose first head was made to align words, and so is the one to read; 0 if none.
void export_model(const std::string& folder, const std::string& ids_folder, const Shape& shape,
                  const Parameters& parameters, bool half, int guided_layer = 0);
// Takes values and moving averages from the model.safetensors of a folder of the same shape, which
// may be of any task.
void import_weights(const std::string& folder, Parameters& parameters);

}  // namespace fovea::fit
