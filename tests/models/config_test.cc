#include "models/config.h"

#include <gtest/gtest.h>

#include "tiny.h"

namespace fovea {
namespace {

using test::config_text;
using test::error_of;

std::string error_in(const std::string& config, const std::string& generation = "") {
  return error_of([&] {
    parse_marian_config({config, "config.json", generation, "generation.json"});
  });
}

// config.json with one field changed: a later one of the same name would be refused.
std::string with(const std::string& name, const std::string& value) {
  std::string text = config_text({});
  const std::size_t begin = text.find("\"" + name + "\"");
  if (begin == std::string::npos) return config_text({}, ", \"" + name + "\": " + value);
  const std::size_t end = text.find_first_of(",}", begin);
  return text.replace(begin, end - begin, "\"" + name + "\": " + value);
}

TEST(MarianConfig, ReadsWhatTheFileSays) {
  const MarianConfig c = parse_marian_config({config_text({}), "config.json", "", ""});
  EXPECT_EQ(c.width, 12);
  EXPECT_EQ(c.encoder_layers, 2);
  EXPECT_EQ(c.decoder_heads, 2);
  EXPECT_EQ(c.decoder_ffn, 14);
  EXPECT_EQ(c.target_vocabulary, 11);
  EXPECT_EQ(c.activation, Activation::kSwish);
  EXPECT_TRUE(c.scaled_embedding);
  EXPECT_EQ(c.search.ends, (std::vector<std::int32_t>{0}));
  EXPECT_EQ(c.search.start, 10);
  EXPECT_EQ(c.search.beams, 1);
  EXPECT_EQ(c.search.max_length, 16);  // nothing given: the positions
  EXPECT_TRUE(c.search.forced_ends.empty());
}

TEST(MarianConfig, GenerationConfigDecidesTheSearch) {
  const std::string config =
      config_text({}, R"(, "num_beams": 9, "forced_eos_token_id": 0, "length_penalty": 3)");
  const MarianConfig alone = parse_marian_config({config, "c", "", ""});
  EXPECT_EQ(alone.search.beams, 9);
  EXPECT_EQ(alone.search.forced_ends.size(), 1u);
  const MarianConfig both = parse_marian_config(
      {config, "c", R"({"num_beams": 4, "early_stopping": "never", "max_new_tokens": 7,
                        "bad_words_ids": [[10], [0], [3, 4]], "renormalize_logits": true})",
       "g"});
  EXPECT_EQ(both.search.beams, 4);
  EXPECT_EQ(both.search.length_penalty, 1);
  EXPECT_TRUE(both.search.forced_ends.empty());
  EXPECT_EQ(both.search.early_stopping, EarlyStopping::kNever);
  EXPECT_EQ(both.search.max_length, 8);
  EXPECT_TRUE(both.search.renormalize);
  EXPECT_EQ(both.search.bad_words, (std::vector<std::vector<std::int32_t>>{{10}, {3, 4}}));
  EXPECT_EQ(both.search.start, 10);  // from config.json
}

TEST(MarianConfig, CapsTheLengthAtThePositions) {
  const auto longest = [](const std::string& text) {
    return parse_marian_config({config_text({}), "c", text, "g"}).search.max_length;
  };
  EXPECT_EQ(longest(R"({"max_length": 512})"), 17);  // the last id is never an input
  EXPECT_EQ(longest(R"({"max_length": 9})"), 9);
  EXPECT_EQ(longest("{}"), 16);
}

TEST(MarianConfig, NamesTheFieldThatIsWrong) {
  const std::string c = "config: config.json: ";
  EXPECT_EQ(error_in("{\"model_type\": "), c + "not JSON at byte 16");
  EXPECT_EQ(error_in("{\"d_model\": 1e999}"), c + "a number is beyond the range of a double");
  EXPECT_EQ(error_in("[]"), c + "expected a JSON object");
  // Printing what stands there instead would recurse as deep as the file says.
  const std::string deep(300000, '[');
  EXPECT_EQ(error_in("{\"model_type\": " + deep + std::string(deep.size(), ']') + "}"),
            c + "nested more than 64 deep");
  EXPECT_EQ(error_in("{}"),
            c + "\"model_type\" is missing; fovea runs \"marian\". Is this a model folder?");
  EXPECT_EQ(
      error_in(with("model_type", "\"t5\"")),
      c + "\"model_type\" is \"t5\"; expected \"marian\": fovea translates with MarianMT models "
          "(the opus-mt family, and what fovea train writes)");
  EXPECT_EQ(error_in(with("d_model", "25.5")),
            c + "\"d_model\" is 25.5; expected a whole number from 1 to 65536");
  EXPECT_EQ(error_in(with("d_model", "\"12\"")),
            c + "\"d_model\" is \"12\"; expected a whole number from 1 to 65536");
  EXPECT_EQ(error_in(with("encoder_layers", "0")),
            c + "\"encoder_layers\" is 0; expected a whole number from 1 to 1024");
  EXPECT_EQ(
      error_in(with("vocab_size", "18446744073709551615")),
      c + "\"vocab_size\" is 18446744073709551615; expected a whole number from 1 to 16777216");
  EXPECT_EQ(error_in(with("vocab_size", "null")),
            c + "\"vocab_size\" is missing; expected a whole number from 1 to 16777216");
  EXPECT_EQ(error_in(with("decoder_attention_heads", "5")),
            c + "\"decoder_attention_heads\" is 5, which does not divide d_model 12");
  EXPECT_EQ(
      error_in(with("activation_function", "\"mish\"")),
      c + "\"activation_function\" is \"mish\"; expected swish, silu, relu, gelu, gelu_new or "
          "gelu_pytorch_tanh");
  EXPECT_EQ(error_in(with("scale_embedding", "1")),
            c + "\"scale_embedding\" is 1; expected true or false");
  EXPECT_EQ(error_in(with("eos_token_id", "11")),
            c + "\"eos_token_id\" is 11; expected ids from 0 to 10");
  EXPECT_EQ(error_in(with("eos_token_id", "null")),
            c + "\"eos_token_id\" is missing; expected an id");
  EXPECT_EQ(error_in(with("pad_token_id", "-1")),
            c + "\"pad_token_id\" is -1; expected a whole number from 0 to 10");
  EXPECT_EQ(error_in(with("pad_token_id", "null")),
            c + "\"pad_token_id\" is missing; expected an id");
  EXPECT_EQ(error_in(config_text({}, R"(, "d_model": 12)")), c + "\"d_model\" appears twice");
}

TEST(MarianConfig, RefusesWhatTheSearchDoesNotHave) {
  const std::string g = "config: generation.json: ";
  const std::string cure =
      ", which fovea's search does not have: take it out of the file to go without";
  const auto error = [](const std::string& text) { return error_in(config_text({}), text); };
  EXPECT_EQ(error(R"({"do_sample": true})"), g + "\"do_sample\" is true" + cure);
  EXPECT_EQ(error(R"({"repetition_penalty": 1.2})"), g + "\"repetition_penalty\" is set" + cure);
  EXPECT_EQ(error(R"({"num_beam_groups": 2})"), g + "\"num_beam_groups\" is set" + cure);
  EXPECT_EQ(error(R"({"sequence_bias": [[[1], 2.0]]})"), g + "\"sequence_bias\" is set" + cure);
  EXPECT_EQ(error(R"({"remove_invalid_values": true})"),
            g + "\"remove_invalid_values\" is true" + cure);
  EXPECT_EQ(error(R"({"early_stopping": "often"})"),
            g + "\"early_stopping\" is \"often\"; expected true, false or \"never\"");
  EXPECT_EQ(error(R"({"length_penalty": "1"})"),
            g + "\"length_penalty\" is \"1\"; expected a number");
  EXPECT_EQ(error(R"({"bad_words_ids": [[]]})"),
            g + "\"bad_words_ids\" is [[]]; expected a list of lists of ids, none of them empty");
  EXPECT_EQ(error(R"({"bad_words_ids": 3})"),
            g + "\"bad_words_ids\" is 3; expected a list of lists of ids");
  EXPECT_EQ(error(R"({"forced_bos_token_id": [1, 2]})"),
            g + "\"forced_bos_token_id\" is [1,2]; expected one id");
  EXPECT_EQ(error(R"({"do_sample": false, "repetition_penalty": 1.0, "num_beam_groups": 1,
                      "top_k": 50, "stop_strings": null, "max_length": 9})"),
            "");
}

}  // namespace
}  // namespace fovea
