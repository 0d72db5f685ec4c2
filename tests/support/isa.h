// Tests that run once on every instruction set of this CPU.
#pragma once

#include <gtest/gtest.h>

#include <ostream>

#include "fovea/isa.h"

namespace fovea {

inline void PrintTo(Isa isa, std::ostream* out) { *out << name_of(isa); }

}  // namespace fovea

namespace fovea::testing {

// Forces an instruction set, checks that it is really the current one, and puts the old one back.
class ForcedIsa {
 public:
  explicit ForcedIsa(Isa isa) : before_(current_isa()) {
    set_isa(isa);
    EXPECT_EQ(current_isa(), isa) << "forcing " << name_of(isa) << " had no effect";
  }
  ~ForcedIsa() { set_isa(before_); }
  ForcedIsa(const ForcedIsa&) = delete;
  ForcedIsa& operator=(const ForcedIsa&) = delete;

 private:
  Isa before_;
};

class OnEveryIsa : public ::testing::TestWithParam<Isa> {
  ForcedIsa forced_{GetParam()};
};

inline std::string isa_test_name(const ::testing::TestParamInfo<Isa>& info) {
  return name_of(info.param);
}

}  // namespace fovea::testing

#define FOVEA_ON_EVERY_ISA(suite)                                                      \
  INSTANTIATE_TEST_SUITE_P(Isa, suite, ::testing::ValuesIn(::fovea::available_isas()), \
                           ::fovea::testing::isa_test_name)
