// The one exception of fovea: the caller's mistake or a bad file.
//
// The text says where, what was expected, what was found, and the cure when it is known:
//   attend: k has width 48 but q has width 64 (q [2, 8, 10, 64], k [2, 8, 12, 48])
// It is thrown at the public edge, before anything is written. A bug of fovea's own is an assertion, not an Error.
#pragma once

#include <stdexcept>
#include <string>

namespace fovea {

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& what) : std::runtime_error(what) {}
};

}  // namespace fovea
