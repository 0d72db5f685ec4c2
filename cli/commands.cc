#include "commands.h"

#include "CLI/CLI.hpp"

namespace fovea::cli {

void add_commands(CLI::App&) {}

}  // namespace fovea::cli
