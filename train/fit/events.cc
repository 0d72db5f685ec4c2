#include "events.h"

#include <cmath>
#include <cstdio>

namespace fovea::fit {
namespace {

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + '"';
}

}  // namespace

Event::Event(const std::string& name) : line_("{\"event\":" + quoted(name)) {}

Event& Event::raw(const std::string& key, const std::string& json) {
  line_ += "," + quoted(key) + ":" + json;
  return *this;
}
Event& Event::add(const std::string& key, std::int64_t value) {
  return raw(key, std::to_string(value));
}
Event& Event::add(const std::string& key, double value) {
  if (!std::isfinite(value)) return raw(key, "null");
  char text[40];
  std::snprintf(text, sizeof text, "%.8g", value);
  return raw(key, text);
}
Event& Event::add(const std::string& key, const std::string& value) {
  return raw(key, quoted(value));
}
Event& Event::add(const std::string& key, const std::vector<std::int32_t>& values) {
  std::string list = "[";
  for (std::size_t i = 0; i < values.size(); ++i)
    list += (i ? "," : "") + std::to_string(values[i]);
  return raw(key, list + "]");
}
void Event::say() {
  line_ += "}\n";
  std::fputs(line_.c_str(), stdout);
  std::fflush(stdout);
}

}  // namespace fovea::fit
