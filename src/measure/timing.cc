#include "measure/timing.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace fovea::measure {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// The quartiles' distance over the root of the count: how far the median may be off, about.
bool known_well(const std::vector<double>& values) {
  const Spread spread = spread_of(values);
  const double doubt = (spread.high - spread.low) / std::sqrt(static_cast<double>(values.size()));
  return doubt <= 0.005 * spread.median;
}

}  // namespace

double seconds_of(const std::function<void()>& f) {
  const auto begin = Clock::now();
  f();
  return since(begin);
}

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double part) {
    const double place = part * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    const double rest = place - static_cast<double>(below);
    return values[below] * (1 - rest) + values[above] * rest;
  };
  return {at(0.5), at(0.25), at(0.75), values.front()};
}

std::vector<std::vector<double>> in_turn(const std::vector<Trial>& trials, std::size_t watched,
                                         double seconds) {
  constexpr std::size_t kFewest = 5, kFewestLong = 3, kEnough = 9;
  std::vector<std::vector<double>> figures(trials.size());
  const auto begin = Clock::now();
  for (std::size_t round = 0;; ++round) {
    const double spent = since(begin);
    const bool late = spent >= seconds;
    if (round >= kFewest && late) break;
    if (round >= kFewestLong && spent >= 3 * seconds) break;
    if (round >= kEnough && known_well(figures[watched])) break;
    for (std::size_t n = 0; n < trials.size(); ++n) {
      const std::size_t t = round % 2 == 0 ? n : trials.size() - 1 - n;
      figures[t].push_back(trials[t]());
    }
  }
  return figures;
}

std::vector<double> ratios(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> result(a.size());
  for (std::size_t n = 0; n < a.size(); ++n) result[n] = a[n] / b[n];
  return result;
}

}  // namespace fovea::measure
