// What BLEU and chrF share: parallel lines, checked, and their text as code points.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fovea/metrics.h"

namespace fovea {

// The definition that is computed: sacreBLEU's of this version, by fovea.
inline constexpr char kMetricVersion[] = "2.6.0+fovea";

// Throws Error if there is nothing to score or the sets differ in length.
void check_lines(const char* metric, Lines hypotheses, ReferenceSets references);

// Code points of a line, lower-cased if asked. Throws Error naming `what` and the line (from 1).
std::u32string read_line(const std::string& text, bool lowercase, const char* what,
                         std::size_t line);

// Runs without white space (Python's str.split()).
std::vector<std::u32string_view> split(std::u32string_view text);

}  // namespace fovea
