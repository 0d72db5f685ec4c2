// Records: what the parts of fovea hand to each other and to the reader. Plain data, no methods.
//
// A record's JSON (docs/record.md) has these names, in this order. Spans are half-open and count
// code points of the reader's own text. A word is a run without white space.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fovea {

// [begin, end) in code points of a text.
struct Span {
  std::int32_t begin = 0;
  std::int32_t end = 0;
};

struct Word {
  std::string text;  // as the reader wrote it
  Span span;
  Span core;  // the span without punctuation at its ends; all of it if there is nothing else
};

// One source word that a target word looked at.
struct WordWeight {
  std::int32_t word = 0;  // index into the source words
  double weight = 0;      // share of the target word's attention, in [0, 1]
};

// Which attention is shown, and how it was read: stated with every highlight.
struct Reading {
  std::int32_t layer = 0;      // decoder layer, from 0
  std::int32_t head = -1;      // -1: mean over heads
  bool input_step = true;      // true: the row where the target word is the decoder's input
  bool norm_weighted = false;  // weights times the norm of the value that they bring
};

// One link of an alignment: source word, target word, both from 0.
struct Link {
  std::int32_t source = 0;
  std::int32_t target = 0;
};

struct Hypothesis {
  std::string text;
  double score = 0;     // sum of log-probabilities / length ^ length_penalty
  double log_prob = 0;  // sum of log-probabilities, with end of sentence
  std::vector<std::int32_t> ids;
  bool cut = false;  // it reached the longest target before its end: something may be missing
};

// A translated text, and under every target word the source words that the model looked at.
// Shares of a target word add up to 1: attention + punctuation_weight + end_weight.
struct Translation {
  std::string source;
  std::vector<Hypothesis> hypotheses;  // best first; [0] is what `target_words` belong to
  std::vector<Span> parts;  // of the source: more than one if it was too long for the model
  std::vector<Word> source_words;
  std::vector<Word> target_words;
  std::vector<std::vector<WordWeight>> attention;  // per target word: source words, descending
  std::vector<double> punctuation_weight;  // per target word: on punctuation at source words' ends
  std::vector<double> end_weight;          // per target word: on the end of sentence
  std::vector<Link> alignment;
  Reading reading;  // with which the attention was read
};

struct LabelShare {
  std::string label;
  double probability = 0;
};

// A text that was read and labelled, and for every word what the label rests on.
struct Classification {
  std::string text;
  std::vector<LabelShare> labels;  // most probable first; none for a text without words
  std::vector<Word> words;
  // Per word: its share of the pooling attention, and what it adds to the score (the logarithm of
  // the odds) of labels[0] over the mean of all labels; below 0 it speaks against it.
  std::vector<double> weights;
  std::vector<double> evidence;
  double punctuation_weight = 0;  // on punctuation at words' ends
  double punctuation_evidence = 0;
  std::int32_t pieces = 0;
  std::int32_t windows = 0;  // in how many the model read it
};

}  // namespace fovea
