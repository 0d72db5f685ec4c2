// Why 1 / sqrt(d): what the scale does to the gradient that reaches the scores, and to learning.
//
//   fovea_scale [--steps N] [--out FILE.json]
//
// 1. Gradients. Queries and keys with independent normal components have scores q.k of variance d. Softmax
//    of scores that far apart is all but one-hot, and its gradient ds = p (dp - delta) all but 0. For widths
//    d from 4 to 1024, with scale 1 / sqrt(d) and with scale 1: the norm of a row of ds (the engine's dbias), its
//    median and its root mean square over the rows, and the entropy and largest weight of a row. Values and the gradient
//    that arrives are normal too.
// 2. Learning. A model that has to find the key its query belongs to: q = (x_t + noise) Wq, k_j = x_j Wk, and
//    wanted is v_t. Wq and Wk are learned with Adam through attend and attend_backward, from the same numbers
//    with either scale, at several rates. The loss is |out - v_t|^2 / (width of v): 1 for an answer of zeros, near 1 for
//    the plain mean, 2 for a wrong key's value. What counts is the number of steps until ten of them in a row have a mean
//    loss under 1/2, at the rate where that is soonest.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/random.h"
#include "fovea/backward.h"

namespace {

using fovea::Random;
using nlohmann::ordered_json;
using Floats = std::vector<float>;

Floats normals(Random& random, std::int64_t count, double deviation = 1) {
  Floats numbers(static_cast<std::size_t>(count));
  for (float& x : numbers) x = static_cast<float>(deviation * random.normal());
  return numbers;
}

double mean(const Floats& numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), 0.0) / static_cast<double>(numbers.size());
}

double median(Floats numbers) {
  const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2);
  std::nth_element(numbers.begin(), middle, numbers.end());
  return *middle;
}

double four_figures(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", x);
  return std::atof(text);
}

struct Shape {
  std::int64_t batch, queries, keys, width, value_width;
};

// One attention, forward and backward, and what is seen of it.
struct Attention {
  Shape shape;
  float scale;
  Floats q, k, v;
  Floats out, lse, entropy, top_weight, dq, dk, ds;
  std::vector<std::int32_t> top_index;

  fovea::Inputs inputs() const {
    const auto& [b, n, m, d, e] = shape;
    return {.q = {q.data(), {b, 1, n, d}},
            .k = {k.data(), {b, 1, m, d}},
            .v = {v.data(), {b, 1, m, e}}};
  }

  void forward(fovea::Threads& threads) {
    const auto& [b, n, m, d, e] = shape;
    out.resize(static_cast<std::size_t>(b * n * e));
    for (Floats* row : {&lse, &entropy, &top_weight}) row->resize(static_cast<std::size_t>(b * n));
    top_index.resize(static_cast<std::size_t>(b * n));
    fovea::attend(inputs(), {.scale = scale},
                  {.out = {out.data(), {b, 1, n, e}},
                   .lse = {lse.data(), {b, 1, n}},
                   .top_index = {top_index.data(), {b, 1, n, 1}},
                   .top_weight = {top_weight.data(), {b, 1, n, 1}},
                   .entropy = {entropy.data(), {b, 1, n}}},
                  threads);
  }

  // With `scores`, ds too: the gradient of a bias of zeros.
  void backward(const Floats& out_gradient, bool scores, fovea::Threads& threads) {
    const auto& [b, n, m, d, e] = shape;
    dq.resize(q.size());
    dk.resize(k.size());
    fovea::Inputs in = inputs();
    fovea::Gradients gradients{.dq = {dq.data(), {b, 1, n, d}}, .dk = {dk.data(), {b, 1, m, d}}};
    Floats zeros;
    if (scores) {
      zeros.assign(static_cast<std::size_t>(b * n * m), 0);
      ds.resize(zeros.size());
      in.bias = {zeros.data(), {b, 1, n, m}};
      gradients.dbias = {ds.data(), {b, 1, n, m}};
    }
    fovea::attend_backward(in, {.scale = scale},
                           {.out = {out.data(), {b, 1, n, e}}, .lse = {lse.data(), {b, 1, n}}},
                           {out_gradient.data(), {b, 1, n, e}}, gradients, threads);
  }
};

float usual_scale(std::int64_t width) { return 1 / std::sqrt(static_cast<float>(width)); }

// --- 1. gradients -----------------------------------------------------------------------------------------------

// The norm of each row of `width` numbers.
Floats row_norms(const Floats& rows, std::int64_t width) {
  Floats norms;
  for (auto row = rows.begin(); row != rows.end(); row += width) {
    norms.push_back(std::sqrt(std::inner_product(row, row + width, row, 0.0f)));
  }
  return norms;
}

double root_mean_square(const Floats& numbers) {
  return std::sqrt(std::inner_product(numbers.begin(), numbers.end(), numbers.begin(), 0.0) /
                   static_cast<double>(numbers.size()));
}

ordered_json gradients(fovea::Threads& threads) {
  ordered_json found = ordered_json::array();
  for (std::int64_t d = 4; d <= 1024; d *= 2) {
    ordered_json entry = {{"width", d}};
    for (const bool scaled : {true, false}) {
      Random random(static_cast<std::uint64_t>(d));
      const Shape shape{.batch = 4, .queries = 256, .keys = 64, .width = d, .value_width = 64};
      Attention a{.shape = shape, .scale = scaled ? usual_scale(d) : 1};
      a.q = normals(random, shape.batch * shape.queries * d);
      a.k = normals(random, shape.batch * shape.keys * d);
      a.v = normals(random, shape.batch * shape.keys * shape.value_width);
      const Floats arriving = normals(random, shape.batch * shape.queries * shape.value_width);
      a.forward(threads);
      a.backward(arriving, true, threads);
      const Floats norms = row_norms(a.ds, shape.keys);
      const auto settled = std::count_if(a.top_weight.begin(), a.top_weight.end(),
                                         [](float weight) { return weight > 0.99f; });
      entry[scaled ? "scaled" : "unscaled"] = {
          {"median_row", four_figures(median(norms))},
          {"root_mean_square_row", four_figures(root_mean_square(norms))},
          {"entropy", four_figures(mean(a.entropy))},
          {"largest_weight", four_figures(mean(a.top_weight))},
          {"rows_settled",
           four_figures(static_cast<double>(settled) / static_cast<double>(a.top_weight.size()))}};
    }
    found.push_back(entry);
  }
  return found;
}

// --- 2. learning ------------------------------------------------------------------------------------------------

constexpr std::int64_t kFeatures = 64;

// out [rows, d] = x [rows, kFeatures] w [kFeatures, d]
void project(const Floats& x, const Floats& w, std::int64_t d, Floats& out) {
  const std::int64_t rows = static_cast<std::int64_t>(x.size()) / kFeatures;
  out.assign(static_cast<std::size_t>(rows * d), 0);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t f = 0; f < kFeatures; ++f) {
      const float factor = x[static_cast<std::size_t>(r * kFeatures + f)];
      const float* from = w.data() + f * d;
      float* to = out.data() + r * d;
      for (std::int64_t c = 0; c < d; ++c) to[c] += factor * from[c];
    }
  }
}

// dw [kFeatures, d] = x^T g, g [rows, d]
void project_backward(const Floats& x, const Floats& g, std::int64_t d, Floats& dw) {
  const std::int64_t rows = static_cast<std::int64_t>(x.size()) / kFeatures;
  dw.assign(static_cast<std::size_t>(kFeatures * d), 0);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t f = 0; f < kFeatures; ++f) {
      const float factor = x[static_cast<std::size_t>(r * kFeatures + f)];
      const float* from = g.data() + r * d;
      float* to = dw.data() + f * d;
      for (std::int64_t c = 0; c < d; ++c) to[c] += factor * from[c];
    }
  }
}

class Adam {  // Kingma and Ba 2015, with its own defaults
 public:
  Adam(std::size_t count, double rate) : rate_(rate), first_(count), second_(count) {}
  void step(const Floats& gradient, Floats& value) {
    ++steps_;
    const double c1 = 1 - std::pow(0.9, steps_), c2 = 1 - std::pow(0.999, steps_);
    for (std::size_t i = 0; i < value.size(); ++i) {
      const float g = gradient[i];
      first_[i] += 0.1f * (g - first_[i]);
      second_[i] += 0.001f * (g * g - second_[i]);
      value[i] -=
          static_cast<float>(rate_ * (first_[i] / c1) / (std::sqrt(second_[i] / c2) + 1e-8));
    }
  }

 private:
  double rate_;
  int steps_ = 0;
  Floats first_, second_;
};

// A batch of the task: `wanted` is the value of the key that each query was made from.
struct Task {
  Floats queries, keys, values, wanted;

  Task(const Shape& s, Random& random) {
    keys = normals(random, s.batch * s.keys * kFeatures);
    values = normals(random, s.batch * s.keys * s.value_width);
    for (std::int64_t b = 0; b < s.batch; ++b) {
      for (std::int64_t i = 0; i < s.queries; ++i) {
        const std::int64_t j = b * s.keys + static_cast<std::int64_t>(
                                                random.below(static_cast<std::uint64_t>(s.keys)));
        for (std::int64_t f = 0; f < kFeatures; ++f) {
          queries.push_back(keys[static_cast<std::size_t>(j * kFeatures + f)] +
                            static_cast<float>(0.5 * random.normal()));
        }
        wanted.insert(wanted.end(), values.begin() + j * s.value_width,
                      values.begin() + (j + 1) * s.value_width);
      }
    }
  }
};

// The loss of each step; numbers are the same for either scale.
std::vector<double> learn(std::int64_t d, float scale, double rate, int steps,
                          fovea::Threads& threads) {
  const Shape shape{.batch = 8, .queries = 16, .keys = 32, .width = d, .value_width = 16};
  Random random(7);
  Floats wq = normals(random, kFeatures * d, 1 / std::sqrt(static_cast<double>(kFeatures)));
  Floats wk = normals(random, kFeatures * d, 1 / std::sqrt(static_cast<double>(kFeatures)));
  Adam adam_q(wq.size(), rate), adam_k(wk.size(), rate);
  Attention a{.shape = shape, .scale = scale};
  Floats dwq, dwk;
  std::vector<double> losses;
  for (int step = 0; step < steps; ++step) {
    const Task task(shape, random);
    project(task.queries, wq, d, a.q);
    project(task.keys, wk, d, a.k);
    a.v = task.values;
    a.forward(threads);
    Floats gradient(a.out.size());
    double loss = 0;
    const auto count = static_cast<double>(a.out.size());
    for (std::size_t i = 0; i < a.out.size(); ++i) {
      const double error = static_cast<double>(a.out[i]) - task.wanted[i];
      loss += error * error / count;
      gradient[i] = static_cast<float>(2 * error / count);
    }
    losses.push_back(loss);
    a.backward(gradient, false, threads);
    project_backward(task.queries, a.dq, d, dwq);
    project_backward(task.keys, a.dk, d, dwk);
    adam_q.step(dwq, wq);
    adam_k.step(dwk, wk);
  }
  return losses;
}

constexpr std::size_t kRun = 10;  // steps whose mean loss counts

// Mean losses of runs of kRun steps, the first run first.
std::vector<double> smoothed(const std::vector<double>& losses) {
  std::vector<double> means;
  for (std::size_t i = 0; i + kRun <= losses.size(); ++i) {
    const auto from = losses.begin() + static_cast<std::ptrdiff_t>(i);
    means.push_back(std::accumulate(from, from + kRun, 0.0) / kRun);
  }
  return means;
}

// One width and scale, at every rate.
ordered_json learning_of(std::int64_t d, float scale, int steps, fovea::Threads& threads) {
  ordered_json found = {{"rates", ordered_json::array()}};
  std::size_t soonest = static_cast<std::size_t>(steps) + 1;
  for (const double rate : {1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2}) {
    const std::vector<double> means = smoothed(learn(d, scale, rate, steps, threads));
    const auto under =
        std::find_if(means.begin(), means.end(), [](double loss) { return loss < 0.5; });
    const bool reached = under != means.end();
    const std::size_t taken = static_cast<std::size_t>(under - means.begin()) + kRun;
    found["rates"].push_back({{"rate", rate},
                              {"steps_to_half", reached ? ordered_json(taken) : ordered_json()},
                              {"last_loss", four_figures(means.back())}});
    if (!reached || taken >= soonest) continue;
    soonest = taken;
    ordered_json curve = ordered_json::array();
    for (std::size_t i = 0; i < means.size(); i += kRun) curve.push_back(four_figures(means[i]));
    found["best"] = {{"rate", rate}, {"steps_to_half", taken}, {"curve", curve}};
  }
  return found;
}

ordered_json learning(int steps, fovea::Threads& threads) {
  ordered_json found = ordered_json::array();
  for (const std::int64_t d : {16, 64, 256, 1024}) {
    ordered_json entry = {{"width", d}};
    for (const bool scaled : {true, false}) {
      const ordered_json of = learning_of(d, scaled ? usual_scale(d) : 1, steps, threads);
      entry[scaled ? "scaled" : "unscaled"] = of;
      if (!of.contains("best")) continue;
      std::fprintf(stderr, "width %4lld, %s: %d steps to a loss of 1/2, at the rate %g\n",
                   static_cast<long long>(d), scaled ? "scale 1 / sqrt(d)" : "no scale         ",
                   of["best"]["steps_to_half"].get<int>(), of["best"]["rate"].get<double>());
    }
    found.push_back(entry);
  }
  return found;
}

struct Misuse : std::runtime_error {
  using std::runtime_error::runtime_error;
};

int run(const std::vector<std::string>& words) {
  int steps = 300;
  std::string out;
  for (std::size_t i = 0; i < words.size(); i += 2) {
    if (i + 1 == words.size() || (words[i] != "--steps" && words[i] != "--out")) {
      throw Misuse("usage: fovea_scale [--steps N] [--out FILE.json]");
    }
    if (words[i] == "--out") {
      out = words[i + 1];
    } else {
      steps = std::atoi(words[i + 1].c_str());
      if (steps < 20) throw Misuse("--steps " + words[i + 1] + ": give a number from 20");
    }
  }
  fovea::Threads threads(1);
  const ordered_json found = {{"command", "fovea_scale --steps " + std::to_string(steps)},
                              {"steps", steps},
                              {"gradients", gradients(threads)},
                              {"learning", learning(steps, threads)}};
  if (out.empty()) {
    std::cout << found.dump(1) << "\n";
    return std::cout.good() ? 0 : 1;
  }
  const std::string fresh = out + ".new";
  std::ofstream file(fresh);
  file << found.dump(1) << "\n";
  file.close();
  if (!file) throw std::runtime_error(fresh + " cannot be written");
  std::filesystem::rename(fresh, out);
  return 0;
}

}  // namespace

int main(int count, char** words) {
  try {
    return run({words + 1, words + count});
  } catch (const Misuse& error) {
    std::fprintf(stderr, "fovea_scale: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fovea_scale: %s\n", error.what());
    return 1;
  }
}
