// Attention over pieces to words and links: every expected number is worked out by hand.
#include "fovea/alignment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "fovea/error.h"
#include "fovea/text.h"

namespace fovea {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// 2 layers, 2 heads, 3 steps, 2 keys. Layer 1's products make head 0 bring (1, 0) p and head 1
// bring (0, 2) p of key 0, and the opposite of each other of key 1: [[1, -1], [-1, 1]].
CrossAttention example() {
  CrossAttention a;
  a.layers = 2;
  a.heads = 2;
  a.steps = 3;
  a.keys = 2;
  a.weights = {// layer 0: head 0, head 1
               0.9F, 0.1F, 0.8F, 0.2F, 0.5F, 0.5F, 0.7F, 0.3F, 0.4F, 0.6F, 0.5F, 0.5F,
               // layer 1
               0.5F, 0.5F, 0.25F, 0.75F, 1.0F, 0.0F, 0.5F, 0.5F, 0.75F, 0.25F, 0.0F, 1.0F};
  a.value_products = {// layer 0: every head brings the same (1) of every key
                      1, 1, 1, 1, 1, 1, 1, 1,
                      // layer 1
                      1, 0, 0, 4, 1, -1, -1, 1};
  return a;
}

Reading reading_of(int layer, int head, bool input, bool norm) {
  return {layer, head, input, norm};
}

void expect_near(const std::vector<double>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-7) << i;
}

TEST(PieceShares, RawHeadsAveragedOrChosen) {
  const CrossAttention a = example();
  expect_near(piece_shares(a, reading_of(0, -1, false, false)), {0.8, 0.2, 0.6, 0.4});
  expect_near(piece_shares(a, reading_of(0, 1, false, false)), {0.7, 0.3, 0.4, 0.6});
  expect_near(piece_shares(a, reading_of(1, 0, false, false)), {0.5, 0.5, 0.25, 0.75});
}

TEST(PieceShares, TheInputStepIsTheNextRow) {
  const CrossAttention a = example();
  expect_near(piece_shares(a, reading_of(0, -1, true, false)), {0.6, 0.4, 0.5, 0.5});
  expect_near(piece_shares(a, reading_of(1, -1, true, false)), {0.5, 0.5, 0.5, 0.5});
}

TEST(PieceShares, NormOfTheSumOverHeads) {
  const CrossAttention a = example();
  // step 1 of layer 1: key 0 |(0.25, 2 x 0.75)|, key 1 |0.75 - 0.25|
  const double n0 = std::hypot(0.25, 1.5), n1 = 0.5;
  // step 2: key 0 |(1, 0)|, key 1 |0 - 1|
  expect_near(piece_shares(a, reading_of(1, -1, true, true)),
              {n0 / (n0 + n1), n1 / (n0 + n1), 0.5, 0.5});
  // one head alone: key 0 2 x 0.75, key 1 0.25
  expect_near(piece_shares(a, reading_of(1, 1, true, true)), {1.5 / 1.75, 0.25 / 1.75, 0, 1});
  // step 0: the heads cancel on key 1
  expect_near(piece_shares(a, reading_of(1, -1, false, true)),
              {1, 0, n0 / (n0 + n1), n1 / (n0 + n1)});
}

TEST(PieceShares, NothingBroughtIsSharedOut) {
  CrossAttention a = example();
  std::fill(a.value_products.begin(), a.value_products.end(), 0.0F);
  expect_near(piece_shares(a, reading_of(0, -1, true, true)), {0.5, 0.5, 0.5, 0.5});
}

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(PieceShares, LayersAndHeadsThatAreNotThere) {
  const CrossAttention a = example();
  EXPECT_EQ(message_of([&] { piece_shares(a, reading_of(2, -1, true, false)); }),
            "highlight: the model has no layer 3: its decoder has 2 layers");
  EXPECT_EQ(message_of([&] { piece_shares(a, reading_of(0, 2, true, false)); }),
            "highlight: the model has no head 3: its decoder has 2 heads");
  EXPECT_THAT(message_of([&] { piece_shares(a, reading_of(-1, -1, true, false)); }),
              HasSubstr("no layer 0"));
}

// "Le chat." in pieces: mark, Le, ch, at, ., end
const char kSource[] = "Le chat.";
const std::vector<Span> kSourcePieces = {{0, 0}, {0, 2}, {3, 5}, {5, 7}, {7, 8}, {8, 8}};

TEST(Owners, PiecesOfCoresPunctuationAndEnd) {
  const PieceOwners owners = owners_of(kSourcePieces, words(kSource));
  EXPECT_THAT(owners.word, ElementsAre(0, 0, 1, 1, 1, -1));
  EXPECT_THAT(owners.in_core, ElementsAre(1, 1, 1, 1, 0, 0));
}

TEST(WordAttention, SumsSourcePiecesAndAveragesTargetPieces) {
  const PieceOwners source = owners_of(kSourcePieces, words(kSource));
  // "cats!": two pieces of the word, one of its sign, which does not speak for it
  const std::vector<Word> target_words = words("cats!");
  const PieceOwners target = owners_of({{0, 3}, {3, 4}, {4, 5}}, target_words);
  const std::vector<double> shares = {0.1, 0.1, 0.2, 0.3, 0.2, 0.1,   // cat
                                      0.0, 0.1, 0.4, 0.1, 0.1, 0.3,   // s
                                      0.0, 0.0, 0.0, 0.0, 1.0, 0.0};  // !
  const WordAttention found = word_attention(shares, source, target, target_words.size());
  ASSERT_EQ(found.weights.size(), 1u);
  ASSERT_EQ(found.weights[0].size(), 2u);
  EXPECT_EQ(found.weights[0][0].word, 1);  // descending
  EXPECT_NEAR(found.weights[0][0].weight, (0.5 + 0.5) / 2, 1e-15);
  EXPECT_EQ(found.weights[0][1].word, 0);
  EXPECT_NEAR(found.weights[0][1].weight, (0.2 + 0.1) / 2, 1e-15);
  EXPECT_NEAR(found.punctuation_weight[0], 0.15, 1e-15);
  EXPECT_NEAR(found.end_weight[0], 0.2, 1e-15);
}

TEST(WordAttention, AWordOfSignsOnlySpeaksForItself) {
  const std::vector<Word> target_words = words("-- a");
  const PieceOwners target = owners_of({{0, 2}, {3, 4}}, target_words);
  const PieceOwners source = owners_of({{0, 1}, {1, 1}}, words("x"));
  const WordAttention found = word_attention({0.75, 0.25, 0.5, 0.5}, source, target, 2);
  EXPECT_NEAR(found.weights[0][0].weight, 0.75, 1e-15);
  EXPECT_NEAR(found.end_weight[1], 0.5, 1e-15);
}

TEST(Links, TheStrongestOfItsKindForEveryTargetWord) {
  WordAttention attention;
  attention.weights = {{{1, 0.6}, {0, 0.3}}, {{0, 0.5}, {2, 0.2}}, {{0, 0.9}, {2, 0.1}}, {}};
  const std::vector<Word> source = words("un chat ?"), target = words("cat a ? b");
  const std::vector<Link> links = links_of(attention, source, target);
  ASSERT_EQ(links.size(), 3u);
  EXPECT_EQ(links[0].source, 0);
  EXPECT_EQ(links[0].target, 1);
  EXPECT_EQ(links[1].source, 1);
  EXPECT_EQ(links[1].target, 0);
  EXPECT_EQ(links[2].source, 2);  // sign to sign, though "un" is stronger
  EXPECT_EQ(links[2].target, 2);
  EXPECT_EQ(links_of(attention, source, target, 0.55).size(), 1u);
}

TEST(GoldLinks, SureAndPossible) {
  const GoldLinks gold = parse_links(" 0-0 2p1\t12-3 2p1 0p0 \r");
  ASSERT_EQ(gold.sure.size(), 2u);
  EXPECT_EQ(gold.sure[1].source, 12);
  EXPECT_EQ(gold.sure[1].target, 3);
  ASSERT_EQ(gold.possible.size(), 1u);  // 0p0 is sure already
  EXPECT_EQ(gold.possible[0].source, 2);
  EXPECT_TRUE(parse_links("").sure.empty());
}

TEST(GoldLinks, SayWhatIsNotALink) {
  for (const char* bad : {"0", "0-", "-1", "0-1x", "a-b", "0--1", "1q2", "99999999999-0", "-"}) {
    EXPECT_THAT(message_of([&] { parse_links(bad); }), HasSubstr("is not a link")) << bad;
  }
}

TEST(ErrorRate, WorkedByHand) {
  // A = {0-0, 1-1, 2-2}, S = {0-0, 1-2}, P = S + {1-1}: |AS| 1, |AP| 2
  const GoldLinks gold = parse_links("0-0 1-2 1p1");
  const AlignmentCounts counts = count_links({{2, 2}, {0, 0}, {1, 1}, {0, 0}}, gold);
  EXPECT_EQ(counts.links, 3);
  EXPECT_NEAR(precision_of(counts), 2.0 / 3, 1e-15);
  EXPECT_NEAR(recall_of(counts), 1.0 / 2, 1e-15);
  EXPECT_NEAR(error_rate_of(counts), 1 - (1.0 + 2.0) / (3 + 2), 1e-15);
  const AlignmentCounts both = counts + count_links({{0, 0}}, parse_links("0-0"));
  EXPECT_NEAR(error_rate_of(both), 1 - (2.0 + 3.0) / (4 + 3), 1e-15);
  EXPECT_EQ(error_rate_of(count_links({}, parse_links(""))), 0);
  EXPECT_EQ(error_rate_of(count_links({}, parse_links("0-0"))), 1);
  EXPECT_EQ(precision_of(count_links({}, gold)), 0);
}

}  // namespace
}  // namespace fovea
