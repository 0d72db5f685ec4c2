#include "models/rules.h"

#include <algorithm>

namespace fovea {
namespace {

using Past = std::span<const std::int32_t>;

// Every id that would complete an n-gram that `past` has already.
void ban_repeats(Past past, std::size_t n, std::vector<std::int32_t>& banned) {
  if (past.size() < n) return;
  const Past prefix = past.last(n - 1);
  for (std::size_t i = 0; i + n <= past.size(); ++i) {
    if (std::ranges::equal(past.subspan(i, n - 1), prefix)) banned.push_back(past[i + n - 1]);
  }
}

void ban_words(Past past, const std::vector<std::vector<std::int32_t>>& words,
               std::vector<std::int32_t>& banned) {
  for (const std::vector<std::int32_t>& word : words) {
    const Past prefix(word.data(), word.size() - 1);
    if (prefix.size() > past.size()) continue;
    if (std::ranges::equal(past.last(prefix.size()), prefix)) banned.push_back(word.back());
  }
}

void append(std::vector<std::int32_t>& to, const std::vector<std::int32_t>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

void sort_unique(std::vector<std::int32_t>& ids) {
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());  // clang 14 lacks ranges::unique
}

}  // namespace

Rules rules_after(Past past, const SearchConfig& c, int max_length) {
  const int length = static_cast<int>(past.size());
  std::vector<std::int32_t> suppressed = c.suppressed;
  if (length == (c.forced_begin.empty() ? 1 : 2)) append(suppressed, c.begin_suppressed);

  Rules rules;
  const bool at_begin = length == 1 && !c.forced_begin.empty();
  const bool at_end = length == max_length - 1 && !c.forced_ends.empty();
  if (at_begin || at_end) {  // the end comes later among transformers' processors, so it wins
    rules.forced = true;
    for (const std::int32_t id : at_end ? c.forced_ends : c.forced_begin) {
      if (std::ranges::find(suppressed, id) == suppressed.end()) rules.ids.push_back(id);
    }
  } else {
    rules.ids = suppressed;
    if (c.no_repeat_ngram > 0) {
      ban_repeats(past, static_cast<std::size_t>(c.no_repeat_ngram), rules.ids);
    }
    ban_words(past, c.bad_words, rules.ids);
    if (length < c.min_length) append(rules.ids, c.ends);
  }
  sort_unique(rules.ids);
  return rules;
}

}  // namespace fovea
