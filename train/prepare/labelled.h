// Labelled text in; a WordPiece vocabulary and files of ids out, ready for fovea-fit --task classify.
#pragma once

#include <string>
#include <vector>

namespace fovea::train {

// The words of the command line, without --task classify. Returns the exit code.
int prepare_labelled(const std::vector<std::string>& words);

}  // namespace fovea::train
