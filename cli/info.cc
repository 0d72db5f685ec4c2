// fovea info: what is in a model folder; what this build and CPU can do.
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "app/lines.h"
#include "app/model_path.h"
#include "commands.h"
#include "fovea/classifier.h"
#include "fovea/error.h"
#include "fovea/isa.h"
#include "fovea/render.h"
#include "fovea/text.h"
#include "fovea/threads.h"
#include "fovea/tokenizer.h"
#include "fovea/translator.h"
#include "output.h"

namespace fovea::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// clang-format off: the text as it is printed
constexpr const char* kHelp =
    R"help(fovea info: what is in a model folder; what this build and CPU can do

Usage: fovea info [MODEL] [options]

Try it:
  fovea info
  echo "Le chat dort." | fovea info --pieces -

MODEL is the folder of a translator (MarianMT) or a reader (BERT, see fovea classify), or the name
of one that came with fovea; without one: FOVEA_MODEL, else the translator that came with fovea.

  --pieces FILE    how a translator reads each line of FILE (- is standard input): one JSON object a
                   line with ids, pieces, spans (in code points of the line), words, and the text
                   that the ids decode to
  --target         ... as text of the target language
  --json           the facts as one JSON object
  -h, --help       this text
)help";
// clang-format on

struct Arguments {
  std::string model;
  std::string pieces;
  bool target = false;
  bool json = false;
};

Json spans_of(const std::vector<Span>& spans) {
  Json list = Json::array();
  for (const Span span : spans) list.push_back(Json::array({span.begin, span.end}));
  return list;
}

void print_pieces(const Arguments& arguments) {
  const auto tokenizer = MarianTokenizer::load(find_model(arguments.model));
  LineSource source(arguments.pieces);
  std::size_t number = 0;
  for (;;) {
    const std::vector<std::string> lines = source.next(1000);
    if (lines.empty()) return;
    for (const std::string& line : lines) {
      check_utf8(line, arguments.pieces, ++number);
      const Pieces pieces =
          arguments.target ? tokenizer.encode_target(line) : tokenizer.encode(line);
      Json object;
      object["ids"] = pieces.ids;
      object["pieces"] = pieces.texts;
      object["spans"] = spans_of(pieces.spans);
      object["words"] = words_of_pieces(pieces.spans, words(line));
      if (tokenizer.facts().source_size == tokenizer.facts().target_size || arguments.target) {
        const DecodedText decoded = tokenizer.decode(pieces.ids);
        object["text"] = decoded.text;
        object["text_spans"] = spans_of(decoded.spans);
      }
      write_out(object.dump() + "\n");
    }
  }
}

Json machine_facts() {
  Json isas = Json::array();
  for (const Isa isa : available_isas()) isas.push_back(name_of(isa));
  return {{"version", FOVEA_VERSION},
          {"isa", name_of(current_isa())},
          {"isas", isas},
          {"processors", available_processors()}};
}

Json model_facts(const fs::path& folder) {
  const Translator translator = Translator::load(folder);
  const MarianInfo& info = translator.info();
  const TokenizerFacts& facts = translator.tokenizer();
  return {{"folder", folder.string()},
          {"parameters", info.parameters},
          {"width", info.width},
          {"encoder_layers", info.encoder_layers},
          {"decoder_layers", info.decoder_layers},
          {"encoder_heads", info.encoder_heads},
          {"decoder_heads", info.decoder_heads},
          {"source_vocabulary", info.source_vocabulary},
          {"target_vocabulary", info.target_vocabulary},
          {"source_pieces_unknown", facts.source_pieces_unknown},
          {"target_pieces_unknown", facts.target_pieces_unknown},
          {"positions", info.positions},
          {"longest_source", translator.longest_source()},
          {"beams", info.beams},
          {"length_penalty", info.length_penalty},
          {"max_length", info.max_length},
          {"reading", name_of(translator.reading())},
          {"bytes", fs::file_size(folder / "model.safetensors")}};
}

Json reader_facts(const fs::path& folder) {
  const Classifier classifier = Classifier::load(folder);
  const BertInfo& info = classifier.info();
  return {{"folder", folder.string()},
          {"parameters", info.parameters},
          {"width", info.width},
          {"layers", info.layers},
          {"heads", info.heads},
          {"vocabulary", info.vocabulary},
          {"positions", info.positions},
          {"labels", info.labels},
          {"pooling", info.mean ? "mean" : "attention"},
          {"bytes", fs::file_size(folder / "model.safetensors")}};
}

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string model_text(const Json& model) {
  const auto get = [&](const char* key) { return text_of(model[key]); };
  return "model       " + get("folder") + "\nsize        " + get("parameters") + " parameters, " +
         std::to_string(model["bytes"].get<std::uint64_t>() / 1000000) +
         " MB of weights\nlayers      " + get("encoder_layers") + " encoder, " +
         get("decoder_layers") + " decoder; width " + get("width") + "; heads " +
         get("encoder_heads") + ", " + get("decoder_heads") + "\nvocabulary  " +
         get("source_vocabulary") + " source, " + get("target_vocabulary") +
         " target; pieces without an id: " + get("source_pieces_unknown") + ", " +
         get("target_pieces_unknown") + "\npositions   " + get("positions") +
         "; longer text is cut from " + get("longest_source") + " pieces on\nsearch      beam " +
         get("beams") + ", length penalty " + get("length_penalty") + ", at most " +
         get("max_length") + " pieces\nhighlights  " + get("reading") + "\n";
}

std::string reader_text(const Json& model) {
  const auto get = [&](const char* key) { return text_of(model[key]); };
  std::string labels;
  for (const Json& label : model["labels"]) labels += (labels.empty() ? "" : ", ") + text_of(label);
  return "model       " + get("folder") + "\nsize        " + get("parameters") + " parameters, " +
         std::to_string(model["bytes"].get<std::uint64_t>() / 1000) +
         " kB of weights\nlayers      " + get("layers") + " encoder; width " + get("width") +
         "; heads " + get("heads") + "\nvocabulary  " + get("vocabulary") + "\npositions   " +
         get("positions") + "; longer text is read in windows\nlabels      " + labels +
         "; pooling by " + get("pooling") + "\n";
}

std::string machine_text(const Json& machine) {
  std::string isas;
  for (const Json& isa : machine["isas"]) isas += (isas.empty() ? "" : ", ") + text_of(isa);
  return "fovea       " + text_of(machine["version"]) + "\nkernels     " + text_of(machine["isa"]) +
         " (this CPU can run: " + isas + ")\nprocessors  " + text_of(machine["processors"]) + "\n";
}

void print_facts(const Arguments& arguments) {
  const Json machine = machine_facts();
  std::string no_model;
  Json model;
  bool reads = false;
  try {
    const fs::path folder = find_model(arguments.model);
    reads = kind_of(folder) == ModelKind::kReader;
    model = reads ? reader_facts(folder) : model_facts(folder);
  } catch (const Error& error) {
    if (!arguments.model.empty()) throw;  // what this build can do is worth saying without a model
    no_model = error.what();
  }
  if (arguments.json) {
    Json root = {{"machine", machine}};
    if (no_model.empty()) root["model"] = model;
    write_out(root.dump() + "\n");
  } else {
    const std::string text = !no_model.empty() ? "model       " + no_model + "\n"
                             : reads           ? reader_text(model)
                                               : model_text(model);
    write_out(machine_text(machine) + text);
  }
}

}  // namespace

void add_info(CLI::App& app) {
  auto* command =
      app.add_subcommand("info", "what is in a model folder; what this build and CPU can do");
  command->formatter_fn([](const CLI::App*, std::string, CLI::AppFormatMode) { return kHelp; });
  auto arguments = std::make_shared<Arguments>();
  command->add_option("model,--model", arguments->model);
  command->add_option("--pieces", arguments->pieces);
  command->add_flag("--target", arguments->target);
  command->add_flag("--json", arguments->json);
  command->callback([arguments] {
    if (arguments->pieces.empty()) {
      print_facts(*arguments);
    } else {
      print_pieces(*arguments);
    }
  });
}

}  // namespace fovea::cli
