// Which ids may follow: the banned and the forced ones of transformers' generation config.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/config.h"

namespace fovea {

struct Rules {
  bool forced = false;            // only `ids` may follow, each with log-probability 0
  std::vector<std::int32_t> ids;  // forced: these; else: the banned ones. Ascending, none twice
};

// `past`: the start id and what has been chosen so far.
Rules rules_after(std::span<const std::int32_t> past, const SearchConfig& config, int max_length);

}  // namespace fovea
