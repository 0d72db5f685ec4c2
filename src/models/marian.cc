// The public face of the MarianMT model: checks, cuts work into groups, hands out results.
#include "fovea/marian.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "fovea/error.h"
#include "models/config.h"
#include "models/search.h"
#include "models/transformer.h"
#include "models/vocabulary.h"
#include "models/weights.h"

namespace fovea {
namespace {

// Decoder rows of a group. More rows make each product a little faster and a group's shrinking, as
// its sentences end, a little costlier; from 32 rows on it matters little.
constexpr std::size_t kGroupRows = 64;

void check_ids(std::span<const std::int32_t> ids, const std::string& what, int vocabulary,
               int positions) {
  if (ids.empty()) throw Error("marian: " + what + " is empty; it needs the end id at least");
  if (ids.size() > static_cast<std::size_t>(positions)) {
    throw Error("marian: " + what + " has " + std::to_string(ids.size()) +
                " ids, but the model has " + std::to_string(positions) +
                " positions: split the text");
  }
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= vocabulary) {
      throw Error("marian: " + what + " has id " + std::to_string(id) +
                  ", but the vocabulary has ids 0 to " + std::to_string(vocabulary - 1));
    }
  }
}

SearchPlan plan_of(const SearchOptions& options, const MarianConfig& config) {
  const SearchConfig& c = config.search;
  SearchPlan plan;
  plan.beams = options.beams.value_or(c.beams);
  plan.n_best = options.n_best;
  plan.length_penalty = options.length_penalty.value_or(c.length_penalty);
  plan.max_length = options.max_length.value_or(c.max_length);
  if (plan.beams < 1 || plan.beams > 1024) {
    throw Error("marian: " + std::to_string(plan.beams) + " beams; expected 1 to 1024");
  }
  if (plan.n_best < 1 || plan.n_best > plan.beams) {
    throw Error("marian: n-best " + std::to_string(plan.n_best) + " with " +
                std::to_string(plan.beams) + " beams; expected 1 to the number of beams");
  }
  if (!(plan.length_penalty >= -100 && plan.length_penalty <= 100)) {
    throw Error("marian: length penalty " + std::to_string(plan.length_penalty) +
                "; expected a number from -100 to 100");
  }
  if (plan.max_length < 2 || plan.max_length > config.positions + 1) {
    throw Error("marian: max length " + std::to_string(plan.max_length) + "; expected 2 to " +
                std::to_string(config.positions + 1) + ", for the model has " +
                std::to_string(config.positions) + " positions");
  }
  return plan;
}

// What the decoder reads to predict `target`: the start id, then the target but for its last id.
Ids decoder_inputs(std::span<const std::int32_t> target, std::int32_t start) {
  Ids inputs{start};
  inputs.insert(inputs.end(), target.begin(), target.end() - 1);
  return inputs;
}

// products[key, g, h] = <f_g(v), f_h(v)>, f_h(v) = W[:, head h] v[head h].
void value_products(const CrossAttentionWeights& cross, const float* kv, std::int64_t keys,
                    std::int64_t d, std::int64_t H, float* products) {
  const std::int64_t width = d / H;
  std::vector<double> brought(static_cast<std::size_t>(H * d));
  for (std::int64_t key = 0; key < keys; ++key) {
    const float* v = kv + key * 2 * d + d;
    for (std::int64_t h = 0; h < H; ++h) {
      for (std::int64_t row = 0; row < d; ++row) {
        const float* w = cross.out_weight.data() + row * d + h * width;
        double sum = 0;
        for (std::int64_t e = 0; e < width; ++e)
          sum += static_cast<double>(w[e]) * v[h * width + e];
        brought[static_cast<std::size_t>(h * d + row)] = sum;
      }
    }
    for (std::int64_t g = 0; g < H; ++g) {
      for (std::int64_t h = 0; h < H; ++h) {
        const double* a = brought.data() + g * d;
        products[(key * H + g) * H + h] =
            static_cast<float>(std::inner_product(a, a + d, brought.data() + h * d, 0.0));
      }
    }
  }
}

}  // namespace

struct Marian::State {
  Model model;
  MarianInfo info;

  void check(std::span<const std::int32_t> source, std::span<const std::int32_t> target) const {
    check_ids(source, "source", info.source_vocabulary, info.positions);
    check_ids(target, "target", info.target_vocabulary, info.positions);
  }
};

Marian::Marian(std::unique_ptr<State> state) : state_(std::move(state)) {}
Marian::Marian(Marian&&) noexcept = default;
Marian& Marian::operator=(Marian&&) noexcept = default;
Marian::~Marian() = default;

Marian Marian::load(const std::filesystem::path& folder) {
  auto state = std::make_unique<State>();
  state->model.config = read_marian_config(folder);
  const MarianConfig& c = state->model.config;
  state->model.weights = load_marian_weights(folder / "model.safetensors", c);
  MarianInfo& i = state->info;
  i.width = c.width;
  i.encoder_layers = c.encoder_layers;
  i.decoder_layers = c.decoder_layers;
  i.encoder_heads = c.encoder_heads;
  i.decoder_heads = c.decoder_heads;
  i.source_vocabulary = c.source_vocabulary;
  i.target_vocabulary = c.target_vocabulary;
  i.positions = c.positions;
  i.pad = c.search.pad;
  i.end = c.search.ends[0];
  i.start = c.search.start;
  i.beams = c.search.beams;
  i.length_penalty = c.search.length_penalty;
  i.max_length = c.search.max_length;
  i.parameters = state->model.weights.parameters;
  return Marian(std::move(state));
}

const MarianInfo& Marian::info() const { return state_->info; }

std::vector<std::vector<IdHypothesis>> Marian::search(
    std::span<const std::vector<std::int32_t>> sources, const SearchOptions& options,
    Threads& threads) const {
  const SearchPlan plan = plan_of(options, state_->model.config);
  std::vector<std::size_t> order(sources.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (const std::size_t s : order) {
    check_ids(sources[s], "source " + std::to_string(s), state_->info.source_vocabulary,
              state_->info.positions);
  }
  // Sentences of a length together, the longest first: little padding, and no long one left for
  // last.
  std::ranges::stable_sort(order, std::greater{}, [&](std::size_t s) { return sources[s].size(); });
  const auto count = static_cast<std::size_t>(threads.count());
  const std::size_t fair = (sources.size() + count - 1) / count;
  const std::size_t group =
      std::max<std::size_t>(1, std::min(fair, kGroupRows / static_cast<std::size_t>(plan.beams)));
  const std::size_t groups = (sources.size() + group - 1) / group;

  std::vector<std::vector<IdHypothesis>> results(sources.size());
  const auto run_group = [&](std::size_t number, Threads& inner) {
    const std::span<const std::size_t> members =
        std::span(order).subspan(number * group, std::min(group, sources.size() - number * group));
    auto found = search_group(state_->model, sources, members, plan, inner);
    for (std::size_t m = 0; m < members.size(); ++m) results[members[m]] = std::move(found[m]);
  };
  if (groups == 1) {
    run_group(0, threads);
  } else {
    threads.run(static_cast<std::int64_t>(groups), [&](std::int64_t task, int) {
      Threads alone(1);
      run_group(static_cast<std::size_t>(task), alone);
    });
  }
  return results;
}

std::vector<float> Marian::logits(std::span<const std::int32_t> source,
                                  std::span<const std::int32_t> target, Threads& threads) const {
  state_->check(source, target);
  const Ids ids(source.begin(), source.end());
  const Ids* const one = &ids;
  const Encoded encoded = encode(state_->model, {&one, 1}, threads);
  const Ids inputs = decoder_inputs(target, state_->info.start);
  const Forced forced = force(state_->model, encoded, inputs, false, threads);
  return logits_of(state_->model, forced.hidden, threads);
}

CrossAttention Marian::cross_attention(std::span<const std::int32_t> source,
                                       std::span<const std::int32_t> target,
                                       Threads& threads) const {
  state_->check(source, target);
  const Ids ids(source.begin(), source.end());
  const Ids* const one = &ids;
  const Encoded encoded = encode(state_->model, {&one, 1}, threads);
  const Ids inputs = decoder_inputs(target, state_->info.start);
  CrossAttention result;
  result.layers = state_->info.decoder_layers;
  result.heads = state_->info.decoder_heads;
  result.steps = static_cast<int>(target.size());
  result.keys = static_cast<int>(source.size());
  result.weights = force(state_->model, encoded, inputs, true, threads).weights;
  const std::int64_t size = static_cast<std::int64_t>(result.keys) * result.heads * result.heads;
  result.value_products.resize(static_cast<std::size_t>(result.layers * size));
  threads.run(result.layers, [&](std::int64_t layer, int) {
    const auto l = static_cast<std::size_t>(layer);
    value_products(state_->model.weights.decoder[l].cross, encoded.kv[l].data(), result.keys,
                   state_->info.width, result.heads, result.value_products.data() + layer * size);
  });
  return result;
}

}  // namespace fovea
