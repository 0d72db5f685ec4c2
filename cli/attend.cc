// fovea attend: the mechanism itself, on .npy files.
#include <cstdint>
#include <iostream>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "app/attend_explain.h"
#include "app/attend_files.h"
#include "app/attend_run.h"
#include "app/attend_text.h"
#include "attend_arguments.h"
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
       fovea attend Q.npy K.npy --from-lse L.npy --top 3      where it looked, asked for later

Try it, from making the arrays to seeing where each query looked:
  python3 -c "import numpy as np; r = np.random.default_rng(0); [np.save(x, r.normal(size=(5, 8)).astype('f4')) for x in 'qkv']"
  fovea attend q.npy k.npy v.npy -o o.npy --top 2 --entropy

Watch every step of a small one:
  python3 -c "import numpy as np; np.save('q', [[1., 0]]); np.save('k', [[1., 0], [-10, 1]]); np.save('v', [[10., 20], [30, 40]])"
  fovea attend q.npy k.npy v.npy --scale 1 --explain

Arrays: Q [N, D], K [M, D], V [M, E], all three with heads [H, ...] or batch and heads [B, H, ...]
in front if you like; K and V may have fewer heads, each shared by several of Q. Keys are rows:
never transpose K. float32, float16 or float64. One file may be - (standard input).

  -o, --out O.npy         where the result goes (float32, Q's dimensions); - is standard output;
                          without it up to 1000 numbers are printed
  --type T                float32, the default, float16 or bfloat16: Q, K and V are rounded to it
                          and read as it; sums and O stay float32. Files of that type are used as
                          they lie; NumPy has no bfloat16, so such values come as float32
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
  --alibi S.npy           ALiBi: slopes [H] or [B, H]; a score loses its head's slope times how far
                          the key is from the query's own place (see --window); --alibi auto: the
                          usual slopes, 2^(-8 (h + 1) / H); H not a power of two: docs/attend.md
  --keys B:E              only keys B to E - 1 (B: and :E too); all places still count from key 0
Packed batches: sequences of different lengths end to end, without padding
  --query-offsets F.npy   Q is [T, H, D]; sequence b is its rows F[b] to F[b + 1] - 1: integers,
                          F = np.concatenate([[0], np.cumsum(lengths)])
  --key-offsets F.npy     K is [S, G, D] and V [S, G, E]. O, L and highlights are packed alike
Where it looked, exactly, in the same pass
  --top K                 the K keys of largest weight for each query
  --received              what each key got from all queries together
  --entropy               how much each query spread itself, in nats
  --rows 0,5              all weights of these queries (packed: 0 to T - 1)
  --highlights H.json     the four go to this file (docs/attend.md), not to the screen; - is
                          standard output
  --lse L.npy             stores each query's log of the sum of exp(score), from which ...
  --from-lse L.npy        ... the four can be had later, without V: same arrays, same options
Else
  --explain               prints every step, for arrays up to 12 x 12
  --threads T             0, the default: one for each processor
  -h, --help              this text
)help";
// clang-format on

void write_array(const std::string& path, const std::vector<std::int64_t>& shape,
                 const std::vector<float>& values) {
  View view(values.data(), {});
  view.rank = static_cast<int>(shape.size());
  std::int64_t step = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    view.shape[d] = shape[d];
    view.strides[d] = step;
    step *= shape[d];
  }
  if (path == "-") {
    write_out(npy_header(view));
    write_out({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
    return;
  }
  FileWriter writer(path);
  write_npy(writer, view);
  writer.commit();
}

void check_printable(const std::vector<std::int64_t>& shape) {
  double numbers = 1;
  for (const std::int64_t size : shape) numbers *= static_cast<double>(size);
  if (numbers <= static_cast<double>(kMaxPrinted)) return;
  throw Error("attend: the result is " + shape_text(shape) +
              ", too large to print; give it a file: -o O.npy");
}

void attend_command(const AttendArguments& arguments) {
  const AttendRequest& request = arguments.request;
  const AttendArrays arrays = read_attend(request);
  for (const std::string& note : arrays.notes) std::cerr << "fovea attend: note: " << note << "\n";
  const auto shape = shape_of_queries(arrays, {arrays.sizes.E});
  const bool print = arguments.out.empty() && !arguments.explain && request.from_lse.empty();
  if (print) check_printable(shape);
  Threads threads(arguments.threads);
  std::string text;
  if (arguments.explain) text += explain_attend(arrays, request, threads);
  const AttendResult result = run_attend(arrays, request, threads);
  if (!arguments.out.empty()) write_array(arguments.out, shape, result.out);
  if (!arguments.lse.empty()) write_array(arguments.lse, shape_of_queries(arrays), result.lse);
  if (print) text += out_text(arrays, result);
  if (request.wants_highlights()) {
    if (arguments.highlights.empty()) {
      text += (text.empty() ? "" : "\n") + highlights_text(arrays, request, result);
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
  auto arguments = std::make_shared<AttendArguments>();
  add_attend_options(command, arguments.get());
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
