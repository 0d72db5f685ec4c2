// The sub-commands of the program: each is declared here and lives in the file of its name.
// A sub-command runs from its CLI11 callback and throws fovea::Error (exit 1) when it fails.
#pragma once

namespace CLI {
class App;
}

namespace fovea::cli {

// Adds every sub-command, in the order in which --help lists them.
void add_commands(CLI::App& app);

void add_translate(CLI::App& app);
void add_classify(CLI::App& app);
void add_align(CLI::App& app);
void add_attend(CLI::App& app);
void add_evaluate(CLI::App& app);
void add_train(CLI::App& app);
void add_practice(CLI::App& app);
void add_bench(CLI::App& app);
void add_info(CLI::App& app);

}  // namespace fovea::cli
