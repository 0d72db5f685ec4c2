#include "app/practice.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "app/practice_questions.h"
#include "base/random.h"
#include "fovea/error.h"

namespace fovea {
namespace {

constexpr std::size_t kWidth = 78;   // of a line of text
constexpr std::size_t kChoices = 4;  // shown

char letter(int choice) { return static_cast<char>('a' + choice); }

// Where the word that starts at `at` ends: at white space, but not inside brackets, so that an
// array of numbers stays on one line if a line can hold it.
std::size_t word_end(const std::string& text, std::size_t at) {
  constexpr std::size_t kLongest = 60;
  const auto ends = [&](std::size_t x) { return x == text.size() || text[x] == '\n'; };
  int depth = 0;
  std::size_t end = at;
  for (; !ends(end) && (text[end] != ' ' || depth > 0); ++end) {
    if (text[end] == '[') ++depth;
    if (text[end] == ']') --depth;
  }
  if (end - at <= kLongest) return end;
  for (end = at; !ends(end) && text[end] != ' ';) ++end;
  return end;
}

// `text` in lines of at most kWidth; the first starts after `first`, the others under it. Lines of
// the text itself stay lines, and those that start with a space (code, numbers) are not broken.
std::string wrapped(const std::string& first, const std::string& text) {
  const std::string indent(first.size(), ' ');
  std::string all, line = first;
  bool empty = true;  // nothing after the indent yet
  const auto end_line = [&] {
    const std::size_t last = line.find_last_not_of(' ');
    all += line.substr(0, last == std::string::npos ? 0 : last + 1) + "\n";
    line = indent;
    empty = true;
  };
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t newline = std::min(text.find('\n', at), text.size());
    if (text[at] == ' ') {
      line += text.substr(at, newline - at);
    } else {
      while (at < newline) {
        const std::size_t space = word_end(text, at);
        const std::size_t length = space - at;
        if (!empty && line.size() + 1 + length > kWidth) end_line();
        if (!empty) line += ' ';
        line += text.substr(at, length);
        empty = false;
        at = std::min(space + 1, newline);
      }
    }
    end_line();
    at = newline + 1;
  }
  return all;
}

// Keeps the right choice and three others, in an order that the seed decides.
void mix(Question& question, Random& random) {
  std::vector<Choice>& choices = question.choices;
  for (std::size_t x = choices.size() - 1; x > 1; --x) {  // [0] is right and stays for now
    std::swap(choices[x], choices[1 + random.below(x)]);
  }
  choices.resize(std::min(choices.size(), kChoices));
  question.right = static_cast<int>(random.below(choices.size()));
  std::swap(choices[0], choices[static_cast<std::size_t>(question.right)]);
}

using Template = Question (*)(Random&, Threads&);
constexpr std::array<Template, kQuestionKinds> kTemplates = {
    practice::purpose_question, practice::formula_question, practice::work_question,
    practice::mistake_question, practice::scale_question};

}  // namespace

const char* title_of(QuestionKind kind) {
  static constexpr const char* kTitles[] = {
      "what attention is for", "which formula gives the weights", "work this one out",
      "find the mistake in this NumPy code", "why divide by sqrt(d)"};
  return kTitles[static_cast<std::size_t>(kind)];
}

const char* name_of(QuestionKind kind) {
  static constexpr const char* kNames[] = {"purpose", "formula", "work", "mistake", "scale"};
  return kNames[static_cast<std::size_t>(kind)];
}

Question practice_question(std::uint64_t seed, int number, std::optional<QuestionKind> kind,
                           Threads& threads) {
  const auto which = kind ? *kind : static_cast<QuestionKind>(number % kQuestionKinds);
  // Every question has a generator of its own, so that it does not depend on those before it.
  Random random(Random(seed).bits() + static_cast<std::uint64_t>(number) * 0x9e3779b97f4a7c15u);
  Question question = kTemplates[static_cast<std::size_t>(which)](random, threads);
  question.kind = which;
  mix(question, random);
  return question;
}

int choice_named(const Question& question, std::string_view answer) {
  std::string name;
  for (const char c : answer) {
    if (std::isalnum(static_cast<unsigned char>(c))) {
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!std::isspace(static_cast<unsigned char>(c)) && c != ')' && c != '(' && c != '.') {
      return -1;
    }
  }
  if (name.size() != 1) return -1;
  const int choice =
      std::isdigit(static_cast<unsigned char>(name[0])) ? name[0] - '1' : name[0] - 'a';
  return choice >= 0 && choice < static_cast<int>(question.choices.size()) ? choice : -1;
}

std::string question_text(const Question& question, int number, int of) {
  std::string text = "Question " + std::to_string(number + 1) + " of " + std::to_string(of) + ": " +
                     title_of(question.kind) + "\n\n" + wrapped("  ", question.text) + "\n";
  for (std::size_t x = 0; x < question.choices.size(); ++x) {
    text +=
        wrapped(std::string("  ") + letter(static_cast<int>(x)) + ") ", question.choices[x].text);
  }
  return text;
}

std::string verdict_text(const Question& question, int choice) {
  const Choice& right = question.choices[static_cast<std::size_t>(question.right)];
  std::string text;
  if (choice == question.right) {
    text = wrapped("  ", "Right. " + right.why);
  } else {
    const Choice& taken = question.choices[static_cast<std::size_t>(choice)];
    text = wrapped("  ", std::string("Not ") + letter(choice) + ": " + taken.why);
    text += wrapped("  ", std::string("It is ") + letter(question.right) + ". " + right.why);
  }
  return question.solution.empty() ? text : text + "\n" + wrapped("  ", question.solution);
}

std::string answer_text(const Question& question) {
  const auto right = static_cast<std::size_t>(question.right);
  std::string text = wrapped(std::string("  Answer: ") + letter(question.right) + ") ",
                             question.choices[right].why);
  for (std::size_t x = 0; x < question.choices.size(); ++x) {
    if (x == right) continue;
    text += wrapped(std::string("  Not ") + letter(static_cast<int>(x)) + ":    ",
                    question.choices[x].why);
  }
  return question.solution.empty() ? text : text + "\n" + wrapped("  ", question.solution);
}

}  // namespace fovea
