// "Work this one out" and "find the mistake": every choice is computed, the right one by the
// engine.
#include <algorithm>
#include <cmath>
#include <limits>

#include "app/practice_matrix.h"
#include "app/practice_questions.h"

namespace fovea::practice {
namespace {

// Below this two results look alike when printed with three decimals.
constexpr double kApart = 0.05;

struct Numbers {
  Matrix q, k, v;
};

Matrix integers(Random& random, int rows, int columns, int low, int high) {
  Matrix a(rows, columns);
  for (double& x : a.values) {
    x = low + static_cast<double>(random.below(static_cast<std::uint64_t>(high - low + 1)));
  }
  return a;
}

bool apart(const std::vector<Matrix>& results) {
  for (std::size_t a = 0; a < results.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      if (!(distance(results[a], results[b]) >= kApart)) return false;
    }
  }
  return true;
}

std::string given(const Numbers& n) {
  return "  Q = " + literal(n.q) + "\n  K = " + literal(n.k) + "\n  V = " + literal(n.v) + "\n";
}

// "0.731 [10, 20] + 0.269 [30, 40]"
std::string mixture(const Matrix& weights, const Matrix& v) {
  std::string text;
  for (int j = 0; j < v.rows; ++j) {
    text += (j == 0 ? "" : " + ") + text_of(weights.at(0, j)) + " " + text_of(row_of(v, j));
  }
  return text;
}

std::string exponentials(const Matrix& scores) {
  Matrix e = scores;
  for (double& x : e.values) x = std::exp(x);
  return text_of(e);
}

// One query, two keys of width 2, scale 1: small enough for pencil and calculator.
Question output_by_hand(Random& random, Threads& threads) {
  for (;;) {
    const Numbers n{integers(random, 1, 2, -2, 2), integers(random, 2, 2, -2, 2),
                    integers(random, 2, 2, 0, 9)};
    const Matrix scores = product(n.q, transposed(n.k));
    const Attended right = attended(n.q, n.k, n.v, 1, threads);
    const Matrix mean = mean_of_rows(n.v, 1), no_softmax = product(scores, n.v),
                 keys = product(right.weights, n.k),
                 untransposed = product(softmax_of_rows(product(n.q, n.k)), n.v),
                 winner = row_of(n.v, scores.at(0, 0) > scores.at(0, 1) ? 0 : 1);
    if (std::min(right.weights.at(0, 0), right.weights.at(0, 1)) < 0.01) continue;
    if (!apart({right.output, mean, no_softmax, keys, untransposed, winner})) continue;
    Question question;
    question.text = "One query, two keys, no division (scale 1):\n" + given(n) +
                    "What is softmax(Q K^T) V? (A calculator is fine.)";
    question.choices = {
        {text_of(right.output),
         "The weights are " + text_of(right.weights) +
             ", and the output is the sum of the values with these weights."},
        {text_of(mean),
         "that is the plain mean sum(V) / n, which asks no query and no key: every "
         "value weighs 1/2."},
        {text_of(no_softmax), "that is (Q K^T) V. The softmax is missing: the scores " +
                                  text_of(scores) + " are no weights, they do not sum to 1."},
        {text_of(keys),
         "that is softmax(Q K^T) K. The weights are right, but they mix the keys; what "
         "is mixed are the values."},
        {text_of(untransposed),
         "that is softmax(Q K) V. K was not transposed: because K is square nothing complains, but "
         "the "
         "query meets the columns of K where it should meet its rows."},
        {text_of(winner),
         "that is the value of the best key alone. Softmax is soft: the other key "
         "keeps its share of the weight."}};
    question.solution = "Step by step:\n  scores   Q K^T = " + text_of(scores) + "\n  exp      " +
                        exponentials(scores) + "\n  weights  " + text_of(right.weights) +
                        " (each divided by their sum)\n  output   " + mixture(right.weights, n.v) +
                        " = " + text_of(right.output);
    return question;
  }
}

// One query, three keys of width 4, divided by sqrt(4) = 2.
Question weights_by_hand(Random& random, Threads& threads) {
  for (;;) {
    const Numbers n{integers(random, 1, 4, -2, 2), integers(random, 3, 4, -2, 2), Matrix(3, 1)};
    const Matrix dots = product(n.q, transposed(n.k)), scores = scaled(dots, 0.5);
    const Matrix right = attended(n.q, n.k, n.v, 0.5, threads).weights;
    double sum = 0;
    for (const double s : scores.values) sum += s;
    if (std::abs(sum) < 0.1) continue;
    const Matrix undivided = softmax_of_rows(dots), by_width = softmax_of_rows(scaled(dots, 0.25)),
                 shares = scaled(scores, 1 / sum), uniform = softmax_of_rows(scaled(dots, 0)),
                 negated = softmax_of_rows(scaled(dots, -0.5));
    if (!apart({right, scores, undivided, by_width, shares, uniform, negated})) continue;
    Question question;
    question.text = "One query, three keys of width d = 4:\n  q = " + text_of(n.q) +
                    "\n  K = " + literal(n.k) +
                    "\nWhat are the weights softmax(q K^T / sqrt(d))? (A calculator is fine.)";
    question.choices = {
        {text_of(right), "Scores first, then exp, then divide by the sum."},
        {text_of(undivided),
         "that is softmax(q K^T): the division by sqrt(4) = 2 was forgotten, and the "
         "weights are too sharp."},
        {text_of(by_width),
         "that divides by d = 4 where sqrt(d) = 2 belongs: the weights are too even."},
        {text_of(scores),
         "these are the scores. Softmax is still to come: weights are positive and sum "
         "to 1."},
        {text_of(shares),
         "these are the scores divided by their sum. They sum to 1, but without exp a "
         "score may be negative, and a weight may not."},
        {text_of(uniform), "that is 1/3 each, the plain mean, whatever the query asks."},
        {text_of(negated), "the sign is turned round: a large score must give a large weight."}};
    question.solution = "Step by step:\n  q K^T            = " + text_of(dots) +
                        "\n  / sqrt(4)        = " + text_of(scores) +
                        "\n  exp              = " + exponentials(scores) +
                        "\n  / their sum      = " + text_of(right);
    return question;
  }
}

// A program of four steps, one of them wrong.
struct Program {
  std::string scores = "scores = Q @ K.T / np.sqrt(Q.shape[1])";
  std::string exponent = "e = np.exp(scores - scores.max(axis=1, keepdims=True))";
  std::string weights = "weights = e / e.sum(axis=1, keepdims=True)";
  std::string output = "print(weights @ V)";
};

std::string listing(const Numbers& n, const Program& p) {
  return "  1  import numpy as np\n  2  Q = np.array(" + literal(n.q) + ")\n  3  K = np.array(" +
         literal(n.k) + ")\n  4  V = np.array(" + literal(n.v) + ")\n  5  " + p.scores + "\n  6  " +
         p.exponent + "\n  7  " + p.weights + "\n  8  " + p.output + "\n";
}

enum Fault { kTranspose, kScale, kCount, kSoftmax, kAxis, kWhole, kKeys, kOverflow, kFaults };

// What each change is called as a choice, and why it is not the one when the line is right.
struct Claim {
  const char* text;
  const char* not_this;
};
constexpr Claim kClaims[] = {
    {"line 5: K must be transposed, Q @ K.T",
     "line 5 has K.T: every query meets every key, row by row."},
    {"line 5: the products must be divided by sqrt(d)",
     "line 5 divides by np.sqrt(Q.shape[1]), and Q.shape[1] is d."},
    {"line 5: divide by the root of the width of Q, not of the number of keys",
     "line 5 does not use the number of keys."},
    {"line 7: e must be divided by its sum; these are no weights yet",
     "line 7 does divide e by a sum."},
    {"line 7: the sum runs over the wrong axis; each query's weights must sum to 1",
     "line 7 sums along axis=1, over the keys, as it should."},
    {"line 7: each row has a sum of its own; this divides all rows by one number",
     "line 7 keeps one sum for each row."},
    {"line 8: the weights must mix V, not K", "line 8 mixes the rows of V, as it should."},
    {"line 6: the largest score of each row must be taken out before exp",
     "line 6 takes the largest score out. It cancels in the division, so the weights are the same "
     "with "
     "it and without it; it only keeps exp finite."},
};
static_assert(std::size(kClaims) == kFaults);

const char* reason(Fault fault) {
  static constexpr const char* kReasons[] = {
      "Q @ K sets the query against the columns of K. K is square, so NumPy gives no error, only a "
      "wrong "
      "answer.",
      "Without the division the scores of wide vectors are too far apart and softmax comes out too "
      "sharp.",
      "d is the width of a query and of a key; how many keys there are has nothing to do with it.",
      "Without the division by the sum the weights of a row do not sum to 1, and the output is no "
      "mean of "
      "the values.",
      "axis=0 lets the queries compete for a key. The keys must compete for a query: axis=1.",
      "With one sum for everything each row gets only a part of the weight 1 that belongs to it.",
      "The keys decide the weights; what is mixed are the values.",
      "exp of a score beyond 709 is infinite in float64, and inf / inf is nan. Taking the row's "
      "largest "
      "score out changes no weight and keeps exp at 1 or below."};
  return kReasons[fault];
}

struct Wrong {
  Program program;
  Matrix printed;
};

// Makes the mistake: in the program that is shown, and in the numbers that it would print.
Wrong wrong_of(Fault fault, const Numbers& n, const Matrix& scores, const Matrix& weights) {
  Wrong w;
  Matrix used = weights;
  Matrix e = scores;
  double total = 0;
  for (int i = 0; i < e.rows; ++i) {
    double largest = -std::numeric_limits<double>::infinity();
    for (int j = 0; j < e.columns; ++j) largest = std::max(largest, scores.at(i, j));
    for (int j = 0; j < e.columns; ++j) total += e.at(i, j) = std::exp(scores.at(i, j) - largest);
  }
  const double width = n.q.columns, keys = n.k.rows;
  switch (fault) {
    case kTranspose:
      w.program.scores = "scores = Q @ K / np.sqrt(Q.shape[1])";
      used = softmax_of_rows(scaled(product(n.q, n.k), 1 / std::sqrt(width)));
      break;
    case kScale:
      w.program.scores = "scores = Q @ K.T";
      used = softmax_of_rows(scaled(scores, std::sqrt(width)));
      break;
    case kCount:
      w.program.scores = "scores = Q @ K.T / np.sqrt(K.shape[0])";
      used = softmax_of_rows(scaled(scores, std::sqrt(width / keys)));
      break;
    case kSoftmax:
      w.program.weights = "weights = e";
      used = e;
      break;
    case kAxis:
      w.program.weights = "weights = e / e.sum(axis=0, keepdims=True)";
      used = e;
      for (int j = 0; j < e.columns; ++j) {
        double sum = 0;
        for (int i = 0; i < e.rows; ++i) sum += e.at(i, j);
        for (int i = 0; i < e.rows; ++i) used.at(i, j) = e.at(i, j) / sum;
      }
      break;
    case kWhole:
      w.program.weights = "weights = e / e.sum()";
      used = scaled(e, 1 / total);
      break;
    case kKeys: w.program.output = "print(weights @ K)"; break;
    case kOverflow:
      w.program.exponent = "e = np.exp(scores)";
      for (int i = 0; i < e.rows; ++i) {
        double sum = 0;
        for (int j = 0; j < e.columns; ++j) sum += used.at(i, j) = std::exp(scores.at(i, j));
        for (int j = 0; j < e.columns; ++j) used.at(i, j) /= sum;
      }
      break;
    case kFaults: break;
  }
  w.printed = product(used, fault == kKeys ? n.k : n.v);
  return w;
}

// True when exp of some score is infinite, and no row underflows as a whole (another way to nan).
bool overflows_somewhere(const Matrix& scores) {
  bool found = false;
  for (int i = 0; i < scores.rows; ++i) {
    double largest = -std::numeric_limits<double>::infinity();
    for (int j = 0; j < scores.columns; ++j) largest = std::max(largest, scores.at(i, j));
    if (largest < -700) return false;
    found = found || largest > 710;
  }
  return found;
}

}  // namespace

Question work_question(Random& random, Threads& threads) {
  return random.below(2) == 0 ? output_by_hand(random, threads) : weights_by_hand(random, threads);
}

Question mistake_question(Random& random, Threads& threads) {
  const auto fault = static_cast<Fault>(random.below(kFaults));
  for (;;) {
    // Square keys let the missing transpose pass unseen; three keys tell their number from the
    // width.
    const int keys = fault == kTranspose ? 2 : 3;
    Numbers n{integers(random, 2, 2, -3, 3), integers(random, keys, 2, -3, 3),
              integers(random, keys, 2, 0, 9)};
    if (fault == kOverflow) n.q = scaled(n.q, 500);
    const double scale = 1 / std::sqrt(2.0);
    const Matrix scores = scaled(product(n.q, transposed(n.k)), scale);
    const Attended right = attended(n.q, n.k, n.v, scale, threads);
    const Wrong wrong = wrong_of(fault, n, scores, softmax_of_rows(scores));
    if (fault == kOverflow) {
      if (!overflows_somewhere(scores)) continue;
    } else if (!(distance(wrong.printed, right.output) >= kApart)) {
      continue;
    }
    Question question;
    question.text = "This program should print attention, softmax(Q K^T / sqrt(d)) V:\n" +
                    listing(n, wrong.program) + "It prints " + text_of(wrong.printed) +
                    ", but attention gives " + text_of(right.output) + ". What is wrong?";
    question.choices.push_back({kClaims[fault].text, reason(fault)});
    for (int other = 0; other < kFaults; ++other) {
      // A claim that would be true of the faulty line too is no wrong choice.
      const bool same_line = (fault == kTranspose || fault == kScale || fault == kCount) &&
                             (other == kTranspose || other == kScale || other == kCount);
      const bool same_sum = (fault == kSoftmax || fault == kAxis || fault == kWhole) &&
                            (other == kSoftmax || other == kAxis || other == kWhole);
      if (other == fault || (same_line && other == kCount) ||
          (fault == kCount && other == kScale) || same_sum) {
        continue;
      }
      question.choices.push_back({kClaims[other].text, kClaims[other].not_this});
    }
    question.solution =
        "With that line put right the program prints " + text_of(right.output) + ".";
    return question;
  }
}

}  // namespace fovea::practice
