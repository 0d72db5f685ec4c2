// What fovea-fit says: JSON objects on stdout for programs, words on stderr for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fovea::fit {

// Event("progress").add("step", 5).say() prints {"event":"progress","step":5}.
class Event {
 public:
  explicit Event(const std::string& name);
  Event& add(const std::string& key, std::int64_t value);
  Event& add(const std::string& key, double value);
  Event& add(const std::string& key, const std::string& value);
  Event& add(const std::string& key, const std::vector<std::int32_t>& values);
  void say();

 private:
  Event& raw(const std::string& key, const std::string& json);
  std::string line_;
};

}  // namespace fovea::fit
