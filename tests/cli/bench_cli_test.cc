// fovea bench as its users meet it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "app/bench.h"
#include "run_program.h"

namespace fovea::test {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

Ran bench(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "bench");
  return run_program(arguments);
}

TEST(BenchCli, PrintsLimitsAndSituationsAndKeepsThemAsJson) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "b.json").string();
  const Ran ran = bench({"--only", "translate_step,odd", "--threads", "1,1", "--seconds", "0.01",
                         "--type", "float32", "--json", file});
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(ran.err, "");  // progress is for terminals
  for (const char* text : {"the limits, measured", "multiply-adds, float32", "memory read", "clock",
                           "float32, 1 thread", "translate_step", "% of peak", "odd_round"}) {
    EXPECT_THAT(ran.out, HasSubstr(text));
  }
  const Json json = Json::parse(read_text(file));
  EXPECT_EQ(json["command"],
            "fovea bench --only translate_step,odd --threads 1,1 --type float32 "
            "--seconds 0.01 --json " +
                file);
  EXPECT_GT(json["limits"]["threads"]["1"]["float32_gflops"], 0.05);
  EXPECT_GT(json["limits"]["threads"]["1"]["read_gigabytes_per_second"], 0.01);
  EXPECT_EQ(json["situations"].size(), 2U);
  const Json& step = json["situations"]["translate_step"];
  EXPECT_EQ(step["visible_pairs"], 28);
  EXPECT_EQ(step["operations"], 4.0 * 8 * 64 * 28);
  EXPECT_GT(step["gflops"], 0);
  EXPECT_GT(step["share_of_peak"], 0);
  for (const char* variant : {"top8_entropy", "received", "top8_entropy_received"}) {
    EXPECT_GT(step["ratio_to_plain"][variant]["median"], 0) << variant;
    EXPECT_EQ(step["seconds"][variant]["quartiles"].size(), 2U) << variant;
  }
  EXPECT_GT(json["situations"]["odd"]["gflops_to_odd_round"]["median"], 0);
}

TEST(BenchCli, JsonOnStandardOutputStandsAlone) {
  const Ran ran = bench({"--only", "translate_step", "--threads", "2", "--seconds", "0.01",
                         "--type", "float32,bfloat16", "--json", "-"});
  EXPECT_EQ(ran.status, 0) << ran.err;
  const Json json = Json::parse(ran.out);
  EXPECT_EQ(json["situations"]["translate_step 2 threads"]["threads"], 2);
  const Json& half = json["situations"]["translate_step bfloat16 2 threads"];
  EXPECT_EQ(half["type"], "bfloat16");
  EXPECT_NE(half.contains("gflops"), half.contains("not_supported"));
}

TEST(BenchCli, HelpIsTheGoldenTextAndNamesEverySituation) {
  const Ran ran = bench({"--help"});
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(ran.out, read_text(FOVEA_SOURCE_DIR "/tests/golden/bench_help.txt"));
  for (const std::string& name : bench_situations()) {
    EXPECT_THAT(ran.out, HasSubstr("\n  " + name + " ")) << name;
  }
}

TEST(BenchCli, MisuseGetsOneLineBeforeAnythingIsMeasured) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--only", "nothing"}, "--only: no situation is called 'nothing'"},
      {{"--only", "odd,"}, "--only: no situation is called ''"},
      {{"--threads", "two"}, "--threads is a list of numbers from 0 to 4096, as in 1,0, not 'two'"},
      {{"--threads", "-1"}, "--threads is a list of numbers from 0 to 4096, as in 1,0, not '-1'"},
      {{"--type", "int8"}, "--type is float32, bfloat16 or float16, not 'int8'"},
      {{"--seconds", "0"}, "--seconds is more than 0 and at most 3600"},
      {{"--seconds", "nan"}, "--seconds is more than 0 and at most 3600"},
  };
  for (const auto& [arguments, line] : cases) {
    const Ran ran = bench(arguments);
    EXPECT_EQ(ran.status, 2) << line;
    EXPECT_EQ(ran.out, "");
    EXPECT_EQ(ran.err, "fovea: bench: " + line + " (see fovea bench --help)\nTry: fovea --help\n");
  }
  const Ran unwritable = bench({"--only", "translate_step", "--threads", "1", "--seconds", "0.01",
                                "--json", "/nowhere/b.json"});
  EXPECT_EQ(unwritable.status, 1);
  EXPECT_THAT(unwritable.err, HasSubstr("fovea: /nowhere/b.json: "));
}

}  // namespace
}  // namespace fovea::test
