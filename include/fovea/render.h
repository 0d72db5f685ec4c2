// Records and scores as people and programs read them. Everything here is text in UTF-8.
//
//   JSON      docs/record.md; one line, no line breaks inside
//   terminal  the text in place, with a background that is the stronger the more weight a word has
//   SVG       the same as a picture, and links between the words
#pragma once

#include <string>
#include <vector>

#include "fovea/evaluation.h"
#include "fovea/record.h"

namespace fovea {

std::string json_of(const Translation& translation);

std::string json_of(const Classification& classification);

std::string json_of(const Evaluation& evaluation);

enum class Colors {
  kNone,  // marks instead of colours
  k256,
  kTrue,  // 24 bits
};

struct TerminalStyle {
  Colors colors = Colors::kNone;
  int width = 80;  // columns; lines are wrapped at words
  double shown =
      0.8;       // per target word: the strongest source words, up to this share of its words' mass
  int most = 4;  // at most so many of them
};

// One block for one translation: the source and its translation, then a line for every target word.
std::string terminal_of(const Translation& translation, const TerminalStyle& style);

// One block for one text: its label, then the text with every word the stronger the more of the
// pooling attention it has, then the words that have most, with their evidence.
std::string terminal_of(const Classification& classification, const TerminalStyle& style);

// "0-0 1-2": links by source word, then target word.
std::string pharaoh_of(const std::vector<Link>& alignment);

// "layer 2 of 3, heads averaged, input step, norm-weighted": what a highlight shows. Layers from 1.
std::string name_of(const Reading& reading);

// A self-contained picture: no scripts, no fonts of its own, nothing fetched.
std::string svg_of(const Translation& translation);

}  // namespace fovea
