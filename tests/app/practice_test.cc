// The lesson's questions: one right choice, computed again here from the formula; wrong ones that
// are wrong.
#include "app/practice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace fovea {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Rows = std::vector<std::vector<double>>;

constexpr int kSeeds = 150;

// Every number of "[[1, 0], [-10, 1]]" or "[1, 0]" that follows `name` in the text.
Rows rows_after(const std::string& text, const std::string& name) {
  std::size_t at = text.find(name);
  if (at == std::string::npos) return {};
  at = text.find('[', at);
  Rows rows;
  int depth = 0;
  for (; at < text.size(); ++at) {
    if (text[at] == '[') {
      ++depth;
      if (rows.empty() || !rows.back().empty()) rows.emplace_back();
    } else if (text[at] == ']') {
      if (--depth == 0) break;
    } else if (text[at] == '-' || std::isdigit(static_cast<unsigned char>(text[at])) != 0) {
      char* end = nullptr;
      rows.back().push_back(std::strtod(text.c_str() + at, &end));
      at = static_cast<std::size_t>(end - text.c_str()) - 1;
    }
  }
  return rows;
}

// softmax(scale q K^T), and with V the output: straight from the formula.
struct Attention {
  Rows weights, output;
};
Attention attention(const Rows& q, const Rows& k, const Rows& v, double scale) {
  Attention result;
  for (const auto& query : q) {
    std::vector<double> p;
    double sum = 0;
    for (const auto& key : k) {
      double s = 0;
      for (std::size_t d = 0; d < query.size(); ++d) s += query[d] * key[d];
      p.push_back(std::exp(scale * s));
      sum += p.back();
    }
    std::vector<double> out(v.empty() ? 0 : v[0].size(), 0.0);
    for (std::size_t j = 0; j < p.size(); ++j) {
      p[j] /= sum;
      for (std::size_t e = 0; e < out.size(); ++e) out[e] += p[j] * v[j][e];
    }
    result.weights.push_back(p);
    result.output.push_back(out);
  }
  return result;
}

// Agrees to the three decimals that are shown.
bool shown_as(const Rows& shown, const Rows& exact) {
  if (shown.size() != exact.size()) return false;
  for (std::size_t r = 0; r < shown.size(); ++r) {
    if (shown[r].size() != exact[r].size()) return false;
    for (std::size_t c = 0; c < shown[r].size(); ++c) {
      if (!(std::abs(shown[r][c] - exact[r][c]) <= 0.000'51)) return false;
    }
  }
  return true;
}

const Choice& right_of(const Question& question) {
  return question.choices[static_cast<std::size_t>(question.right)];
}

// Calls f for many questions of a kind.
template <class F>
void each(QuestionKind kind, const F& f) {
  Threads threads(1);
  for (int seed = 0; seed < kSeeds && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " kind " + name_of(kind));
    f(practice_question(static_cast<std::uint64_t>(seed), seed % 7, kind, threads));
  }
}

TEST(Practice, EveryQuestionHasFourDifferentExplainedChoices) {
  for (int kind = 0; kind < kQuestionKinds; ++kind) {
    std::set<int> places;
    std::set<std::string> texts;
    each(static_cast<QuestionKind>(kind), [&](const Question& question) {
      EXPECT_EQ(static_cast<int>(question.kind), kind);
      EXPECT_EQ(question.choices.size(), 4u);
      ASSERT_TRUE(question.right >= 0 && question.right < 4);
      std::set<std::string> different;
      for (const Choice& choice : question.choices) {
        different.insert(choice.text);
        EXPECT_FALSE(choice.text.empty());
        EXPECT_GT(choice.why.size(), 20u) << choice.text;
      }
      EXPECT_EQ(different.size(), 4u);
      EXPECT_FALSE(question.text.empty());
      EXPECT_FALSE(question.solution.empty());
      places.insert(question.right);
      texts.insert(question.text);
    });
    EXPECT_EQ(places.size(), 4u) << "the right choice must not always stand in one place";
    EXPECT_GT(texts.size(), 30u) << "fresh numbers from every seed";
  }
}

TEST(Practice, TheSameSeedGivesTheSameQuestionWhateverCameBefore) {
  Threads one(1), three(3);
  for (int number = 0; number < 10; ++number) {
    const Question a = practice_question(5, number, std::nullopt, one);
    const Question b = practice_question(5, number, std::nullopt, three);
    EXPECT_EQ(question_text(a, 0, 1) + answer_text(a), question_text(b, 0, 1) + answer_text(b));
    EXPECT_EQ(static_cast<int>(a.kind), number % 5) << "the five kinds come in turn";
    EXPECT_NE(a.text, practice_question(6, number, a.kind, one).text);
    EXPECT_NE(a.text, practice_question(5, number + 5, a.kind, one).text);
  }
}

TEST(Practice, WorkedOutIsWhatTheFormulaGives) {
  int outputs = 0, weights = 0;
  each(QuestionKind::kWorkOut, [&](const Question& question) {
    const bool output = question.text.find("softmax(Q K^T) V") != std::string::npos;
    const Rows q = rows_after(question.text, output ? "Q =" : "q ="),
               k = rows_after(question.text, "K ="), v = rows_after(question.text, "V =");
    ASSERT_EQ(q.size(), 1u);
    const Attention want = attention(q, k, v, output ? 1 : 0.5);
    ++(output ? outputs : weights);
    for (const Choice& choice : question.choices) {
      const Rows shown = rows_after(choice.text, "");
      EXPECT_EQ(shown_as(shown, output ? want.output : want.weights),
                &choice == &right_of(question))
          << choice.text << " in " << question.text;
    }
  });
  EXPECT_GT(outputs, 20);
  EXPECT_GT(weights, 20);
}

// The mistakes are really made: some of them, made again here.
TEST(Practice, WrongResultsAreThoseOfTheirMistakes) {
  std::map<std::string, int> seen;
  each(QuestionKind::kWorkOut, [&](const Question& question) {
    if (question.text.find("softmax(Q K^T) V") == std::string::npos) return;
    const Rows q = rows_after(question.text, "Q ="), k = rows_after(question.text, "K ="),
               v = rows_after(question.text, "V =");
    const Rows columns = {{k[0][0], k[1][0]}, {k[0][1], k[1][1]}};
    const std::map<std::string, Rows> mistakes = {
        {"that is softmax(Q K) V.", attention(q, columns, v, 1).output},
        {"that is softmax(Q K^T) K.", attention(q, k, k, 1).output},
        {"that is the plain mean", {{(v[0][0] + v[1][0]) / 2, (v[0][1] + v[1][1]) / 2}}}};
    for (const Choice& choice : question.choices) {
      for (const auto& [name, result] : mistakes) {
        if (choice.why.find(name) != 0) continue;
        ++seen[name];
        EXPECT_TRUE(shown_as(rows_after(choice.text, ""), result)) << name << ": " << choice.text;
      }
    }
  });
  EXPECT_EQ(seen.size(), 3u);
}

TEST(Practice, TheProgramWithAMistakePrintsSomethingElse) {
  std::set<std::string> faults;
  each(QuestionKind::kMistake, [&](const Question& question) {
    const Rows q = rows_after(question.text, "Q ="), k = rows_after(question.text, "K ="),
               v = rows_after(question.text, "V =");
    ASSERT_EQ(q.size(), 2u);
    const Rows said = rows_after(question.text, "attention gives");
    const std::string printed = question.text.substr(question.text.find("It prints"));
    if (std::abs(q[0][0]) + std::abs(q[0][1]) + std::abs(q[1][0]) + std::abs(q[1][1]) < 100) {
      // (exp of larger scores overflows here as it does in the program of that mistake)
      EXPECT_TRUE(shown_as(said, attention(q, k, v, 1 / std::sqrt(2.0)).output)) << question.text;
      EXPECT_FALSE(shown_as(rows_after(printed, "prints"), said)) << question.text;
    } else {
      EXPECT_THAT(printed, HasSubstr("nan"));
    }
    faults.insert(right_of(question).text);
  });
  EXPECT_EQ(faults.size(), 8u) << "every mistake is asked for";
}

TEST(Practice, TheRightFormulaGivesTheWeightsThatItIsSaidToGive) {
  int checked = 0;
  each(QuestionKind::kFormula, [&](const Question& question) {
    const std::string& text = right_of(question).text;
    const Rows q = rows_after(question.text, "Q ="), k = rows_after(question.text, "K ="),
               v = rows_after(question.text, "V =");
    if (text == "softmax(Q K^T / sqrt(d))") {
      EXPECT_TRUE(
          shown_as(rows_after(right_of(question).why, "gives"), attention(q, k, v, 0.5).weights));
      ++checked;
    } else {
      EXPECT_EQ(text, "softmax(Q @ K.T / np.sqrt(d)) @ V");
      EXPECT_TRUE(shown_as(rows_after(right_of(question).why, "values:"),
                           attention(q, k, v, 1 / std::sqrt(2.0)).output));
    }
  });
  EXPECT_GT(checked, 20);
}

TEST(Practice, TheMeanIsGivenByTheRightQueryAlone) {
  int checked = 0;
  each(QuestionKind::kPurpose, [&](const Question& question) {
    if (question.text.find("For which query q") == std::string::npos) return;
    ++checked;
    const Rows k = rows_after(question.text, "K ="), v = rows_after(question.text, "V =");
    const Rows mean = rows_after(question.text, "sum(V) / n is");
    for (const Choice& choice : question.choices) {
      const Rows out = attention(rows_after(choice.text, "q ="), k, v, 1 / std::sqrt(2.0)).output;
      EXPECT_EQ(shown_as(mean, out), &choice == &right_of(question)) << choice.text;
    }
  });
  EXPECT_GT(checked, 20);
}

TEST(Practice, ScalesAreRootsOfTheWidth) {
  int measured = 0, shown = 0;
  each(QuestionKind::kWhyScale, [&](const Question& question) {
    const std::size_t at = question.text.find("d = ");
    ASSERT_NE(at, std::string::npos);
    const double root = std::sqrt(std::strtod(question.text.c_str() + at + 4, nullptr));
    if (question.text.find("How large") != std::string::npos) {
      ++measured;
      EXPECT_EQ(std::strtod(right_of(question).text.c_str(), nullptr), root);
      const std::string said = question.solution.substr(question.solution.find("draws: ") + 7);
      EXPECT_NEAR(std::strtod(said.c_str(), nullptr), root, 0.06 * root);  // 5 standard errors
    } else {
      ++shown;
      const Rows sharp = rows_after(question.text, "weights"),
                 soft = rows_after(question.text, "without division");
      ASSERT_EQ(sharp.size() + soft.size(), 2u);
      // The products are shown with one decimal, so the weights come out within one part in a
      // hundred.
      const Rows products = rows_after(right_of(question).why, "products are");
      for (const bool divided : {false, true}) {
        double sum = 0;
        for (const double x : products[0]) sum += std::exp(divided ? x / root : x);
        for (std::size_t x = 0; x < 5; ++x) {
          const double weight = std::exp(divided ? products[0][x] / root : products[0][x]) / sum;
          EXPECT_NEAR(divided ? soft[0][x] : sharp[0][x], weight, divided ? 0.01 : 0.03);
        }
      }
      EXPECT_GT(*std::max_element(sharp[0].begin(), sharp[0].end()), 0.95);
      EXPECT_LT(*std::max_element(soft[0].begin(), soft[0].end()), 0.7);
    }
  });
  EXPECT_GT(measured, 10);
  EXPECT_GT(shown, 10);
}

TEST(Practice, AnswersAreReadAsPeopleWriteThem) {
  Question question;
  question.choices.resize(4);
  for (const char* b : {"b", "B", " b ", "b)", "(b)", "B.", "2", "2)", "b\r"}) {
    EXPECT_EQ(choice_named(question, b), 1) << b;
  }
  for (const char* none :
       {"", " ", "e", "5", "0", "ab", "-1", "b?", "?", "z", "b c", "12", "\xc3\xa9"}) {
    EXPECT_EQ(choice_named(question, none), -1) << none;
  }
}

TEST(Practice, TheVerdictNamesTheMistakeAndTheAnswer) {
  Threads threads(1);
  const Question question = practice_question(3, 0, QuestionKind::kWorkOut, threads);
  const std::string right = verdict_text(question, question.right);
  EXPECT_THAT(right, HasSubstr("Right."));
  EXPECT_THAT(right, HasSubstr("Step by step"));
  const int wrong = (question.right + 1) % 4;
  const std::string verdict = verdict_text(question, wrong);
  EXPECT_THAT(verdict, Not(HasSubstr("Right.")));
  EXPECT_THAT(verdict, HasSubstr(std::string("Not ") + static_cast<char>('a' + wrong) + ":"));
  EXPECT_THAT(verdict, HasSubstr(std::string("It is ") + static_cast<char>('a' + question.right)));
  EXPECT_THAT(verdict, HasSubstr("Step by step"));
}

TEST(Practice, TextFitsATerminalAndArraysStayWhole) {
  Threads threads(1);
  for (int seed = 0; seed < 60; ++seed) {
    const Question question =
        practice_question(static_cast<std::uint64_t>(seed), seed, std::nullopt, threads);
    const std::string text = question_text(question, 0, 5) + answer_text(question);
    std::size_t begin = 0;
    while (begin < text.size()) {
      const std::size_t end = text.find('\n', begin);
      ASSERT_NE(end, std::string::npos);
      const std::string line = text.substr(begin, end - begin);
      EXPECT_LE(line.size(), 100u) << line;
      EXPECT_EQ(std::count(line.begin(), line.end(), '['),
                std::count(line.begin(), line.end(), ']'))
          << line;
      EXPECT_TRUE(line.empty() || line.back() != ' ') << line;
      begin = end + 1;
    }
  }
}

}  // namespace
}  // namespace fovea
