// The reader of vocab.json on any bytes: an Error, or a vocabulary that is one to one.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "fovea/error.h"
#include "text/vocabulary.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data),
                          size);  // exactly this size, for asan
  try {
    const fovea::Vocabulary vocabulary = fovea::Vocabulary::parse(bytes, "fuzz");
    for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
      if (vocabulary.id(vocabulary.piece(id)) != id) std::abort();
    }
  } catch (const fovea::Error&) {
  }
  return 0;
}
