// --layer, --head, --reading: which attention is read, for the commands that show it.
#pragma once

#include <string>

#include "fovea/record.h"
#include "fovea/translator.h"

namespace CLI {
class App;
}

namespace fovea::cli {

struct ReadingOptions {
  int layer = 0;        // from 1; 0: the model's own
  std::string head;     // a number from 1, or mean; empty: the model's own
  std::string reading;  // input-norm, ...; empty: the model's own
};

void add_reading_options(CLI::App& command, ReadingOptions& options);

// The model's own reading with what the options change. Misuse (exit 2): a layer or head that is
// not there.
Reading reading_of(const ReadingOptions& options, const Translator& translator,
                   const char* command);

}  // namespace fovea::cli
