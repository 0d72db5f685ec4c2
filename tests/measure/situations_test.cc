// The situations: what is counted, pair by pair.
#include "measure/situations.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "reference/attend.h"

namespace fovea::measure {
namespace {

// By the reference's own word on who sees whom.
std::int64_t pairs_by_reference(const Situation& s) {
  const float nothing = 0;
  const std::vector<std::int32_t> keys = key_lengths(s), queries = query_lengths(s);
  Inputs inputs;
  inputs.q = View(&nothing, {s.B, s.H, s.N, s.D});
  inputs.k = View(&nothing, {s.B, s.G, s.M, s.D});
  inputs.key_lengths = keys;
  inputs.query_lengths = queries;
  const Options options = {.causal = s.causal, .window_before = s.window_before};
  std::int64_t pairs = 0;
  for (std::int64_t b = 0; b < s.B; ++b) {
    for (std::int64_t i = 0; i < s.N; ++i) {
      const KeyRange range = visible_keys(s, b, i);
      for (std::int64_t j = 0; j < s.M; ++j) {
        const bool sees = reference::visible(inputs, options, {b, 0, i}, j);
        EXPECT_EQ(sees, range.begin <= j && j < range.end)
            << s.name << " " << b << " " << i << " " << j;
        pairs += sees ? 1 : 0;
      }
    }
  }
  return pairs;
}

TEST(Situations, CountThePairsThatTheReferenceSees) {
  for (Situation s : situations()) {
    if (s.N > 64) {  // the same rules on fewer positions
      s.N = s.N / 64 + 3;
      s.M = s.M / 64 + 5;
      if (s.window_before) s.window_before = 9;
    }
    EXPECT_EQ(visible_pairs(s), pairs_by_reference(s)) << s.name;
  }
  Situation lengths = *situation_of("sentence_batch");
  for (const Causal causal : {Causal::kTopLeft, Causal::kBottomRight}) {
    lengths.causal = causal;
    EXPECT_EQ(visible_pairs(lengths), pairs_by_reference(lengths));
    lengths.window_before = 3;
    EXPECT_EQ(visible_pairs(lengths), pairs_by_reference(lengths));
    lengths.window_before.reset();
  }
}

TEST(Situations, CountByHand) {
  EXPECT_EQ(operations(*situation_of("self_512")), 4.0 * 8 * 64 * 512 * 512);
  EXPECT_EQ(visible_pairs(*situation_of("causal_2k")), 2048 * 2049 / 2);
  EXPECT_EQ(visible_pairs(*situation_of("window_8k")), 512 * 513 / 2 + (8192 - 512) * 513);
  EXPECT_EQ(operations(*situation_of("decode_4k_grouped")), 4.0 * 32 * 128 * 4096);
  EXPECT_EQ(key_value_elements(*situation_of("decode_4k_grouped")), 2 * 8 * 4096 * 128);
}

TEST(Situations, HaveNamesOfTheirOwnAndNeighboursThatExist) {
  std::set<std::string> names;
  for (const Situation& s : situations()) {
    EXPECT_TRUE(names.insert(s.name).second) << s.name;
    EXPECT_EQ(s.H % s.G, 0) << s.name;
    if (s.neighbour != nullptr) {
      EXPECT_NE(situation_of(s.neighbour), nullptr) << s.name;
    }
  }
  EXPECT_EQ(situation_of("nothing"), nullptr);
  EXPECT_GT(names.size(), 10U);
}

TEST(Situations, SentencesHaveTheLengthsThatTheirNameSays) {
  const Situation& s = *situation_of("sentence_batch");
  std::set<std::int32_t> keys, queries;
  for (const std::int32_t length : key_lengths(s)) keys.insert(length);
  for (const std::int32_t length : query_lengths(s)) queries.insert(length);
  EXPECT_EQ(*keys.begin(), 12);
  EXPECT_EQ(*keys.rbegin(), 28);
  EXPECT_EQ(*queries.begin(), 12);
  EXPECT_EQ(*queries.rbegin(), 24);
  EXPECT_TRUE(key_lengths(*situation_of("sentence_batch_plain")).empty());
}

}  // namespace
}  // namespace fovea::measure
