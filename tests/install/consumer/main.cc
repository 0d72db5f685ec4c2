// Uses what the engine's headers declare, and leaves with 0 if it does what they say.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "fovea/attend.h"
#include "fovea/cache.h"
#include "fovea/error.h"
#include "fovea/half.h"
#include "fovea/isa.h"
#include "fovea/merge.h"
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

  // Each key for itself, put together, is attention over both.
  inputs.k = {k.data(), {1, 1, 2, 2}};
  std::vector<float> part_out(4), part_lse(2), merged(2), lse(1);
  std::vector<fovea::Outputs> parts(2);
  for (std::size_t part = 0; part < 2; ++part) {
    parts[part].out = {part_out.data() + 2 * part, {1, 1, 1, 2}};
    parts[part].lse = {part_lse.data() + part, {1, 1, 1}};
    const auto begin = static_cast<std::int64_t>(part);
    fovea::attend(inputs, {.scale = 1.0f, .key_begin = begin, .key_end = begin + 1}, parts[part],
                  threads);
  }
  fovea::Outputs whole;
  whole.out = {merged.data(), {1, 1, 1, 2}};
  whole.lse = {lse.data(), {1, 1, 1}};
  fovea::merge(parts, whole, threads);
  expect(std::abs(merged[1] - out[1]) < 1e-4f, "merge");

  fovea::KeyValueCache cache({.capacity = 4, .key_width = 2, .value_width = 2});
  cache.append(inputs.k, inputs.v);
  cache.append(inputs.k, inputs.v);
  expect(cache.lengths()[0] == 4 && cache.shape().capacity == 4, "KeyValueCache::append");
  const std::int32_t from[] = {0};
  cache.reorder(from);
  cache.truncate(0, 2);
  fovea::KeyValueCache taken = std::move(cache);
  inputs.k = taken.keys();
  inputs.v = taken.values();
  inputs.key_lengths = taken.lengths();
  std::vector<float> again(2);
  outputs = {};
  outputs.out = {again.data(), {1, 1, 1, 2}};
  fovea::attend(inputs, {.scale = 1.0f}, outputs, threads);
  expect(again == out, "KeyValueCache");

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
