// The safetensors format: eight bytes of header length, a JSON header, then the tensors.
#pragma once

#include <torch/torch.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace fovea::fit {

using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

// float, half and bfloat16 tensors.
void write_safetensors(const std::string& path, const NamedTensors& tensors);
// All tensors as float.
std::map<std::string, torch::Tensor> read_safetensors(const std::string& path);

}  // namespace fovea::fit
