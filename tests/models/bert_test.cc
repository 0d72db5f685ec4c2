// The reader against plain loops in double precision, written from the formulas in fovea/bert.h.
// transformers is asked by tests/oracles/reader_oracle.py.
#include "fovea/bert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "app/tiny_reader.h"
#include "fovea/error.h"
#include "models/safetensors.h"

namespace {

using fovea::BertReader;
using fovea::ReadText;
using fovea::Threads;
using fovea::WindowEnds;
using fovea::test::TemporaryFolder;
using fovea::test::TinyReader;
using fovea::test::write_text;
using ::testing::HasSubstr;
using Ids = std::vector<std::int32_t>;
using Row = std::vector<double>;
using Rows = std::vector<Row>;

constexpr WindowEnds kEnds = {2, 3};

class Plain {
 public:
  Plain(const std::filesystem::path& folder, const TinyReader& shape, bool relu = false)
      : file_(fovea::Safetensors::open(folder / "model.safetensors")), shape_(shape), relu_(relu) {}

  Row vector(const std::string& name) const {
    const std::vector<float> values = file_.floats(*file_.find(name));
    return {values.begin(), values.end()};
  }

  Rows states(const Ids& ids) const {
    const Row words = vector("bert.embeddings.word_embeddings.weight");
    const Row places = vector("bert.embeddings.position_embeddings.weight");
    const Row types = vector("bert.embeddings.token_type_embeddings.weight");
    const auto d = static_cast<std::size_t>(shape_.width);
    Rows x(ids.size(), Row(d));
    for (std::size_t i = 0; i < ids.size(); ++i) {
      for (std::size_t c = 0; c < d; ++c) {
        x[i][c] = words[static_cast<std::size_t>(ids[i]) * d + c] + places[i * d + c] + types[c];
      }
    }
    x = norm(x, "bert.embeddings.LayerNorm");
    for (int l = 0; l < shape_.layers; ++l) {
      const std::string at = "bert.encoder.layer." + std::to_string(l) + ".";
      x = norm(sum(x, linear(attention(x, at), at + "attention.output.dense")),
               at + "attention.output.LayerNorm");
      Rows wide = linear(x, at + "intermediate.dense");
      for (Row& row : wide) {
        for (double& v : row) {
          v = relu_ ? std::max(v, 0.0) : 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
        }
      }
      x = norm(sum(x, linear(wide, at + "output.dense")), at + "output.LayerNorm");
    }
    return x;
  }

  // Weights, probabilities, evidence.
  struct Read {
    Row weights, probabilities;
    Rows evidence;
  };
  Read read(const Ids& pieces) const {
    Rows h;
    std::size_t next = 0;
    for (const std::int32_t length : window_lengths_by_hand(pieces.size())) {
      Ids window = {kEnds.begin};
      for (std::int32_t i = 0; i < length; ++i) window.push_back(pieces[next++]);
      window.push_back(kEnds.end);
      const Rows all = states(window);
      h.insert(h.end(), all.begin() + 1, all.end() - 1);
    }
    const Row query = vector("fovea.pooling.query");
    const Row weight = vector("fovea.classifier.weight");
    const Row bias = vector("fovea.classifier.bias");
    const auto d = query.size();
    Read out;
    for (const Row& row : h) out.weights.push_back(dot(row.data(), query.data(), d));
    out.weights = softmax(out.weights);
    Row scores = bias;
    out.evidence.assign(bias.size(), Row(h.size()));
    for (std::size_t j = 0; j < h.size(); ++j) {
      double mean = 0;
      for (std::size_t l = 0; l < bias.size(); ++l) {
        const double says = dot(&weight[l * d], h[j].data(), d);
        scores[l] += out.weights[j] * says;
        out.evidence[l][j] = says;
        mean += says / static_cast<double>(bias.size());
      }
      for (std::size_t l = 0; l < bias.size(); ++l) {
        out.evidence[l][j] = out.weights[j] * (out.evidence[l][j] - mean);
      }
    }
    out.probabilities = softmax(scores);
    return out;
  }

 private:
  std::vector<std::int32_t> window_lengths_by_hand(std::size_t n) const {
    const std::size_t room = static_cast<std::size_t>(shape_.positions) - 2;
    std::size_t windows = 0;
    while (windows * room < n) ++windows;
    std::vector<std::int32_t> lengths(windows, 0);
    for (std::size_t i = 0; i < n; ++i) ++lengths[i % windows];  // dealt out like cards
    return lengths;
  }
  static double dot(const double* a, const double* b, std::size_t count) {
    double total = 0;
    for (std::size_t i = 0; i < count; ++i) total += a[i] * b[i];
    return total;
  }
  static Row softmax(Row x) {
    double total = 0;
    for (double& v : x) total += v = std::exp(v);
    for (double& v : x) v /= total;
    return x;
  }
  static Rows sum(Rows a, const Rows& b) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      for (std::size_t c = 0; c < a[i].size(); ++c) a[i][c] += b[i][c];
    }
    return a;
  }
  Rows norm(Rows x, const std::string& name) const {
    const Row weight = vector(name + ".weight"), bias = vector(name + ".bias");
    for (Row& row : x) {
      double mean = 0, variance = 0;
      for (const double v : row) mean += v / static_cast<double>(row.size());
      for (const double v : row)
        variance += (v - mean) * (v - mean) / static_cast<double>(row.size());
      for (std::size_t c = 0; c < row.size(); ++c) {
        row[c] =
            (row[c] - mean) / std::sqrt(variance + fovea::test::kTinyEpsilon) * weight[c] + bias[c];
      }
    }
    return x;
  }
  Rows linear(const Rows& x, const std::string& name) const {
    const Row weight = vector(name + ".weight"), bias = vector(name + ".bias");
    Rows y(x.size(), bias);
    for (std::size_t i = 0; i < x.size(); ++i) {
      for (std::size_t o = 0; o < bias.size(); ++o) {
        y[i][o] += dot(&weight[o * x[i].size()], x[i].data(), x[i].size());
      }
    }
    return y;
  }
  Rows attention(const Rows& x, const std::string& at) const {
    const Rows q = linear(x, at + "attention.self.query"), k = linear(x, at + "attention.self.key"),
               v = linear(x, at + "attention.self.value");
    const auto width = static_cast<std::size_t>(shape_.width / shape_.heads);
    Rows out(x.size(), Row(x[0].size()));
    for (std::size_t first = 0; first < x[0].size(); first += width) {
      for (std::size_t i = 0; i < x.size(); ++i) {
        Row p;
        for (std::size_t j = 0; j < x.size(); ++j) {
          p.push_back(dot(&q[i][first], &k[j][first], width) / std::sqrt(double(width)));
        }
        p = softmax(p);
        for (std::size_t j = 0; j < x.size(); ++j) {
          for (std::size_t c = 0; c < width; ++c) out[i][first + c] += p[j] * v[j][first + c];
        }
      }
    }
    return out;
  }

  fovea::Safetensors file_;
  TinyReader shape_;
  bool relu_;
};

class Bert : public ::testing::Test {
 protected:
  void SetUp() override { fovea::test::write_tiny_reader(folder_.path(), shape_); }

  static Ids ids(std::size_t count) {
    Ids list;
    for (std::size_t i = 0; i < count; ++i)
      list.push_back(static_cast<std::int32_t>((7 * i + 5) % 25));
    return list;
  }
  void expect_error(const std::string& text) const {
    try {
      BertReader::load(folder_.path());
      FAIL() << "no error; expected: " << text;
    } catch (const fovea::Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(text));
    }
  }
  void rewrite_config(const std::string& field, const nlohmann::ordered_json& value) const {
    auto config = fovea::test::tiny_reader_config(shape_);
    if (value.is_null()) {
      config.erase(field);
    } else {
      config[field] = value;
    }
    write_text(folder_.path() / "config.json", config.dump());
  }

  TinyReader shape_;
  TemporaryFolder folder_;
  Threads threads_{2};
};

TEST_F(Bert, StatesAreThoseOfThePlainLoops) {
  const BertReader reader = BertReader::load(folder_.path());
  const Plain plain(folder_.path(), shape_);
  for (const std::size_t count : {1u, 2u, 5u, 8u}) {
    const std::vector<float> got = reader.states(ids(count), threads_);
    const Rows want = plain.states(ids(count));
    ASSERT_EQ(got.size(), count * 12);
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_TRUE(std::fabs(got[i] - want[i / 12][i % 12]) < 1e-5) << i;
    }
  }
}

TEST_F(Bert, TakesTheActivationThatTheFolderNames) {
  rewrite_config("hidden_act", "relu");
  const std::vector<float> got = BertReader::load(folder_.path()).states(ids(5), threads_);
  const Rows want = Plain(folder_.path(), shape_, true).states(ids(5));
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_TRUE(std::fabs(got[i] - want[i / 12][i % 12]) < 1e-5) << i;
  }
}

TEST_F(Bert, ABareEncodersNamesAreKnownToo) {
  const std::vector<float> want = BertReader::load(folder_.path()).states(ids(5), threads_);
  auto tensors = fovea::test::tiny_reader_tensors(shape_);
  for (auto& [name, shape] : tensors) {
    if (name.starts_with("bert.")) name = name.substr(5);
  }
  fovea::test::write_safetensors(folder_.path() / "model.safetensors", tensors, 0.6, 11);
  EXPECT_EQ(BertReader::load(folder_.path()).states(ids(5), threads_), want);
}

TEST_F(Bert, KnowsItsLabelsInTheirOrder) {
  EXPECT_THAT(BertReader::load(folder_.path()).info().labels,
              ::testing::ElementsAre("bad", "fair", "good"));
}

TEST_F(Bert, ReadsInWindowsAndPoolsTheWhole) {
  const BertReader reader = BertReader::load(folder_.path());
  const Plain plain(folder_.path(), shape_);
  for (const std::size_t count : {1u, 6u, 7u, 12u, 13u, 40u}) {
    const ReadText got = reader.read(std::vector<Ids>{ids(count)}, kEnds, threads_)[0];
    const Plain::Read want = plain.read(ids(count));
    EXPECT_EQ(got.windows, static_cast<int>((count + 5) / 6));
    ASSERT_EQ(got.weights.size(), count);
    double total = 0;
    for (std::size_t j = 0; j < count; ++j) {
      EXPECT_TRUE(std::fabs(got.weights[j] - want.weights[j]) < 1e-5) << j;
      total += got.weights[j];
    }
    EXPECT_TRUE(std::fabs(total - 1) < 1e-5);
    ASSERT_EQ(got.probabilities.size(), 3u);
    for (std::size_t l = 0; l < 3; ++l) {
      EXPECT_TRUE(std::fabs(got.probabilities[l] - want.probabilities[l]) < 1e-5) << l;
      for (std::size_t j = 0; j < count; ++j) {
        EXPECT_TRUE(std::fabs(got.evidence[l * count + j] - want.evidence[l][j]) < 1e-5);
      }
    }
    // Far from the mean, by a thousand times the tolerance: else agreement would prove little.
    if (count > 1) {
      EXPECT_GT(*std::max_element(got.weights.begin(), got.weights.end()),
                1.0 / static_cast<double>(count) + 0.01);
    }
  }
}

TEST_F(Bert, WindowsAreAsEqualAsCanBe) {
  EXPECT_THAT(fovea::window_lengths(0, 8), ::testing::IsEmpty());
  EXPECT_THAT(fovea::window_lengths(6, 8), ::testing::ElementsAre(6));
  EXPECT_THAT(fovea::window_lengths(7, 8), ::testing::ElementsAre(4, 3));
  EXPECT_THAT(fovea::window_lengths(14, 8), ::testing::ElementsAre(5, 5, 4));
  EXPECT_THAT(fovea::window_lengths(2, 3), ::testing::ElementsAre(1, 1));
}

TEST_F(Bert, EvidenceAndBiasesMakeTheScore) {
  const BertReader reader = BertReader::load(folder_.path());
  const Row bias = Plain(folder_.path(), shape_).vector("fovea.classifier.bias");
  const ReadText one = reader.read(std::vector<Ids>{ids(20)}, kEnds, threads_)[0];
  Row scores = bias;
  for (std::size_t l = 0; l < 3; ++l) {
    for (std::size_t j = 0; j < 20; ++j) scores[l] += one.evidence[l * 20 + j];
  }
  for (std::size_t l = 1; l < 3; ++l) {
    const double odds = std::log(one.probabilities[l] / one.probabilities[0]);
    EXPECT_TRUE(std::fabs(odds - (scores[l] - scores[0])) < 1e-4);
  }
}

TEST_F(Bert, NeighboursAndThreadsChangeNoBit) {
  const BertReader reader = BertReader::load(folder_.path());
  std::vector<Ids> texts;
  // More than are read together, and one text that is so alone.
  for (const std::size_t count : {3u, 30u, 0u, 9u, 1u, 2500u, 2000u, 5000u, 7u}) {
    texts.push_back(ids(count));
    if (count > 9) texts.back()[0] = static_cast<std::int32_t>(count % 25);  // no two alike
  }
  Threads one(1), three(3);
  const auto together = reader.read(texts, kEnds, three);
  for (std::size_t t = 0; t < texts.size(); ++t) {
    const ReadText alone = reader.read(std::span(texts).subspan(t, 1), kEnds, one)[0];
    EXPECT_EQ(alone.probabilities, together[t].probabilities);
    EXPECT_EQ(alone.weights, together[t].weights);
    EXPECT_EQ(alone.evidence, together[t].evidence);
  }
}

TEST_F(Bert, ATextWithoutPiecesHasTheBiasesAlone) {
  const BertReader reader = BertReader::load(folder_.path());
  const ReadText none = reader.read(std::vector<Ids>{{}}, kEnds, threads_)[0];
  const Row bias = Plain(folder_.path(), shape_).vector("fovea.classifier.bias");
  EXPECT_EQ(none.windows, 0);
  EXPECT_TRUE(none.weights.empty());
  EXPECT_TRUE(std::fabs(std::log(none.probabilities[1] / none.probabilities[0]) -
                        (bias[1] - bias[0])) < 1e-6);
}

TEST_F(Bert, RefusesIdsThatAreNotThere) {
  const BertReader reader = BertReader::load(folder_.path());
  EXPECT_THROW(reader.read(std::vector<Ids>{{1, 25}}, kEnds, threads_), fovea::Error);
  EXPECT_THROW(reader.read(std::vector<Ids>{{-1}}, kEnds, threads_), fovea::Error);
  EXPECT_THROW(reader.read(std::vector<Ids>{{1}}, {2, 99}, threads_), fovea::Error);
  EXPECT_THROW(reader.states(ids(9), threads_), fovea::Error);
  EXPECT_THROW(reader.states({}, threads_), fovea::Error);
}

TEST_F(Bert, SaysWhatIsWrongWithAFolder) {
  rewrite_config("model_type", "marian");
  expect_error("\"model_type\" is \"marian\"; expected \"bert\"");
  rewrite_config("id2label", nullptr);
  expect_error("\"id2label\" is missing");
  rewrite_config("id2label", {{"0", "a"}, {"2", "b"}});
  expect_error("\"id2label\"");
  rewrite_config("fovea", nullptr);
  expect_error("not a reader that fovea train --task classify wrote");
  rewrite_config("num_attention_heads", 5);
  expect_error("does not divide hidden_size 12");
  rewrite_config("position_embedding_type", "relative_key");
  expect_error("expected \"absolute\"");
  rewrite_config("max_position_embeddings", 2);
  expect_error("3 or more");
  for (const double epsilon : {-1e-5, 0.0, 1e-300, 1.0}) {
    rewrite_config("layer_norm_eps", epsilon);
    expect_error("\"layer_norm_eps\"");
  }
  rewrite_config("hidden_size", 24);
  expect_error("is [25, 12], but config.json says [25, 24]");
  rewrite_config("fovea", {{"pooling", "mean"}});
  expect_error("the pooling is the mean, but fovea.pooling.query is not zero");
}

}  // namespace
