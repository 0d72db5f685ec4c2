// Another program run to its end, its output taken line by line.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace fovea {

// Runs words[0] with the other words; standard input and error stay ours. Interrupts (SIGINT,
// SIGTERM) go to the child, which decides when to end. Returns its exit status, 128 + signal if one
// ended it. Throws Error if it cannot be started.
int run_child(const std::vector<std::string>& words,
              const std::function<void(const std::string& line)>& take);

// A program that belongs to fovea: the path in `variable` of the environment, else `name` beside
// this program, in ../libexec/fovea, or in ../fit of a build tree. Empty if it is nowhere.
std::string find_tool(const std::string& name, const char* variable);

}  // namespace fovea
