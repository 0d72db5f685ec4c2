#include <nlohmann/json.hpp>

#include "fovea/render.h"

namespace fovea {
namespace {

using Json = nlohmann::ordered_json;

Json object_of(const Interval& interval) {
  return {{"mean", interval.mean}, {"low", interval.low}, {"high", interval.high}};
}

template <class Score>
void add_samples(Json& object, const Score& score) {
  if (score.interval) object["interval"] = object_of(*score.interval);
  if (!score.test) return;
  Json test = object_of(score.test->interval);
  test["p_value"] = score.test->p_value;
  object["difference"] = {{"score", score.test->difference}};
  object["difference"].update(test);
}

Json object_of(const BleuScore& score) {
  Json object = {{"score", score.score},
                 {"precisions", score.precisions},
                 {"brevity_penalty", score.brevity_penalty},
                 {"matched", score.counts.matched},
                 {"total", score.counts.total},
                 {"hypothesis_length", score.counts.hypothesis_length},
                 {"reference_length", score.counts.reference_length},
                 {"signature", score.signature}};
  add_samples(object, score);
  return object;
}

Json object_of(const ChrfScore& score) {
  Json object = {{"score", score.score}, {"counts", score.counts}, {"signature", score.signature}};
  add_samples(object, score);
  return object;
}

Json object_of(const Scores& scores) {
  return {{"bleu", object_of(scores.bleu)},
          {"chrf", {object_of(scores.chrf), object_of(scores.chrf_words)}}};
}

Json object_of(const ScoredLines& scored) {
  Json object = {{"lines", scored.lines}};
  object.update(object_of(scored.system));
  if (scored.baseline) object["baseline"] = object_of(*scored.baseline);
  return object;
}

}  // namespace

std::string json_of(const Evaluation& evaluation) {
  Json result = object_of(evaluation.all);
  if (!evaluation.by_length.empty()) result["by_length"] = Json::array();
  for (const ScoredLines& group : evaluation.by_length) {
    Json words = {{"least", group.least_words}, {"most", nullptr}};
    if (group.most_words) words["most"] = *group.most_words;
    Json object = {{"words", words}};
    object.update(object_of(group));
    result["by_length"].push_back(object);
  }
  return result.dump();
}

}  // namespace fovea
