#include "reading_options.h"

#include <charconv>

#include "CLI/CLI.hpp"

namespace fovea::cli {

void add_reading_options(CLI::App& command, ReadingOptions& options) {
  command.add_option("--layer", options.layer)->check(CLI::Range(1, 1000));
  command.add_option("--head", options.head);
  command.add_option("--reading", options.reading)
      ->check(CLI::IsMember({"input-norm", "input-raw", "output-norm", "output-raw"}));
}

Reading reading_of(const ReadingOptions& options, const Translator& translator,
                   const char* command) {
  const auto misuse = [&](const std::string& text) {
    return CLI::ValidationError(std::string(command) + ": " + text + " (see fovea " + command +
                                " --help)");
  };
  Reading reading = translator.reading();
  if (options.layer > 0) reading.layer = options.layer - 1;
  if (options.head == "mean") {
    reading.head = -1;
  } else if (!options.head.empty()) {
    int head = 0;
    const char* last = options.head.data() + options.head.size();
    const auto [end, problem] = std::from_chars(options.head.data(), last, head);
    if (problem != std::errc() || end != last || head < 1) {
      throw misuse("--head is a number from 1, or mean, not '" + options.head + "'");
    }
    reading.head = head - 1;
  }
  if (!options.reading.empty()) {
    reading.input_step = options.reading.starts_with("input");
    reading.norm_weighted = options.reading.ends_with("norm");
  }
  const MarianInfo& info = translator.info();
  if (reading.layer >= info.decoder_layers) {
    throw misuse("--layer is " + std::to_string(reading.layer + 1) +
                 ", but the model's decoder has " + std::to_string(info.decoder_layers) +
                 " layers");
  }
  if (reading.head >= info.decoder_heads) {
    throw misuse("--head is " + std::to_string(reading.head + 1) +
                 ", but the model's decoder has " + std::to_string(info.decoder_heads) + " heads");
  }
  return reading;
}

}  // namespace fovea::cli
