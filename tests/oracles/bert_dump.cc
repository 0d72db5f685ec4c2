// Answers questions about a reader's folder, one JSON object a line in, one a line out:
//   {"do": "pieces", "text": ".."}                          -> {"ids": [..], "spans": [[0, 3], ..]}
//   {"do": "states", "ids": [..]}                           -> {"states": [ids * width values]}
//   {"do": "read", "texts": [[..], ..], "threads": 1}       -> {"texts": [{"probabilities", "weights",
//                                                              "evidence", "windows"}, ..]}
// A failure is {"error": "text"}. Usage: bert_dump FOLDER [--pieces-only]
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "fovea/bert.h"
#include "fovea/error.h"
#include "fovea/wordpiece.h"

namespace {

using Json = nlohmann::json;
using Ids = std::vector<std::int32_t>;

Json pieces(const fovea::WordPiece& tokenizer, const std::string& text) {
  const fovea::Pieces found = tokenizer.encode(text);
  Json spans = Json::array();
  for (const fovea::Span& span : found.spans) spans.push_back({span.begin, span.end});
  return {{"ids", found.ids}, {"spans", std::move(spans)}, {"texts", found.texts}};
}

Json read(const fovea::BertReader& reader, const fovea::WordPiece& tokenizer, const Json& ask) {
  fovea::Threads threads(ask.value("threads", 1));
  const auto texts = ask["texts"].get<std::vector<Ids>>();
  Json list = Json::array();
  for (const fovea::ReadText& one :
       reader.read(texts, {tokenizer.facts().begin, tokenizer.facts().end}, threads)) {
    list.push_back({{"probabilities", one.probabilities},
                    {"weights", one.weights},
                    {"evidence", one.evidence},
                    {"windows", one.windows}});
  }
  return {{"texts", std::move(list)}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: bert_dump FOLDER [--pieces-only]\n";
    return 2;
  }
  try {
    const auto tokenizer = fovea::WordPiece::load(argv[1]);
    std::optional<fovea::BertReader> reader;
    if (argc == 2) reader = fovea::BertReader::load(argv[1]);
    for (std::string line; std::getline(std::cin, line);) {
      Json reply;
      try {
        const Json ask = Json::parse(line);
        const std::string what = ask["do"];
        if (what == "pieces") {
          reply = pieces(tokenizer, ask["text"].get<std::string>());
        } else if (what == "states") {
          fovea::Threads threads(1);
          reply = {{"states", reader.value().states(ask["ids"].get<Ids>(), threads)}};
        } else {
          reply = read(reader.value(), tokenizer, ask);
        }
      } catch (const fovea::Error& error) {
        reply = {{"error", error.what()}};
      }
      std::cout << reply.dump() << std::endl;
    }
  } catch (const fovea::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
