// What fovea attend prints and writes as text. Numbers are the shortest that read back as the same
// float.
#pragma once

#include <string>

#include "app/attend_run.h"

namespace fovea {

// Values that are still pleasant to read on a screen; more of them belong in a file.
inline constexpr std::int64_t kMaxPrinted = 1000;

// out, a row a line and a comment line above every head (packed: of every sequence): numpy.loadtxt reads
// it.
std::string out_text(const AttendArrays& arrays, const AttendResult& result);

// The highlights for people: the first lines of each, and how many more there are.
std::string highlights_text(const AttendArrays& arrays, const AttendRequest& request,
                            const AttendResult& result);

// The highlights whole, as docs/attend.md describes them.
std::string highlights_json(const AttendArrays& arrays, const AttendRequest& request,
                            const AttendResult& result);

// The shortest decimal that reads back as `value`: "0.1", "1e-20", "nan".
std::string number_text(float value);

}  // namespace fovea
