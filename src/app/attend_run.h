// fovea attend: from arrays to results, and the shapes that results have.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "app/attend_files.h"
#include "fovea/threads.h"

namespace fovea {

// out and the highlights asked for; the others are empty.
struct AttendResult {
  std::vector<float> out;               // of each query, E numbers
  std::vector<float> lse;               // of each query: -infinity where it sees no key
  std::int64_t top = 0;                 // K: at most M keys are kept, however many were asked for
  std::vector<std::int32_t> top_index;  // of each query, K
  std::vector<float> top_weight;        // of each query, K
  std::vector<float> received;          // of each key
  std::vector<float> entropy;           // of each query
  std::vector<std::int32_t> row_queries;
  std::vector<float> rows;  // of each row asked for, M
};

// With request.from_lse: the highlights alone, by that lse; out stays empty.
AttendResult run_attend(const AttendArrays& arrays, const AttendRequest& request, Threads& threads);

// Where results have what they say of query (or key) i of sequence b for head h.
struct AttendPlaces {
  std::int64_t B = 1, H = 1;
  std::int64_t room = 0;                  // of each sequence, unless packed
  std::span<const std::int32_t> offsets;  // packed

  bool packed() const { return !offsets.empty(); }
  std::int64_t first(std::int64_t b) const { return offsets[static_cast<std::size_t>(b)]; }
  std::int64_t count(std::int64_t b) const { return packed() ? first(b + 1) - first(b) : room; }
  std::int64_t total() const { return H * (packed() ? first(B) : B * room); }
  std::int64_t at(std::int64_t b, std::int64_t h, std::int64_t i) const {
    return packed() ? (first(b) + i) * H + h : (b * H + h) * room + i;
  }
};

AttendPlaces query_places(const AttendArrays& arrays);
AttendPlaces key_places(const AttendArrays& arrays);

// Shapes as results are written, with as many dimensions as q: of each query `last` numbers, of
// each key one, of each of `count` rows M.
std::vector<std::int64_t> shape_of_queries(const AttendArrays& arrays,
                                           const std::vector<std::int64_t>& last = {});
std::vector<std::int64_t> shape_of_keys(const AttendArrays& arrays);
std::vector<std::int64_t> shape_of_rows(const AttendArrays& arrays, std::int64_t count);

}  // namespace fovea
