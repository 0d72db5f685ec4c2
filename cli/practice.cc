// fovea practice: questions on attention, asked and graded.
#include "app/practice.h"

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "commands.h"
#include "output.h"

namespace fovea::cli {
namespace {

struct Arguments {
  std::optional<std::uint64_t> seed;
  int questions = kQuestionKinds;
  std::optional<QuestionKind> kind;
  bool answers = false;
  bool json = false;
};

// A seed short enough to be typed again.
std::uint64_t fresh_seed() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(
             std::chrono::duration_cast<std::chrono::milliseconds>(now).count()) %
         100'000;
}

std::string json_of(const Question& question) {
  nlohmann::ordered_json json;
  json["kind"] = name_of(question.kind);
  json["question"] = question.text;
  for (const Choice& choice : question.choices) {
    json["choices"].push_back({{"text", choice.text}, {"why", choice.why}});
  }
  json["right"] = question.right;
  json["solution"] = question.solution;
  return json.dump();
}

// Asks until a line names a choice. -1: passed; nothing: the reader stops or the input ends.
std::optional<int> ask(const Question& question, bool terminal) {
  const char last = static_cast<char>('a' + static_cast<int>(question.choices.size()) - 1);
  for (std::string line;;) {
    if (terminal) write_out(std::string("\nYour answer (a-") + last + ", ? to pass, q to stop): ");
    if (!std::getline(std::cin, line)) return std::nullopt;
    const std::size_t from = line.find_first_not_of(" \t\r");
    const std::size_t to = line.find_last_not_of(" \t\r");
    line = from == std::string::npos ? "" : line.substr(from, to - from + 1);
    if (line == "q" || line == "Q") return std::nullopt;
    if (line == "?") return -1;
    const int choice = choice_named(question, line);
    if (choice >= 0) return choice;
    write_out(std::string("  Please answer with a letter from a to ") + last +
              ", ? to see the answer, or q to stop.\n");
  }
}

void practise(const Arguments& arguments, std::uint64_t seed, Threads& threads) {
  const bool terminal = isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
  int asked = 0, right = 0;
  for (int n = 0; n < arguments.questions; ++n) {
    const Question question = practice_question(seed, n, arguments.kind, threads);
    write_out((n == 0 ? "" : "\n") + question_text(question, n, arguments.questions));
    const std::optional<int> choice = ask(question, terminal);
    if (!choice) break;
    ++asked;
    if (*choice == question.right) ++right;
    write_out("\n" + (*choice < 0 ? answer_text(question) : verdict_text(question, *choice)));
  }
  std::string again = "fovea practice --seed " + std::to_string(seed);
  if (arguments.questions != kQuestionKinds) {
    again += " --questions " + std::to_string(arguments.questions);
  }
  if (arguments.kind) again += std::string(" --kind ") + name_of(*arguments.kind);
  write_out("\n" + std::to_string(right) + " of " + std::to_string(asked) + " right" +
            (asked > 0 && right == asked ? ". Well done!" : ".") +
            "\nThe same questions again: " + again + "\n");
}

void run(const Arguments& arguments) {
  const std::uint64_t seed = arguments.seed.value_or(fresh_seed());
  Threads threads(1);
  if (!arguments.answers && !arguments.json) return practise(arguments, seed, threads);
  for (int n = 0; n < arguments.questions; ++n) {
    const Question question = practice_question(seed, n, arguments.kind, threads);
    if (arguments.json) {
      write_out(json_of(question) + "\n");
    } else {
      write_out((n == 0 ? "" : "\n") + question_text(question, n, arguments.questions) + "\n" +
                answer_text(question));
    }
  }
}

}  // namespace

void add_practice(CLI::App& app) {
  auto* command =
      app.add_subcommand("practice", "questions on attention, computed and graded by the engine");
  command->footer("Example:\n  fovea practice --seed 7");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("--seed", arguments->seed, "which questions; new ones each time unless given")
      ->check(CLI::NonNegativeNumber);
  command->add_option("-n,--questions", arguments->questions, "how many; the five kinds in turn")
      ->check(CLI::Range(1, 1000));
  std::map<std::string, QuestionKind> kinds;
  for (int kind = 0; kind < kQuestionKinds; ++kind) {
    kinds[name_of(static_cast<QuestionKind>(kind))] = static_cast<QuestionKind>(kind);
  }
  command
      ->add_option_function<QuestionKind>(
          "--kind", [arguments](const QuestionKind& kind) { arguments->kind = kind; },
          "only one kind: purpose, formula, work, mistake, scale")
      ->transform(CLI::CheckedTransformer(kinds));
  auto* answers = command->add_flag("--answers", arguments->answers,
                                    "print the questions with their answers, ask nothing");
  command->add_flag("--json", arguments->json, "print them as JSON, one question a line")
      ->excludes(answers);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace fovea::cli
