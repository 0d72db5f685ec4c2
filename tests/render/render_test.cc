#include "fovea/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "fovea/text.h"
#include "render/shown.h"

namespace fovea {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Json = nlohmann::json;

Translation example() {
  Translation t;
  t.source = "Le chat noir.";
  t.hypotheses = {{"The black cat.", -0.25, -1.0, {5, 6, 7, 0}, false},
                  {"A black cat.", -0.5, -2.0, {8, 6, 7, 0}, true}};
  t.parts = {{0, 13}};
  t.source_words = words(t.source);
  t.target_words = words(t.hypotheses[0].text);
  t.attention = {
      {{0, 0.75}, {1, 0.125}}, {{2, 0.875}, {1, 0.0625}}, {{1, 0.5}, {2, 0.25}, {0, 0.125}}};
  t.punctuation_weight = {0.0625, 0.0625, 0.0};
  t.end_weight = {0.0625, 0.0, 0.125};
  t.alignment = {{0, 0}, {1, 2}, {2, 1}};
  t.reading = {1, -1, true, true};
  return t;
}

TEST(Json, CarriesTheWholeRecord) {
  const std::string text = json_of(example());
  EXPECT_THAT(text, Not(HasSubstr("\n")));
  const Json root = Json::parse(text);
  EXPECT_EQ(root["source"], "Le chat noir.");
  EXPECT_EQ(root["hypotheses"][0]["text"], "The black cat.");
  EXPECT_EQ(root["hypotheses"][0]["score"], -0.25);
  EXPECT_EQ(root["hypotheses"][0]["log_prob"], -1.0);
  EXPECT_EQ(root["hypotheses"][0]["ids"], Json({5, 6, 7, 0}));
  EXPECT_EQ(root["hypotheses"][1]["cut"], true);
  EXPECT_EQ(root["parts"], Json::parse("[[0, 13]]"));
  EXPECT_EQ(root["source_words"][2]["text"], "noir.");
  EXPECT_EQ(root["source_words"][2]["span"], Json({8, 13}));
  EXPECT_EQ(root["source_words"][2]["core"], Json({8, 12}));
  EXPECT_EQ(root["target_words"].size(), 3u);
  EXPECT_EQ(root["attention"][1][0]["word"], 2);
  EXPECT_EQ(root["attention"][1][0]["weight"], 0.875);
  EXPECT_EQ(root["punctuation_weight"][0], 0.0625);
  EXPECT_EQ(root["end_weight"][2], 0.125);
  EXPECT_EQ(root["alignment"], Json::parse("[[0, 0], [1, 2], [2, 1]]"));
  EXPECT_EQ(root["reading"],
            Json::parse(R"({"layer": 2, "head": "mean", "step": "input", "weighting": "norm"})"));
}

TEST(Json, NamesStandInTheRecordsOrder) {
  const auto root = nlohmann::ordered_json::parse(json_of(example()));
  std::vector<std::string> names;
  for (const auto& [name, value] : root.items()) names.push_back(name);
  EXPECT_THAT(names,
              ElementsAre("source", "hypotheses", "parts", "source_words", "target_words",
                          "attention", "punctuation_weight", "end_weight", "alignment", "reading"));
}

TEST(Json, EscapesWhatMustBe) {
  Translation t;
  t.source = "\"a\\\x01\n\xC3\xA9";
  EXPECT_EQ(Json::parse(json_of(t))["source"], t.source);
}

TEST(Pharaoh, LinksWithSpacesBetween) {
  EXPECT_EQ(pharaoh_of(example().alignment), "0-0 1-2 2-1");
  EXPECT_EQ(pharaoh_of({}), "");
}

TEST(ReadingName, SaysLayerHeadStepWeighting) {
  EXPECT_EQ(name_of(Reading{1, -1, true, true}),
            "decoder layer 2, heads averaged, input step, norm-weighted");
  EXPECT_EQ(name_of(Reading{0, 3, false, false}), "decoder layer 1, head 4, output step, raw");
}

TEST(Shown, StopsAtTheShareTheCountAndTheFloor) {
  Translation t = example();
  EXPECT_EQ(shown_words(t, 2, 0.5, 9).size(), 1u);  // 0.5 of 0.875 is enough
  EXPECT_EQ(shown_words(t, 2, 0.8, 9).size(), 2u);
  EXPECT_EQ(shown_words(t, 2, 1.0, 9).size(), 3u);
  EXPECT_EQ(shown_words(t, 2, 1.0, 2).size(), 2u);
  t.attention[0] = {{0, 0.5}, {1, 0.02}};
  EXPECT_EQ(shown_words(t, 0, 1.0, 9).size(), 1u);  // 2 % is not shown
  t.attention[0] = {{0, 0.01}};
  EXPECT_EQ(shown_words(t, 0, 1.0, 9).size(), 1u);  // but the strongest always is
  EXPECT_NEAR(shown_mass(t, 0.5, 9), (0.01 + 0.875 + 0.5) / 3, 1e-12);
}

double luminance(const Rgb& color) {
  const auto linear = [](int value) {
    const double v = value / 255.0;
    return v <= 0.03928 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4);
  };
  return 0.2126 * linear(color.red) + 0.7152 * linear(color.green) + 0.0722 * linear(color.blue);
}

TEST(Tint, StaysReadableAndGrowsStronger) {
  double last = 2;
  for (int i = 0; i <= 100; ++i) {
    const double here = luminance(tint(i / 100.0));
    EXPECT_GE((here + 0.05) / 0.05, 9.0) << i;  // contrast of black text on it
    EXPECT_LT(here, last) << i;
    last = here;
  }
}

TEST(Terminal, PlainMarksWithoutColours) {
  const std::string text = terminal_of(example(), {});
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_EQ(
      text,
      "Le chat noir.\n"
      "The black cat.\n"
      "    The  Le #### 75%\n"
      "  black  noir. #### 88%\n"
      "   cat.  chat ### 50%  noir. # 25%\n"
      "  decoder layer 2, heads averaged, input step, norm-weighted; shown 79% of the weight; "
      "punctuation 4%, end of sentence 6%\n");
}

TEST(Terminal, ColoursStandWhereTheWordsStand) {
  TerminalStyle style;
  style.colors = Colors::kTrue;
  style.width = 200;
  const std::string text = terminal_of(example(), style);
  EXPECT_THAT(text, HasSubstr("\x1b[38;2;0;0;0;48;2;255;177;47mnoir.\x1b[0m  noir. 88%"));
  EXPECT_THAT(text, HasSubstr("\x1b[2mLe\x1b[0m"));  // not looked at: dim
  style.width = 40;                                  // no room for the sentence in every line
  EXPECT_THAT(terminal_of(example(), style), HasSubstr("m noir. \x1b[0m 88%"));
  style.colors = Colors::k256;
  EXPECT_THAT(terminal_of(example(), style), HasSubstr("\x1b[38;5;16;48;5;"));
}

// Columns of the longest line, escapes not counted.
int longest_line(const std::string& text) {
  int longest = 0;
  std::string line;
  bool escape = false;
  for (const char c : text) {
    if (escape) {
      escape = c != 'm';
    } else if (c == '\x1b') {
      escape = true;
    } else if (c == '\n') {
      longest = std::max(longest, columns(line));
      line.clear();
    } else {
      line += c;
    }
  }
  return longest;
}

TEST(Terminal, WrapsLongAndWideText) {
  Translation t = example();
  t.source = "\xE4\xB8\xAD\xE6\x96\x87 ";
  for (int i = 0; i < 40; ++i) t.source += "mot" + std::to_string(i) + ' ';
  t.source_words = words(t.source);
  t.attention[0].clear();
  for (int i = 0; i < 12; ++i) t.attention[0].push_back({i, 0.08});
  TerminalStyle style;
  style.most = 12;
  style.shown = 1;
  for (const Colors colors : {Colors::kNone, Colors::k256}) {
    style.colors = colors;
    style.width = 60;
    const std::string text = terminal_of(t, style);
    EXPECT_LE(longest_line(text.substr(0, text.rfind("  decoder layer") + 2)), 60);
  }
}

TEST(Terminal, RepeatedWordsAreNumbered) {
  Translation t = example();
  t.source = "la la noir.";
  t.source_words = words(t.source);
  EXPECT_THAT(terminal_of(t, {}), HasSubstr("la(2) ### 50%"));
}

TEST(Terminal, TextCannotSendEscapes) {
  Translation t = example();
  t.source = "\x1b[31mLe\xC2\x9B chat\tnoir.";
  t.source_words = words(t.source);
  const std::string text = terminal_of(t, {});
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, Not(HasSubstr("\xC2\x9B")));
}

TEST(Terminal, NothingToShow) {
  Translation t;
  EXPECT_EQ(terminal_of(t, {}), "\n");
  t.hypotheses = {{"", 0, 0, {}, false}};
  EXPECT_EQ(terminal_of(t, {}), "\n\n");
}

TEST(Svg, ShowsWordsTintsAndLinks) {
  Translation t = example();
  t.source = "Le <chat> & noir.";
  t.source_words = words(t.source);
  const std::string text = svg_of(t);
  EXPECT_THAT(text, HasSubstr("&lt;chat&gt;"));
  EXPECT_THAT(text, Not(HasSubstr("<chat>")));
  EXPECT_THAT(text, HasSubstr("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_THAT(text, HasSubstr("<title>black - &amp; 88%</title>"));
  EXPECT_THAT(text, HasSubstr("decoder layer 2"));
  EXPECT_THAT(text, Not(HasSubstr("<script")));
  EXPECT_THAT(text, Not(HasSubstr("nan")));
  t.source = "a\x01";
  t.source_words = words(t.source);
  t.attention = {{{0, 1.0}}, {}, {}};
  EXPECT_THAT(svg_of(t), HasSubstr("a\xEF\xBF\xBD"));
  EXPECT_THAT(svg_of(Translation{}), HasSubstr("</svg>"));
}

TEST(Scores, AsJson) {
  const std::vector<std::string> lines = {"a b c d e"}, sources = {"un"};
  const std::vector<std::vector<std::string>> references = {lines};
  const std::string plain = json_of(evaluate(lines, references));
  EXPECT_THAT(plain, StartsWith("{\"lines\":1,\"bleu\":{\"score\":100"));
  const Json root = Json::parse(plain);
  EXPECT_EQ(root["bleu"]["matched"], Json({5, 4, 3, 2}));
  ASSERT_EQ(root["chrf"].size(), 2u);
  EXPECT_THAT(root["chrf"][0]["signature"].get<std::string>(), HasSubstr("|nw:0|"));
  EXPECT_THAT(root["chrf"][1]["signature"].get<std::string>(), HasSubstr("|nw:2|"));
  EXPECT_EQ(root["chrf"][0]["counts"][0], Json({5, 5, 5}));
  for (const char* absent : {"baseline", "by_length"}) EXPECT_FALSE(root.contains(absent));
  for (const char* absent : {"interval", "difference"}) EXPECT_FALSE(root["bleu"].contains(absent));
}

TEST(Scores, AsJsonWithEverything) {
  const std::vector<std::string> lines = {"a b c d e"}, baseline = {"x"};
  std::string long_source;
  for (int i = 0; i < 40; ++i) long_source += "mot ";
  const std::vector<std::string> sources = {long_source};
  const std::vector<std::vector<std::string>> references = {lines};
  EvaluationOptions options;
  options.bootstrap = Bootstrap{.samples = 3};
  const Json root = Json::parse(json_of(evaluate(lines, references, options, baseline, sources)));
  EXPECT_EQ(root["chrf"][0]["interval"], Json({{"mean", 100.0}, {"low", 100.0}, {"high", 100.0}}));
  EXPECT_EQ(
      root["chrf"][1]["difference"],
      Json(
          {{"score", 100.0}, {"mean", 100.0}, {"low", 100.0}, {"high", 100.0}, {"p_value", 0.25}}));
  EXPECT_EQ(root["baseline"]["bleu"]["score"], 0.0);
  EXPECT_FALSE(root["baseline"]["bleu"].contains("difference"));
  ASSERT_EQ(root["by_length"].size(), 1u);
  EXPECT_EQ(root["by_length"][0]["words"], Json({{"least", 40}, {"most", nullptr}}));
  EXPECT_EQ(root["by_length"][0]["bleu"], root["bleu"]);
  EXPECT_EQ(root["by_length"][0]["baseline"], root["baseline"]);
}

}  // namespace
}  // namespace fovea
