// Every mistake of a caller of attend_backward: its message, word for word, and that nothing is
// written. (What it shares with attend, errors_test.cc has.)
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "fovea/error.h"
#include "support/backward_accuracy.h"

namespace fovea::testing {
namespace {

struct Call {
  explicit Call(DataType type, bool packed)
      : problem(Case{.B = 2,
                     .H = 6,
                     .G = 3,
                     .N = 5,
                     .M = 7,
                     .D = 4,
                     .E = 8,
                     .type = type,
                     .packed_queries = packed,
                     .packed_keys = packed,
                     .bias = 10}),
        results(problem),
        got(problem.problem),
        inputs(problem.problem.inputs()),
        forward(results.forward()),
        out_gradient(problem.out_gradient.view()),
        gradients(got.gradients()) {}

  void run() {
    Threads one(1);
    attend_backward(inputs, options, forward, out_gradient, gradients, one);
  }

  BackwardProblem problem;
  ForwardResults results;
  GradientResults<float> got;
  Inputs inputs;
  Options options;
  Forward forward;
  View out_gradient;
  Gradients gradients;
};

struct Mistake {
  const char* name;
  std::function<void(Call&)> make;
  const char* message;
  DataType type = DataType::kFloat32;
  bool packed = false;
};

const std::vector<Mistake>& mistakes() {
  static const std::vector<Mistake> kMistakes = {
      {"no v", [](Call& c) { c.inputs.v = View(); }, "attend_backward: v is not given"},
      {"no lse", [](Call& c) { c.forward.lse = View(); }, "attend_backward: lse is not given"},
      {"no out", [](Call& c) { c.forward.out = View(); }, "attend_backward: out is not given"},
      {"no out_gradient", [](Call& c) { c.out_gradient = View(); },
       "attend_backward: out_gradient is not given"},
      {"lse of another shape", [](Call& c) { c.forward.lse.shape[2] = 4; },
       "attend_backward: lse is [2, 6, 4] but must be [B, H, N] = [2, 6, 5]"},
      {"out of another width", [](Call& c) { c.forward.out.shape[3] = 4; },
       "attend_backward: out is [2, 6, 5, 4] but must be [B, H, N, E] = [2, 6, 5, 8]"},
      {"out of another type", [](Call& c) { c.forward.out.type = DataType::kFloat16; },
       "attend_backward: out is float16 but must be float32"},
      {"out of neither type", [](Call& c) { c.forward.out.type = DataType::kFloat16; },
       "attend_backward: out is float16 but must be float32 or bfloat16", DataType::kBFloat16},
      {"out_gradient of another type", [](Call& c) { c.out_gradient.type = DataType::kFloat32; },
       "attend_backward: out_gradient is float32 but must be bfloat16, as q is",
       DataType::kBFloat16},
      {"out_gradient with steps", [](Call& c) { c.out_gradient.strides[3] = 2; },
       "attend_backward: out_gradient has stride 2 in its last dimension but must have 1: copy it "
       "row by row"},
      {"out_gradient that is not packed",
       [](Call& c) {
         c.out_gradient = View(c.got.dq.data(), {2, 6, 5, 8});
       },
       "attend_backward: out_gradient is [2, 6, 5, 8] but must have 3 dimensions [T, H, E]",
       DataType::kFloat32, true},
      {"dq of another shape", [](Call& c) { c.gradients.dq.shape[3] = 8; },
       "attend_backward: dq is [2, 6, 5, 8] but must be [B, H, N, D] = [2, 6, 5, 4]"},
      {"dk of query heads", [](Call& c) { c.gradients.dk.shape[1] = 6; },
       "attend_backward: dk is [2, 6, 7, 4] but must be [B, G, M, D] = [2, 3, 7, 4]"},
      {"dv of another type", [](Call& c) { c.gradients.dv.type = DataType::kFloat64; },
       "attend_backward: dv is float64 but must be float32"},
      {"dv of rank 3", [](Call& c) { c.gradients.dv.rank = 3; },
       "attend_backward: dv is [2, 3, 7] but must have 4 dimensions [B, G, M, E]"},
      {"dq that repeats", [](Call& c) { c.gradients.dq.strides[1] = 0; },
       "attend_backward: dq has stride 0 in dimension 1: results would overwrite each other"},
      {"dbias without a bias", [](Call& c) { c.inputs.bias = View(); },
       "attend_backward: dbias is given but bias is not"},
      {"dbias that is not summed",
       [](Call& c) {
         c.gradients.dbias = MutableView(c.got.dbias.data(), {2, 6, 5, 7});
       },
       "attend_backward: dbias is [2, 6, 5, 7] but must be as bias = [1, 6, 1, 7]"},
      {"dbias of another type", [](Call& c) { c.gradients.dbias.type = DataType::kBFloat16; },
       "attend_backward: dbias is bfloat16 but must be float32"},
      {"key_gradient of key heads", [](Call& c) { c.gradients.key_gradient.shape[1] = 3; },
       "attend_backward: key_gradient is [2, 3, 7] but must be [B, H, M] = [2, 6, 7]"},
      {"all are dropped", [](Call& c) { c.options.dropout.rate = 1; },
       "attend_backward: dropout.rate is 1.000000 but must be in [0, 1): it is the share of "
       "weights "
       "that are dropped"},
      {"a rate that is no number", [](Call& c) { c.options.dropout.rate = NAN; },
       "attend_backward: dropout.rate is nan but must be in [0, 1): it is the share of weights "
       "that "
       "are dropped"},
  };
  return kMistakes;
}

TEST(BackwardErrors, EachMistakeIsNamedAndNothingIsWritten) {
  for (const Mistake& mistake : mistakes()) {
    Call sound(mistake.type, mistake.packed);
    EXPECT_NO_THROW(sound.run()) << mistake.name;
    Call call(mistake.type, mistake.packed);
    mistake.make(call);
    try {
      call.run();
      ADD_FAILURE() << mistake.name << ": no error";
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), mistake.message) << mistake.name;
    }
    for (const auto* array :
         {&call.got.dq, &call.got.dk, &call.got.dv, &call.got.dbias, &call.got.key_gradient}) {
      for (const float x : *array) ASSERT_TRUE(std::isnan(x)) << mistake.name << " wrote something";
    }
  }
}

// attend says the same of its own.
TEST(BackwardErrors, AttendRefusesARateOutsideItsRange) {
  const Problem problem({.N = 2, .M = 3, .D = 2, .E = 2});
  Results<float> results(problem);
  Threads one(1);
  try {
    attend(problem.inputs(), {.dropout = {.rate = -0.5F}}, results.outputs(), one);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "attend: dropout.rate is -0.500000 but must be in [0, 1): it is the share of "
                 "weights that are dropped");
  }
}

}  // namespace
}  // namespace fovea::testing
