#include "commands.h"

#include "CLI/CLI.hpp"

namespace fovea::cli {

void add_commands(CLI::App& app) {
  add_translate(app);
  add_classify(app);
  add_align(app);
  add_attend(app);
  add_evaluate(app);
  add_train(app);
  add_practice(app);
  add_bench(app);
  add_info(app);
}

}  // namespace fovea::cli
