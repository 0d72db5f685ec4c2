// Uses what the engine's headers declare, and leaves with 0 if it does what they say.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "fovea/attend.h"
#include "fovea/error.h"
#include "fovea/half.h"
#include "fovea/isa.h"
#include "fovea/threads.h"
#include "fovea/view.h"

namespace {

int faults = 0;

void expect(bool good, const char* what) {
  if (good) return;
  std::printf("wrong: %s\n", what);
  ++faults;
}

}  // namespace

int main() {
  // The example of README.md: two keys, the query points at the first.
  const std::vector<float> q = {1, 0}, k = {1, 0, -10, 1}, v = {10, 20, 30, 40};
  std::vector<float> out(2), weight(2);
  std::vector<std::int32_t> key(2);
  fovea::Inputs inputs;
  inputs.q = {q.data(), {1, 1, 1, 2}};
  inputs.k = {k.data(), {1, 1, 2, 2}};
  inputs.v = {v.data(), {1, 1, 2, 2}};
  fovea::Outputs outputs;
  outputs.out = {out.data(), {1, 1, 1, 2}};
  outputs.top_index = {key.data(), {1, 1, 1, 2}};
  outputs.top_weight = {weight.data(), {1, 1, 1, 2}};
  fovea::Threads threads(2);
  fovea::attend(inputs, {.scale = 1.0f}, outputs, threads);
  expect(std::abs(out[0] - 10.000334f) < 1e-5f, "out");
  expect(key[0] == 0 && std::abs(weight[0] - 0.999983f) < 1e-5f, "top");

  // An exception made in the library is the one that is caught here.
  inputs.k = {k.data(), {1, 1, 4, 1}};
  std::string said;
  try {
    fovea::attend(inputs, {}, outputs, threads);
  } catch (const fovea::Error& error) {
    said = error.what();
  }
  expect(said.find("width") != std::string::npos, "Error");

  std::vector<int> seen(7);
  threads.run(7, [&](std::int64_t task, int) { seen[static_cast<std::size_t>(task)] = 1; });
  for (const int s : seen) expect(s == 1, "Threads::run");
  expect(threads.count() == 2 && fovea::available_processors() >= 1, "Threads::count");

  expect(!fovea::available_isas().empty(), "available_isas");
  fovea::set_isa(fovea::isa_from_name("scalar"));
  expect(fovea::name_of(fovea::current_isa()) == std::string("scalar"), "set_isa");
  expect(fovea::size_of(fovea::DataType::kFloat16) == 2, "size_of");
  expect(fovea::name_of(fovea::DataType::kBFloat16) == std::string("bfloat16"), "name_of");
  expect(fovea::shape_text(outputs.out) == "[1, 1, 1, 2]", "shape_text");
  expect(static_cast<float>(fovea::BFloat16(1.5f)) == 1.5f, "BFloat16");
  if (faults == 0) std::printf("fovea is installed well\n");
  return faults == 0 ? 0 : 1;
}
