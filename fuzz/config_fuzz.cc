// The readers of config.json and generation_config.json on any text: an Error or a usable config.
// The two texts are parted by a zero byte.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fovea/error.h"
#include "models/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::size_t part = bytes.find('\0');
  const std::string_view generation =
      part == std::string_view::npos ? std::string_view() : bytes.substr(part + 1);
  try {
    const fovea::MarianConfig c =
        fovea::parse_marian_config({bytes.substr(0, part), "config", generation, "generation"});
    const bool usable = c.width > 0 && c.width % c.encoder_heads == 0 && c.search.max_length >= 2 &&
                        c.search.max_length <= c.positions + 1 && !c.search.ends.empty() &&
                        c.search.start >= 0 && c.search.start < c.target_vocabulary &&
                        c.search.beams >= 1;
    if (!usable) __builtin_trap();
  } catch (const fovea::Error&) {
  }
  return 0;
}
