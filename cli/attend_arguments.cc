#include "attend_arguments.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>

#include "CLI/CLI.hpp"

namespace fovea::cli {
namespace {

[[noreturn]] void misuse(const std::string& text) {
  throw CLI::ValidationError("attend: " + text + " (see fovea attend --help)");
}

Causal causal_of(const std::string& name) {
  if (name.empty()) return Causal::kNone;
  if (name == "bottom-right") return Causal::kBottomRight;
  if (name == "top-left") return Causal::kTopLeft;
  misuse("--causal is bottom-right or top-left, not '" + name + "'");
}

DataType type_of(const std::string& name) {
  if (name == "float32") return DataType::kFloat32;
  if (name == "float16") return DataType::kFloat16;
  if (name == "bfloat16") return DataType::kBFloat16;
  misuse("--type is float32, float16 or bfloat16, not '" + name + "'");
}

// Q and K, and V unless highlights alone are asked for.
std::size_t files_wanted(const AttendArguments& arguments) {
  return arguments.request.from_lse.empty() ? 3 : 2;
}

// "--causal top-left" leaves its value among the files, where it is told from them by its name.
void take_causal_value(AttendArguments* arguments) {
  if (arguments->causal.empty() || arguments->files.size() != files_wanted(*arguments) + 1) return;
  for (auto file = arguments->files.begin(); file != arguments->files.end(); ++file) {
    if (*file != "bottom-right" && *file != "top-left") continue;
    arguments->causal = *file;
    arguments->files.erase(file);
    return;
  }
}

std::vector<std::int32_t> rows_of(const std::string& list) {
  std::vector<std::int32_t> rows;
  const char* at = list.data();
  const char* const end = at + list.size();
  for (;;) {
    std::int32_t row = 0;
    const auto [next, error] = std::from_chars(at, end, row);
    if (error != std::errc() || row < 0 || (next != end && *next != ',')) {
      misuse("--rows is a list of queries, as in 0,5, not '" + list + "'");
    }
    rows.push_back(row);
    if (next == end) return rows;
    at = next + 1;
  }
}

// "B" or "B,A".
void take_window(const std::string& text, Options* options) {
  const auto wrong = [&] {
    misuse(
        "--window is how many keys before a query's place it sees, and after it, as in 256 or "
        "256,0, not '" +
        text + "'");
  };
  const char* const end = text.data() + text.size();
  const auto number = [&](const char* at, std::optional<std::int64_t>* keys) {
    std::int64_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc() || value < 0) wrong();
    *keys = value;
    return next;
  };
  const char* at = number(text.data(), &options->window_before);
  if (at == end) return;
  if (*at != ',' || number(at + 1, &options->window_after) != end) wrong();
}

// "B:E", "B:" or ":E".
void take_keys(const std::string& text, Options* options) {
  const auto wrong = [&] {
    misuse(
        "--keys is from which key to which, the last left out, as in 0:100, 100: or :100, not '" +
        text + "'");
  };
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos || text.size() == 1) wrong();
  const auto take = [&](std::size_t from, std::size_t to, std::optional<std::int64_t>* key) {
    if (from == to) return;
    std::int64_t value = 0;
    const auto [next, error] = std::from_chars(text.data() + from, text.data() + to, value);
    if (error != std::errc() || value < 0 || next != text.data() + to) wrong();
    *key = value;
  };
  take(0, colon, &options->key_begin);
  take(colon + 1, text.size(), &options->key_end);
  if (options->key_end && options->key_begin.value_or(0) > *options->key_end) wrong();
}

void check_files(const AttendArguments& arguments) {
  const std::size_t found = arguments.files.size();
  if (found == files_wanted(arguments)) return;
  const bool causal = found == files_wanted(arguments) + 1 && !arguments.causal.empty();
  const std::string hint = causal ? "; --causal takes bottom-right or top-left" : "";
  if (!arguments.request.from_lse.empty()) {
    misuse("--from-lse needs no V: expected two files, Q.npy K.npy, found " +
           std::to_string(found) + hint);
  }
  misuse("expected three files, Q.npy K.npy V.npy, found " + std::to_string(found) + hint);
}

// Highlights asked for later: nothing else is computed.
void check_from_lse(const AttendArguments& arguments) {
  if (arguments.request.from_lse.empty()) return;
  if (!arguments.request.wants_highlights()) {
    misuse("--from-lse needs one or more of --top, --received, --entropy, --rows");
  }
  const char* const option = !arguments.out.empty()   ? "--out"
                             : !arguments.lse.empty() ? "--lse"
                             : arguments.explain      ? "--explain"
                                                      : nullptr;
  if (option == nullptr) return;
  misuse("--from-lse gives highlights alone; leave out " + std::string(option) +
         " or give V instead of --from-lse");
}

void check_standard_streams(const AttendArguments& arguments) {
  const AttendRequest& r = arguments.request;
  const auto inputs = {
      r.q,        r.k,           r.v,           r.mask,          r.bias,         r.alibi,
      r.from_lse, r.key_lengths, r.key_offsets, r.query_lengths, r.query_offsets};
  if (std::count(inputs.begin(), inputs.end(), "-") > 1) {
    misuse("- (standard input) stands for one file at most");
  }
  const auto outputs = {arguments.out, arguments.lse, arguments.highlights};
  const auto standard = std::count(outputs.begin(), outputs.end(), "-");
  if (standard == 0) return;
  if (standard > 1) misuse("only one of -o, --lse and --highlights can be - (standard output)");
  const std::string full = std::string(arguments.out == "-"   ? "-o"
                                       : arguments.lse == "-" ? "--lse"
                                                              : "--highlights") +
                           " - leaves no room on standard output ";
  if (arguments.explain) misuse(full + "for --explain");
  if (arguments.out.empty() && r.from_lse.empty()) {
    misuse(full + "for the result: give it a file, -o O.npy");
  }
  if (r.wants_highlights() && arguments.highlights.empty()) {
    misuse(full + "for highlights: name a file, --highlights H.json");
  }
}

}  // namespace

void add_attend_options(CLI::App* command, AttendArguments* arguments) {
  AttendRequest& request = arguments->request;
  command->add_option("files", arguments->files);
  command->add_option("-o,--out", arguments->out);
  command->add_option("--type", arguments->type);
  command->add_option("--scale", arguments->scale);
  command->add_flag("--causal{bottom-right}", arguments->causal);
  command->add_option("--window", arguments->window);
  command->add_option("--lengths", request.key_lengths);
  command->add_option("--query-lengths", request.query_lengths);
  command->add_option("--mask", request.mask);
  command->add_option("--bias", request.bias);
  command->add_option("--alibi", request.alibi);
  command->add_option("--keys", arguments->keys);
  command->add_option("--query-offsets", request.query_offsets);
  command->add_option("--key-offsets", request.key_offsets);
  command->add_option("--top", request.top);
  command->add_flag("--received", request.received);
  command->add_flag("--entropy", request.entropy);
  command->add_option("--rows", arguments->rows);
  command->add_option("--highlights", arguments->highlights);
  command->add_option("--lse", arguments->lse);
  command->add_option("--from-lse", request.from_lse);
  command->add_flag("--explain", arguments->explain);
  command->add_option("--threads", arguments->threads);
}

void prepare(const CLI::App& command, AttendArguments* arguments) {
  take_causal_value(arguments);
  check_files(*arguments);
  const std::vector<std::string>& files = arguments->files;
  AttendRequest& request = arguments->request;
  request.q = files[0];
  request.k = files[1];
  if (request.from_lse.empty()) request.v = files[2];
  request.options.causal = causal_of(arguments->causal);
  if (command.count("--type") > 0) request.type = type_of(arguments->type);
  if (command.count("--window") > 0) take_window(arguments->window, &request.options);
  if (command.count("--keys") > 0) take_keys(arguments->keys, &request.options);
  if (command.count("--scale") > 0) {
    const auto scale = static_cast<float>(arguments->scale);
    if (!std::isfinite(scale)) misuse("--scale must be a finite float32");
    request.options.scale = scale;
  }
  if (command.count("--top") > 0 && request.top < 1) misuse("--top must be 1 or more");
  if (command.count("--rows") > 0) request.rows = rows_of(arguments->rows);
  if (arguments->threads < 0 || arguments->threads > 4096) misuse("--threads is 0 to 4096");
  if (command.count("--highlights") > 0 && !request.wants_highlights()) {
    misuse("--highlights needs one or more of --top, --received, --entropy, --rows");
  }
  check_from_lse(*arguments);
  check_standard_streams(*arguments);
}

}  // namespace fovea::cli
