// fovea-prepare: parallel text in; a vocabulary and files of ids out, ready for fovea-fit.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "../ids_file.h"
#include "hash.h"
#include "join.h"
#include "labelled.h"
#include "links.h"
#include "options.h"
#include "pairs.h"
#include "vocabulary.h"

namespace {

using fovea::MarianTokenizer;
using fovea::train::hash_of;
using fovea::train::IdPairs;
using fovea::train::Misuse;
using fovea::train::number;
using fovea::train::PairLinks;
using fovea::train::TextPair;
using fovea::train::Vocabulary;

constexpr char kHelp[] =
    R"(fovea-prepare: from parallel text to what fovea-fit reads

  fovea-prepare --out DIR --train A.tsv.gz [B.tsv.gz ...] [--valid V.tsv [W.tsv ...]]
  fovea-prepare --out DIR --source a.fr --target a.en [--valid-source v.fr --valid-target v.en]
  fovea-prepare --task classify ...: labelled text, for a reader; --task classify --help says more

Writes into DIR: train.ids, valid.ids, the validation text (valid.source, valid.target) and the vocabulary
in MarianMT's layout (source.spm, target.spm, vocab.json, tokenizer_config.json). A .tsv line is
`source TAB target`; .gz is unpacked. Without validation text, every hundredth target sentence, chosen by
what it says, is kept back from training with all its sources.

  --vocab N            pieces in the joint vocabulary (8000)
  --vocab-from DIR     take the vocabulary of this model folder; learn none
  --max-length N       leave out training pairs with a side of more than N pieces (200)
  --join P             join this share of the pairs, of all texts alike, into long ones of 2 to 8, none
                       longer than --max-length (0); --join-seed 1 draws them
  --test FILE ...      text to measure with later, not learnt from: goes to test.source, test.target
  --guided-alignment F ...   links between the words of the training pairs, a line for each ("0-0
                       1-2", as `fovea align` writes them): they go to train.links, for fovea-fit
  --typographic P      give a share P of the sources that have the apostrophe ' the typographic one
                       instead, as books print it (0); which ones depends on the text alone
  --source-lang, --target-lang   names for tokenizer_config.json

Try:  printf 'un chat\ta cat\nun chien\ta dog\n' > t.tsv &&
      fovea-prepare --out ids --train t.tsv --valid t.tsv --vocab 20
)";

struct Arguments {
  std::string out, source, target, valid_source, valid_target, vocab_from;
  std::vector<std::string> test, guided_alignment;
  std::string source_language = "source", target_language = "target";
  std::vector<std::string> train, valid;
  int vocabulary = 8000, max_length = 200;
  double typographic = 0, join = 0;
  std::uint64_t join_seed = 1;
};

Arguments parse(const std::vector<std::string>& words) {
  Arguments arguments;
  for (std::size_t i = 0; i < words.size();) {
    const std::string name = words[i++];
    auto list = [&](std::vector<std::string>& into) {
      while (i < words.size() && words[i].rfind("--", 0) != 0) into.push_back(words[i++]);
    };
    auto value = [&]() -> const std::string& {
      if (i == words.size()) throw Misuse(name + " needs a value; see --help");
      return words[i++];
    };
    if (name == "--train")
      list(arguments.train);
    else if (name == "--valid")
      list(arguments.valid);
    else if (name == "--test")
      list(arguments.test);
    else if (name == "--guided-alignment")
      list(arguments.guided_alignment);
    else if (name == "--out")
      arguments.out = value();
    else if (name == "--source")
      arguments.source = value();
    else if (name == "--target")
      arguments.target = value();
    else if (name == "--valid-source")
      arguments.valid_source = value();
    else if (name == "--valid-target")
      arguments.valid_target = value();
    else if (name == "--vocab-from")
      arguments.vocab_from = value();
    else if (name == "--source-lang")
      arguments.source_language = value();
    else if (name == "--target-lang")
      arguments.target_language = value();
    else if (name == "--vocab")
      arguments.vocabulary = static_cast<int>(number(name, value(), 8, 1e6));
    else if (name == "--max-length")
      arguments.max_length = static_cast<int>(number(name, value(), 2, 511));
    else if (name == "--join")
      arguments.join = number(name, value(), 0, 1);
    else if (name == "--join-seed")
      arguments.join_seed = static_cast<std::uint64_t>(number(name, value(), 0, 1e15));
    else if (name == "--typographic")
      arguments.typographic = number(name, value(), 0, 1);
    else
      throw Misuse("unknown option " + name + "; see --help");
  }
  if (arguments.out.empty()) throw Misuse("--out DIR is missing; see --help");
  if (arguments.train.empty() && arguments.source.empty())
    throw Misuse("--train FILE is missing; see --help");
  if (arguments.source.empty() != arguments.target.empty() ||
      arguments.valid_source.empty() != arguments.valid_target.empty()) {
    throw Misuse("--source goes with --target, and --valid-source with --valid-target");
  }
  return arguments;
}

std::vector<TextPair> read_part(const std::vector<std::string>& tsv, const std::string& source,
                                const std::string& target) {
  std::vector<TextPair> pairs = fovea::train::read_tsv(tsv);
  if (!source.empty()) {
    std::vector<TextPair> more = fovea::train::read_aligned(source, target);
    pairs.insert(pairs.end(), more.begin(), more.end());
  }
  return pairs;
}

// Moves a hundredth of the target sentences to the validation text: by the target, so that none is
// in both.
std::vector<TextPair> hold_out(std::vector<TextPair>& train) {
  constexpr std::size_t kMost = 2000;
  std::vector<TextPair> held, kept;
  for (TextPair& pair : train) {
    const bool chosen = hash_of(pair.target) % 100 == 0;
    if (!chosen)
      kept.push_back(std::move(pair));
    else if (held.size() < kMost)
      held.push_back(std::move(pair));
  }
  train = std::move(kept);
  return held;
}

void write_side(const std::string& path, const std::vector<TextPair>& pairs,
                std::string TextPair::*side) {
  std::ofstream out(path, std::ios::binary);
  for (const TextPair& pair : pairs) out << pair.*side << '\n';
  out.close();
  if (!out) throw std::runtime_error(path + ": cannot write (is the disk full?)");
}

// Tatoeba's writers type ' where books have U+2019; without this a translator hardly ever sees the
// latter.
void set_typographic(std::vector<TextPair>& pairs, double share) {
  for (TextPair& pair : pairs) {
    if (pair.source.find('\'') == std::string::npos) continue;
    if (static_cast<double>(hash_of(pair.source) >> 11) / 9007199254740992.0 >= share) continue;
    std::string text;
    for (const char c : pair.source) {
      if (c == '\'')
        text += "\xE2\x80\x99";
      else
        text += c;
    }
    pair.source = text;
  }
}

// `links` gets those of every pair that is kept; null where none were given.
IdPairs to_ids(const std::vector<TextPair>& pairs, const Vocabulary& vocabulary,
               std::size_t max_length, long& left_out, const MarianTokenizer* tokenizer = nullptr,
               PairLinks* links = nullptr) {
  IdPairs ids;
  ids.vocabulary = vocabulary.size();
  for (const TextPair& pair : pairs) {
    const auto source = vocabulary.encode(pair.source);
    const auto target = vocabulary.encode(pair.target);
    if (std::max(source.size(), target.size()) > max_length) {
      ++left_out;
      continue;
    }
    if (links) links->push_back(piece_links(pair, *tokenizer, source, target));
    ids.source_lengths.push_back(static_cast<std::int32_t>(source.size()));
    ids.target_lengths.push_back(static_cast<std::int32_t>(target.size()));
    ids.source_ids.insert(ids.source_ids.end(), source.begin(), source.end());
    ids.target_ids.insert(ids.target_ids.end(), target.begin(), target.end());
  }
  return ids;
}

void run(const Arguments& arguments) {
  std::vector<TextPair> train = read_part(arguments.train, arguments.source, arguments.target);
  std::vector<TextPair> valid =
      read_part(arguments.valid, arguments.valid_source, arguments.valid_target);
  std::vector<TextPair> test = fovea::train::read_tsv(arguments.test);
  if (!arguments.guided_alignment.empty()) read_links(arguments.guided_alignment, train);
  if (arguments.valid.empty() && arguments.valid_source.empty()) valid = hold_out(train);
  if (train.empty())
    throw std::runtime_error("the training text has no lines; nothing can be learnt from it");
  std::fprintf(stderr, "read %zu training and %zu validation pairs\n", train.size(), valid.size());
  set_typographic(train, arguments.typographic);

  const Vocabulary vocabulary = arguments.vocab_from.empty()
                                    ? Vocabulary::learn(train, arguments.vocabulary)
                                    : Vocabulary::load(arguments.vocab_from);
  std::filesystem::create_directories(arguments.out);
  vocabulary.write(arguments.out, arguments.source_language, arguments.target_language);

  const auto most = static_cast<std::size_t>(arguments.max_length);
  if (arguments.join > 0) {
    const auto length_of = [&](const TextPair& pair) {
      // Without the end of sentence, of which a joined pair has one.
      return fovea::train::PieceLengths{vocabulary.encode(pair.source).size() - 1,
                                        vocabulary.encode(pair.target).size() - 1};
    };
    for (std::vector<TextPair>* text : {&train, &valid, &test}) {
      const std::size_t before = text->size();
      *text = join_pairs(*text, arguments.join, arguments.join_seed, most - 1, length_of);
      std::fprintf(stderr, "joined %zu pairs to %zu\n", before, text->size());
    }
  }

  long long_train = 0, long_valid = 0;
  PairLinks links;
  IdPairs train_ids;
  std::filesystem::remove(arguments.out + "/train.links");  // of an earlier text
  if (arguments.guided_alignment.empty()) {
    train_ids = to_ids(train, vocabulary, most, long_train);
  } else {
    const MarianTokenizer tokenizer = MarianTokenizer::load(arguments.out);
    train_ids = to_ids(train, vocabulary, most, long_train, &tokenizer, &links);
    write_links(arguments.out + "/train.links", links);
  }
  const IdPairs valid_ids = to_ids(valid, vocabulary, 511, long_valid);
  if (long_valid > 0) {
    // Hypotheses must stay aligned with the validation text, so nothing may be dropped there.
    throw std::runtime_error(std::to_string(long_valid) +
                             " validation pairs have more than 511 pieces; shorten or remove them");
  }
  write_side(arguments.out + "/valid.source", valid, &TextPair::source);
  write_side(arguments.out + "/valid.target", valid, &TextPair::target);
  write_ids(arguments.out + "/valid.ids", valid_ids);
  if (!arguments.test.empty()) {
    write_side(arguments.out + "/test.source", test, &TextPair::source);
    write_side(arguments.out + "/test.target", test, &TextPair::target);
  }
  write_ids(arguments.out + "/train.ids", train_ids);  // last: where it is, the folder is whole
  std::fprintf(stderr,
               "vocabulary %d; %lld training pairs (%ld too long, left out), %zu + %zu pieces\n",
               vocabulary.size(), static_cast<long long>(train_ids.size()), long_train,
               train_ids.source_ids.size(), train_ids.target_ids.size());
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  const auto task = std::find(words.begin(), words.end(), "--task");
  bool labelled = false;
  if (task != words.end() && task + 1 != words.end()) {
    labelled = task[1] == "classify";
    if (!labelled && task[1] != "translate") {
      std::fprintf(stderr, "fovea-prepare: --task %s: give translate or classify\n",
                   task[1].c_str());
      return 2;
    }
    words.erase(task, task + 2);
  }
  if (labelled) return fovea::train::prepare_labelled(words);
  return fovea::train::run_command(words, kHelp, [](const auto& given) { run(parse(given)); });
}
