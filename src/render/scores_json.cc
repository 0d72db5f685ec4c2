#include <nlohmann/json.hpp>

#include "fovea/render.h"

namespace fovea {
namespace {

using Json = nlohmann::ordered_json;

Json object_of(const BleuScore& score) {
  return {{"score", score.score},
          {"precisions", score.precisions},
          {"brevity_penalty", score.brevity_penalty},
          {"matched", score.counts.matched},
          {"total", score.counts.total},
          {"hypothesis_length", score.counts.hypothesis_length},
          {"reference_length", score.counts.reference_length},
          {"signature", score.signature}};
}

}  // namespace

std::string json_of(const BleuScore& bleu, const std::vector<ChrfScore>& chrf) {
  Json result;
  result["bleu"] = object_of(bleu);
  result["chrf"] = Json::array();
  for (const ChrfScore& score : chrf) {
    result["chrf"].push_back(
        {{"score", score.score}, {"counts", score.counts}, {"signature", score.signature}});
  }
  return result.dump();
}

}  // namespace fovea
