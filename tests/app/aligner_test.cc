#include "app/aligner.h"

#include <gtest/gtest.h>

#include "fovea/text.h"

namespace fovea {
namespace {

std::string at(const WordText& text, std::size_t w) {
  const Span span = text.words[w].span;
  return to_utf8(code_points(text.text).substr(static_cast<std::size_t>(span.begin),
                                               static_cast<std::size_t>(span.end - span.begin)));
}

TEST(JoinedText, ReadsAsPeopleWrite) {
  const WordText text = joined_text("l' homme , ( d' hier ) ... did n't \xC2\xAB go \xC2\xBB .");
  EXPECT_EQ(text.text, "l'homme, (d'hier)... did n't \xC2\xAB go \xC2\xBB.");
  ASSERT_EQ(text.words.size(), 14u);
  for (std::size_t w = 0; w < text.words.size(); ++w)
    EXPECT_EQ(at(text, w), text.words[w].text) << w;
  EXPECT_EQ(joined_text("it 's").text, "it's");
  EXPECT_EQ(joined_text("").text, "");
}

TEST(JoinedText, PlainTextStaysAsItIs) {
  const WordText text = plain_text(" l' homme .");
  EXPECT_EQ(text.text, " l' homme .");
  EXPECT_EQ(at(text, 1), "homme");
}

// Attention by hand over the pieces l ' homme . and end, for the target "man .": the step after a
// piece looks at homme, then at the full stop.
TEST(AlignWords, LinksCountTokens) {
  PieceAttention pair;
  pair.source.spans = {{0, 1}, {1, 2}, {2, 7}, {7, 8}, {8, 8}};
  pair.target.spans = {{0, 3}, {3, 4}, {4, 4}};
  pair.attention.layers = pair.attention.heads = 1;
  pair.attention.steps = 3;
  pair.attention.keys = 5;
  pair.attention.weights = {0.6F, 0.1F, 0.1F, 0.1F, 0.1F, 0.1F, 0.1F, 0.6F,
                            0.1F, 0.1F, 0.1F, 0.1F, 0.1F, 0.6F, 0.1F};
  pair.attention.value_products = std::vector<float>(5, 1.0F);
  const WordText source = joined_text("l' homme ."), target = joined_text("man .");
  const std::vector<Link> input = align_words(pair, source, target, {0, -1, true, false});
  ASSERT_EQ(input.size(), 2u);
  EXPECT_EQ(input[0].source, 1);
  EXPECT_EQ(input[0].target, 0);
  EXPECT_EQ(input[1].source, 2);
  EXPECT_EQ(input[1].target, 1);
  EXPECT_EQ(align_words(pair, source, target, {0, -1, false, false})[0].source, 0);
}

TEST(Readings, EveryLayerHeadStepAndWeighting) {
  MarianInfo info;
  info.decoder_layers = 3;
  info.decoder_heads = 4;
  EXPECT_EQ(readings_of(info).size(), 3u * 5 * 2 * 2);
}

}  // namespace
}  // namespace fovea
