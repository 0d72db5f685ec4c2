// The file that passes from `prepare` to `fit`: sentence pairs as piece ids.
//
// Little-endian, no padding:
//   char  magic[8]            "FOVEAIDS"
//   int32 version             1
//   int32 vocabulary          number of ids; every id is in [0, vocabulary)
//   int64 pairs
//   int64 source_total, target_total
//   int32 source_lengths[pairs], target_lengths[pairs]
//   int32 source_ids[source_total], target_ids[target_total]
// Both sides end with the end-of-sentence id; of labelled text the source is the text's pieces alone, and the
// target one id, its label's. Standard library only, so that `fit` builds alone.
//
// Word alignments of the same pairs, where they were given, lie beside it, between pieces:
//   char  magic[8]            "FOVEALNK"
//   int32 version             1
//   int32 zero
//   int64 pairs
//   int64 link_total
//   int32 counts[pairs]
//   int32 source and target piece [link_total][2], counted from 0 in each sentence
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace fovea::train {

struct IdPairs {
  std::int32_t vocabulary = 0;
  std::vector<std::int32_t> source_lengths, target_lengths;
  std::vector<std::int32_t> source_ids, target_ids;

  std::int64_t size() const { return static_cast<std::int64_t>(source_lengths.size()); }
};

struct PieceLink {
  std::int32_t source = 0, target = 0;
  bool operator==(const PieceLink&) const = default;
};
using PairLinks = std::vector<std::vector<PieceLink>>;  // of each pair

inline constexpr char kIdsMagic[] = "FOVEAIDS";
inline constexpr char kLinksMagic[] = "FOVEALNK";
inline constexpr std::int32_t kIdsVersion = 1;

// Numbers as they lie in memory, one after the other, into a file that appears whole or not at all.
class NumbersOut {
 public:
  explicit NumbersOut(const std::string& path)
      : path_(path), temporary_(path + ".part"), out_(temporary_, std::ios::binary) {}
  void put(const void* data, std::size_t bytes) {
    out_.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
  }
  void finish() {
    out_.close();
    if (!out_) throw std::runtime_error(path_ + ": cannot write (is the disk full?)");
    std::filesystem::rename(temporary_, path_);
  }

 private:
  std::string path_, temporary_;
  std::ofstream out_;
};

// And out of it again. What is wrong is a std::runtime_error that names the file.
class NumbersIn {
 public:
  explicit NumbersIn(const std::string& path)
      : path_(path), in_(path, std::ios::binary | std::ios::ate) {
    if (!in_) throw std::runtime_error(path + ": cannot open; `fovea-prepare` writes it");
    bytes_ = in_.tellg();
    in_.seekg(0);
  }
  std::int64_t bytes() const { return bytes_; }  // of the whole file
  void get(void* data, std::size_t count) {
    in_.read(static_cast<char*>(data), static_cast<std::streamsize>(count));
    if (!in_) fail("the file ends too early");
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error(path_ + ": " + what + "; write it again with `fovea-prepare`");
  }

 private:
  std::string path_;
  std::ifstream in_;
  std::int64_t bytes_ = 0;
};

inline void write_ids(const std::string& path, const IdPairs& pairs) {
  NumbersOut out(path);
  const std::int64_t counts[3] = {pairs.size(), static_cast<std::int64_t>(pairs.source_ids.size()),
                                  static_cast<std::int64_t>(pairs.target_ids.size())};
  out.put(kIdsMagic, 8);
  out.put(&kIdsVersion, 4);
  out.put(&pairs.vocabulary, 4);
  out.put(counts, sizeof counts);
  for (const auto* part :
       {&pairs.source_lengths, &pairs.target_lengths, &pairs.source_ids, &pairs.target_ids}) {
    out.put(part->data(), part->size() * sizeof(std::int32_t));
  }
  out.finish();
}

inline IdPairs read_ids(const std::string& path) {
  NumbersIn in(path);
  const std::int64_t bytes = in.bytes();
  char magic[8];
  std::int32_t version = 0;
  IdPairs pairs;
  std::int64_t counts[3];
  in.get(magic, 8);
  if (std::memcmp(magic, kIdsMagic, 8) != 0) in.fail("not a file of ids");
  in.get(&version, 4);
  if (version != kIdsVersion) in.fail("version " + std::to_string(version) + " is not known");
  in.get(&pairs.vocabulary, 4);
  in.get(counts, sizeof counts);
  for (std::int64_t count : counts) {
    if (count < 0 || count > bytes / 4) in.fail("a count is impossible for a file of this size");
  }
  if (bytes != 40 + 4 * (2 * counts[0] + counts[1] + counts[2])) {
    in.fail("its size differs from what its header says");
  }
  pairs.source_lengths.resize(counts[0]);
  pairs.target_lengths.resize(counts[0]);
  pairs.source_ids.resize(counts[1]);
  pairs.target_ids.resize(counts[2]);
  for (auto* part :
       {&pairs.source_lengths, &pairs.target_lengths, &pairs.source_ids, &pairs.target_ids}) {
    in.get(part->data(), part->size() * sizeof(std::int32_t));
  }
  auto check = [&](const std::vector<std::int32_t>& lengths, const std::vector<std::int32_t>& ids) {
    std::int64_t total = 0;
    for (std::int32_t length : lengths) {
      if (length < 1) in.fail("a sentence has no ids");
      total += length;
    }
    if (total != static_cast<std::int64_t>(ids.size())) in.fail("lengths and ids disagree");
    for (std::int32_t id : ids) {
      if (id < 0 || id >= pairs.vocabulary)
        in.fail("id " + std::to_string(id) + " is out of range");
    }
  };
  check(pairs.source_lengths, pairs.source_ids);
  check(pairs.target_lengths, pairs.target_ids);
  return pairs;
}

inline void write_links(const std::string& path, const PairLinks& links) {
  NumbersOut out(path);
  std::int64_t counts[2] = {static_cast<std::int64_t>(links.size()), 0};
  for (const auto& pair : links) counts[1] += static_cast<std::int64_t>(pair.size());
  const std::int32_t start[2] = {kIdsVersion, 0};
  out.put(kLinksMagic, 8);
  out.put(start, sizeof start);
  out.put(counts, sizeof counts);
  for (const auto& pair : links) {
    const auto count = static_cast<std::int32_t>(pair.size());
    out.put(&count, 4);
  }
  for (const auto& pair : links) out.put(pair.data(), pair.size() * sizeof(PieceLink));
  out.finish();
}

// The links of `pairs`. Throws std::runtime_error naming the file: it is not that, or not of them.
inline PairLinks read_links(const std::string& path, const IdPairs& pairs) {
  NumbersIn in(path);
  const std::int64_t bytes = in.bytes();
  char magic[8];
  std::int32_t start[2];
  std::int64_t counts[2];
  in.get(magic, 8);
  if (std::memcmp(magic, kLinksMagic, 8) != 0) in.fail("not a file of links");
  in.get(start, sizeof start);
  if (start[0] != kIdsVersion) in.fail("version " + std::to_string(start[0]) + " is not known");
  in.get(counts, sizeof counts);
  if (counts[0] != pairs.size()) in.fail("it has not as many pairs as the ids beside it");
  if (counts[1] < 0 || counts[1] > bytes / 8 || bytes != 32 + 4 * counts[0] + 8 * counts[1]) {
    in.fail("its size differs from what its header says");
  }
  std::vector<std::int32_t> lengths(static_cast<std::size_t>(counts[0]));
  in.get(lengths.data(), lengths.size() * sizeof(std::int32_t));
  PairLinks links(lengths.size());
  std::int64_t left = counts[1];
  for (std::size_t i = 0; i < links.size(); ++i) {
    if (lengths[i] < 0 || lengths[i] > left) in.fail("counts and links disagree");
    left -= lengths[i];
    links[i].resize(static_cast<std::size_t>(lengths[i]));
    in.get(links[i].data(), links[i].size() * sizeof(PieceLink));
    for (const PieceLink& link : links[i]) {
      if (link.source < 0 || link.source >= pairs.source_lengths[i] || link.target < 0 ||
          link.target >= pairs.target_lengths[i]) {
        in.fail("a link is out of its sentence");
      }
    }
  }
  if (left != 0) in.fail("counts and links disagree");
  return links;
}

}  // namespace fovea::train
