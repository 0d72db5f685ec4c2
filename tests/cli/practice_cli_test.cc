// fovea practice as its users meet it: asked on standard input, graded, and the same again from a
// seed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <string>

namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

struct Ran {
  int status;
  std::string output;  // both streams
};

Ran practice(const std::string& arguments, const std::string& input = "") {
  const std::string command =
      "printf '" + input + "' | '" FOVEA_PROGRAM "' practice " + arguments + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  Ran ran{-1, ""};
  char block[4096];
  for (std::size_t n; pipe != nullptr && (n = fread(block, 1, sizeof block, pipe)) > 0;) {
    ran.output.append(block, n);
  }
  if (pipe != nullptr) ran.status = WEXITSTATUS(pclose(pipe));
  return ran;
}

// The letters of the right answers, as --answers prints them.
std::string right_answers(const std::string& sheet) {
  std::string letters;
  for (std::size_t at = 0; (at = sheet.find("Answer: ", at)) != std::string::npos; ++at) {
    letters += sheet[at + 8];
  }
  return letters;
}

TEST(PracticeCommand, AnswersPrintsTheFiveKindsWithTheirAnswers) {
  const Ran ran = practice("--answers --seed 4");
  EXPECT_EQ(ran.status, 0);
  for (const char* title :
       {"Question 1 of 5: what attention is for",
        "Question 2 of 5: which formula gives the weights", "Question 3 of 5: work this one out",
        "Question 4 of 5: find the mistake in this NumPy code",
        "Question 5 of 5: why divide by sqrt(d)"}) {
    EXPECT_THAT(ran.output, HasSubstr(title));
  }
  EXPECT_EQ(right_answers(ran.output).size(), 5u);
  EXPECT_EQ(practice("--answers --seed 4").output, ran.output);
  EXPECT_NE(practice("--answers --seed 5").output, ran.output);
}

TEST(PracticeCommand, GradesWhatIsAnswered) {
  const std::string right = right_answers(practice("--answers --seed 9").output);
  ASSERT_EQ(right.size(), 5u);
  std::string all, none;
  for (const char letter : right) {
    all += std::string(1, letter) + "\\n";
    none += std::string(1, letter == 'a' ? 'b' : 'a') + "\\n";
  }
  const Ran good = practice("--seed 9", all);
  EXPECT_EQ(good.status, 0);
  EXPECT_THAT(good.output, HasSubstr("5 of 5 right. Well done!"));
  EXPECT_THAT(good.output, Not(HasSubstr("It is ")));
  const Ran bad = practice("--seed 9", none);
  EXPECT_EQ(bad.status, 0);
  EXPECT_THAT(bad.output, HasSubstr("0 of 5 right.\n"));
  EXPECT_THAT(bad.output, HasSubstr("It is " + right.substr(0, 1)));
}

TEST(PracticeCommand, AsksAgainPassesAndStops) {
  const Ran ran = practice("--seed 9", "seven\\n?\\nq\\n");
  EXPECT_EQ(ran.status, 0);
  EXPECT_THAT(ran.output, HasSubstr("Please answer with a letter from a to d"));
  EXPECT_THAT(ran.output, HasSubstr("Answer: "));
  EXPECT_THAT(ran.output, HasSubstr("Question 2 of 5"));
  EXPECT_THAT(ran.output, Not(HasSubstr("Question 3 of 5")));
  EXPECT_THAT(ran.output, HasSubstr("0 of 1 right.\n"));
  EXPECT_THAT(ran.output, EndsWith("The same questions again: fovea practice --seed 9\n"));
}

TEST(PracticeCommand, TheEndOfTheInputIsAnEnd) {
  const Ran ran = practice("--seed 9");
  EXPECT_EQ(ran.status, 0);
  EXPECT_THAT(ran.output, HasSubstr("0 of 0 right.\n"));
}

TEST(PracticeCommand, TheSheetCanBeAskedAgainInFull) {
  const Ran ran = practice("--seed 2 --questions 3 --kind scale", "q\\n");
  EXPECT_THAT(ran.output, StartsWith("Question 1 of 3: why divide by sqrt(d)"));
  EXPECT_THAT(ran.output, EndsWith("again: fovea practice --seed 2 --questions 3 --kind scale\n"));
}

TEST(PracticeCommand, WithoutASeedItSaysWhichOneItTook) {
  const Ran ran = practice("", "q\\n");
  const std::size_t at = ran.output.find("--seed ");
  ASSERT_NE(at, std::string::npos);
  const std::string seed = ran.output.substr(at + 7, ran.output.find('\n', at) - at - 7);
  EXPECT_EQ(practice("--seed " + seed, "q\\n").output, ran.output);
}

TEST(PracticeCommand, JsonHasOneQuestionALine) {
  const Ran ran = practice("--json --seed 1 --questions 7");
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 7);
  EXPECT_THAT(ran.output, StartsWith(R"({"kind":"purpose","question":")"));
  EXPECT_THAT(ran.output, HasSubstr(R"("choices":[{"text":")"));
}

TEST(PracticeCommand, MisuseIsExitTwo) {
  EXPECT_EQ(practice("--questions 0").status, 2);
  EXPECT_EQ(practice("--questions many").status, 2);
  EXPECT_EQ(practice("--kind history").status, 2);
  EXPECT_EQ(practice("--seed -1").status, 2);
  EXPECT_EQ(practice("--json --answers").status, 2);
}

}  // namespace
