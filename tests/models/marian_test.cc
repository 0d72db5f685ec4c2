#include "fovea/marian.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/random.h"
#include "fovea/error.h"
#include "tiny.h"

namespace fovea {
namespace {

using Ids = std::vector<std::int32_t>;
using test::Arrays;
using test::error_of;
using test::Folder;
using test::Sizes;

const Ids kSource = {3, 1, 4, 1, 5, 9, 0};
const Ids kTarget = {2, 7, 1, 8, 2, 8, 0};

// Largest absolute difference; NaN wins.
template <class A, class B>
double worst(const A& got, const B& want) {
  EXPECT_EQ(got.size(), want.size());
  double w = 0;
  for (std::size_t i = 0; i < std::min(got.size(), want.size()); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    if (!(error <= w)) w = error;
  }
  return w;
}

Marian tiny_model(const Sizes& sizes, const Arrays& arrays, const std::string& more = "") {
  const Folder folder;
  test::write_model(folder, sizes, arrays, more);
  return Marian::load(folder.path());
}

TEST(Marian, LogitsAndCrossAttentionAreTheFormulas) {
  std::uint64_t seed = 1;
  for (const char* activation : {"swish", "relu", "gelu", "gelu_new"}) {
    Sizes sizes;
    sizes.activation = activation;
    if (seed % 2 == 0)
      sizes = {.width = 20,
               .encoder_layers = 1,
               .decoder_layers = 3,
               .encoder_heads = 2,
               .decoder_heads = 5,
               .encoder_ffn = 31,
               .decoder_ffn = 8,
               .vocabulary = 1100,
               .positions = 8,
               .activation = activation};
    const Arrays arrays = test::random_weights(sizes, seed++);
    const Marian model = tiny_model(sizes, arrays);
    Threads threads(2);
    std::vector<double> cross;
    const std::vector<double> want = test::plain_logits(sizes, arrays, kSource, kTarget, &cross);
    double largest = 0;
    for (const double value : want) largest = std::max(largest, std::abs(value));
    EXPECT_GT(largest, 0.5);
    const std::vector<float> got = model.logits(kSource, kTarget, threads);
    EXPECT_TRUE(worst(got, want) <= 1e-5 * largest) << activation << ": " << worst(got, want);

    const CrossAttention attention = model.cross_attention(kSource, kTarget, threads);
    EXPECT_EQ(attention.layers, sizes.decoder_layers);
    EXPECT_EQ(attention.heads, sizes.decoder_heads);
    EXPECT_EQ(attention.steps, 7);
    EXPECT_EQ(attention.keys, 7);
    // The bound of the oracle against transformers. Rounding of fp32 alone, which differs between
    // builds (vector lanes or not), reaches 1e-6 here.
    EXPECT_TRUE(worst(attention.weights, cross) <= 1e-5)
        << activation << ": " << worst(attention.weights, cross);
    EXPECT_GT(worst(attention.weights, std::vector<double>(cross.size(), 1.0 / 7)), 0.05);
  }
}

// products[l, j, g, h] = <W_g v_j^g, W_h v_j^h>, from the encoder's output in fp64.
TEST(Marian, ValueProductsAreThoseOfWhatHeadsBring) {
  const Sizes sizes;
  const Arrays arrays = test::random_weights(sizes, 5);
  const Marian model = tiny_model(sizes, arrays);
  Threads threads(1);
  const CrossAttention got = model.cross_attention(kSource, kTarget, threads);
  const auto memory = test::plain_encoder(sizes, arrays, kSource);
  const std::size_t d = 12;
  const std::size_t width = 6;
  std::vector<double> want;
  for (const char* layer :
       {"model.decoder.layers.0.encoder_attn", "model.decoder.layers.1.encoder_attn"}) {
    const std::vector<float>& wv = arrays.at(std::string(layer) + ".v_proj.weight").values;
    const std::vector<float>& bv = arrays.at(std::string(layer) + ".v_proj.bias").values;
    const std::vector<float>& wo = arrays.at(std::string(layer) + ".out_proj.weight").values;
    for (const std::vector<double>& x : memory) {
      std::vector<std::vector<double>> brought(2, std::vector<double>(d));
      for (std::size_t e = 0; e < d; ++e) {
        double v = static_cast<double>(bv[e]);
        for (std::size_t i = 0; i < d; ++i) v += static_cast<double>(wv[e * d + i]) * x[i];
        for (std::size_t row = 0; row < d; ++row) {
          brought[e / width][row] += static_cast<double>(wo[row * d + e]) * v;
        }
      }
      for (const auto& g : brought) {
        for (const auto& h : brought) {
          double sum = 0;
          for (std::size_t row = 0; row < d; ++row) sum += g[row] * h[row];
          want.push_back(sum);
        }
      }
    }
  }
  const double largest = *std::max_element(want.begin(), want.end());
  EXPECT_TRUE(worst(got.value_products, want) <= 1e-5 * largest) << worst(got.value_products, want);
}

// The cached, step by step path and the path over a whole target say the same of every hypothesis.
TEST(Marian, SearchScoresAreThoseOfTheWholeTarget) {
  const Sizes sizes{.vocabulary = 1100, .positions = 40};  // two blocks of the vocabulary
  Arrays arrays = test::random_weights(sizes, 11);
  for (std::size_t id = 1030; id < 1100; ++id) arrays["final_logits_bias"].values[id] += 3;
  const Marian model = tiny_model(sizes, arrays, R"(, "max_length": 30)");
  Threads threads(1);
  for (const int beams : {1, 3, 4}) {
    SearchOptions options;
    options.beams = beams;
    options.n_best = beams;
    const auto found = model.search(std::vector<Ids>{kSource, {7, 0}}, options, threads);
    for (const IdHypothesis& h : found[0]) {
      const std::vector<float> logits = model.logits(kSource, h.ids, threads);
      double log_prob = 0;
      for (std::size_t t = 0; t < h.ids.size(); ++t) {
        const float* row = logits.data() + t * 1100;
        double sum = 0;
        for (std::size_t v = 0; v < 1100; ++v) sum += std::exp(static_cast<double>(row[v]));
        log_prob += row[h.ids[t]] - std::log(sum);
      }
      EXPECT_TRUE(std::abs(h.log_prob - log_prob) <= 1e-4) << beams << ": " << h.log_prob;
      EXPECT_TRUE(std::abs(h.score - h.log_prob / static_cast<double>(h.ids.size())) <= 1e-9);
    }
    for (std::size_t n = 1; n < found[0].size(); ++n)
      EXPECT_LE(found[0][n].score, found[0][n - 1].score);
  }
}

std::vector<Ids> some_sources(int vocabulary) {
  Random random(3);
  std::vector<Ids> sources;
  for (int s = 0; s < 90; ++s) {
    Ids ids;
    for (std::uint64_t n = random.below(13); n > 0; --n) {
      ids.push_back(
          1 + static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocabulary - 2))));
    }
    ids.push_back(0);
    sources.push_back(ids);
  }
  return sources;
}

void expect_same(const std::vector<IdHypothesis>& a, const std::vector<IdHypothesis>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t n = 0; n < a.size(); ++n) {
    EXPECT_EQ(a[n].ids, b[n].ids);
    EXPECT_EQ(a[n].score, b[n].score);  // the same bits
  }
}

TEST(Marian, ASentenceHasTheSameResultInAnyCompany) {
  const Sizes sizes{
      .width = 32, .encoder_heads = 4, .decoder_heads = 4, .vocabulary = 61, .positions = 24};
  Arrays arrays = test::random_weights(sizes, 7);
  arrays["final_logits_bias"].values[0] +=
      6;  // sentences end, and so leave their groups, one by one
  const Marian model = tiny_model(sizes, arrays);
  const std::vector<Ids> sources = some_sources(61);
  for (const int beams : {1, 4}) {
    SearchOptions options;
    options.beams = beams;
    options.n_best = beams;
    Threads one(1);
    Threads three(3);
    const auto together = model.search(sources, options, one);
    const auto threaded = model.search(sources, options, three);
    std::set<std::size_t> lengths;
    for (const auto& list : together) lengths.insert(list[0].ids.size());
    EXPECT_GT(lengths.size(), 3u);
    for (std::size_t s = 0; s < sources.size(); ++s) {
      expect_same(threaded[s], together[s]);
      expect_same(model.search(std::span(&sources[s], 1), options, three)[0], together[s]);
    }
    const auto few = model.search(std::span(sources).subspan(40, 5), options, one);
    for (std::size_t s = 0; s < 5; ++s) expect_same(few[s], together[40 + s]);
  }
}

TEST(Marian, InfoSaysWhatTheFilesSay) {
  const Sizes sizes;
  const Arrays arrays = test::random_weights(sizes, 1);
  const Marian model = tiny_model(sizes, arrays, R"(, "num_beams": 5, "length_penalty": 0.5)");
  std::int64_t parameters = 2 * 16 * 12;  // positions
  for (const auto& [name, array] : arrays) {
    if (name != "final_logits_bias") parameters += static_cast<std::int64_t>(array.values.size());
  }
  EXPECT_EQ(model.info().parameters, parameters);
  EXPECT_EQ(model.info().beams, 5);
  EXPECT_EQ(model.info().length_penalty, 0.5);
  EXPECT_EQ(model.info().start, 10);
  EXPECT_EQ(model.info().positions, 16);
}

TEST(Marian, NamesTheTensorAtOddsWithTheConfig) {
  const Sizes sizes;
  const auto error = [&](auto change) {
    Arrays arrays = test::random_weights(sizes, 1);
    change(arrays);
    const Folder folder;
    test::write_model(folder, sizes, arrays);
    std::string text = error_of([&] { Marian::load(folder.path()); });
    const std::string path = (folder.path() / "model.safetensors").string();
    const std::size_t at = text.find(path);
    if (at == std::string::npos) return text;
    return text.replace(at, path.size(), "F");
  };
  const std::string fc = "model.encoder.layers.1.fc1.weight";
  EXPECT_EQ(error([&](Arrays& a) {
              a[fc].shape = {12, 10};
            }),
            "weights: F: tensor \"" + fc + "\" is [12, 10], but config.json says [10, 12]");
  EXPECT_EQ(
      error([&](Arrays& a) {
        a["encoder.layers.1.fc1.weight"] = a[fc];
        a.erase(fc);
      }),
      "weights: F: no tensor \"" + fc + "\" [10, 12]; closest is \"encoder.layers.1.fc1.weight\"");
  EXPECT_EQ(
      error([&](Arrays& a) {
        a["model.encoder.layers.2.fc1.bias"] = {{10}, std::vector<float>(10)};
      }),
      "weights: F: tensor \"model.encoder.layers.2.fc1.bias\" [10] has no place in the model that "
      "config.json describes");
  EXPECT_EQ(error([&](Arrays& a) { a.erase("model.shared.weight"); }),
            "weights: F: no tensor \"model.shared.weight\" [11, 12]");
  EXPECT_EQ(error([](Arrays&) {}), "");
}

TEST(Marian, ReadsPositionsWhereTheFileHasThem) {
  const Sizes sizes;
  Arrays arrays = test::random_weights(sizes, 1);
  Threads threads(1);
  const std::vector<float> computed = tiny_model(sizes, arrays).logits(kSource, kTarget, threads);
  arrays["model.decoder.embed_positions.weight"] = {{16, 12}, std::vector<float>(16 * 12)};
  const std::vector<float> none = tiny_model(sizes, arrays).logits(kSource, kTarget, threads);
  EXPECT_GT(worst(none, computed), 0.1);
}

TEST(Marian, RefusesWhatItCannotTranslate) {
  const Sizes sizes;
  const Marian model = tiny_model(sizes, test::random_weights(sizes, 1));
  Threads threads(1);
  const auto error = [&](std::vector<Ids> sources, SearchOptions options = {}) {
    return error_of([&] { model.search(sources, options, threads); });
  };
  EXPECT_EQ(error({{1, 0}, {}}), "marian: source 1 is empty; it needs the end id at least");
  EXPECT_EQ(error({{1, 11, 0}}), "marian: source 0 has id 11, but the vocabulary has ids 0 to 10");
  EXPECT_EQ(error({{1, -1, 0}}), "marian: source 0 has id -1, but the vocabulary has ids 0 to 10");
  EXPECT_EQ(error({Ids(17, 1)}),
            "marian: source 0 has 17 ids, but the model has 16 positions: split the text");
  EXPECT_EQ(error({{0}}, {.beams = 0}), "marian: 0 beams; expected 1 to 1024");
  EXPECT_EQ(error({{0}}, {.beams = 2, .n_best = 3}),
            "marian: n-best 3 with 2 beams; expected 1 to the number of beams");
  EXPECT_EQ(error({{0}}, {.length_penalty = NAN}),
            "marian: length penalty nan; expected a number from -100 to 100");
  EXPECT_EQ(error({{0}}, {.max_length = 18}),
            "marian: max length 18; expected 2 to 17, for the model has 16 positions");
  EXPECT_EQ(error_of([&] { model.logits(kSource, Ids{}, threads); }),
            "marian: target is empty; it needs the end id at least");
  EXPECT_TRUE(model.search({}, {}, threads).empty());
}

// Only a source with id 7 meets the NaN; the message gives its place among the caller's sources.
TEST(Marian, NamesTheSourceThatMeetsANan) {
  const Sizes sizes;
  Arrays arrays = test::random_weights(sizes, 1);
  arrays["model.encoder.embed_tokens.weight"] = arrays["model.shared.weight"];
  arrays["model.encoder.embed_tokens.weight"].values[7 * 12] = NAN;
  const Marian model = tiny_model(sizes, arrays);
  Threads threads(2);
  std::vector<Ids> sources(150, Ids{5, 0});
  sources[131] = {7, 0};
  const std::string error = error_of([&] { model.search(sources, {.beams = 2}, threads); });
  EXPECT_EQ(error.find("marian: NaN or infinity in the logits of source 131 at step 0: "), 0u)
      << error;
}

TEST(Marian, SaysSoWhenWeightsAreNotFinite) {
  const Sizes sizes;
  Arrays arrays = test::random_weights(sizes, 1);
  arrays["final_logits_bias"].values[3] = NAN;
  const Marian model = tiny_model(sizes, arrays);
  Threads threads(1);
  for (const int beams : {1, 4}) {
    EXPECT_EQ(
        error_of([&] {
          model.search(std::vector<Ids>{{5, 0}}, {.beams = beams}, threads);
        }),
        "marian: NaN or infinity in the logits of source 0 at step 0: the weights hold such a "
        "value, or are too large for float32");
  }
}

}  // namespace
}  // namespace fovea
