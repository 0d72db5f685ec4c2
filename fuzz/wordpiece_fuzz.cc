// WordPiece on any vocab.txt, tokenizer_config.json and text: an Error, or pieces that are in the
// vocabulary and lie in the text one after another. The three are parted by zero bytes; the settings
// are missing where there is no such byte.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "fovea/error.h"
#include "fovea/text.h"
#include "fovea/wordpiece.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::size_t first = bytes.find('\0');
  const std::size_t second = first == bytes.npos ? first : bytes.find('\0', first + 1);
  // Copies of exactly these sizes, so that the address sanitizer sees a read past their ends.
  const std::string vocabulary(bytes.substr(0, first));
  const std::string settings(first == bytes.npos ? ""
                                                 : bytes.substr(first + 1, second - first - 1));
  const std::string text(second == bytes.npos ? "the film" : bytes.substr(second + 1));
  try {
    fovea::WordPieceFiles files{vocabulary};
    if (first != bytes.npos) files.settings = settings;
    const fovea::WordPiece wordpiece = fovea::WordPiece::parse(files);
    const fovea::WordPieceFacts facts = wordpiece.facts();
    for (const std::int32_t id : {facts.pad, facts.unknown, facts.begin, facts.end}) {
      if (id < 0 || id >= facts.size) __builtin_trap();
    }
    const fovea::Pieces pieces = wordpiece.encode(text);
    if (pieces.texts.size() != pieces.ids.size() || pieces.spans.size() != pieces.ids.size()) {
      __builtin_trap();
    }
    const auto length = static_cast<std::int32_t>(fovea::code_points(text).size());
    std::int32_t last = 0;
    for (std::size_t i = 0; i < pieces.ids.size(); ++i) {
      const fovea::Span span = pieces.spans[i];
      const bool right = pieces.ids[i] >= 0 && pieces.ids[i] < facts.size &&
                         !pieces.texts[i].empty() && span.begin >= last && span.end > span.begin &&
                         span.end <= length;
      if (!right) __builtin_trap();
      last = span.end;
    }
  } catch (const fovea::Error&) {
  }
  return 0;
}
