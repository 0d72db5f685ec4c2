#include <nlohmann/json.hpp>

#include "fovea/render.h"

namespace fovea {
namespace {

using Json = nlohmann::ordered_json;

Json span_of(Span span) { return Json::array({span.begin, span.end}); }

Json words_of(const std::vector<Word>& words) {
  Json list = Json::array();
  for (const Word& word : words) {
    list.push_back(
        {{"text", word.text}, {"span", span_of(word.span)}, {"core", span_of(word.core)}});
  }
  return list;
}

Json reading_of(const Reading& reading) {
  Json object;
  object["layer"] = reading.layer + 1;
  if (reading.head < 0) {
    object["head"] = "mean";
  } else {
    object["head"] = reading.head + 1;
  }
  object["step"] = reading.input_step ? "input" : "output";
  object["weighting"] = reading.norm_weighted ? "norm" : "raw";
  return object;
}

}  // namespace

std::string json_of(const Translation& translation) {
  Json root;
  root["source"] = translation.source;
  root["hypotheses"] = Json::array();
  for (const Hypothesis& one : translation.hypotheses) {
    root["hypotheses"].push_back({{"text", one.text},
                                  {"score", one.score},
                                  {"log_prob", one.log_prob},
                                  {"ids", one.ids},
                                  {"cut", one.cut}});
  }
  root["parts"] = Json::array();
  for (const Span part : translation.parts) root["parts"].push_back(span_of(part));
  root["source_words"] = words_of(translation.source_words);
  root["target_words"] = words_of(translation.target_words);
  root["attention"] = Json::array();
  for (const auto& weights : translation.attention) {
    Json row = Json::array();
    for (const WordWeight& weight : weights) {
      row.push_back({{"word", weight.word}, {"weight", weight.weight}});
    }
    root["attention"].push_back(std::move(row));
  }
  root["punctuation_weight"] = translation.punctuation_weight;
  root["end_weight"] = translation.end_weight;
  root["alignment"] = Json::array();
  for (const Link& link : translation.alignment) {
    root["alignment"].push_back(Json::array({link.source, link.target}));
  }
  root["reading"] = reading_of(translation.reading);
  return root.dump();
}

std::string json_of(const Classification& classification) {
  Json root;
  root["text"] = classification.text;
  root["labels"] = Json::array();
  for (const LabelShare& one : classification.labels) {
    root["labels"].push_back({{"label", one.label}, {"probability", one.probability}});
  }
  root["words"] = words_of(classification.words);
  root["weights"] = classification.weights;
  root["evidence"] = classification.evidence;
  root["punctuation_weight"] = classification.punctuation_weight;
  root["punctuation_evidence"] = classification.punctuation_evidence;
  root["pieces"] = classification.pieces;
  root["windows"] = classification.windows;
  return root.dump();
}

std::string pharaoh_of(const std::vector<Link>& alignment) {
  std::string text;
  for (const Link& link : alignment) {
    if (!text.empty()) text += ' ';
    text += std::to_string(link.source) + '-' + std::to_string(link.target);
  }
  return text;
}

std::string name_of(const Reading& reading) {
  return "decoder layer " + std::to_string(reading.layer + 1) + ", " +
         (reading.head < 0 ? "heads averaged" : "head " + std::to_string(reading.head + 1)) + ", " +
         (reading.input_step ? "input step" : "output step") + ", " +
         (reading.norm_weighted ? "norm-weighted" : "raw");
}

}  // namespace fovea
