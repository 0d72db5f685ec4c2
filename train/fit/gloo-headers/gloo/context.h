// torch's package has ProcessGroupGloo.hpp but not the headers of gloo that it includes. Its users
// only hold pointers to gloo's classes, so their names are enough. The compiler looks here last
// (-idirafter): where gloo's own headers are, those are taken.
#pragma once

#include <chrono>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

}  // namespace gloo
