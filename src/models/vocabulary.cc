#include "models/vocabulary.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fovea {
namespace {

constexpr std::int64_t kRows = 64;  // 64 rows of 1024 logits are 256 KiB

// What one block of the vocabulary says about one row.
struct Part {
  LogSum all;      // of all logits
  LogSum allowed;  // of those that the rules allow
  Best best{0};
};

void read_row(std::span<float> logits, std::int32_t first, const Rules& rules, bool renormalize,
              Part& part) {
  part.all.add(logits);
  const auto begin = std::ranges::lower_bound(rules.ids, first);
  const auto end =
      std::lower_bound(begin, rules.ids.end(), first + static_cast<std::int32_t>(logits.size()));
  for (auto id = begin; id != end; ++id) {
    logits[static_cast<std::size_t>(*id - first)] = -std::numeric_limits<float>::infinity();
  }
  if (renormalize) part.allowed.add(logits);
  part.best.add(logits, first);
}

std::vector<NextId> forced(const Rules& rules, bool renormalize) {
  std::vector<NextId> next;
  const double log_prob = renormalize ? -std::log(static_cast<double>(rules.ids.size())) : 0.0;
  for (const std::int32_t id : rules.ids) next.push_back({id, log_prob});
  return next;
}

std::vector<NextId> joined(std::span<const Part> parts, bool renormalize, int keep) {
  LogSum all;
  LogSum sum;  // what the probabilities are shares of
  Best best(keep);
  for (const Part& part : parts) {
    all.join(part.all);
    sum.join(renormalize ? part.allowed : part.all);
    for (const Best::Item& item : part.best.items()) best.add({&item.value, 1}, item.index);
  }
  if (!std::isfinite(all.value())) return {{-1, 0.0}};
  std::vector<NextId> next;
  for (const Best::Item& item : best.items())
    next.push_back({item.index, item.value - sum.value()});
  return next;
}

}  // namespace

std::vector<std::vector<NextId>> best_next(const Model& model, std::span<const float> hidden,
                                           std::span<const Rules> rules, int keep,
                                           Threads& threads) {
  const bool renormalize = model.config.search.renormalize;
  const std::vector<Linear>& blocks = model.weights.vocabulary;
  const auto rows = static_cast<std::int64_t>(rules.size());
  const auto block_count = static_cast<std::int64_t>(blocks.size());
  std::vector<std::vector<NextId>> next(rules.size());
  if (std::ranges::all_of(rules, &Rules::forced)) {
    for (std::size_t r = 0; r < rules.size(); ++r) next[r] = forced(rules[r], renormalize);
    return next;
  }
  Part empty;
  empty.best = Best(keep);
  std::vector<Part> parts(static_cast<std::size_t>(rows * block_count), empty);
  const std::int64_t row_blocks = (rows + kRows - 1) / kRows;
  threads.run(row_blocks * block_count, [&](std::int64_t task, int) {
    const std::int64_t block = task % block_count;
    const std::int64_t first_row = task / block_count * kRows;
    const std::int64_t count = std::min(kRows, rows - first_row);
    const Linear& linear = blocks[static_cast<std::size_t>(block)];
    thread_local std::vector<float> logits;
    logits.resize(static_cast<std::size_t>(kRows * kVocabularyBlock));
    linear.apply(hidden.data() + first_row * linear.in(), count, logits.data());
    for (std::int64_t r = 0; r < count; ++r) {
      const std::int64_t row = first_row + r;
      read_row({logits.data() + r * linear.out(), static_cast<std::size_t>(linear.out())},
               static_cast<std::int32_t>(block * kVocabularyBlock),
               rules[static_cast<std::size_t>(row)], renormalize,
               parts[static_cast<std::size_t>(row * block_count + block)]);
    }
  });
  for (std::size_t r = 0; r < rules.size(); ++r) {
    const std::span<const Part> own(parts.data() + r * blocks.size(), blocks.size());
    next[r] = rules[r].forced ? forced(rules[r], renormalize) : joined(own, renormalize, keep);
  }
  return next;
}

std::vector<float> logits_of(const Model& model, std::span<const float> hidden, Threads& threads) {
  const std::vector<Linear>& blocks = model.weights.vocabulary;
  const std::int64_t d = model.config.width;
  const std::int64_t V = model.config.target_vocabulary;
  const std::int64_t rows = static_cast<std::int64_t>(hidden.size()) / d;
  std::vector<float> logits(static_cast<std::size_t>(rows * V));
  threads.run(static_cast<std::int64_t>(blocks.size()), [&](std::int64_t block, int) {
    const Linear& linear = blocks[static_cast<std::size_t>(block)];
    std::vector<float> part(static_cast<std::size_t>(rows * linear.out()));
    linear.apply(hidden.data(), rows, part.data());
    for (std::int64_t r = 0; r < rows; ++r) {
      std::copy_n(part.begin() + r * linear.out(), linear.out(),
                  logits.begin() + r * V + block * kVocabularyBlock);
    }
  });
  return logits;
}

}  // namespace fovea
