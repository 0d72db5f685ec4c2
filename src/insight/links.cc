#include <algorithm>
#include <charconv>
#include <string>

#include "fovea/alignment.h"
#include "fovea/error.h"

namespace fovea {
namespace {

bool before(const Link& a, const Link& b) {
  return a.source != b.source ? a.source < b.source : a.target < b.target;
}
bool same(const Link& a, const Link& b) { return a.source == b.source && a.target == b.target; }

void sort_once(std::vector<Link>& links) {
  std::sort(links.begin(), links.end(), before);
  links.erase(std::unique(links.begin(), links.end(), same), links.end());
}

bool contains(const std::vector<Link>& sorted, const Link& link) {
  return std::binary_search(sorted.begin(), sorted.end(), link, before);
}

double ratio(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

GoldLinks parse_links(std::string_view line) {
  GoldLinks gold;
  std::size_t at = 0;
  while (at < line.size()) {
    if (line[at] == ' ' || line[at] == '\t' || line[at] == '\r') {
      ++at;
      continue;
    }
    const std::size_t end = std::min(line.find_first_of(" \t\r", at), line.size());
    const std::string_view text = line.substr(at, end - at);
    at = end;
    Link link;
    const char* last = text.data() + text.size();
    const auto first = std::from_chars(text.data(), last, link.source);
    const char sign = first.ec == std::errc() && first.ptr != last ? *first.ptr : ' ';
    const auto second =
        sign == '-' || sign == 'p' ? std::from_chars(first.ptr + 1, last, link.target) : first;
    if (sign == ' ' || second.ec != std::errc() || second.ptr != last || link.source < 0 ||
        link.target < 0) {
      throw Error("alignment: \"" + std::string(text.substr(0, 40)) +
                  "\" is not a link; a link is written 3-4 (sure) or 3p4 (possible)");
    }
    (sign == '-' ? gold.sure : gold.possible).push_back(link);
  }
  sort_once(gold.sure);
  sort_once(gold.possible);
  std::erase_if(gold.possible, [&](const Link& link) { return contains(gold.sure, link); });
  return gold;
}

AlignmentCounts count_links(const std::vector<Link>& links, const GoldLinks& gold) {
  std::vector<Link> once = links;
  sort_once(once);
  AlignmentCounts counts;
  counts.links = static_cast<std::int64_t>(once.size());
  counts.sure = static_cast<std::int64_t>(gold.sure.size());
  for (const Link& link : once) {
    const bool sure = contains(gold.sure, link);
    counts.links_sure += sure ? 1 : 0;
    counts.links_possible += sure || contains(gold.possible, link) ? 1 : 0;
  }
  return counts;
}

AlignmentCounts operator+(const AlignmentCounts& a, const AlignmentCounts& b) {
  return {a.links + b.links, a.sure + b.sure, a.links_sure + b.links_sure,
          a.links_possible + b.links_possible};
}

double precision_of(const AlignmentCounts& counts) {
  return ratio(counts.links_possible, counts.links);
}
double recall_of(const AlignmentCounts& counts) { return ratio(counts.links_sure, counts.sure); }
double error_rate_of(const AlignmentCounts& counts) {
  if (counts.links + counts.sure == 0) return 0;
  return 1 - ratio(counts.links_sure + counts.links_possible, counts.links + counts.sure);
}

}  // namespace fovea
