// What the program writes to: terminals, their colours and width.
#pragma once

#include <string>

#include "fovea/render.h"

namespace fovea::cli {

bool output_is_terminal();
bool errors_are_terminal();
bool input_is_terminal();

// `choice`: auto, always, never. auto: colours on a terminal, unless NO_COLOR is set or TERM is dumb.
Colors colors_of_output(const std::string& choice);

// Columns of the terminal; COLUMNS, else 80, where there is none.
int width_of_output();

}  // namespace fovea::cli
