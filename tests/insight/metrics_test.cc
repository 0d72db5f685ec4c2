// BLEU and chrF: golden values of the sacrebleu package (2.6.0) and cases worked by hand.
#include "fovea/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "fovea/error.h"

namespace fovea {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Text = std::vector<std::string>;

double bleu_score(const Text& hypotheses, const std::vector<Text>& references,
                  const BleuOptions& options = {}) {
  return bleu(hypotheses, references, options).score;
}

double chrf_score(const Text& hypotheses, const std::vector<Text>& references,
                  const ChrfOptions& options = {}) {
  return chrf(hypotheses, references, options).score;
}

TEST(Bleu, TokensOf13a) {
  const auto tokens = [](const char* text) { return bleu_tokens(text, BleuTokens::k13a); };
  EXPECT_EQ(tokens("It's 3.5-mm, ok?"), "It's 3.5 - mm , ok ?");
  EXPECT_EQ(tokens("a &quot;b&quot; &amp;lt; &lt;i&gt;"), "a \" b \" < < i >");
  EXPECT_EQ(tokens("&amp;quot;"), "& quot ;");  // an entity is replaced once, &quot; before &amp;
  EXPECT_EQ(tokens("1,000.5 x,y .,. 7."), "1,000.5 x , y . , . 7 .");
  EXPECT_EQ(tokens("a-b 3-4 --"), "a-b 3 - 4 --");
  EXPECT_EQ(tokens("<skipped>x\xC2\xA0y  \t z  "), "x y z");
  EXPECT_EQ(tokens("a-\nb\nc"), "ab c");
  EXPECT_EQ(tokens(""), "");
}

// Replacing in place took time that grew with the square of the line: minutes for this one.
TEST(Bleu, ALineOfAMillionEntitiesIsReadInOnePass) {
  std::string line, expected;
  for (int i = 0; i < 1000000; ++i) {
    line += "&quot;";
    expected += i == 0 ? "\"" : " \"";
  }
  EXPECT_EQ(bleu_tokens(line, BleuTokens::k13a), expected);
}

TEST(Bleu, TokensOfCharactersAndNone) {
  EXPECT_EQ(bleu_tokens("da\xC3\x9F ist", BleuTokens::kChar), "d a \xC3\x9F i s t");
  EXPECT_EQ(bleu_tokens(" a,b  c ", BleuTokens::kNone), "a,b c");
}

TEST(Bleu, GoldenValues) {
  EXPECT_NEAR(bleu_score({"It's 3.5-mm, ok?"}, {{"It's 3.5 mm, ok?"}}), 48.892302243490086, 1e-9);
  EXPECT_NEAR(bleu_score({"Ein Mann l\xC3\xA4uft."}, {{"Ein Mann rennt schnell."}}),
              27.534765745159184, 1e-9);
}

TEST(Bleu, WorkedByHand) {
  // matched 4/5, 3/4, 2/3, 1/2 of equal lengths: (4/5 3/4 2/3 1/2)^(1/4) = 0.2^(1/4)
  const BleuScore score = bleu(Text{"a b c d x"}, std::vector<Text>{{"a b c d y"}});
  EXPECT_THAT(score.counts.matched, ElementsAre(4, 3, 2, 1));
  EXPECT_THAT(score.counts.total, ElementsAre(5, 4, 3, 2));
  EXPECT_NEAR(score.score, 100 * std::pow(0.2, 0.25), 1e-12);
  EXPECT_EQ(score.brevity_penalty, 1);
}

TEST(Bleu, ClipsByTheLargestReferenceCountAndTakesTheClosestLength) {
  const std::vector<Text> references = {{"the the cat"}, {"the cat is on it"}};
  const BleuScore score = bleu(Text{"the the the cat"}, references);
  EXPECT_EQ(score.counts.matched[0], 3);        // the, the, cat
  EXPECT_EQ(score.counts.matched[1], 2);        // the the, the cat
  EXPECT_EQ(score.counts.reference_length, 3);  // 3 and 5 are equally near to 4: the shorter
}

TEST(Bleu, BrevityPenalty) {
  const BleuScore score = bleu(Text{"a b c d"}, std::vector<Text>{{"a b c d e f g h"}});
  EXPECT_NEAR(score.brevity_penalty, std::exp(-1.0), 1e-15);
  EXPECT_NEAR(score.score, 100 * std::exp(-1.0), 1e-12);
}

TEST(Bleu, Smoothing) {
  const Text hypothesis = {"a b x c y d"};
  const std::vector<Text> reference = {{"a b c d e f"}};
  const auto with = [&](BleuSmoothing smoothing) {
    BleuOptions options;
    options.smoothing = smoothing;
    return bleu(hypothesis, reference, options);
  };
  // matched 4/6, 1/5, 0/4, 0/3
  EXPECT_THAT(with(BleuSmoothing::kExp).precisions,
              ElementsAre(400.0 / 6, 20.0, 100.0 / 8, 100.0 / 12));
  EXPECT_THAT(with(BleuSmoothing::kFloor).precisions,
              ElementsAre(400.0 / 6, 20.0, 10.0 / 4, 10.0 / 3));
  EXPECT_THAT(with(BleuSmoothing::kAddK).precisions,
              ElementsAre(400.0 / 6, 200.0 / 6, 100.0 / 5, 100.0 / 4));
  EXPECT_EQ(with(BleuSmoothing::kNone).score, 0);
}

TEST(Bleu, ShortCorporaNeedTheEffectiveOrder) {
  const std::vector<Text> reference = {{"one two three"}};
  EXPECT_EQ(bleu_score({"one two three"}, reference), 0);
  BleuOptions options;
  options.effective_order = true;
  EXPECT_NEAR(bleu_score({"one two three"}, reference, options), 100, 1e-12);
}

TEST(Bleu, EmptyHypothesesScoreZero) {
  EXPECT_EQ(bleu_score({"", " "}, {{"a b c d", "e"}}), 0);
  EXPECT_EQ(chrf_score({"", " "}, {{"a b c d", "e"}}), 0);
}

TEST(Bleu, LowerCaseIsPythons) {
  BleuOptions options;
  options.lowercase = true;
  options.tokens = BleuTokens::kChar;
  // capital sigma at the end of a word becomes the final one, I with a dot becomes two characters
  const BleuScore score =
      bleu(Text{"\xCE\x9F\xCE\x94\xCE\x9F\xCE\xA3 \xC4\xB0"},
           std::vector<Text>{{"\xCE\xBF\xCE\xB4\xCE\xBF\xCF\x82 i\xCC\x87"}}, options);
  EXPECT_THAT(score.counts.matched, ElementsAre(6, 5, 4, 3));
  EXPECT_THAT(score.counts.total, ElementsAre(6, 5, 4, 3));
}

TEST(Bleu, Signature) {
  const Text line = {"a"};
  EXPECT_EQ(bleu(line, std::vector<Text>{line}).signature,
            "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0+fovea");
  BleuOptions options;
  options.lowercase = options.effective_order = true;
  options.tokens = BleuTokens::kNone;
  options.smoothing = BleuSmoothing::kFloor;
  EXPECT_EQ(bleu(line, std::vector<Text>{line, line}, options).signature,
            "nrefs:2|case:lc|eff:yes|tok:none|smooth:floor[0.10]|version:2.6.0+fovea");
  EXPECT_EQ(chrf(line, std::vector<Text>{line}).signature,
            "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.6.0+fovea");
}

TEST(Chrf, GoldenValues) {
  EXPECT_NEAR(chrf_score({"It's 3.5-mm, ok?"}, {{"It's 3.5 mm, ok?"}}), 71.42992378040401, 1e-9);
  EXPECT_NEAR(chrf_score({"Ein Mann l\xC3\xA4uft."}, {{"Ein Mann rennt schnell."}}),
              29.824869901293848, 1e-9);
}

TEST(Chrf, WorkedByHand) {
  // "ab" against "abc": orders 1 and 2 count (3 has no n-gram in the hypothesis):
  // P = (2/2 + 1/1) / 2 = 1, R = (2/3 + 1/2) / 2 = 7/12, F = 5 P R / (4 P + R)
  EXPECT_NEAR(chrf_score({"a b"}, {{"abc"}}), 100 * (5 * 7.0 / 12) / (4 + 7.0 / 12), 1e-12);
  EXPECT_NEAR(chrf_score({"same text"}, {{"same text"}}), 100, 1e-12);
}

TEST(Chrf, WordsSplitOffOneSign) {
  ChrfOptions options;
  options.character_order = 1;
  options.word_order = 1;
  const ChrfScore score =
      chrf(Text{"(hi) \"so x."}, std::vector<Text>{{"(hi) \" so x ."}}, options);
  EXPECT_THAT(score.counts[1], ElementsAre(6, 6, 6));
}

TEST(Chrf, TakesEachLinesBestReference) {
  const Text first = {"abc", "zzz"}, second = {"yyy", "def"};
  EXPECT_NEAR(chrf_score({"abc", "def"}, {first, second}), 100, 1e-12);
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

TEST(Metrics, SayWhatIsWrongWithTheLines) {
  const Text two = {"a", "b"}, one = {"a"}, bad = {"a", "b\xFF"};
  EXPECT_THAT(message_of([&] { bleu(two, std::vector<Text>{one}); }),
              HasSubstr("bleu: 2 hypotheses but 1 lines in reference 1"));
  EXPECT_THAT(message_of([&] { chrf(two, std::vector<Text>{}); }),
              HasSubstr("chrf: no references"));
  EXPECT_THAT(message_of([&] { bleu(Text{}, std::vector<Text>{{}}); }),
              HasSubstr("bleu: no lines to score"));
  EXPECT_THAT(message_of([&] { bleu(bad, std::vector<Text>{two}); }),
              HasSubstr("hypotheses: line 2, byte 2 is not UTF-8"));
  EXPECT_THAT(message_of([&] { chrf(two, std::vector<Text>{bad}); }),
              HasSubstr("references: line 2, byte 2 is not UTF-8"));
  ChrfOptions options;
  options.character_order = 0;
  EXPECT_THAT(message_of([&] { chrf(two, std::vector<Text>{two}, options); }),
              HasSubstr("character order"));
}

}  // namespace
}  // namespace fovea
