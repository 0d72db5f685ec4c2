#include "app/model_path.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "fovea/error.h"

namespace fovea {
namespace {

namespace fs = std::filesystem;

bool is_model(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_regular_file(folder / "config.json", ignored);
}

// A folder whose config.json cannot be read is of no kind that is known.
std::optional<ModelKind> kind_of(const fs::path& folder) {
  std::ifstream in(folder / "config.json", std::ios::binary);
  const auto config = nlohmann::json::parse(in, nullptr, false);
  if (!config.is_object()) return std::nullopt;
  const auto type = config.find("model_type");
  if (type == config.end()) return std::nullopt;
  if (*type == "marian") return ModelKind::kTranslator;
  if (*type == "bert") return ModelKind::kReader;
  return std::nullopt;
}

// Folders of models that may have come with the program, nearest first: the installed one, then
// models/ of the folders above (a build folder lies in the source tree).
std::vector<fs::path> shelves_of(const fs::path& program) {
  std::error_code ignored;
  const fs::path real = fs::weakly_canonical(program, ignored);
  const fs::path folder = real.parent_path();
  std::vector<fs::path> candidates = {folder.parent_path() / "share/fovea/models"};
  fs::path above = folder;
  for (int level = 0; level < 4 && above.has_relative_path(); ++level) {
    above = above.parent_path();
    candidates.push_back(above / "models");
  }
  std::erase_if(candidates,
                [&](const fs::path& shelf) { return !fs::is_directory(shelf, ignored); });
  return candidates;
}

// Of this kind; what is of no kind is among them, for whoever reads it to name what is wrong.
std::vector<fs::path> models_on(const fs::path& shelf, ModelKind kind) {
  std::vector<fs::path> models;
  for (const auto& entry : fs::directory_iterator(shelf)) {
    if (is_model(entry.path()) && kind_of(entry.path()).value_or(kind) == kind) {
      models.push_back(entry.path());
    }
  }
  std::sort(models.begin(), models.end());
  return models;
}

// A folder that is there is taken as it is: who reads it says which file is missing.
fs::path named_model(const std::string& name, const std::vector<fs::path>& shelves,
                     const char* origin) {
  std::error_code ignored;
  if (fs::is_directory(name, ignored)) return name;
  for (const fs::path& shelf : shelves) {
    if (name.find('/') == std::string::npos && is_model(shelf / name)) return shelf / name;
  }
  throw Error(name + ": no such folder (" + origin + "); a model is a folder with config.json, " +
              "model.safetensors and a vocabulary (source.spm, target.spm and vocab.json of a "
                     "translator, vocab.txt of a reader)");
}

}  // namespace

fs::path find_model(const std::string& given, ModelKind kind, const fs::path& program) {
  const std::vector<fs::path> shelves = shelves_of(program);
  if (!given.empty()) return named_model(given, shelves, "--model");
  const char* variable = std::getenv("FOVEA_MODEL");
  if (variable != nullptr && *variable != '\0') {
    const fs::path named = named_model(variable, shelves, "the environment's FOVEA_MODEL");
    if (kind_of(named).value_or(kind) == kind) return named;
  }
  for (const fs::path& shelf : shelves) {
    const std::vector<fs::path> models = models_on(shelf, kind);
    if (models.size() == 1) return models[0];
    if (models.empty()) continue;
    std::string names;
    for (const fs::path& model : models) names += ' ' + model.filename().string();
    throw Error(shelf.string() + ": several models; say which with --model:" + names);
  }
  throw Error((kind == ModelKind::kReader ? std::string("no reader") : std::string("no model")) +
              " came with this program; name one with --model FOLDER, or set FOVEA_MODEL");
}

fs::path find_model(const std::string& given, ModelKind kind) {
  std::error_code ignored;
  return find_model(given, kind, fs::read_symlink("/proc/self/exe", ignored));
}

}  // namespace fovea
