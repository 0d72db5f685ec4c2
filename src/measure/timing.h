// Timing in turn: so that a slow moment of the machine hits both sides of a ratio.
#pragma once

#include <functional>
#include <vector>

namespace fovea::measure {

// Seconds that f takes.
double seconds_of(const std::function<void()>& f);

struct Spread {
  double median = 0, low = 0, high = 0;  // quartiles
  double best = 0;                       // the smallest
};

// Of at least one value; between two values, linearly.
Spread spread_of(std::vector<double> values);

// A trial measures once and returns its figure: seconds, GFLOP/s, GB/s.
using Trial = std::function<double()>;

// Runs all trials round after round, forwards and backwards by turns, until the median of trial
// `watched` is known to half a percent (by its quartiles) or `seconds` have passed; 5 rounds at least, 3
// where 5 take more than three times as long. Returns each trial's figures, [trial][round].
std::vector<std::vector<double>> in_turn(const std::vector<Trial>& trials, std::size_t watched,
                                         double seconds);

// Each round's figure of `a` over that of `b`.
std::vector<double> ratios(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace fovea::measure
