// Who may include whom: reads every #include in the tree and fails on an edge that HACKING.md does not allow.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

using Rooms = std::set<std::string>;

// Room -> the rooms under src/ whose private headers it may include. Its own is always allowed.
const std::map<std::string, Rooms> kMayInclude = {
    {"base", {}},
    {"reference", {"base"}},
    {"kernels", {"base"}},
    {"attention", {"base", "kernels"}},
    {"measure", {"base", "kernels", "reference"}},
    {"text", {"base"}},
    {"models", {"base", "attention"}},
    {"insight", {"base", "text"}},
    {"render", {"base", "insight"}},
    {"app", {"base", "attention", "measure", "text", "models", "insight", "render"}},
};

struct Edge {
  std::string file;
  std::string include;
};

// The includes of `file`, quotes and brackets alike.
std::vector<std::string> includes_of(const fs::path& file) {
  static const std::regex kInclude(R"re(^\s*#\s*include\s*[<"]([^>"]+)[>"])re");
  std::vector<std::string> found;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::smatch match;
    if (std::regex_search(line, match, kInclude)) found.push_back(match[1]);
  }
  return found;
}

std::vector<fs::path> sources_below(const fs::path& folder) {
  std::vector<fs::path> found;
  if (!fs::exists(folder)) return found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string ending = entry.path().extension();
    if (ending == ".cc" || ending == ".h") found.push_back(entry.path());
  }
  return found;
}

// True when `room` may include `include` (a path as written).
bool allowed(const std::string& room, const std::string& include) {
  const std::string first = include.substr(0, include.find('/'));
  if (!kMayInclude.contains(first)) return true;  // std, fovea/, a library
  return first == room || kMayInclude.at(room).contains(first);
}

TEST(Rooms, IncludeOnlyWhatTheyMay) {
  int files = 0;
  for (const auto& [room, may] : kMayInclude) {
    for (const fs::path& file : sources_below(fs::path(FOVEA_SOURCE_DIR) / "src" / room)) {
      ++files;
      for (const std::string& include : includes_of(file)) {
        EXPECT_TRUE(allowed(room, include)) << file << " includes " << include;
      }
    }
  }
  EXPECT_GT(files, 3) << "no sources found: is FOVEA_SOURCE_DIR right?";
}

TEST(Rooms, PublicHeadersStandAlone) {
  int files = 0;
  for (const fs::path& file : sources_below(fs::path(FOVEA_SOURCE_DIR) / "include")) {
    ++files;
    for (const std::string& include : includes_of(file)) {
      const bool own = include.rfind("fovea/", 0) == 0;
      const bool standard =
          include.find('/') == std::string::npos && include.find('.') == std::string::npos;
      EXPECT_TRUE(own || standard) << file << " includes " << include;
    }
  }
  EXPECT_GT(files, 3);
}

TEST(Rooms, TheDoorEntersOnlyThroughApp) {
  for (const fs::path& file : sources_below(fs::path(FOVEA_SOURCE_DIR) / "cli")) {
    for (const std::string& include : includes_of(file)) {
      const std::string first = include.substr(0, include.find('/'));
      EXPECT_TRUE(!kMayInclude.contains(first) || first == "app" || first == "base")
          << file << " includes " << include;
    }
  }
}

TEST(Rooms, ThePythonDoorSeesPublicHeadersOnly) {
  const std::vector<fs::path> files = sources_below(fs::path(FOVEA_SOURCE_DIR) / "python");
  EXPECT_FALSE(files.empty());
  for (const fs::path& file : files) {
    for (const std::string& include : includes_of(file)) {
      const std::string first = include.substr(0, include.find('/'));
      EXPECT_FALSE(kMayInclude.contains(first)) << file << " includes " << include;
    }
  }
}

TEST(Rooms, SimdStaysInKernels) {
  static const std::regex kSimd(R"(^(hwy/|immintrin|arm_neon|x86intrin))");
  for (const auto& [room, may] : kMayInclude) {
    if (room == "kernels") continue;
    for (const fs::path& file : sources_below(fs::path(FOVEA_SOURCE_DIR) / "src" / room)) {
      for (const std::string& include : includes_of(file)) {
        EXPECT_FALSE(std::regex_search(include, kSimd)) << file << " includes " << include;
      }
    }
  }
}

TEST(Rooms, ForbiddenEdgesAreSeen) {  // the check itself can fail
  EXPECT_FALSE(allowed("base", "kernels/forward.h"));
  EXPECT_FALSE(allowed("kernels", "reference/attend.h"));
  EXPECT_FALSE(allowed("insight", "models/marian.h"));
  EXPECT_TRUE(allowed("attention", "kernels/forward.h"));
  EXPECT_TRUE(allowed("app", "fovea/view.h"));
}

}  // namespace
