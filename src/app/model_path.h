// Where the model is: what was given, else FOVEA_MODEL, else the one that came with the program.
#pragma once

#include <filesystem>
#include <string>

namespace fovea {

// `given`: a folder, or the name of one that came with the program; empty: FOVEA_MODEL, else the
// only model in share/fovea/models beside the program, or in models/ of the source tree that it was
// built in. Throws Error that says where it looked.
std::filesystem::path find_model(const std::string& given);

// The same, for a program that lies at `program` (tests).
std::filesystem::path find_model(const std::string& given, const std::filesystem::path& program);

}  // namespace fovea
