// What attention is for, which formula it is, and why it divides by sqrt(d).
#include "app/practice_questions.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "app/practice_matrix.h"

namespace fovea::practice {
namespace {

constexpr double kApart = 0.05;  // results that look different when printed

Matrix normal(Random& random, int rows, int columns) {
  Matrix a(rows, columns);
  for (double& x : a.values) x = random.normal();
  return a;
}

Matrix integers(Random& random, int rows, int columns, int low, int high) {
  Matrix a(rows, columns);
  for (double& x : a.values) {
    x = low + static_cast<double>(random.below(static_cast<std::uint64_t>(high - low + 1)));
  }
  return a;
}

constexpr std::size_t kWords = 5;
using Sentence = std::array<const char*, kWords>;
constexpr Sentence kSentences[] = {{"the", "old", "bridge", "was", "closed"},
                                   {"she", "reads", "a", "long", "letter"},
                                   {"we", "saw", "two", "grey", "seals"},
                                   {"rain", "fell", "on", "the", "harbour"},
                                   {"his", "brother", "paints", "small", "boats"}};

// "the 0.021   old 0.074 ..."
std::string weighed(const Sentence& words, const Matrix& weights) {
  std::string text = "  ";
  for (std::size_t j = 0; j < kWords; ++j) {
    text += std::string(words[j]) + " " + text_of(weights.at(0, static_cast<int>(j))) + "   ";
  }
  return text;
}

int largest_of(const Matrix& row) {
  return static_cast<int>(std::max_element(row.values.begin(), row.values.end()) -
                          row.values.begin());
}

// A sentence, the weights of one query, and what they say.
Question weights_of_a_sentence(Random& random, Threads& threads) {
  const Sentence& words = kSentences[random.below(std::size(kSentences))];
  const int n = static_cast<int>(kWords);
  for (;;) {
    const Matrix q = scaled(normal(random, 2, 8), 1.5), k = normal(random, n, 8);
    const Matrix weights = attended(q, k, Matrix(n, 1), 1 / std::sqrt(8.0), threads).weights;
    const Matrix first = row_of(weights, 0), other = row_of(weights, 1);
    const double top = first.at(0, largest_of(first));
    if (!(top > 0.45 && top < 0.85) || largest_of(first) == largest_of(other)) continue;
    const std::string word = words[static_cast<std::size_t>(largest_of(first))];
    Question question;
    question.text =
        "A translator has read five words. For the word that it writes next, attention weighs "
        "them\n" +
        weighed(words, first) + "\nThe plain mean sum(v) / n would weigh each of them " +
        text_of(1.0 / n) + ". What is attention for?";
    question.choices = {
        {"Each output takes the values in shares that fit what it looks for: here mostly \"" +
             word + "\".",
         "Attention is a mean with weights, and the weights come from comparing the query with "
         "every "
         "key: here \"" +
             word + "\" gets " + text_of(top) + " instead of " + text_of(1.0 / n) + "."},
        {"It picks the one word that matters; the output is the value of \"" + word + "\" alone.",
         "the other words still bring " + text_of(1 - top) +
             " of the output. Softmax is soft, and that is why it can be learned."},
        {"It learns one weight for each place in the sentence, the same for every query.",
         "weights are computed anew for every query. The next query weighs the same words\n" +
             weighed(words, other)},
        {"It weighs all words alike, so that none is forgotten.",
         "that is the plain mean, " + text_of(1.0 / n) + " each, which attention replaces."},
        {"It shortens the sentence: words of small weight are removed before the next step.",
         "nothing is removed. The next query sees all five again and weighs them its own way:\n" +
             weighed(words, other)}};
    question.solution =
        "out = sum_j p_j v_j with p = softmax(q K^T / sqrt(d)); the five weights sum to 1.";
    return question;
  }
}

// Which query brings the plain mean back?
Question query_of_the_mean(Random& random, Threads& threads) {
  for (;;) {
    const Matrix k = integers(random, 3, 2, -3, 3), v = integers(random, 3, 2, 0, 9);
    const Matrix mean = mean_of_rows(v, 1);
    const Matrix zero(1, 2), first_key = row_of(k, 0), mean_key = mean_of_rows(k, 1),
                             mean_value = mean;
    Matrix ones(1, 2);
    ones.values = {1, 1};
    const double scale = 1 / std::sqrt(2.0);
    const std::array<Matrix, 4> wrong = {first_key, mean_key, ones, mean_value};
    bool usable = distance(row_of(k, 0), row_of(k, 1)) > 0;
    std::vector<Matrix> queries{zero};
    for (const Matrix& q : wrong) {
      const Matrix out = attended(q, k, v, scale, threads).output;
      usable = usable && distance(out, mean) >= kApart;
      for (const Matrix& before : queries) usable = usable && distance(q, before) > 0.01;
      queries.push_back(q);
    }
    if (!usable) continue;
    const auto gives = [&](const Matrix& q) {
      const Attended a = attended(q, k, v, scale, threads);
      return "its weights are " + text_of(a.weights) + " and its output " + text_of(a.output) + ".";
    };
    Question question;
    question.text = "Keys and values of three words:\n  K = " + literal(k) +
                    "\n  V = " + literal(v) + "\nTheir plain mean sum(V) / n is " + text_of(mean) +
                    ". For which query q does attention give just this mean?";
    question.choices = {
        {"q = " + text_of(zero),
         "It scores every key 0, so softmax gives each 1/3: the plain mean is "
         "attention that asks for nothing."},
        {"q = " + text_of(first_key) + ", the first key", gives(first_key)},
        {"q = " + text_of(mean_key) + ", the mean of the keys",
         "the mean of the keys is not alike to every key: " + gives(mean_key)},
        {"q = " + text_of(ones), "equal numbers in q are not equal scores: " + gives(ones)},
        {"q = " + text_of(mean_value) + ", the mean of the values",
         "a query is compared with keys, not with values: " + gives(mean_value)}};
    question.solution =
        "Equal scores give equal weights, whatever the score is; softmax sees only the "
        "differences between scores.";
    return question;
  }
}

// What keys do and what values do.
Question roles(Random& random, Threads& threads) {
  for (;;) {
    const Matrix q = integers(random, 1, 2, -2, 2), k = integers(random, 2, 2, -3, 3),
                 v = integers(random, 2, 2, 0, 9);
    const Attended right = attended(q, k, v, 1, threads), swapped = attended(q, v, k, 1, threads);
    const Matrix keys = product(right.weights, k);
    if (!(distance(right.output, swapped.output) >= kApart &&
          distance(right.output, keys) >= kApart)) {
      continue;
    }
    Question question;
    question.text = "With scale 1, the query q = " + text_of(q) + ", the keys K = " + literal(k) +
                    " and the values V = " + literal(v) + " give " + text_of(right.output) +
                    ". Which of them does what?";
    question.choices = {
        {"q and K decide the weights; V is what is mixed with them.",
         "The weights " + text_of(right.weights) +
             " come from q and K alone, and they mix the rows of V."},
        {"q and V decide the weights; K is what is mixed with them.",
         "that exchanges keys and values, and would give " + text_of(swapped.output) + "."},
        {"K and V decide the weights; q is what is mixed with them.",
         "there is one query here and nothing to mix. The query asks, the keys answer, the values "
         "are "
         "handed over."},
        {"q and K decide the weights, and K is also what is mixed.",
         "that uses the keys for values, and would give " + text_of(keys) + "."}};
    question.solution =
        "out = softmax(q K^T) V: the query asks, the keys say how well each word fits, the "
        "values are what is taken from it. So V may have another width than K.";
    return question;
  }
}

Question weights_formula(Random& random, Threads& threads) {
  for (;;) {
    const Matrix q = integers(random, 2, 4, -2, 2), k = integers(random, 3, 4, -2, 2),
                 v = integers(random, 3, 2, 0, 9);
    const Matrix scores = scaled(product(q, transposed(k)), 0.5);
    const Matrix weights = attended(q, k, v, 0.5, threads).weights;
    const Matrix late = scaled(softmax_of_rows(scaled(scores, 2)), 0.5);
    const Matrix turned = softmax_of_rows(transposed(scores));
    double lowest = 0;
    for (const double s : scores.values) lowest = std::min(lowest, s);
    if (lowest >= -0.2) continue;
    Question question;
    question.text = "Two queries, three keys and three values, d = 4:\n  Q = " + literal(q) +
                    "\n  K = " + literal(k) + "\n  V = " + literal(v) +
                    "\nWhich formula gives the weights, a row for each query?";
    question.choices = {
        {"softmax(Q K^T / sqrt(d))",
         "It gives " + text_of(weights) +
             ": a row for each query, every row positive and of sum 1."},
        {"Q K^T / sqrt(d)",
         "it gives " + text_of(scores) +
             ": scores. They may be negative and do not sum to 1; softmax is missing."},
        {"softmax(Q K / sqrt(d))",
         "K is not transposed: [2, 4] times [3, 4] does not fit. Were K square, it would fit, and "
         "be wrong "
         "without a word."},
        {"softmax(Q K^T) / sqrt(d)",
         "the division comes too late: it gives " + text_of(late) + ", and the rows sum to 1/2."},
        {"softmax(K Q^T / sqrt(d))", "the roles are exchanged: it gives " + text_of(turned) +
                                         ", a row for each key, over the queries."},
        {"softmax(Q V^T / sqrt(d))",
         "queries are compared with keys, not with values: [2, 4] times [2, 3] does not even fit."},
    };
    question.solution =
        "scores  Q K^T / sqrt(4) = " + text_of(scores) + "\nweights = " + text_of(weights);
    return question;
  }
}

Question output_expression(Random& random, Threads& threads) {
  for (;;) {
    const Matrix q = integers(random, 1, 2, -3, 3), k = integers(random, 2, 2, -3, 3),
                 v = integers(random, 2, 2, 0, 9);
    const double scale = 1 / std::sqrt(2.0);
    const Matrix scores = scaled(product(q, transposed(k)), scale);
    const Attended right = attended(q, k, v, scale, threads);
    const std::vector<Matrix> results = {
        right.output,
        product(right.weights, k),
        product(scores, v),
        product(softmax_of_rows(scaled(product(q, k), scale)), v),
        scaled(product(softmax_of_rows(product(q, transposed(k))), v), scale),
        softmax_of_rows(product(scores, v))};
    bool usable = right.weights.at(0, 0) > 0.02 && right.weights.at(0, 1) > 0.02;
    for (std::size_t a = 0; a < results.size(); ++a) {
      for (std::size_t b = 0; b < a; ++b)
        usable = usable && distance(results[a], results[b]) >= kApart;
    }
    if (!usable) continue;
    const auto gives = [&](std::size_t x) { return "; it gives " + text_of(results[x]) + "."; };
    Question question;
    question.text = "softmax works on rows, d is the width of a key, and\n  Q = " + literal(q) +
                    "\n  K = " + literal(k) + "\n  V = " + literal(v) +
                    "\nWhich line of NumPy is attention?";
    question.choices = {
        {"softmax(Q @ K.T / np.sqrt(d)) @ V",
         "Scores, divided, softmax, mixed values: " + text_of(right.output) + "."},
        {"softmax(Q @ K.T / np.sqrt(d)) @ K", "it mixes the keys" + gives(1)},
        {"(Q @ K.T / np.sqrt(d)) @ V", "softmax is missing, and scores are no weights" + gives(2)},
        {"softmax(Q @ K / np.sqrt(d)) @ V",
         "K is not transposed; K is square, so NumPy says nothing" + gives(3)},
        {"softmax(Q @ K.T) / np.sqrt(d) @ V",
         "it divides the weights instead of the scores, and they no longer sum to 1" + gives(4)},
        {"softmax(Q @ K.T / np.sqrt(d) @ V)",
         "softmax comes after the values were mixed" + gives(5)}};
    question.solution = "weights " + text_of(right.weights) + ", output " + text_of(right.output);
    return question;
  }
}

double deviation(const Matrix& a) {
  double squares = 0;
  for (const double x : a.values) squares += x * x;
  return std::sqrt(squares / static_cast<double>(a.values.size()));
}

Question why_divide(Random& random, Threads& threads) {
  static constexpr int kWidths[] = {64, 100, 144, 256};
  const int d = kWidths[random.below(std::size(kWidths))];
  const double root = std::sqrt(d);
  for (;;) {
    const Matrix q = normal(random, 1, d), k = normal(random, 5, d), v(5, 1);
    const Matrix dots = product(q, transposed(k));
    const Matrix sharp = attended(q, k, v, 1, threads).weights;
    const Matrix right = attended(q, k, v, 1 / root, threads).weights;
    if (!(sharp.at(0, largest_of(sharp)) > 0.95 && right.at(0, largest_of(right)) < 0.7)) continue;
    const std::string D = std::to_string(d), R = text_of(root);
    double mean = 0;
    for (const double x : dots.values) mean += x / 5;
    Question question;
    question.text =
        "A query and five keys of width d = " + D +
        ", all of their numbers drawn with mean 0 and variance 1, give the weights\n  " +
        text_of(sharp) + "   without division\n  " + text_of(right) +
        "   with the scores divided by sqrt(d) = " + R + "\nWhy does attention divide by sqrt(d)?";
    question.choices = {
        {"A sum of d products has a spread of sqrt(d): undivided, one key takes nearly everything "
         "and "
         "little can be learned.",
         "The five products are " + text_of(dots, 1) + ", of a spread around " + R +
             ". Divided by it they have a spread of 1 for any d; softmax stays in its soft range, "
             "where its "
             "gradients are not 0."},
        {"So that the weights of a query sum to 1.",
         "softmax does that, with any scale: both rows above sum to 1."},
        {"So that q and every key get length 1, and the score is the cosine between them.",
         "the lengths stay what they are (q has " + text_of(deviation(q) * root, 1) +
             "). A cosine would divide by both lengths, about " + D + " here, not by " + R + "."},
        {"So that the scores have mean 0.",
         "a division moves no mean to 0 (here it is " + text_of(mean, 1) +
             "), and softmax does not see a shift of all scores anyway."},
        {"So that every key gets about the same weight.",
         "then dividing by d would do it better: that gives " +
             text_of(attended(q, k, v, 1.0 / d, threads).weights) +
             ", and the query hardly matters any more."}};
    question.solution =
        "Var(q . k) = d when the numbers are independent with mean 0 and variance 1.";
    return question;
  }
}

Question size_of_a_product(Random& random, Threads&) {
  static constexpr int kWidths[] = {16, 25, 36, 64, 100, 144};
  const int d = kWidths[random.below(std::size(kWidths))];
  const double root = std::sqrt(d);
  constexpr int kDraws = 4000;
  const Matrix dots = [&] {
    Matrix all(1, kDraws);
    for (double& x : all.values) {
      const Matrix q = normal(random, 1, d), k = normal(random, 1, d);
      x = product(q, transposed(k)).at(0, 0);
    }
    return all;
  }();
  const std::string measured = text_of(deviation(dots), 2), D = std::to_string(d);
  Question question;
  question.text =
      "All numbers of q and k are independent, with mean 0 and variance 1, and d = " + D +
      ". How large is a score q . k typically (its standard deviation), before any division?";
  question.choices = {
      {text_of(root), "The d products have variance 1 each, so their sum has variance d = " + D +
                          " and deviation sqrt(d) = " + text_of(root) + "."},
      {D, "that is the variance. The deviation is its root."},
      {"1", "that is what the division by sqrt(d) makes of it."},
      {std::to_string(d * d),
       "that would be d times d; the variances of d products add up to d only."},
      {text_of(1 / root), "that is what is left after dividing by d instead of sqrt(d)."}};
  question.solution = "Measured on " + std::to_string(kDraws) + " draws: " + measured +
                      ". Divided by sqrt(d) = " + text_of(root) + " that is " +
                      text_of(deviation(dots) / root, 2) + ", whatever d is: hence the division.";
  return question;
}

}  // namespace

Question purpose_question(Random& random, Threads& threads) {
  switch (random.below(3)) {
    case 0: return weights_of_a_sentence(random, threads);
    case 1: return query_of_the_mean(random, threads);
    default: return roles(random, threads);
  }
}

Question formula_question(Random& random, Threads& threads) {
  return random.below(2) == 0 ? weights_formula(random, threads)
                              : output_expression(random, threads);
}

Question scale_question(Random& random, Threads& threads) {
  return random.below(3) == 0 ? size_of_a_product(random, threads) : why_divide(random, threads);
}

}  // namespace fovea::practice
