#include "fovea/translator.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "app/model_notes.h"
#include "base/file.h"
#include "fovea/alignment.h"
#include "fovea/error.h"
#include "fovea/text.h"
#include "text/split.h"

namespace fovea {
namespace {

// A stretch of a line that the model takes at once.
struct Part {
  std::size_t line = 0;
  Span span;  // in the line
  std::string text;
  Pieces pieces;
  std::vector<IdHypothesis> found;
};

std::string substring(const std::u32string& text, Span span) {
  return to_utf8(std::u32string_view(text).substr(static_cast<std::size_t>(span.begin),
                                                  static_cast<std::size_t>(span.end - span.begin)));
}

std::int32_t length_of(std::string_view utf8) {
  return static_cast<std::int32_t>(code_points(utf8).size());
}

void check_options(const TranslateOptions& options, const MarianInfo& info) {
  if (options.batch < 1) throw Error("translate: the batch must be at least 1");
  const int beams = options.search.beams.value_or(info.beams);
  if (beams < 1) throw Error("translate: the beam must be at least 1");
  if (options.search.n_best < 1 || options.search.n_best > beams) {
    throw Error("translate: n-best is " + std::to_string(options.search.n_best) +
                " but must be from 1 to the beam, which is " + std::to_string(beams));
  }
}

}  // namespace

struct Translator::State {
  MarianTokenizer tokenizer;
  Marian model;
  ModelNotes notes;

  std::vector<Part> parts_of(const std::string& line, std::size_t index) const;
  void search(std::vector<Part>& parts, const TranslateOptions& options, Threads& threads) const;
  Translation join(const std::string& line, std::span<const Part> parts,
                   const TranslateOptions& options, Threads& threads) const;
  Hypothesis joined_hypothesis(std::span<const Part> parts, std::size_t rank,
                               const SearchOptions& options) const;
  void add_attention(Translation& result, const Part& part, std::int32_t target_begin,
                     Threads& threads) const;
};

Translator Translator::load(const std::filesystem::path& folder) {
  MarianTokenizer tokenizer = MarianTokenizer::load(folder);
  Marian model = Marian::load(folder);
  const MarianInfo& info = model.info();
  const TokenizerFacts& facts = tokenizer.facts();
  if (facts.source_size > info.source_vocabulary || facts.target_size > info.target_vocabulary) {
    throw Error((folder / "vocab.json").string() + ": " + std::to_string(facts.source_size) +
                " pieces, but the model's embedding has " + std::to_string(info.source_vocabulary) +
                "; they belong to different models");
  }
  if (facts.end != info.end) {
    throw Error((folder / "vocab.json").string() + ": the end of sentence has id " +
                std::to_string(facts.end) + ", but config.json says " + std::to_string(info.end));
  }
  const FileBytes config = FileBytes::open(folder / "config.json");
  ModelNotes notes = read_model_notes(config.text(), config.name(), info);
  return Translator(
      std::unique_ptr<State>(new State{std::move(tokenizer), std::move(model), notes}));
}

Translator::Translator(std::unique_ptr<State> state) : state_(std::move(state)) {}
Translator::Translator(Translator&&) noexcept = default;
Translator& Translator::operator=(Translator&&) noexcept = default;
Translator::~Translator() = default;

const MarianInfo& Translator::info() const { return state_->model.info(); }
const TokenizerFacts& Translator::tokenizer() const { return state_->tokenizer.facts(); }
const Reading& Translator::reading() const { return state_->notes.reading; }
int Translator::longest_source() const { return state_->notes.longest_source; }

// Parts that hold text; none for an empty line.
std::vector<Part> Translator::State::parts_of(const std::string& line, std::size_t index) const {
  if (const auto bad = invalid_utf8(line)) {
    throw Error("line " + std::to_string(index + 1) + ", byte " + std::to_string(*bad + 1) +
                " is not UTF-8; convert it, for example with iconv -f latin1 -t utf-8");
  }
  const auto longest = static_cast<std::size_t>(notes.longest_source);
  const auto fits = [&](std::string_view text) {
    return tokenizer.encode(text).ids.size() <= longest;
  };
  const std::u32string points = code_points(line);
  std::vector<Part> parts;
  for (const Span span : split_into_sentences(line, fits)) {
    Part part{index, span, substring(points, span), {}, {}};
    part.pieces = tokenizer.encode(part.text);
    if (part.pieces.ids.size() >
        longest) {  // one character of more pieces than the model has places
      throw Error("line " + std::to_string(index + 1) + ": the character at " +
                  std::to_string(span.begin + 1) + " alone has " +
                  std::to_string(part.pieces.ids.size()) + " pieces, but the model takes " +
                  std::to_string(longest));
    }
    const bool only_end = part.pieces.ids.size() == 1;  // white space and invisible characters
    if (!only_end) parts.push_back(std::move(part));
  }
  return parts;
}

// Batches of sentences that are nearly of one length, so that little is computed for padding.
void Translator::State::search(std::vector<Part>& parts, const TranslateOptions& options,
                               Threads& threads) const {
  std::vector<std::size_t> order(parts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return parts[a].pieces.ids.size() > parts[b].pieces.ids.size();
  });
  const auto batch = static_cast<std::size_t>(options.batch);
  for (std::size_t begin = 0; begin < order.size(); begin += batch) {
    const std::size_t end = std::min(begin + batch, order.size());
    std::vector<std::vector<std::int32_t>> sources;
    for (std::size_t i = begin; i < end; ++i) sources.push_back(parts[order[i]].pieces.ids);
    auto found = model.search(sources, options.search, threads);
    for (std::size_t i = begin; i < end; ++i) parts[order[i]].found = std::move(found[i - begin]);
    if (options.progress && !options.progress(end, order.size())) {
      throw Error("translate: stopped");
    }
  }
}

// The rank-th best of every part (its last, where it has fewer), as one.
Hypothesis Translator::State::joined_hypothesis(std::span<const Part> parts, std::size_t rank,
                                                const SearchOptions& options) const {
  Hypothesis joined;
  const MarianInfo& info = model.info();
  const int longest = options.max_length.value_or(info.max_length);
  for (const Part& part : parts) {
    const IdHypothesis& one = part.found[std::min(rank, part.found.size() - 1)];
    const std::string text = tokenizer.decode(one.ids).text;
    if (!joined.text.empty() && !text.empty()) joined.text += ' ';
    joined.text += text;
    joined.log_prob += one.log_prob;
    joined.score = one.score;
    joined.ids.insert(joined.ids.end(), one.ids.begin(), one.ids.end());
    const bool ended = !one.ids.empty() && one.ids.back() == info.end;
    joined.cut |= !ended || static_cast<int>(one.ids.size()) + 1 >= longest;
  }
  if (parts.size() > 1) {
    const double penalty = options.length_penalty.value_or(info.length_penalty);
    joined.score = joined.log_prob / std::pow(static_cast<double>(joined.ids.size()), penalty);
  }
  return joined;
}

void Translator::State::add_attention(Translation& result, const Part& part,
                                      std::int32_t target_begin, Threads& threads) const {
  const MarianInfo& info = model.info();
  std::vector<std::int32_t> target = part.found[0].ids;
  if (target.empty() || target.back() != info.end) {  // it was cut: end it here
    if (static_cast<int>(target.size()) >= info.positions) target.pop_back();
    target.push_back(info.end);
  }
  const CrossAttention attention = model.cross_attention(part.pieces.ids, target, threads);
  const DecodedText decoded = tokenizer.decode(target);
  const std::vector<Word> source_words = words(part.text);
  const std::vector<Word> target_words = words(decoded.text);
  const PieceOwners source = owners_of(part.pieces.spans, source_words);
  std::vector<Span> spans = decoded.spans;
  spans.pop_back();  // the end of sentence has no row
  WordAttention found = word_attention(piece_shares(attention, result.reading), source,
                                       owners_of(spans, target_words), target_words.size());
  std::vector<Link> links = links_of(found, source_words, target_words);

  // From the part's own words to the line's.
  std::vector<Span> begins;
  for (const Word& word : source_words) {
    const std::int32_t at = part.span.begin + word.span.begin;
    begins.push_back({at, at + 1});
  }
  const std::vector<std::int32_t> in_line = words_of_pieces(begins, result.source_words);
  const auto first_target = static_cast<std::int32_t>(result.target_words.size());
  for (Word word : target_words) {
    for (Span* span : {&word.span, &word.core}) {
      span->begin += target_begin;
      span->end += target_begin;
    }
    result.target_words.push_back(std::move(word));
  }
  for (auto& weights : found.weights) {
    for (WordWeight& weight : weights) weight.word = in_line[static_cast<std::size_t>(weight.word)];
    result.attention.push_back(std::move(weights));
  }
  for (const Link& link : links) {
    result.alignment.push_back(
        {in_line[static_cast<std::size_t>(link.source)], first_target + link.target});
  }
  const auto append = [](std::vector<double>& to, const std::vector<double>& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  append(result.punctuation_weight, found.punctuation_weight);
  append(result.end_weight, found.end_weight);
}

Translation Translator::State::join(const std::string& line, std::span<const Part> parts,
                                    const TranslateOptions& options, Threads& threads) const {
  Translation result;
  result.source = line;
  result.reading = options.reading.value_or(notes.reading);
  std::size_t ranks = 1;
  for (const Part& part : parts) {
    result.parts.push_back(part.span);
    ranks = std::max(ranks, part.found.size());
  }
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    result.hypotheses.push_back(joined_hypothesis(parts, rank, options.search));
  }
  if (!options.attention) return result;
  result.source_words = words(line);
  std::int32_t target_begin = 0;
  for (const Part& part : parts) {
    const std::int32_t length = length_of(tokenizer.decode(part.found[0].ids).text);
    if (target_begin > 0 && length > 0) ++target_begin;  // the space between
    add_attention(result, part, target_begin, threads);
    target_begin += length;
  }
  return result;
}

std::vector<Translation> Translator::translate(std::span<const std::string> lines,
                                               const TranslateOptions& options,
                                               Threads& threads) const {
  check_options(options, info());
  std::vector<Part> parts;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    for (Part& part : state_->parts_of(lines[i], i)) parts.push_back(std::move(part));
  }
  state_->search(parts, options, threads);
  std::vector<Translation> result;
  result.reserve(lines.size());
  std::size_t begin = 0;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::size_t end = begin;
    while (end < parts.size() && parts[end].line == i) ++end;
    result.push_back(
        state_->join(lines[i], std::span(parts).subspan(begin, end - begin), options, threads));
    begin = end;
  }
  return result;
}

PieceAttention Translator::attention(std::string_view source, std::string_view target,
                                     Threads& threads) const {
  PieceAttention result{
      state_->tokenizer.encode(source), state_->tokenizer.encode_target(target), {}};
  for (const auto* side : {&result.source, &result.target}) {
    if (static_cast<int>(side->ids.size()) > info().positions) {
      throw Error("attention: a text has " + std::to_string(side->ids.size()) +
                  " pieces, but the model has " + std::to_string(info().positions) + " positions");
    }
  }
  result.attention = state_->model.cross_attention(result.source.ids, result.target.ids, threads);
  return result;
}

}  // namespace fovea
