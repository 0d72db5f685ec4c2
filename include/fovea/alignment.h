// From attention over pieces to words: who looked at whom, as shares, links and error rates.
//
//   shares of a target piece t   a_tj = mean over heads of p_htj                         (raw)
//                                a_tj = n_tj / sum_j n_tj,  n_tj = |sum_h p_htj f_h(v_j)|
//                                (norm-weighted)
//   read at the step where t is the decoder's input, or where it is its output
//   of words    sum over the source word's pieces, mean over the target word's pieces
//
// A word's pieces are those of its core: punctuation that stands at its ends without a space, and
// the end of the sentence, collect attention that means nothing (docs/record.md), so their shares
// stand apart.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "fovea/marian.h"
#include "fovea/record.h"

namespace fovea {

// [T - 1, S]: a row of shares for every target piece but the end of sentence; rows sum to 1.
// `attention` is of a target that ends with the end id. Throws Error: a layer or head that is not
// there.
std::vector<double> piece_shares(const CrossAttention& attention, const Reading& reading);

// Where a text's pieces belong. Pieces of no word (end of sentence) have word -1.
struct PieceOwners {
  std::vector<std::int32_t> word;  // per piece: index of its word, or -1
  std::vector<char> in_core;       // per piece: not punctuation split off
};
PieceOwners owners_of(const std::vector<Span>& pieces, const std::vector<Word>& words);

// Per target word, as in Translation.
struct WordAttention {
  std::vector<std::vector<WordWeight>>
      weights;  // descending; source words of weight 0 are left out
  std::vector<double> punctuation_weight;
  std::vector<double> end_weight;
};

// `shares` is [target pieces, source pieces]; `source` may have one owner more than columns have
// words.
WordAttention word_attention(const std::vector<double>& shares, const PieceOwners& source,
                             const PieceOwners& target, std::size_t target_words);

// One link for every target word, to the source word that it looked at most. Words that are
// punctuation only link to such words only, and others to others only. `threshold`: links of less
// weight are left out. Sorted by source, then target.
std::vector<Link> links_of(const WordAttention& attention, const std::vector<Word>& source,
                           const std::vector<Word>& target, double threshold = 0);

// Links as the field writes them: "0-0 1-2" sure, "1p2" possible.
struct GoldLinks {
  std::vector<Link> sure;
  std::vector<Link> possible;  // without the sure ones
};
// Throws Error naming what is not a link. Repeated links count once.
GoldLinks parse_links(std::string_view line);

// Counts that add up over sentences. With A the links, S sure, P sure or possible:
//   precision |A P| / |A|    recall |A S| / |S|    error rate 1 - (|A S| + |A P|) / (|A| + |S|)
struct AlignmentCounts {
  std::int64_t links = 0;
  std::int64_t sure = 0;
  std::int64_t links_sure = 0;
  std::int64_t links_possible = 0;
};
AlignmentCounts count_links(const std::vector<Link>& links, const GoldLinks& gold);
AlignmentCounts operator+(const AlignmentCounts& a, const AlignmentCounts& b);
// 0 where there is nothing to divide by, except: no links and nothing sure is an error rate of 0.
double precision_of(const AlignmentCounts& counts);
double recall_of(const AlignmentCounts& counts);
double error_rate_of(const AlignmentCounts& counts);

}  // namespace fovea
