// Where the model is: what was given, else FOVEA_MODEL, else the one that came with the program.
#pragma once

#include <filesystem>
#include <string>

namespace fovea {

enum class ModelKind {
  kTranslator,  // MarianMT
  kReader,      // BERT with a pooling and labels
};

// `given`: a folder, or the name of one that came with the program; empty: FOVEA_MODEL, where it
// names one of this kind, else the only model of this kind in share/fovea/models beside the program,
// or in models/ of the source tree that it was built in. The kind is config.json's model_type; a
// model that was named by --model is taken whatever it is, and who reads it says what is wrong.
// Throws Error that says where it looked.
std::filesystem::path find_model(const std::string& given,
                                 ModelKind kind = ModelKind::kTranslator);

// The same, for a program that lies at `program` (tests).
std::filesystem::path find_model(const std::string& given, ModelKind kind,
                                 const std::filesystem::path& program);

}  // namespace fovea
