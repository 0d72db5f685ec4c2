#include "models/search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "fovea/error.h"
#include "models/rules.h"
#include "models/vocabulary.h"

namespace fovea {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

struct Beam {
  Ids ids;                  // with the start id
  double log_prob = kNone;  // kNone: an empty place
  std::int32_t parent = 0;
};

struct Candidate {
  double log_prob;
  std::int32_t beam;
  std::int32_t id;
};

struct Sentence {
  std::size_t number = 0;  // among the sources
  std::size_t place = 0;   // among the members of the group
  std::vector<Beam> beams;
  std::vector<IdHypothesis> finished;  // best first
  bool done = false;
};

double score_of(double log_prob, std::int64_t length, double penalty) {
  return log_prob / std::pow(static_cast<double>(length), penalty);
}

bool is_end(const SearchConfig& c, std::int32_t id) {
  return std::ranges::find(c.ends, id) != c.ends.end();
}

class Search {
 public:
  Search(const Model& model, const SearchPlan& plan) : config_(model.config.search), plan_(plan) {}

  Sentence begin(std::size_t number, std::size_t place) const {
    Sentence s;
    s.number = number;
    s.place = place;
    s.beams.resize(static_cast<std::size_t>(plan_.beams), {{config_.start}, kNone, 0});
    s.beams[0].log_prob = 0;
    return s;
  }

  // Continuations looked at in a step.
  int width() const {
    const int ends = static_cast<int>(config_.ends.size());
    return plan_.beams == 1 ? 1 : std::max(2, 1 + ends) * plan_.beams;
  }

  // `next[j]`: the best continuations of beam j.
  void advance(Sentence& s, std::span<const std::vector<NextId>> next) const {
    const std::vector<Candidate> candidates = best_of(s, next);
    const auto length =
        static_cast<std::int64_t>(s.beams[0].ids.size());  // generated, with this id
    const bool last = length + 1 >= plan_.max_length;
    std::vector<Beam> open;
    for (std::size_t rank = 0; rank < candidates.size(); ++rank) {
      const Candidate& c = candidates[rank];
      Beam beam{s.beams[static_cast<std::size_t>(c.beam)].ids, c.log_prob, c.beam};
      beam.ids.push_back(c.id);
      if (!last && !is_end(config_, c.id)) {
        if (open.size() < s.beams.size()) open.push_back(std::move(beam));
      } else if (rank < s.beams.size()) {
        finish(s, beam, length);
      }
    }
    // Fewer than k can go on when almost everything is banned: the other places stay empty.
    const Ids filler = open.empty() ? s.beams[0].ids : open[0].ids;
    open.resize(s.beams.size(), {filler, kNone, 0});
    s.beams = std::move(open);
    s.done = last || s.beams[0].log_prob == kNone || cannot_improve(s, length);
  }

 private:
  std::vector<Candidate> best_of(const Sentence& s,
                                 std::span<const std::vector<NextId>> next) const {
    std::vector<Candidate> all;
    for (std::size_t j = 0; j < s.beams.size(); ++j) {
      if (s.beams[j].log_prob == kNone) continue;
      for (const NextId& n : next[j]) {
        all.push_back({s.beams[j].log_prob + n.log_prob, static_cast<std::int32_t>(j), n.id});
      }
    }
    std::ranges::stable_sort(
        all, [](const Candidate& a, const Candidate& b) { return a.log_prob > b.log_prob; });
    if (all.size() > static_cast<std::size_t>(width()))
      all.resize(static_cast<std::size_t>(width()));
    return all;
  }

  void finish(Sentence& s, const Beam& beam, std::int64_t length) const {
    const double score = score_of(beam.log_prob, length, plan_.length_penalty);
    auto place = s.finished.begin();
    while (place != s.finished.end() && place->score >= score) ++place;
    s.finished.insert(place, {Ids(beam.ids.begin() + 1, beam.ids.end()), beam.log_prob, score});
    if (s.finished.size() > s.beams.size()) s.finished.pop_back();
  }

  // True when no open beam may replace a finished one, or none is let to.
  bool cannot_improve(const Sentence& s, std::int64_t length) const {
    if (s.finished.size() < s.beams.size()) return false;
    if (plan_.beams == 1 || config_.early_stopping == EarlyStopping::kYes) return true;
    const bool may_grow =
        config_.early_stopping == EarlyStopping::kNever && plan_.length_penalty > 0;
    const std::int64_t best_length = may_grow ? plan_.max_length - 1 : length;
    return !(score_of(s.beams[0].log_prob, best_length, plan_.length_penalty) >
             s.finished.back().score);
  }

  const SearchConfig& config_;
  const SearchPlan& plan_;
};

void check_finite(std::span<const std::vector<NextId>> next, std::span<const Sentence> open,
                  int beams, std::int64_t step) {
  for (std::size_t r = 0; r < next.size(); ++r) {
    if (next[r].empty() || next[r][0].id >= 0) continue;
    const Sentence& s = open[r / static_cast<std::size_t>(beams)];
    throw Error("marian: NaN or infinity in the logits of source " + std::to_string(s.number) +
                " at step " + std::to_string(step) +
                ": the weights hold such a value, or are too large for float32");
  }
}

// Takes finished sentences out of `open` and of the decoder.
void retire(std::vector<Sentence>& open, std::vector<std::vector<IdHypothesis>>& results,
            int n_best, Decoder& decoder) {
  std::vector<Sentence> rest;
  std::vector<std::int32_t> kept;
  for (std::size_t b = 0; b < open.size(); ++b) {
    if (!open[b].done) {
      kept.push_back(static_cast<std::int32_t>(b));
      rest.push_back(std::move(open[b]));
      continue;
    }
    std::vector<IdHypothesis>& best = open[b].finished;
    if (best.empty()) {
      throw Error("marian: source " + std::to_string(open[b].number) +
                  ": bad_words_ids, suppress_tokens and the like leave no id that may follow");
    }
    best.resize(std::min(best.size(), static_cast<std::size_t>(n_best)));
    results[open[b].place] = std::move(best);
  }
  if (kept.size() == open.size()) {
    open = std::move(rest);
    return;
  }
  open = std::move(rest);
  decoder.keep(kept);
}

}  // namespace

std::vector<std::vector<IdHypothesis>> search_group(const Model& model,
                                                    std::span<const Ids> sources,
                                                    std::span<const std::size_t> members,
                                                    const SearchPlan& plan, Threads& threads) {
  const Search search(model, plan);
  std::vector<std::vector<IdHypothesis>> results(members.size());
  std::vector<Sentence> open;
  std::vector<const Ids*> own;
  for (std::size_t m = 0; m < members.size(); ++m) {
    open.push_back(search.begin(members[m], m));
    own.push_back(&sources[members[m]]);
  }
  Decoder decoder(model, encode(model, own, threads), plan.beams, threads);
  Ids ids;
  Ids parents;
  std::vector<Rules> rules;
  for (std::int64_t step = 0; !open.empty(); ++step) {
    ids.clear();
    parents.clear();
    rules.clear();
    for (const Sentence& s : open) {
      for (const Beam& beam : s.beams) {
        ids.push_back(beam.ids.back());
        parents.push_back(beam.parent);
        rules.push_back(rules_after(beam.ids, model.config.search, plan.max_length));
      }
    }
    decoder.step(ids, parents);
    const auto next = best_next(model, decoder.hidden(), rules, search.width(), threads);
    check_finite(next, open, plan.beams, step);
    for (std::size_t b = 0; b < open.size(); ++b) {
      const std::size_t k = open[b].beams.size();
      search.advance(open[b], std::span(next).subspan(b * k, k));
    }
    retire(open, results, plan.n_best, decoder);
  }
  return results;
}

}  // namespace fovea
