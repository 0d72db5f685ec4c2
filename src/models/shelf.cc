#include "models/shelf.h"

#include <algorithm>

#include "base/npy.h"
#include "fovea/error.h"

namespace fovea {
namespace {

// Edits that turn `a` into `b`: to name the closest tensor when one is missing.
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

void append(std::vector<float>& to, const std::vector<float>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

std::vector<float> Shelf::take(const std::string& name, const Sizes& shape) {
  const Tensor* tensor = file_.find(name);
  if (tensor == nullptr) fail("no tensor \"" + name + "\" " + shape_text(shape) + closest(name));
  if (tensor->shape != shape) {
    fail("tensor \"" + name + "\" is " + shape_text(tensor->shape) + ", but config.json says " +
         shape_text(shape));
  }
  taken_.insert(name);
  return file_.floats(*tensor);
}

void Shelf::check_all_taken(const std::set<std::string>& harmless) const {
  for (const Tensor& tensor : file_.tensors()) {
    if (!taken_.contains(tensor.name) && !harmless.contains(tensor.name)) {
      fail("tensor \"" + tensor.name + "\" " + shape_text(tensor.shape) +
           " has no place in the model that config.json describes");
    }
  }
}

void Shelf::fail(const std::string& what) const {
  throw Error("weights: " + file_.name() + ": " + what);
}

std::string Shelf::closest(const std::string& name) const {
  const Tensor* best = nullptr;
  std::size_t least = name.size() / 2;  // further off it is no help
  for (const Tensor& tensor : file_.tensors()) {
    if (taken_.contains(tensor.name) || tensor.name.size() > 2 * name.size()) continue;
    // The same name with a part of its path gone is closer than any misspelling.
    const bool part = name.ends_with(tensor.name) || tensor.name.ends_with(name);
    const std::size_t d = part ? 0 : distance(name, tensor.name);
    if (d < least) {
      least = d;
      best = &tensor;
    }
  }
  return best == nullptr ? "" : "; closest is \"" + best->name + "\"";
}

Linear joined(Shelf& shelf, const std::string& prefix, const std::vector<std::string>& names,
              std::int64_t in, std::int64_t out) {
  std::vector<float> weight;
  std::vector<float> bias;
  for (const std::string& name : names) {
    append(weight, shelf.take(prefix + name + ".weight", {out, in}));
    append(bias, shelf.take(prefix + name + ".bias", {out}));
  }
  return Linear(weight, bias, in, static_cast<std::int64_t>(bias.size()));
}

Norm norm(Shelf& shelf, const std::string& name, std::int64_t width) {
  return {shelf.take(name + ".weight", {width}), shelf.take(name + ".bias", {width})};
}

}  // namespace fovea
