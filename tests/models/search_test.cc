// Search on models made by hand: Markov chains, whose next-id probabilities are written down here,
// so that the right answer can be counted out.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "fovea/marian.h"
#include "models/rules.h"
#include "tiny.h"

namespace fovea {
namespace {

using Ids = std::vector<std::int32_t>;
using Table = std::vector<std::vector<double>>;  // [from, to]: probabilities
using test::Array;
using test::Arrays;
using test::error_of;
using test::Folder;

// A model that goes from id to id by the table. All attention and feed-forward weights are 0 and so
// are the positions; embeddings are unit vectors, which the norms turn into a at the id's own place
// and b elsewhere, so the output matrix can undo them: logits = log p.
Marian chain(const Table& table, const std::string& search) {
  const auto V = static_cast<std::int64_t>(table.size());
  test::Sizes z;
  z.vocabulary = static_cast<int>(V);
  z.width = static_cast<int>(V) + 1;
  z.encoder_layers = z.decoder_layers = z.encoder_heads = z.decoder_heads = 1;
  z.positions = 12;
  Arrays arrays = test::random_weights(z, 1);
  for (auto& [name, array] : arrays) {
    const bool one = name.find("norm.weight") != std::string::npos;
    std::fill(array.values.begin(), array.values.end(), one ? 1.0f : 0.0f);
  }
  const std::int64_t d = z.width;
  const Array zeros{{z.positions, d},
                    std::vector<float>(static_cast<std::size_t>(z.positions * d))};
  arrays["model.encoder.embed_positions.weight"] = zeros;
  arrays["model.decoder.embed_positions.weight"] = zeros;
  const double b = -1 / std::sqrt(static_cast<double>(d) - 1);  // mean 0, variance 1
  const double a = -b * (static_cast<double>(d) - 1);
  Array& shared = arrays["model.shared.weight"];
  Array output{{V, d}, std::vector<float>(static_cast<std::size_t>(V * d))};
  for (std::int64_t id = 0; id < V; ++id) {
    shared.values[static_cast<std::size_t>(id * d + id)] =
        100;  // 1e-5 in the norm is nothing beside it
    double sum = 0;
    for (std::int64_t from = 0; from < V; ++from) {
      const double w =
          std::log(table[static_cast<std::size_t>(from)][static_cast<std::size_t>(id)]) / (a - b);
      output.values[static_cast<std::size_t>(id * d + from)] = static_cast<float>(w);
      sum += w;
    }
    output.values[static_cast<std::size_t>(id * d + V)] = static_cast<float>(-sum);
  }
  arrays["lm_head.weight"] = output;
  const Folder folder;
  test::write_model(folder, z, arrays, R"(, "tie_word_embeddings": false)" + search);
  return Marian::load(folder.path());
}

std::vector<IdHypothesis> search(const Marian& model, const SearchOptions& options) {
  Threads threads(1);
  return model.search(std::vector<Ids>{{1, 0}}, options, threads)[0];
}

// Ids: 0 the end, 1 and 2 words, 3 the start. The likelier first word leads nowhere good.
const Table kGardenPath = {{0.25, 0.25, 0.25, 0.25},
                           {0.30, 0.35, 0.34, 0.01},
                           {0.97, 0.01, 0.01, 0.01},
                           {0.02, 0.55, 0.40, 0.03}};

TEST(Search, GreedyTakesTheLikelierWordAndBeamsDoNot) {
  const Marian model = chain(kGardenPath, R"(, "max_length": 6, "bad_words_ids": [[3]])");
  const std::vector<IdHypothesis> greedy = search(model, {.beams = 1});
  EXPECT_EQ(greedy[0].ids, (Ids{1, 1, 1, 1, 1}));  // never ends: max_length counts the start
  EXPECT_NEAR(greedy[0].log_prob, std::log(0.55) + 4 * std::log(0.35), 1e-4);
  const std::vector<IdHypothesis> beam = search(model, {.beams = 2, .n_best = 2});
  EXPECT_EQ(beam[0].ids, (Ids{2, 0}));
  EXPECT_NEAR(beam[0].score, (std::log(0.40) + std::log(0.97)) / 2, 1e-4);
}

TEST(Search, ForcedEndReplacesTheLastId) {
  const Marian model =
      chain(kGardenPath, R"(, "max_length": 6, "bad_words_ids": [[3]], "forced_eos_token_id": 0)");
  const std::vector<IdHypothesis> greedy = search(model, {.beams = 1});
  EXPECT_EQ(greedy[0].ids, (Ids{1, 1, 1, 1, 0}));
  EXPECT_NEAR(greedy[0].log_prob, std::log(0.55) + 3 * std::log(0.35),
              1e-4);  // the end costs nothing
}

TEST(Search, LengthPenaltyDecides) {
  const Table even = {{0.25, 0.25, 0.25, 0.25},
                      {0.40, 0.58, 0.01, 0.01},
                      {0.25, 0.25, 0.25, 0.25},
                      {0.36, 0.60, 0.02, 0.02}};
  const std::string never = R"(, "max_length": 8, "early_stopping": "never")";
  const auto best = [&](double penalty) {
    return search(chain(even, never), {.beams = 3, .length_penalty = penalty})[0].ids;
  };
  EXPECT_EQ(best(0), (Ids{0}));
  EXPECT_EQ(best(1).size(), 7u);  // the longest there is: each more id is likelier than the mean
}

// Every sequence of up to max_length - 1 ids, by brute force.
void enumerate(const Table& table, Ids ids, double log_prob, std::size_t most, double penalty,
               std::vector<IdHypothesis>& all) {
  const bool ended = !ids.empty() && ids.back() == 0;
  if (ended || ids.size() == most) {
    all.push_back({ids, log_prob, log_prob / std::pow(static_cast<double>(ids.size()), penalty)});
    return;
  }
  const auto from = static_cast<std::size_t>(ids.empty() ? 3 : ids.back());
  for (std::int32_t to = 0; to < 3; ++to) {
    ids.push_back(to);
    enumerate(table, ids, log_prob + std::log(table[from][static_cast<std::size_t>(to)]), most,
              penalty, all);
    ids.pop_back();
  }
}

TEST(Search, AWideBeamFindsTheBestOfAll) {
  const Marian model =
      chain(kGardenPath, R"(, "max_length": 6, "bad_words_ids": [[3]], "early_stopping": "never")");
  for (const double penalty : {0.0, 0.5, 1.0, 2.0}) {
    std::vector<IdHypothesis> all;
    enumerate(kGardenPath, {}, 0, 5, penalty, all);
    std::ranges::stable_sort(all, std::greater{}, &IdHypothesis::score);
    const std::vector<IdHypothesis> got =
        search(model, {.beams = 200, .n_best = 10, .length_penalty = penalty});
    ASSERT_EQ(got.size(), 10u);
    for (std::size_t n = 0; n < 10; ++n) {
      EXPECT_NEAR(got[n].score, all[n].score, 1e-4) << penalty << " rank " << n;
      const bool tie = (n > 0 && all[n - 1].score - all[n].score < 1e-4) ||
                       all[n].score - all[n + 1].score < 1e-4;
      if (!tie) {
        EXPECT_EQ(got[n].ids, all[n].ids) << penalty << " rank " << n;
      }
    }
  }
}

TEST(Search, EarlyStoppingStopsAtTheFirstFullList) {
  // Short ends are found first; the long one is better by its length.
  const Table late = {{0.25, 0.25, 0.25, 0.25},
                      {0.10, 0.88, 0.01, 0.01},
                      {0.90, 0.04, 0.03, 0.03},
                      {0.30, 0.38, 0.31, 0.01}};
  const std::string ban = R"(, "max_length": 10, "bad_words_ids": [[3]])";
  const SearchOptions options{.beams = 2};
  const Ids early = search(chain(late, ban + R"(, "early_stopping": true)"), options)[0].ids;
  const Ids never = search(chain(late, ban + R"(, "early_stopping": "never")"), options)[0].ids;
  EXPECT_EQ(early, (Ids{2, 0}));
  EXPECT_EQ(never.size(), 9u);
}

// The end is the third of the first candidates: with two beams it is no result, likely as it is.
TEST(Search, AnEndBelowTheTopBeamsIsNoResult) {
  const Table low = {{0.25, 0.25, 0.25, 0.25},
                     {0.02, 0.50, 0.47, 0.01},
                     {0.02, 0.50, 0.47, 0.01},
                     {0.20, 0.45, 0.34, 0.01}};
  const Marian model = chain(low, R"(, "max_length": 5, "bad_words_ids": [[3]])");
  EXPECT_EQ(search(model, {.beams = 2, .length_penalty = 0})[0].ids.size(), 4u);
  EXPECT_EQ(search(model, {.beams = 3, .length_penalty = 0})[0].ids, (Ids{0}));
}

// Two short results are full; the open beam is worse at its length of 3, and better at 11.
TEST(Search, NeverLooksAsFarAsMaxLength) {
  const Table slow = {{0.25, 0.25, 0.25, 0.25},
                      {0.01, 0.97, 0.01, 0.01},
                      {0.50, 0.01, 0.48, 0.01},
                      {0.04, 0.15, 0.80, 0.01}};
  const std::string ban = R"(, "max_length": 12, "bad_words_ids": [[3]])";
  EXPECT_EQ(search(chain(slow, ban), {.beams = 2})[0].ids, (Ids{2, 0}));
  EXPECT_EQ(search(chain(slow, ban + R"(, "early_stopping": "never")"), {.beams = 2})[0].ids,
            Ids(11, 1));
}

TEST(Search, NothingLeftIsAnError) {
  const Marian model = chain(kGardenPath, R"(, "suppress_tokens": [0, 1, 2, 3])");
  for (const int beams : {1, 3}) {
    EXPECT_EQ(error_of([&] { search(model, {.beams = beams}); }),
              "marian: source 0: bad_words_ids, suppress_tokens and the like leave no id that may "
              "follow");
  }
}

TEST(Rules, BanAndForce) {
  SearchConfig c;
  c.ends = {0};
  c.start = 9;
  const auto after = [&](const Ids& past) { return rules_after(past, c, 8); };
  EXPECT_TRUE(after({9}).ids.empty());
  c.min_length = 3;
  EXPECT_EQ(after({9, 4}).ids, (Ids{0}));
  EXPECT_TRUE(after({9, 4, 4}).ids.empty());
  c.min_length = 0;
  c.bad_words = {{7}, {4, 5}, {3, 4, 6}};
  EXPECT_EQ(after({9, 4}).ids, (Ids{5, 7}));
  EXPECT_EQ(after({9, 3, 4}).ids, (Ids{5, 6, 7}));
  c.bad_words.clear();
  c.no_repeat_ngram = 2;
  EXPECT_EQ(after({9, 1, 2, 1}).ids, (Ids{2}));
  EXPECT_TRUE(after({9, 1, 2}).ids.empty());
  c.no_repeat_ngram = 1;
  EXPECT_EQ(after({9, 2, 1}).ids, (Ids{1, 2, 9}));
  c.no_repeat_ngram = 0;
  c.begin_suppressed = {0, 6};
  EXPECT_EQ(after({9}).ids, (Ids{0, 6}));
  EXPECT_TRUE(after({9, 1}).ids.empty());
  c.forced_begin = {5};
  EXPECT_TRUE(after({9}).forced);
  EXPECT_EQ(after({9}).ids, (Ids{5}));
  EXPECT_EQ(after({9, 5}).ids, (Ids{0, 6}));
  c.forced_ends = {0};
  EXPECT_FALSE(after({9, 5, 1, 1, 1, 1}).forced);
  EXPECT_TRUE(after({9, 5, 1, 1, 1, 1, 1}).forced);
  EXPECT_EQ(after({9, 5, 1, 1, 1, 1, 1}).ids, (Ids{0}));
}

}  // namespace
}  // namespace fovea
