// The reader of a reader's config.json on any text: an Error or a usable config.
#include <cstddef>
#include <cstdint>
#include <string>

#include "fovea/error.h"
#include "models/bert_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  try {
    const fovea::BertConfig c = fovea::parse_bert_config(bytes, "fuzz");
    const bool usable = c.width > 0 && c.heads > 0 && c.width % c.heads == 0 && c.layers > 0 &&
                        c.inner > 0 && c.vocabulary > 0 && c.types > 0 && c.positions >= 3 &&
                        c.epsilon > 0 && c.epsilon < 1 && c.labels.size() >= 2;
    if (!usable) __builtin_trap();
  } catch (const fovea::Error&) {
  }
  return 0;
}
