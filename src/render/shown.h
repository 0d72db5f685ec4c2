// Which weights a picture shows, and how strongly.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "fovea/record.h"

namespace fovea {

struct ShownWord {
  std::size_t word = 0;  // of the source
  double weight = 0;
};

// The strongest source words of target word `t`: up to `share` of the mass on its words, at most
// `most`, and none under 3 %. At least one, if it looked at any word.
std::vector<ShownWord> shown_words(const Translation& translation, std::size_t t, double share,
                                   int most);

// Mean over the target words of the mass that `shown_words` shows.
double shown_mass(const Translation& translation, double share, int most);

// "93%"
std::string percent(double weight);

struct Rgb {
  int red = 0, green = 0, blue = 0;
};

// Yellow to orange, light enough for black text at every weight (contrast 9 and more).
Rgb tint(double weight);

}  // namespace fovea
