#include "adam.h"

#include <algorithm>
#include <cmath>

#include "kernels.h"

namespace fovea::fit {
namespace {

using torch::Tensor;

double norm_of_gradients(const Parameters& parameters) {
  double squares = 0;
  for (const Parameter& parameter : parameters.all()) {
    if (parameter.frozen) continue;
    const Tensor grad = parameter.leaf.grad();
    if (!grad.is_cpu()) {
      squares += grad.to(torch::kFloat).square().sum().item<double>();
    } else if (grad.scalar_type() == torch::kFloat) {
      squares += squared_sum(grad.data_ptr<float>(), grad.numel());
    } else {
      squares += squared_sum(static_cast<const Bf16*>(grad.data_ptr()), grad.numel());
    }
  }
  return std::sqrt(squares);
}

template <typename G>
void update(Parameter& p, const AdamStep& step) {
  adam_update<G>(p.value.numel(), step, static_cast<const G*>(p.leaf.grad().data_ptr()),
                 p.value.data_ptr<float>(), p.first.data_ptr<float>(), p.second.data_ptr<float>(),
                 p.averaged.data_ptr<float>(), static_cast<G*>(p.leaf.data_ptr()));
}

void update_anywhere(Parameter& p, const AdamStep& step) {
  const Tensor grad = p.leaf.grad().to(torch::kFloat) * step.clip;
  p.first.lerp_(grad, 1 - step.beta1);
  p.second.lerp_(grad.square(), 1 - step.beta2);
  p.value.sub_(p.first * step.correction1 / ((p.second * step.correction2).sqrt() + step.epsilon) *
               step.rate);
  p.averaged.lerp_(p.value, 1 - step.average);
  p.leaf.copy_(p.value);
}

}  // namespace

double adam_step(Parameters& parameters, const AdamOptions& options, double rate,
                 std::int64_t step) {
  torch::NoGradGuard no_grad;
  for (Parameter& parameter : parameters.all()) {
    if (!parameter.frozen && !parameter.leaf.grad().is_contiguous()) {
      parameter.leaf.mutable_grad() = parameter.leaf.grad().contiguous();
    }
  }
  const double norm = norm_of_gradients(parameters);
  if (!std::isfinite(norm)) return norm;
  const auto t = static_cast<double>(step);
  AdamStep now;
  now.rate = static_cast<float>(rate);
  now.beta1 = static_cast<float>(options.beta1);
  now.beta2 = static_cast<float>(options.beta2);
  now.epsilon = static_cast<float>(options.epsilon);
  now.correction1 = static_cast<float>(1 / (1 - std::pow(options.beta1, t)));
  now.correction2 = static_cast<float>(1 / (1 - std::pow(options.beta2, t)));
  now.clip = static_cast<float>(options.clip > 0 && norm > options.clip ? options.clip / norm : 1);
  now.average = static_cast<float>(std::min(options.average, (1 + t) / (10 + t)));
  for (Parameter& parameter : parameters.all()) {
    if (parameter.frozen) continue;
    now.rate = static_cast<float>(rate * parameter.pace);
    if (!parameter.value.is_cpu())
      update_anywhere(parameter, now);
    else if (parameter.leaf.scalar_type() == torch::kFloat)
      update<float>(parameter, now);
    else
      update<Bf16>(parameter, now);
  }
  parameters.refresh_table();
  return norm;
}

}  // namespace fovea::fit
