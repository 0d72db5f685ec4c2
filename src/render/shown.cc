#include "render/shown.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace fovea {
namespace {

constexpr double kLeast = 0.03;

}  // namespace

std::vector<ShownWord> shown_words(const Translation& translation, std::size_t t, double share,
                                   int most) {
  std::vector<ShownWord> shown;
  if (t >= translation.attention.size()) return shown;
  double all = 0;
  for (const WordWeight& weight : translation.attention[t]) all += weight.weight;
  double sum = 0;
  for (const WordWeight& weight : translation.attention[t]) {
    const bool enough = sum >= share * all || static_cast<int>(shown.size()) >= most;
    if (!shown.empty() && (enough || weight.weight < kLeast)) break;
    shown.push_back({static_cast<std::size_t>(weight.word), weight.weight});
    sum += weight.weight;
  }
  return shown;
}

double shown_mass(const Translation& translation, double share, int most) {
  double sum = 0;
  for (std::size_t t = 0; t < translation.attention.size(); ++t) {
    for (const ShownWord& word : shown_words(translation, t, share, most)) sum += word.weight;
  }
  const auto count = static_cast<double>(translation.attention.size());
  return count > 0 ? sum / count : 0;
}

std::string percent(double weight) { return std::to_string(std::lround(100 * weight)) + "%"; }

Rgb tint(double weight) {
  // Weights 0, 1/3, 2/3, 1; between them straight lines.
  static constexpr std::array<Rgb, 4> kRamp = {
      {{255, 250, 225}, {255, 232, 140}, {255, 205, 75}, {255, 160, 30}}};
  const double place = std::clamp(weight, 0.0, 1.0) * (kRamp.size() - 1);
  const auto low = std::min(static_cast<std::size_t>(place), kRamp.size() - 2);
  const double part = place - static_cast<double>(low);
  const auto mix = [part](int a, int b) {
    return static_cast<int>(std::lround(a + part * (b - a)));
  };
  const Rgb& a = kRamp[low];
  const Rgb& b = kRamp[low + 1];
  return {mix(a.red, b.red), mix(a.green, b.green), mix(a.blue, b.blue)};
}

}  // namespace fovea
