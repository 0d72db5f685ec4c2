// What the engine's error is read beside: attention as a plain loop in float32, and its highlights.
//
//   s_j = scale sum_d q_d k_jd    p_j = exp(s_j - max s)    l = sum p_j    out_e = (sum_j p_j v_je) / l
//
// One number after the other, in the order of the formulas, each operation rounded to float32. With
// `rounds_weights` weights are rounded to bfloat16 before they meet v_j (not in l), as the engine does in bfloat16
// calls: the shares p_j / l, and once more (moved_out) exponentials counted from a base that gives the largest
// 192.5 / 256. Counted from the largest itself a dominant key weighs 1, which rounding does not touch: a yardstick
// that flatters itself.
#pragma once

#include <cstdint>
#include <vector>

namespace fovea::numerics {

struct Problem {
  std::int64_t H, N, M, D;     // one sequence; G = H, E = D
  std::vector<float> q, k, v;  // [H, N, D], [H, M, D], [H, M, D]
  float scale;
};

struct Plain {
  std::vector<float> out, moved_out;  // [H, N, D]
  std::vector<float> lse, entropy;    // [H, N]
  std::vector<float> rows, received;  // [H, N, M], [H, M]
};

Plain plain(const Problem& problem, bool rounds_weights);

}  // namespace fovea::numerics
