// fovea attend: arrays from .npy files, as the engine takes them.
//
// Shapes are taken as the reader wrote them, [N, D], [H, N, D] or [B, H, N, D], or packed [T, H, D] with
// offsets; messages and results keep that rank. A row-major file of the type that is computed with is
// used where it lies, mapped; every other array is copied once. Throws  Error naming the file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "base/npy.h"
#include "fovea/attend.h"
#include "fovea/half.h"

namespace fovea {

// What the reader asked for. An empty path: not given. "-": standard input, for one file at most.
struct AttendRequest {
  std::string q, k, v;  // v: empty with from_lse
  std::string key_lengths, query_lengths, mask, bias;
  std::string query_offsets, key_offsets;
  std::string alibi;                   // a file, or kAlibiAuto
  std::string from_lse;                // given: highlights alone, from q, k and this
  DataType type = DataType::kFloat32;  // what q, k and v are computed in
  Options options;
  std::int64_t top = 0;  // keys kept for each query; 0: none
  bool received = false;
  bool entropy = false;
  std::vector<std::int32_t> rows;  // queries of every sequence; packed: of all T

  bool wants_highlights() const { return top > 0 || received || entropy || !rows.empty(); }
};

inline constexpr const char* kAlibiAuto = "auto";

// Of packed arrays N and M are those of the longest sequence, T and S those of all together.
struct AttendSizes {
  std::int64_t B = 1, H = 1, G = 1, N = 0, M = 0, D = 0, E = 0;
  std::int64_t T = 0, S = 0;
};

// What was read, as the engine takes it. `inputs` and `lse` point into the rest.
struct AttendArrays {
  Inputs inputs;
  View lse;  // of from_lse
  AttendSizes sizes;
  int rank = 4;                    // of q as written: 2, 3 or 4
  std::vector<std::string> notes;  // for the reader: copies made, values that are not finite

  std::vector<NpyArray> files;
  std::vector<AlignedArray<float>> floats;
  std::vector<AlignedArray<Float16>> halves;
  std::vector<AlignedArray<BFloat16>> brains;
  std::vector<AlignedArray<bool>> flags;
  std::vector<std::int32_t> key_lengths, query_lengths;
  std::vector<std::int32_t> key_offsets, query_offsets;
  std::vector<float> slopes;

  bool packed_queries() const { return !inputs.query_offsets.empty(); }
  bool packed_keys() const { return !inputs.key_offsets.empty(); }
};

AttendArrays read_attend(const AttendRequest& request);

// ALiBi's usual slopes for `heads` heads: 2^(-8 (h + 1) / heads) where that is a power of two. Else, as
// in the paper's code: those of the next lower power P, then, for the heads that are left, every
// other one of 2 P, from its first.
std::vector<float> alibi_slopes(std::int64_t heads);

// The scale that `options` mean for keys of width D.
double scale_of(const Options& options, std::int64_t width);

}  // namespace fovea
