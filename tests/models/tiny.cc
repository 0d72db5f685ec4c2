#include "tiny.h"

#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "base/random.h"

namespace fovea::test {
namespace {

namespace fs = std::filesystem;
using Rows = std::vector<std::vector<double>>;

Rows linear(const Arrays& a, const std::string& name, const Rows& x) {
  const Array& w = a.at(name + ".weight");
  const Array& b = a.at(name + ".bias");
  const auto out = static_cast<std::size_t>(w.shape[0]);
  const auto in = static_cast<std::size_t>(w.shape[1]);
  Rows y;
  for (const std::vector<double>& row : x) {
    y.emplace_back();
    for (std::size_t o = 0; o < out; ++o) {
      double sum = static_cast<double>(b.values[o]);
      for (std::size_t i = 0; i < in; ++i)
        sum += static_cast<double>(w.values[o * in + i]) * row[i];
      y.back().push_back(sum);
    }
  }
  return y;
}

Rows add_norm(const Arrays& a, const std::string& name, Rows x, const Rows& delta) {
  for (std::size_t r = 0; r < x.size(); ++r) {
    const std::size_t d = x[r].size();
    double mean = 0;
    for (std::size_t i = 0; i < d; ++i) mean += (x[r][i] += delta[r][i]) / static_cast<double>(d);
    double variance = 0;
    for (const double v : x[r]) variance += (v - mean) * (v - mean) / static_cast<double>(d);
    for (std::size_t i = 0; i < d; ++i) {
      x[r][i] = (x[r][i] - mean) / std::sqrt(variance + 1e-5) * a.at(name + ".weight").values[i] +
                a.at(name + ".bias").values[i];
    }
  }
  return x;
}

struct AttentionCase {
  std::string name;
  std::size_t heads;
  bool causal;
};

Rows attention(const Arrays& a, const AttentionCase& c, const Rows& x, const Rows& memory,
               std::vector<double>* weights) {
  const Rows q = linear(a, c.name + ".q_proj", x);
  const Rows k = linear(a, c.name + ".k_proj", memory);
  const Rows v = linear(a, c.name + ".v_proj", memory);
  const std::size_t d = q[0].size();
  const std::size_t width = d / c.heads;
  Rows mixed(x.size(), std::vector<double>(d));
  for (std::size_t h = 0; h < c.heads; ++h) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t keys = c.causal ? i + 1 : memory.size();
      std::vector<double> p(keys);
      double sum = 0;
      for (std::size_t j = 0; j < keys; ++j) {
        double s = 0;
        for (std::size_t e = h * width; e < (h + 1) * width; ++e) s += q[i][e] * k[j][e];
        sum += p[j] = std::exp(s / std::sqrt(static_cast<double>(width)));
      }
      for (std::size_t j = 0; j < keys; ++j) {
        if (weights != nullptr) weights->push_back(p[j] / sum);
        for (std::size_t e = h * width; e < (h + 1) * width; ++e)
          mixed[i][e] += p[j] / sum * v[j][e];
      }
    }
  }
  return linear(a, c.name + ".out_proj", mixed);
}

double activate(const std::string& name, double x) {
  if (name == "relu") return x > 0 ? x : 0;
  if (name == "swish") return x / (1 + std::exp(-x));
  if (name == "gelu") return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));  // gelu_new
}

Rows feed_forward(const Arrays& a, const std::string& layer, const std::string& activation,
                  const Rows& x) {
  Rows inner = linear(a, layer + ".fc1", x);
  for (auto& row : inner) {
    for (double& value : row) value = activate(activation, value);
  }
  return add_norm(a, layer + ".final_layer_norm", x, linear(a, layer + ".fc2", inner));
}

Rows embed(const Sizes& z, const Arrays& a, const std::vector<std::int32_t>& ids) {
  const std::vector<float>& table = a.at("model.shared.weight").values;
  const auto d = static_cast<std::size_t>(z.width);
  Rows x;
  for (std::size_t p = 0; p < ids.size(); ++p) {
    x.emplace_back();
    for (std::size_t i = 0; i < d; ++i) {
      const std::size_t pair = i < d / 2 ? i : i - d / 2;
      const double angle =
          static_cast<double>(p) /
          std::pow(10000.0, 2.0 * static_cast<double>(pair) / static_cast<double>(d));
      x.back().push_back(std::sqrt(static_cast<double>(d)) *
                             table[static_cast<std::size_t>(ids[p]) * d + i] +
                         (i < d / 2 ? std::sin(angle) : std::cos(angle)));
    }
  }
  return x;
}

void add_linear(Arrays& a, const std::string& name, std::int64_t in, std::int64_t out) {
  a[name + ".weight"] = {{out, in}, {}};
  a[name + ".bias"] = {{out}, {}};
}

void add_attention(Arrays& a, const std::string& name, std::int64_t d) {
  for (const char* part : {"q_proj", "k_proj", "v_proj", "out_proj"}) {
    add_linear(a, name + "." + part, d, d);
  }
}

void add_norm_weights(Arrays& a, const std::string& name, std::int64_t d) {
  a[name + ".weight"] = {{d}, {}};
  a[name + ".bias"] = {{d}, {}};
}

}  // namespace

Folder::Folder() {
  static std::atomic<int> made{0};
  path_ = fs::temp_directory_path() /
          ("fovea_models_test_" + std::to_string(getpid()) + "_" + std::to_string(made++));
  fs::create_directories(path_);
}

Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void Folder::write(const std::string& name, const std::string& bytes) const {
  std::ofstream(path_ / name, std::ios::binary) << bytes;
}

std::string safetensors_bytes(const std::string& header, const std::string& data) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<char>(static_cast<std::uint64_t>(header.size()) >> (8 * i) & 0xff);
  }
  return bytes + header + data;
}

std::string safetensors_bytes(const Arrays& arrays) {
  std::string header = R"({"__metadata__": {"format": "pt"})";
  std::string data;
  for (const auto& [name, array] : arrays) {
    header += ", \"" + name + R"(": {"dtype": "F32", "shape": [)";
    for (std::size_t i = 0; i < array.shape.size(); ++i) {
      header += (i == 0 ? "" : ", ") + std::to_string(array.shape[i]);
    }
    const std::size_t bytes = array.values.size() * sizeof(float);
    header += "], \"data_offsets\": [" + std::to_string(data.size()) + ", " +
              std::to_string(data.size() + bytes) + "]}";
    data.append(reinterpret_cast<const char*>(array.values.data()), bytes);
  }
  return safetensors_bytes(header + "}", data);
}

std::string config_text(const Sizes& z, const std::string& more) {
  const std::string last = std::to_string(z.vocabulary - 1);
  std::string text = R"({"model_type": "marian", "d_model": )" + std::to_string(z.width);
  const std::vector<std::pair<std::string, int>> numbers = {
      {"encoder_layers", z.encoder_layers},
      {"decoder_layers", z.decoder_layers},
      {"encoder_attention_heads", z.encoder_heads},
      {"decoder_attention_heads", z.decoder_heads},
      {"encoder_ffn_dim", z.encoder_ffn},
      {"decoder_ffn_dim", z.decoder_ffn},
      {"vocab_size", z.vocabulary},
      {"max_position_embeddings", z.positions}};
  for (const auto& [name, value] : numbers) text += ", \"" + name + "\": " + std::to_string(value);
  text += R"(, "activation_function": ")" + z.activation + R"(", "scale_embedding": true, )";
  text +=
      R"("eos_token_id": 0, "pad_token_id": )" + last + R"(, "decoder_start_token_id": )" + last;
  return text + more + "}";
}

Arrays random_weights(const Sizes& z, std::uint64_t seed) {
  Arrays a;
  const std::int64_t d = z.width;
  a["model.shared.weight"] = {{z.vocabulary, d}, {}};
  a["final_logits_bias"] = {{1, z.vocabulary}, {}};
  for (const bool encoder : {true, false}) {
    for (int i = 0; i < (encoder ? z.encoder_layers : z.decoder_layers); ++i) {
      const std::string layer = std::string("model.") + (encoder ? "encoder" : "decoder") +
                                ".layers." + std::to_string(i);
      add_attention(a, layer + ".self_attn", d);
      add_norm_weights(a, layer + ".self_attn_layer_norm", d);
      if (!encoder) {
        add_attention(a, layer + ".encoder_attn", d);
        add_norm_weights(a, layer + ".encoder_attn_layer_norm", d);
      }
      add_linear(a, layer + ".fc1", d, encoder ? z.encoder_ffn : z.decoder_ffn);
      add_linear(a, layer + ".fc2", encoder ? z.encoder_ffn : z.decoder_ffn, d);
      add_norm_weights(a, layer + ".final_layer_norm", d);
    }
  }
  Random random(seed);
  for (auto& [name, array] : a) {
    std::int64_t count = 1;
    for (const std::int64_t size : array.shape) count *= size;
    const bool norm_weight = name.find("norm.weight") != std::string::npos;
    for (std::int64_t i = 0; i < count; ++i) {
      array.values.push_back(static_cast<float>((norm_weight ? 1 : 0) + 0.4 * random.normal()));
    }
  }
  return a;
}

void write_model(const Folder& folder, const Sizes& sizes, const Arrays& arrays,
                 const std::string& more) {
  folder.write("config.json", config_text(sizes, more));
  folder.write("model.safetensors", safetensors_bytes(arrays));
}

std::vector<std::vector<double>> plain_encoder(const Sizes& z, const Arrays& a,
                                               const std::vector<std::int32_t>& source) {
  Rows memory = embed(z, a, source);
  for (int i = 0; i < z.encoder_layers; ++i) {
    const std::string layer = "model.encoder.layers." + std::to_string(i);
    const auto heads = static_cast<std::size_t>(z.encoder_heads);
    memory = add_norm(a, layer + ".self_attn_layer_norm", memory,
                      attention(a, {layer + ".self_attn", heads, false}, memory, memory, nullptr));
    memory = feed_forward(a, layer, z.activation, memory);
  }
  return memory;
}

std::vector<double> plain_logits(const Sizes& z, const Arrays& a,
                                 const std::vector<std::int32_t>& source,
                                 const std::vector<std::int32_t>& target,
                                 std::vector<double>* cross) {
  const Rows memory = plain_encoder(z, a, source);
  std::vector<std::int32_t> inputs{z.vocabulary - 1};
  inputs.insert(inputs.end(), target.begin(), target.end() - 1);
  Rows x = embed(z, a, inputs);
  for (int i = 0; i < z.decoder_layers; ++i) {
    const std::string layer = "model.decoder.layers." + std::to_string(i);
    const auto heads = static_cast<std::size_t>(z.decoder_heads);
    x = add_norm(a, layer + ".self_attn_layer_norm", x,
                 attention(a, {layer + ".self_attn", heads, true}, x, x, nullptr));
    x = add_norm(a, layer + ".encoder_attn_layer_norm", x,
                 attention(a, {layer + ".encoder_attn", heads, false}, x, memory, cross));
    x = feed_forward(a, layer, z.activation, x);
  }
  std::vector<double> logits;
  const std::vector<float>& table = a.at("model.shared.weight").values;
  const auto d = static_cast<std::size_t>(z.width);
  for (const std::vector<double>& row : x) {
    for (std::size_t id = 0; id < static_cast<std::size_t>(z.vocabulary); ++id) {
      double sum = static_cast<double>(a.at("final_logits_bias").values[id]);
      for (std::size_t i = 0; i < d; ++i) sum += table[id * d + i] * row[i];
      logits.push_back(sum);
    }
  }
  return logits;
}

}  // namespace fovea::test
