// What fovea attend was asked, made ready and checked without a look at any file.
#pragma once

#include <string>
#include <vector>

#include "app/attend_files.h"

namespace CLI {
class App;
}

namespace fovea::cli {

struct AttendArguments {
  std::vector<std::string> files;
  std::string causal, window, keys, rows, type;
  std::string out, lse, highlights;
  double scale = 0;
  int threads = 0;
  bool explain = false;
  AttendRequest request;
};

// Every option, into `arguments`.
void add_attend_options(CLI::App* command, AttendArguments* arguments);

// What the parser filled in becomes `request`. Throws  CLI::ValidationError: misuse.
void prepare(const CLI::App& command, AttendArguments* arguments);

}  // namespace fovea::cli
