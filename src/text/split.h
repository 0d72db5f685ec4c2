// How a text is cut for a model that has learned from single sentences.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "fovea/record.h"

namespace fovea {

// As split_to_fit (fovea/text.h), but a text that does not fit whole is cut at every end of a
// sentence, so that no two sentences share a part: measured on six sentences a line, that is worth
// 17 BLEU (docs/record.md).
std::vector<Span> split_into_sentences(std::string_view utf8,
                                       const std::function<bool(std::string_view)>& fits);

}  // namespace fovea
