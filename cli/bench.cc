// fovea bench: this machine's limits and what the engine reaches of them.
#include "app/bench.h"

#include <algorithm>
#include <charconv>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/file.h"
#include "commands.h"
#include "fovea/error.h"
#include "output.h"
#include "terminal.h"

namespace fovea::cli {
namespace {

// clang-format off: the text as it is printed
constexpr const char* kHelp =
    R"help(fovea bench: this machine's limits, and what the engine reaches of them

Usage: fovea bench [options]

Try it (under a minute):
  fovea bench
  fovea bench --only self_2k,decode_4k_grouped --threads 1 --json bench.json

First the limits, each by a program that does nothing else: multiply-adds in registers (nothing that
multiplies matrices is faster), and reading memory, four times the last cache, from end to end
(nothing that keeps its keys there is faster). Then attention in situations that have names, as a
share of the limit that binds. Last, what highlights add: time with them / time without.

Counted are 2 (D + E) operations for each query-key pair that sees each other, and each head. Some
rows of each result are checked against fp64 before anything is timed. What is compared is timed in
turn, round after round; shown are medians, and medians of the rounds' own ratios.

  --only A,B        these situations
  --full            all of them, and longer (several minutes)
  --threads 1,0     numbers of threads; 0: one for each processor
  --type T,T        float32, bfloat16, float16; default float32
  --seconds S       for each line, about: 1, with --full 3
  --json FILE       all figures with their quartiles; - is standard output, instead of the text
  -h, --help        this text

Situations: sequences x heads (key heads), queries x keys, width; * only with --full or --only
  self_512               1 x 8, 512 x 512, 64       one text
  self_2k                1 x 8, 2048 x 2048, 64     the same, longer
  self_2k_wide *         1 x 8, 2048 x 2048, 128    heads of 128
  self_8k *              1 x 8, 8192 x 8192, 64     longer again
  causal_2k              1 x 8, 2048 x 2048, 64     each position sees those before it
  causal_2k_128 *        1 x 32, 2048 x 2048, 128   a language model reads its prompt
  causal_2k_grouped *    1 x 32 (8), the same       4 heads share keys
  causal_8k *            1 x 8, 8192 x 8192, 64     a long prompt
  window_8k *            the same, 512 keys back
  long_32k *             1 x 1, 32768 x 32768, 64   causal, one head
  sentence_batch         32 x 8, 12-24 x 12-28, 64  a batch of sentences and their lengths
  sentence_batch_plain * 32 x 8, 24 x 28, 64        the same, all as long as the longest
  translate_step         1 x 8, 1 x 28, 64          one new word of a translation
  translate_step_32      32 x 8, 1 x 28, 64         of 32 translations
  decode_4k_grouped      1 x 32 (8), 1 x 4096, 128  one new word; the keys come from memory
  odd                    8 x 8, 33 x 47, 40         sizes that fit nothing
  odd_round *            8 x 8, 32 x 48, 40         its neighbour that does
)help";
// clang-format on

struct Arguments {
  std::string only, threads, types, json;
  BenchRequest request;
};

[[noreturn]] void misuse(const std::string& text) {
  throw CLI::ValidationError("bench: " + text + " (see fovea bench --help)");
}

std::vector<std::string> parts_of(const std::string& list) {
  std::vector<std::string> parts;
  for (std::size_t from = 0;;) {
    const std::size_t comma = list.find(',', from);
    parts.push_back(list.substr(from, comma - from));
    if (comma == std::string::npos) return parts;
    from = comma + 1;
  }
}

int thread_count(const std::string& text) {
  int count = 0;
  const char* const end = text.data() + text.size();
  const auto [next, error] = std::from_chars(text.data(), end, count);
  if (error != std::errc() || next != end || count < 0 || count > 4096) {
    misuse("--threads is a list of numbers from 0 to 4096, as in 1,0, not '" + text + "'");
  }
  return count;
}

DataType type_of(const std::string& name) {
  for (const DataType type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    if (name == name_of(type)) return type;
  }
  misuse("--type is float32, bfloat16 or float16, not '" + name + "'");
}

void prepare(const CLI::App& command, Arguments* arguments) {
  BenchRequest& request = arguments->request;
  request.command = "fovea bench";
  for (const CLI::Option* option : command.get_options()) {
    if (option->count() == 0) continue;
    request.command += " " + option->get_name();
    if (option->get_expected_max() > 0) request.command += " " + option->results().back();
  }
  if (command.count("--only") > 0) {
    request.only = parts_of(arguments->only);
    const std::vector<std::string> known = bench_situations();
    for (const std::string& name : request.only) {
      if (std::find(known.begin(), known.end(), name) == known.end()) {
        misuse("--only: no situation is called '" + name + "'");
      }
    }
  }
  if (command.count("--threads") > 0) {
    request.threads.clear();
    for (const std::string& part : parts_of(arguments->threads)) {
      request.threads.push_back(thread_count(part));
    }
  }
  if (command.count("--type") > 0) {
    request.types.clear();
    for (const std::string& part : parts_of(arguments->types)) {
      request.types.push_back(type_of(part));
    }
  }
  if (command.count("--seconds") > 0 && !(request.seconds > 0 && request.seconds <= 3600)) {
    misuse("--seconds is more than 0 and at most 3600");
  }
}

void bench_command(const Arguments& arguments) {
  const bool json_out = arguments.json == "-";
  BenchListener listener;
  listener.print = [&](std::string_view text) {
    if (!json_out) write_out(text);
  };
  listener.doing = [](std::string_view what) {
    if (!errors_are_terminal()) return;
    std::cerr << "\r\033[K" << (what.empty() ? "" : "measuring ") << what << std::flush;
  };
  const std::string json = run_bench(arguments.request, listener);
  if (json_out) {
    write_out(json);
  } else if (!arguments.json.empty()) {
    write_file(arguments.json, json);
  }
}

}  // namespace

void add_bench(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("bench", "this machine's limits and what the engine reaches of them");
  command->formatter_fn(
      [](const CLI::App*, const std::string&, CLI::AppFormatMode) { return kHelp; });
  auto arguments = std::make_shared<Arguments>();
  command->add_option("--only", arguments->only);
  command->add_flag("--full", arguments->request.full);
  command->add_option("--threads", arguments->threads);
  command->add_option("--type", arguments->types);
  command->add_option("--seconds", arguments->request.seconds);
  command->add_option("--json", arguments->json);
  command->callback([command, arguments] {
    prepare(*command, arguments.get());
    bench_command(*arguments);
  });
}

}  // namespace fovea::cli
