// How fast the engine is in one situation, and what highlights add; correct first.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "fovea/threads.h"
#include "fovea/view.h"
#include "measure/machine.h"
#include "measure/situations.h"
#include "measure/timing.h"

namespace fovea::measure {

// kBackward: the gradients of q, k and v, from what plain left.
enum Variant { kPlain, kTopEntropy, kReceived, kAll, kBackward, kVariants };

// "plain", "top8_entropy", "received", "top8_entropy_received", "backward".
const char* name_of(Variant variant);

// Nobody trains on one query: decoding has no backward, and its figures stay 0.
bool has(const Situation& s, Variant variant);

struct Measured {
  std::string refused;  // why the engine does not do this; then nothing else is set
  std::size_t rounds = 0;
  std::int64_t copies = 1;  // of keys and values, one after the other
  DataType peak_type = DataType::kFloat32;
  double peak = 0;                        // GFLOP/s, of the same rounds
  double read = 0;                        // GB/s, of the same rounds; 0: not measured
  std::array<Spread, kVariants> seconds;  // of one call
  std::array<Spread, kVariants> ratio;    // to plain; of plain: 1
  std::optional<Spread> neighbour_ratio;  // GFLOP/s to the neighbour's
};

// Calls `attend` on random numbers rounded to `type`, out in the same type. First some rows of each
// variant are checked against the reference (std::runtime_error says which is wrong); then the
// variants, the peak and, for a rotated situation, `memory` are timed in turn for about `seconds`.
Measured measure(const Situation& s, DataType type, Threads& threads, const ReadMemory* memory,
                 int streams, double seconds);

}  // namespace fovea::measure
