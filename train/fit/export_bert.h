// A BERT folder, as transformers loads it; the pooling and the labels under names of fovea's own.
#pragma once

#include <string>
#include <vector>

#include "bert_parameters.h"
#include "shape.h"

namespace fovea::fit {

// Writes the moving averages as half or float and the config, and copies the vocabulary from
// `ids_folder`. model.safetensors comes last: where it is, the folder is whole.
void export_bert(const std::string& folder, const std::string& ids_folder, const Shape& shape,
                 const BertParameters& parameters, const std::vector<std::string>& labels,
                 bool half);

}  // namespace fovea::fit
