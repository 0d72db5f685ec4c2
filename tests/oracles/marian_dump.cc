// Answers questions about a MarianMT model, one JSON object a line in, one a line out:
//   {"do": "info"}
//   {"do": "logits", "source": [..], "target": [..]}            -> {"shape": [T, V], "values": [..]}
//   {"do": "cross", "source": [..], "target": [..]}             -> weights and value_products
//   {"do": "search", "sources": [[..], ..], "beams": 4, "n_best": 4, "length_penalty": 1.0,
//    "max_length": 40, "threads": 1}                            -> {"hypotheses": [[{..}, ..], ..]}
// A failure is {"error": "text"}. Usage: marian_dump FOLDER
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fovea/error.h"
#include "fovea/marian.h"

namespace {

using Json = nlohmann::json;
using Ids = std::vector<std::int32_t>;

// JSON has no NaN: such a value becomes null, which every check must refuse.
Json numbers(const std::vector<float>& values) {
  Json list = Json::array();
  for (const float v : values) list.push_back(static_cast<double>(v));
  return list;
}

Json search(const fovea::Marian& model, const Json& ask, fovea::Threads& threads) {
  fovea::SearchOptions options;
  if (ask.contains("beams")) options.beams = ask["beams"].get<int>();
  if (ask.contains("n_best")) options.n_best = ask["n_best"].get<int>();
  if (ask.contains("length_penalty")) options.length_penalty = ask["length_penalty"].get<double>();
  if (ask.contains("max_length")) options.max_length = ask["max_length"].get<int>();
  const auto sources = ask["sources"].get<std::vector<Ids>>();
  const auto begin = std::chrono::steady_clock::now();
  const auto found = model.search(sources, options, threads);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  Json result = Json::array();
  for (const auto& list : found) {
    Json hypotheses = Json::array();
    for (const fovea::IdHypothesis& h : list) {
      hypotheses.push_back({{"ids", h.ids}, {"log_prob", h.log_prob}, {"score", h.score}});
    }
    result.push_back(std::move(hypotheses));
  }
  return {{"hypotheses", std::move(result)}, {"seconds", seconds.count()}};
}

Json answer(const fovea::Marian& model, const Json& ask) {
  fovea::Threads threads(ask.value("threads", 1));
  const std::string what = ask["do"];
  if (what == "info") {
    const fovea::MarianInfo& i = model.info();
    return {{"parameters", i.parameters}, {"positions", i.positions}, {"beams", i.beams},
            {"max_length", i.max_length}, {"start", i.start},         {"end", i.end}};
  }
  if (what == "search") return search(model, ask, threads);
  const Ids source = ask["source"].get<Ids>();
  const Ids target = ask["target"].get<Ids>();
  if (what == "logits") return {{"values", numbers(model.logits(source, target, threads))}};
  const fovea::CrossAttention cross = model.cross_attention(source, target, threads);
  return {{"shape", {cross.layers, cross.heads, cross.steps, cross.keys}},
          {"weights", numbers(cross.weights)},
          {"value_products", numbers(cross.value_products)}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: marian_dump FOLDER < questions\n";
    return 2;
  }
  try {
    const fovea::Marian model = fovea::Marian::load(argv[1]);
    for (std::string line; std::getline(std::cin, line);) {
      Json reply;
      try {
        reply = answer(model, Json::parse(line));
      } catch (const fovea::Error& error) {
        reply = {{"error", error.what()}};
      }
      std::cout << reply.dump() << std::endl;
    }
  } catch (const std::exception& error) {
    std::cout << Json{{"error", error.what()}}.dump() << std::endl;
    return 1;
  }
}
