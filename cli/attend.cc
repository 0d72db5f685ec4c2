// fovea attend: the mechanism itself, on .npy files.
#include <charconv>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "CLI/CLI.hpp"
#include "app/attend_explain.h"
#include "app/attend_files.h"
#include "app/attend_text.h"
#include "base/file.h"
#include "base/npy.h"
#include "commands.h"
#include "fovea/error.h"
#include "output.h"

namespace fovea::cli {
namespace {

// Written by hand, so that it teaches and so that it is the same with every version of CLI11. A
// test compares it with the options below.
// clang-format off: the text as it is printed
constexpr const char* kHelp =
    R"help(fovea attend: the mechanism itself, on NumPy's .npy files

  out = softmax(scale Q K^T + bias) V        over the keys that each query may see

Usage: fovea attend Q.npy K.npy V.npy [-o O.npy] [options]

Try it, from making the arrays to seeing where each query looked:
  python3 -c "import numpy as np; r = np.random.default_rng(0); [np.save(x, r.normal(size=(5, 8)).astype('f4')) for x in 'qkv']"
  fovea attend q.npy k.npy v.npy -o o.npy --top 2 --entropy

Watch every step of a small one:
  python3 -c "import numpy as np; np.save('q', [[1., 0]]); np.save('k', [[1., 0], [-10, 1]]); np.save('v', [[10., 20], [30, 40]])"
  fovea attend q.npy k.npy v.npy --scale 1 --explain

Arrays: Q [N, D], K [M, D], V [M, E], all three with heads [H, ...] or batch and heads [B, H, ...]
in front if you like; K and V may have fewer heads, each shared by several of Q. Keys are rows:
never transpose K. float32, float16 or float64, computed in float32. One file may be - (standard
input).

  -o, --out O.npy         where the result goes (float32, Q's dimensions); - is standard output;
                          without it up to 1000 numbers are printed
What is computed
  --scale S               instead of 1 / sqrt(D)
  --causal[=top-left]     a query sees no later keys; aligned so that the last query sees every
                          key (bottom-right), or query 0 sees key 0 only (top-left)
  --window B[,A]          a query sees B keys before its own place and A after it (without A: no
                          limit there); the last query's place is the last key, with
                          --causal=top-left query i's is key i
  --lengths L.npy         [B] integers: keys of each sequence, the rest is padding
  --query-lengths L.npy   [B] integers: queries of each sequence; those past it give zeros
  --mask M.npy            bool, true: may see; broadcast as NumPy does to [B, H, N, M]
  --bias B.npy            floats added to the scaled scores; broadcast likewise; -inf hides
Where it looked, exactly, in the same pass
  --top K                 the K keys of largest weight for each query
  --received              what each key got from all queries together
  --entropy               how much each query spread itself, in nats
  --rows 0,5              all weights of these queries
  --highlights H.json     the four go to this file (docs/attend.md), not to the screen; - is
                          standard output
Else
  --explain               prints every step, for arrays up to 12 x 12
  --threads T             0, the default: one for each processor
  -h, --help              this text
)help";
// clang-format on

struct Arguments {
  std::vector<std::string> files;
  std::string causal;
  std::string window;
  std::string rows;
  std::string out;
  std::string highlights;
  double scale = 0;
  int threads = 0;
  bool explain = false;
  AttendRequest request;
};

[[noreturn]] void misuse(const std::string& text) {
  throw CLI::ValidationError("attend: " + text + " (see fovea attend --help)");
}

Causal causal_of(const std::string& name) {
  if (name.empty()) return Causal::kNone;
  if (name == "bottom-right") return Causal::kBottomRight;
  if (name == "top-left") return Causal::kTopLeft;
  misuse("--causal is bottom-right or top-left, not '" + name + "'");
}

// "--causal top-left" leaves its value among the files, where it is told from them by its name.
void take_causal_value(Arguments* arguments) {
  if (arguments->causal.empty() || arguments->files.size() != 4) return;
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

void check_standard_streams(const Arguments& arguments) {
  const AttendRequest& r = arguments.request;
  int inputs = 0;
  for (const std::string& path : {r.q, r.k, r.v, r.mask, r.bias, r.key_lengths, r.query_lengths}) {
    inputs += path == "-" ? 1 : 0;
  }
  if (inputs > 1) misuse("- (standard input) stands for one file at most");
  const bool out = arguments.out == "-";
  const bool highlights = arguments.highlights == "-";
  if (out && highlights) misuse("-o and --highlights cannot both be - (standard output)");
  if (out && arguments.explain) misuse("-o - leaves no room on standard output for --explain");
  if (out && r.wants_highlights() && arguments.highlights.empty()) {
    misuse(
        "-o - leaves no room on standard output for highlights: name a file, --highlights H.json");
  }
  if (highlights && (arguments.out.empty() || arguments.explain)) {
    misuse("--highlights - leaves no room on standard output: give the result a file, -o O.npy");
  }
}

// What the parser filled in, made ready and checked without a look at any file.
void prepare(const CLI::App& command, Arguments* arguments) {
  take_causal_value(arguments);
  const std::vector<std::string>& files = arguments->files;
  if (files.size() != 3) {
    misuse("expected three files, Q.npy K.npy V.npy, found " + std::to_string(files.size()) +
           (files.size() == 4 && !arguments->causal.empty()
                ? "; --causal takes bottom-right or top-left"
                : ""));
  }
  AttendRequest& request = arguments->request;
  request.q = files[0];
  request.k = files[1];
  request.v = files[2];
  request.options.causal = causal_of(arguments->causal);
  if (command.count("--window") > 0) take_window(arguments->window, &request.options);
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
  check_standard_streams(*arguments);
}

void write_result(const std::string& path, const AttendArrays& arrays, const AttendResult& result) {
  const std::vector<std::int64_t> shape = ranked(arrays, {arrays.sizes.N, arrays.sizes.E});
  View view(result.out.data(), {});
  view.rank = static_cast<int>(shape.size());
  std::int64_t step = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    view.shape[d] = shape[d];
    view.strides[d] = step;
    step *= shape[d];
  }
  if (path == "-") {
    write_out(npy_header(view));
    write_out(
        {reinterpret_cast<const char*>(result.out.data()), result.out.size() * sizeof(float)});
    return;
  }
  FileWriter writer(path);
  write_npy(writer, view);
  writer.commit();
}

void attend_command(const Arguments& arguments) {
  const AttendRequest& request = arguments.request;
  const AttendArrays arrays = read_attend(request);
  for (const std::string& note : arrays.notes) std::cerr << "fovea attend: note: " << note << "\n";
  const AttendSizes& s = arrays.sizes;
  const bool print = arguments.out.empty() && !arguments.explain;
  if (print && static_cast<double>(s.B) * static_cast<double>(s.H) * static_cast<double>(s.N) *
                       static_cast<double>(s.E) >
                   static_cast<double>(kMaxPrinted)) {
    throw Error("attend: the result is " + shape_text(ranked(arrays, {s.N, s.E})) +
                ", too large to print; give it a file: -o O.npy");
  }
  Threads threads(arguments.threads);
  std::string text;
  if (arguments.explain) text += explain_attend(arrays, request, threads);
  const AttendResult result = run_attend(arrays, request, threads);
  if (!arguments.out.empty()) write_result(arguments.out, arrays, result);
  if (print) text += out_text(arrays, result);
  if (request.wants_highlights()) {
    if (arguments.highlights.empty()) {
      text += (text.empty() ? "" : "\n") + highlights_text(arrays, result);
    } else {
      const std::string json = highlights_json(arrays, request, result);
      if (arguments.highlights == "-") {
        text += json;
      } else {
        write_file(arguments.highlights, json);
      }
    }
  }
  if (!text.empty()) write_out(text);
}

}  // namespace

void add_attend(CLI::App& app) {
  CLI::App* command = app.add_subcommand("attend", "the mechanism itself, on .npy files");
  command->formatter_fn([](const CLI::App*, std::string, CLI::AppFormatMode) { return kHelp; });
  auto arguments = std::make_shared<Arguments>();
  AttendRequest& request = arguments->request;
  command->add_option("files", arguments->files);
  command->add_option("-o,--out", arguments->out);
  command->add_option("--scale", arguments->scale);
  command->add_flag("--causal{bottom-right}", arguments->causal);
  command->add_option("--window", arguments->window);
  command->add_option("--lengths", request.key_lengths);
  command->add_option("--query-lengths", request.query_lengths);
  command->add_option("--mask", request.mask);
  command->add_option("--bias", request.bias);
  command->add_option("--top", request.top);
  command->add_flag("--received", request.received);
  command->add_flag("--entropy", request.entropy);
  command->add_option("--rows", arguments->rows);
  command->add_option("--highlights", arguments->highlights);
  command->add_flag("--explain", arguments->explain);
  command->add_option("--threads", arguments->threads);
  command->callback([command, arguments] {
    prepare(*command, arguments.get());
    try {
      attend_command(*arguments);
    } catch (const std::bad_alloc&) {
      throw Error("attend: there is not enough memory for these arrays and what was asked of them");
    }
  });
}

}  // namespace fovea::cli
