// fovea attend: arrays from .npy files into the engine.
//
// Shapes are taken as the reader wrote them, [N, D], [H, N, D] or [B, H, N, D], and messages and
// results keep that rank. float16 and float64 become float32. A row-major float32 file is used
// where it lies, mapped; every other array is copied once. Throws  Error naming the file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "base/npy.h"
#include "fovea/attend.h"
#include "fovea/threads.h"

namespace fovea {

// What the reader asked for. An empty path: not given. "-": standard input, for one file at most.
struct AttendRequest {
  std::string q, k, v;
  std::string key_lengths, query_lengths, mask, bias;
  Options options;
  std::int64_t top = 0;  // keys kept for each query; 0: none
  bool received = false;
  bool entropy = false;
  std::vector<std::int32_t> rows;

  bool wants_highlights() const { return top > 0 || received || entropy || !rows.empty(); }
};

struct AttendSizes {
  std::int64_t B = 1, H = 1, G = 1, N = 0, M = 0, D = 0, E = 0;
};

// What was read, as the engine takes it. `inputs` points into the rest.
struct AttendArrays {
  Inputs inputs;
  AttendSizes sizes;
  int rank = 4;                    // of q as written: 2, 3 or 4
  std::vector<std::string> notes;  // for the reader: copies made, values that are not finite

  std::vector<NpyArray> files;
  std::vector<AlignedArray<float>> floats;
  std::vector<AlignedArray<bool>> flags;
  std::vector<std::int32_t> key_lengths;
  std::vector<std::int32_t> query_lengths;
};

AttendArrays read_attend(const AttendRequest& request);

// out [B, H, N, E] and the highlights asked for; the others are empty.
struct AttendResult {
  std::vector<float> out;
  std::vector<float> lse;               // [B, H, N]: -infinity where a query sees no key
  std::int64_t top = 0;                 // K: at most M keys are kept, however many were asked for
  std::vector<std::int32_t> top_index;  // [B, H, N, K]
  std::vector<float> top_weight;        // [B, H, N, K]
  std::vector<float> received;          // [B, H, M]
  std::vector<float> entropy;           // [B, H, N]
  std::vector<std::int32_t> row_queries;
  std::vector<float> rows;  // [B, H, R, M]
};

AttendResult run_attend(const AttendArrays& arrays, const AttendRequest& request, Threads& threads);

// The scale that `options` mean for keys of width D.
double scale_of(const Options& options, std::int64_t width);

// `last` with the leading sizes that q's rank has: rank 3 gives [H, last...].
std::vector<std::int64_t> ranked(const AttendArrays& arrays, std::vector<std::int64_t> last);

}  // namespace fovea
