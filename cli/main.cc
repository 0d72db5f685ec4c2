// fovea: one program, one sub-command a verb. Each file in this folder adds its own.
#include <exception>
#include <iostream>

#include "CLI/CLI.hpp"
#include "commands.h"
#include "fovea/error.h"

int main(int argc, char** argv) {
  CLI::App app{"Attention for language, and what it attended to.", "fovea"};
  app.set_version_flag("--version", FOVEA_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Try it:\n"
      "  fovea translate --highlight \"Je ne sais pas pourquoi il pleut.\"\n"
      "  fovea practice\n"
      "  fovea COMMAND --help   teaches the command\n"
      "Exit status: 0 done, 1 failed (one line on standard error says why), 2 misuse.");
  fovea::cli::add_commands(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {  // --help, --version
    return app.exit(done);
  } catch (const CLI::ParseError& misuse) {
    std::cerr << "fovea: " << misuse.what() << "\nTry: fovea --help\n";
    return 2;
  } catch (const std::exception& failure) {
    std::cerr << "fovea: " << failure.what() << "\n";
    return 1;
  }
  return 0;
}
