// Practice: questions on attention with fresh numbers from a seed, the right answer computed by
// `attend`, each wrong choice by really making its mistake, and every choice explained.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/threads.h"

namespace fovea {

enum class QuestionKind : std::uint8_t {
  kPurpose,   // what attention is for
  kFormula,   // which formula gives the weights
  kWorkOut,   // work this one out
  kMistake,   // find the mistake in this NumPy code
  kWhyScale,  // why divide by sqrt(d)
};

inline constexpr int kQuestionKinds = 5;

// "what attention is for", ...: the titles that the reader sees.
const char* title_of(QuestionKind kind);

// "purpose", "formula", "work", "mistake", "scale": as on the command line.
const char* name_of(QuestionKind kind);

struct Choice {
  std::string text;
  std::string why;  // wrong: the mistake that leads here; right: why it is right
};

struct Question {
  QuestionKind kind = QuestionKind::kPurpose;
  std::string text;  // lines, with the numbers or the code
  std::vector<Choice> choices;
  int right = 0;         // index into choices
  std::string solution;  // the steps, with their numbers
};

// Question `number` (from 0) of the sheet that `seed` gives. The same arguments give the same
// question on every machine. Without a kind, the five kinds come in turn.
Question practice_question(std::uint64_t seed, int number, std::optional<QuestionKind> kind,
                           Threads& threads);

// The choice that an answer names: "b", " B) ", "2"; -1 when it names none.
int choice_named(const Question& question, std::string_view answer);

// What the reader is shown: the question with its choices a), b), ...
std::string question_text(const Question& question, int number, int of);

// What the reader is told about a choice: right, or the mistake behind it, the answer and the
// steps.
std::string verdict_text(const Question& question, int choice);

// The answer and the steps alone, with what is wrong about each other choice.
std::string answer_text(const Question& question);

}  // namespace fovea
