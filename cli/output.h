// Standard output of a program that others read from.
#pragma once

#include <string_view>

namespace fovea::cli {

// Writes all of it at once, and flushes. Throws Error if the reader is gone or the disk is full:
// "standard output: cannot write: No space left on device".
void write_out(std::string_view text);

}  // namespace fovea::cli
