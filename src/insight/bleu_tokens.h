// A line as BLEU's tokenisers see it.
#pragma once

#include <string>
#include <string_view>

#include "fovea/metrics.h"

namespace fovea {

// Text in which runs without white space are the tokens.
std::u32string separate_tokens(std::u32string_view line, BleuTokens tokens);

}  // namespace fovea
