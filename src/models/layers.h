// What the layers of every transformer here are made of.
#pragma once

#include <cstdint>
#include <vector>

#include "fovea/threads.h"
#include "models/linear.h"
#include "models/rows.h"
#include "models/weights.h"

namespace fovea {

// Memory that is kept from layer to layer and step to step.
struct Scratch {
  std::vector<float> wide, context, delta;
};

// The first `count` floats of a memory that only grows.
float* room(std::vector<float>& memory, std::int64_t count);

// In chunks of rows over the threads; a row does not depend on its chunk.
void apply(const Linear& linear, const float* x, std::int64_t rows, float* y, Threads& threads);

// x <- norm(x + out(activation(in(x))))
void feed_forward(const FeedForward& ffn, Activation activation, float* x, std::int64_t rows,
                  Scratch& s, Threads& threads);

}  // namespace fovea
