// The instruction set as a value: listed, read, set, and taken from the environment.
#include "fovea/isa.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "fovea/error.h"

namespace fovea {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Isa, ScalarIsAlwaysThereAndTheBestComesFirst) {
  const std::vector<Isa> all = available_isas();
  ASSERT_FALSE(all.empty());
  EXPECT_EQ(all.back(), Isa::kScalar);
  for (std::size_t x = 1; x < all.size(); ++x) EXPECT_GT(all[x - 1], all[x]);
}

TEST(Isa, NamesGoBothWays) {
  EXPECT_STREQ(name_of(Isa::kScalar), "scalar");
  EXPECT_STREQ(name_of(Isa::kAvx2), "avx2");
  EXPECT_STREQ(name_of(Isa::kAvx512), "avx512");
  EXPECT_STREQ(name_of(Isa::kNeon), "neon");
  for (const Isa isa : available_isas()) EXPECT_EQ(isa_from_name(name_of(isa)), isa);
}

TEST(Isa, SettingItIsSeen) {
  const Isa before = current_isa();
  for (const Isa isa : available_isas()) {
    set_isa(isa);
    EXPECT_EQ(current_isa(), isa);
  }
  set_isa(before);
}

// The names available, as the messages list them: "avx512, avx2, scalar".
std::string names() {
  std::string text;
  for (const Isa isa : available_isas())
    text += (text.empty() ? "" : ", ") + std::string(name_of(isa));
  return text;
}

// A set that this processor cannot have.
#if defined(__aarch64__)
constexpr const char* kForeign = "avx2";
#else
constexpr const char* kForeign = "neon";
#endif

TEST(Isa, UnknownNamesAreRefusedWithTheListOfWhatThereIs) {
  for (const char* name : {"avx1024", "", "AVX2 ", kForeign}) {
    try {
      isa_from_name(name);
      ADD_FAILURE() << "accepted " << name;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(name));
      EXPECT_THAT(error.what(), HasSubstr(names()));
    }
  }
}

TEST(Isa, EveryAArch64HasNeon) {
#if defined(__aarch64__)
  EXPECT_EQ(available_isas(), (std::vector{Isa::kNeon, Isa::kScalar}));
#else
  EXPECT_THAT(available_isas(), Not(Contains(Isa::kNeon)));
#endif
}

// Runs this program again with FOVEA_ISA set; `PrintCurrent` below then prints what is in use. What has to
// stand before it in a command, an emulator for one, is in FOVEA_TEST_RUNNER.
std::string current_with_environment(const std::string& value) {
  char path[4096];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
  path[length > 0 ? length : 0] = '\0';
  const char* runner = std::getenv("FOVEA_TEST_RUNNER");
  const std::string own = "FOVEA_ISA='" + value + "' " + (runner == nullptr ? "" : runner) + " '" +
                          path +
                          "' --gtest_also_run_disabled_tests --gtest_filter='*PrintCurrent' 2>&1";
  FILE* pipe = popen(own.c_str(), "r");
  std::string output;
  char line[512];
  while (pipe != nullptr && fgets(line, sizeof(line), pipe) != nullptr) output += line;
  if (pipe != nullptr) pclose(pipe);
  return output;
}

TEST(Isa, DISABLED_PrintCurrent) {  // the child of the tests below
  try {
    printf("in use: %s.\n", name_of(current_isa()));
  } catch (const Error& error) {
    printf("refused: %s\n", error.what());
  }
}

TEST(Isa, TheEnvironmentChoosesIt) {
  for (const Isa isa : available_isas()) {
    EXPECT_THAT(current_with_environment(name_of(isa)),
                HasSubstr(std::string("in use: ") + name_of(isa) + "."));
  }
}

TEST(Isa, AnUnknownNameInTheEnvironmentIsAnErrorThatSaysWhatThereIs) {
  EXPECT_THAT(current_with_environment("sse9"),
              HasSubstr("refused: isa: FOVEA_ISA=sse9 is not one of " + names() +
                        " (what this CPU can run)"));
}

}  // namespace
}  // namespace fovea
