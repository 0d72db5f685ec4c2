#include "labelled.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>

#include "../ids_file.h"
#include "fovea/wordpiece.h"
#include "hash.h"
#include "lines.h"
#include "options.h"
#include "wordpieces.h"

namespace fovea::train {
namespace {

constexpr char kHelp[] =
    R"(fovea-prepare --task classify: from labelled text to what fovea-fit --task classify reads

  fovea-prepare --task classify --out DIR --train A.tsv.gz [B.tsv ...] [--valid V.tsv [W.tsv ...]]

A .tsv line is `label TAB text`; .gz is unpacked. Writes into DIR: train.ids, valid.ids, labels.txt (a label
a line, in the order of their ids) and the vocabulary in BERT's layout (vocab.txt, tokenizer_config.json).
Without validation text, a twentieth of the texts, chosen by what they say, is kept back from training.

  --vocab N            pieces in the vocabulary (8000)
  --vocab-from DIR     take the vocabulary of this model folder; learn none
  --hold-out P         share of the training texts to keep back where --valid is not given (0.05; 0: none)
  --positions N        the most pieces that the model will read at once (128)

Try:  printf 'good\ta fine day\nbad\ta poor day\n' > t.tsv &&
      fovea-prepare --task classify --out ids --train t.tsv --valid t.tsv --vocab 40
)";

struct Arguments {
  std::string out, vocab_from;
  std::vector<std::string> train, valid;
  int vocabulary = 8000, positions = 128;
  double hold_out = 0.05;
};

struct LabelledText {
  std::string label, text;
};

Arguments parse(const std::vector<std::string>& words) {
  Arguments arguments;
  for (std::size_t i = 0; i < words.size();) {
    const std::string name = words[i++];
    auto list = [&](std::vector<std::string>& into) {
      while (i < words.size() && !words[i].starts_with("--")) into.push_back(words[i++]);
    };
    auto value = [&]() -> const std::string& {
      if (i == words.size()) throw Misuse(name + " needs a value; see --task classify --help");
      return words[i++];
    };
    if (name == "--train")
      list(arguments.train);
    else if (name == "--valid")
      list(arguments.valid);
    else if (name == "--out")
      arguments.out = value();
    else if (name == "--vocab-from")
      arguments.vocab_from = value();
    else if (name == "--vocab")
      arguments.vocabulary = static_cast<int>(number(name, value(), 16, 1e6));
    else if (name == "--positions")
      arguments.positions = static_cast<int>(number(name, value(), 3, 65536));
    else if (name == "--hold-out")
      arguments.hold_out = number(name, value(), 0, 0.9);
    else
      throw Misuse("unknown option " + name + "; see --task classify --help");
  }
  if (arguments.out.empty()) throw Misuse("--out DIR is missing; see --task classify --help");
  if (arguments.train.empty()) throw Misuse("--train FILE is missing; see --task classify --help");
  return arguments;
}

std::vector<LabelledText> read_labelled(const std::vector<std::string>& paths) {
  std::vector<LabelledText> texts;
  for (const std::string& path : paths) {
    Lines lines(path);
    std::string line;
    while (lines.next(line)) {
      const std::size_t tab = line.find('\t');
      if (tab == std::string::npos) lines.fail_here("no tab; a line is `label TAB text`");
      if (tab == 0) lines.fail_here("no label before the tab; a line is `label TAB text`");
      if (line.find_first_not_of(" \t\r", tab) == std::string::npos) {
        lines.fail_here("no text after the label; remove the line");
      }
      texts.push_back({line.substr(0, tab), line.substr(tab + 1)});
    }
  }
  return texts;
}

std::vector<LabelledText> hold_out(std::vector<LabelledText>& train, double share) {
  std::vector<LabelledText> held, kept;
  for (LabelledText& text : train) {
    // By the low bits: FNV hardly spreads a text's last characters over the high ones.
    const double place = static_cast<double>(hash_of(text.text) % 1000003) / 1000003;
    (place < share ? held : kept).push_back(std::move(text));
  }
  train = std::move(kept);
  return held;
}

// The labels of the training text, in the order of their bytes.
std::map<std::string, std::int32_t> number_labels(const std::vector<LabelledText>& texts) {
  std::map<std::string, std::int32_t> ids;
  for (const LabelledText& text : texts) ids.emplace(text.label, 0);
  std::int32_t next = 0;
  for (auto& [label, id] : ids) id = next++;
  return ids;
}

// Texts in which nothing is left after normalisation are passed over: there is nothing to pool.
IdPairs to_ids(const std::vector<LabelledText>& texts, const WordPiece& pieces,
               const std::map<std::string, std::int32_t>& labels, long& without_words) {
  IdPairs ids;
  ids.vocabulary = pieces.facts().size;
  for (const LabelledText& text : texts) {
    const auto label = labels.find(text.label);
    if (label == labels.end()) {
      throw std::runtime_error("the validation text has the label \"" + text.label +
                               "\", which the training text never has");
    }
    const Pieces found = pieces.encode(text.text);
    if (found.ids.empty()) {
      ++without_words;
      continue;
    }
    ids.source_lengths.push_back(static_cast<std::int32_t>(found.ids.size()));
    ids.source_ids.insert(ids.source_ids.end(), found.ids.begin(), found.ids.end());
    ids.target_lengths.push_back(1);
    ids.target_ids.push_back(label->second);
  }
  return ids;
}

void run(const Arguments& arguments) {
  std::vector<LabelledText> train = read_labelled(arguments.train);
  std::vector<LabelledText> valid = read_labelled(arguments.valid);
  const auto labels = number_labels(train);
  if (labels.size() < 2) {
    throw std::runtime_error("the training text has " + std::to_string(labels.size()) +
                             (labels.size() == 1 ? " label" : " labels") +
                             "; a reader needs two to choose from");
  }
  if (arguments.valid.empty()) valid = hold_out(train, arguments.hold_out);
  std::fprintf(stderr, "read %zu training and %zu validation texts, %zu labels\n", train.size(),
               valid.size(), labels.size());

  std::filesystem::create_directories(arguments.out);
  if (arguments.vocab_from.empty()) {
    std::vector<std::string> texts;
    for (const LabelledText& text : train) texts.push_back(text.text);
    learn_wordpieces(texts, arguments.vocabulary, arguments.positions, arguments.out);
  } else {
    for (const char* name : {"vocab.txt", "tokenizer_config.json"}) {
      std::filesystem::copy_file(arguments.vocab_from + "/" + name, arguments.out + "/" + name,
                                 std::filesystem::copy_options::overwrite_existing);
    }
  }
  const WordPiece pieces = WordPiece::load(arguments.out);
  if (static_cast<std::size_t>(pieces.facts().size) < labels.size()) {
    throw std::runtime_error("more labels than pieces in the vocabulary; give a larger --vocab");
  }
  std::ofstream names(arguments.out + "/labels.txt", std::ios::binary);
  for (const auto& [label, id] : labels) names << label << '\n';
  names.close();
  if (!names) throw std::runtime_error(arguments.out + "/labels.txt: cannot write");

  long without_words = 0;
  write_ids(arguments.out + "/valid.ids", to_ids(valid, pieces, labels, without_words));
  const IdPairs train_ids = to_ids(train, pieces, labels, without_words);
  write_ids(arguments.out + "/train.ids", train_ids);  // last: where it is, the folder is whole
  std::fprintf(stderr, "vocabulary %d; %lld training texts, %zu pieces (%ld texts without words)\n",
               pieces.facts().size, static_cast<long long>(train_ids.size()),
               train_ids.source_ids.size(), without_words);
}

}  // namespace

int prepare_labelled(const std::vector<std::string>& words) {
  return run_command(words, kHelp, [](const auto& given) { run(parse(given)); });
}

}  // namespace fovea::train
