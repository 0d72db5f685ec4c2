// The error of every type, path and instruction set of this machine, against the fp64 reference, beside that of a
// plain float32 loop:
//
//   fovea_numerics [--quick] [FILE.json]        bench/results/numerics.json unless named; --quick: 2^x at every
//                                               4,099th float only
//
// docs/numerics.md is made from the file by tools/numerics_page.py. The program fails where the contract of
// fovea/attend.h does not hold: out at most twice the plain loop's error plus 1e-6 of the largest |v|.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "base/random.h"
#include "fovea/attend.h"
#include "fovea/isa.h"
#include "measure/machine.h"
#include "numerics/exp2.h"
#include "numerics/plain.h"
#include "reference/attend.h"

namespace fovea::numerics {

Exp2 exp2_of(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx2: return exp2_avx2;
    case Isa::kAvx512: return exp2_avx512;
#endif
    case Isa::kScalar: return exp2_scalar;
    default: return nullptr;
  }
}

namespace {

constexpr std::int64_t kTop = 8;

// A number as JSON has it.
std::string text_of(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", x);
  return std::isfinite(x) ? text : "null";
}

// --- 2^x ----------------------------------------------------------------------------------------------

struct Exp2Error {
  std::string name;
  Exp2 exp2 = nullptr;
  double relative = 0;  // the largest, and where
  double at = 0;
  double ulps =
      0;  // the largest distance from the truth in units of the last place of a result of that size
};

// All floats in [-126, 10], or every `step`-th. Returns how many.
std::int64_t measure_exp2(std::vector<Exp2Error>& errors, std::uint32_t step) {
  constexpr std::size_t kBlock = 4096;
  std::vector<float> x, y(kBlock);
  std::vector<double> truth(kBlock);
  x.reserve(kBlock);
  std::int64_t count = 0;
  const auto flush = [&] {
    const std::size_t n = x.size();
    count += static_cast<std::int64_t>(n);
    x.resize(kBlock, 0.0F);
    for (std::size_t i = 0; i < n; ++i) truth[i] = std::exp2(static_cast<double>(x[i]));
    for (Exp2Error& error : errors) {
      error.exp2(x.data(), y.data(), kBlock);
      for (std::size_t i = 0; i < n; ++i) {
        const double off = std::abs(static_cast<double>(y[i]) - truth[i]);
        if (off > error.relative * truth[i]) {
          error.relative = off / truth[i];
          error.at = x[i];
        }
        constexpr std::uint64_t kExponent = std::uint64_t{0x7ff} << 52U;
        const auto power =
            std::bit_cast<double>(std::bit_cast<std::uint64_t>(truth[i]) & kExponent);
        error.ulps = std::max(error.ulps, off / power * 0x1p23);
      }
    }
    x.clear();
  };
  const auto run = [&](float from, float to) {  // away from 0, so that bits ascend
    const auto end = std::uint64_t{std::bit_cast<std::uint32_t>(to)};
    for (auto u = std::uint64_t{std::bit_cast<std::uint32_t>(from)}; u <= end; u += step) {
      x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(u)));
      if (x.size() == kBlock) flush();
    }
  };
  run(0.0F, 10.0F);
  run(-0.0F, -126.0F);
  flush();
  return count;
}

// --- attention ----------------------------------------------------------------------------------------

struct Shape {
  const char* name;
  std::int64_t H, N, M;
};
constexpr Shape kShapes[] = {{"prefill", 1, 256, 1024}, {"decode", 8, 1, 4096}};

// The widths of scores: their standard deviation.
constexpr int kSpreads[] = {1, 8, 60};
constexpr std::int64_t kWidths[] = {64, 128};

// Queries are `spread` times as long as keys: scores have that standard deviation. Rounded to T, and the truth
// is that of the rounded numbers.
template <class T>
Problem problem_of(const Shape& shape, std::int64_t width, double spread, std::vector<T>* q,
                   std::vector<T>* k, std::vector<T>* v) {
  Random random(1);
  Problem z{shape.H, shape.N, shape.M, width, {}, {}, {}, 0};
  z.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(width)));
  const auto fill = [&random](std::int64_t n, double size, std::vector<T>* to,
                              std::vector<float>* widened) {
    for (std::int64_t i = 0; i < n; ++i) {
      to->push_back(static_cast<T>(static_cast<float>(size * random.normal())));
      widened->push_back(static_cast<float>(to->back()));
    }
  };
  fill(z.H * z.N * z.D, spread, q, &z.q);
  fill(z.H * z.M * z.D, 1, k, &z.k);
  fill(z.H * z.M * z.D, 1, v, &z.v);
  return z;
}

struct Error {
  double max = 0, squares = 0;
  std::int64_t count = 0;

  void add(double off) {
    const double size = std::abs(off);
    if (size > max || std::isnan(size)) max = size;
    squares += size * size;
    ++count;
  }
  double rms() const { return std::sqrt(squares / static_cast<double>(count)); }
};

template <class A>
Error error_of(const std::vector<A>& have, const std::vector<double>& truth, double unit) {
  Error error;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    error.add((static_cast<double>(static_cast<float>(have[i])) - truth[i]) / unit);
  }
  return error;
}

struct Truth {
  std::vector<double> out, lse, entropy, rows, received;
};

template <class T>
struct Case {
  std::vector<T> q, k, v;
  Problem z;
  std::vector<std::int32_t> queries;
  Inputs inputs;
  Truth truth;
  Plain beside;

  Case(const Shape& shape, std::int64_t width, double spread)
      : z(problem_of<T>(shape, width, spread, &q, &k, &v)) {
    for (std::int64_t i = 0; i < z.N; ++i) queries.push_back(static_cast<std::int32_t>(i));
    inputs.q = View(q.data(), {1, z.H, z.N, z.D});
    inputs.k = View(k.data(), {1, z.H, z.M, z.D});
    inputs.v = View(v.data(), {1, z.H, z.M, z.D});
    inputs.row_queries = queries;
    resize(truth.out, truth.lse, truth.entropy, truth.rows, truth.received);
    Outputs outputs = views(truth.out, truth.lse, truth.entropy, truth.rows, truth.received);
    reference::attend(inputs, Options{.scale = z.scale}, outputs);
    beside = plain(z, std::is_same_v<T, BFloat16>);
  }

  template <class A, class B>
  void resize(std::vector<A>& out, std::vector<B>& lse, std::vector<B>& entropy,
              std::vector<B>& rows, std::vector<B>& received) const {
    out.resize(static_cast<std::size_t>(z.H * z.N * z.D));
    lse.resize(static_cast<std::size_t>(z.H * z.N));
    entropy.resize(lse.size());
    rows.resize(static_cast<std::size_t>(z.H * z.N * z.M));
    received.resize(static_cast<std::size_t>(z.H * z.M));
  }

  template <class A, class B>
  Outputs views(std::vector<A>& out, std::vector<B>& lse, std::vector<B>& entropy,
                std::vector<B>& rows, std::vector<B>& received) const {
    Outputs outputs;
    outputs.out = MutableView(out.data(), {1, z.H, z.N, z.D});
    outputs.lse = MutableView(lse.data(), {1, z.H, z.N});
    outputs.entropy = MutableView(entropy.data(), {1, z.H, z.N});
    outputs.rows = MutableView(rows.data(), {1, z.H, z.N, z.M});
    outputs.received = MutableView(received.data(), {1, z.H, z.M});
    return outputs;
  }
};

std::string measure_text(const Error& fovea, const Error& plain) {
  return "{\"max\": " + text_of(fovea.max) + ", \"rms\": " + text_of(fovea.rms()) +
         ", \"plain_max\": " + text_of(plain.max) + ", \"plain_rms\": " + text_of(plain.rms()) +
         ", \"ratio\": " + text_of(plain.max > 0 ? fovea.max / plain.max : 0) +
         ", \"ratio_rms\": " + text_of(plain.max > 0 ? fovea.rms() / plain.rms() : 0) + "}";
}

// Of the plain loop's out, stored as A. Where weights are rounded there are two, and the worse counts: plain.h.
template <class A, class T>
Error plain_out_error(const Case<T>& c, double unit) {
  Error worse;
  for (const std::vector<float>* out : {&c.beside.out, &c.beside.moved_out}) {
    if (out->empty()) continue;
    std::vector<A> stored;
    for (const float x : *out) stored.push_back(A(x));
    const Error error = error_of(stored, c.truth.out, unit);
    if (error.max >= worse.max) worse = error;
  }
  return worse;
}

// What one instruction set makes of the case, as JSON. False in `holds`: the contract is broken.
template <class T>
std::string measured(const Case<T>& c, Threads& threads, bool* holds) {
  const Problem& z = c.z;
  std::vector<float> out, lse, entropy, rows, received;
  c.resize(out, lse, entropy, rows, received);
  Outputs outputs = c.views(out, lse, entropy, rows, received);
  std::vector<std::int32_t> index(lse.size() * kTop);
  std::vector<float> weight(index.size());
  outputs.top_index = MutableView(index.data(), {1, z.H, z.N, kTop});
  outputs.top_weight = MutableView(weight.data(), {1, z.H, z.N, kTop});
  const Options options{.scale = z.scale};
  attend(c.inputs, options, outputs, threads);

  // The weights of the keys that were found to be the best, and the plain loop's of the same keys.
  Error top, plain_top;
  for (std::size_t i = 0; i < index.size(); ++i) {
    const std::size_t at =
        i / kTop * static_cast<std::size_t>(z.M) + static_cast<std::size_t>(index[i]);
    top.add(static_cast<double>(weight[i]) - c.truth.rows[at]);
    plain_top.add(static_cast<double>(c.beside.rows[at]) - c.truth.rows[at]);
  }
  double largest = 0;  // |v|
  for (const float x : z.v) largest = std::max(largest, std::abs(static_cast<double>(x)));

  const Error error = error_of(out, c.truth.out, largest);
  const Error plain_error = plain_out_error<float>(c, largest);
  if (!(error.max <= 2 * plain_error.max + 1e-6)) *holds = false;
  std::ostringstream text;
  text << "{\"out\": " << measure_text(error, plain_error);
  const auto add = [&text](const char* name, const Error& fovea, const Error& plain) {
    text << ", \"" << name << "\": " << measure_text(fovea, plain);
  };
  if constexpr (!std::is_same_v<T, float>) {
    std::vector<T> stored(out.size());
    Outputs only;
    only.out = MutableView(stored.data(), {1, z.H, z.N, z.D});
    attend(c.inputs, options, only, threads);
    add("stored", error_of(stored, c.truth.out, largest), plain_out_error<T>(c, largest));
  }
  add("lse", error_of(lse, c.truth.lse, 1), error_of(c.beside.lse, c.truth.lse, 1));
  add("entropy", error_of(entropy, c.truth.entropy, 1),
      error_of(c.beside.entropy, c.truth.entropy, 1));
  add("top", top, plain_top);
  add("received", error_of(received, c.truth.received, 1),
      error_of(c.beside.received, c.truth.received, 1));
  add("rows", error_of(rows, c.truth.rows, 1), error_of(c.beside.rows, c.truth.rows, 1));
  text << "}";
  return text.str();
}

template <class T>
void measure_type(const char* type, Threads& threads, std::vector<std::string>* lines,
                  bool* holds) {
  for (const Shape& shape : kShapes) {
    for (const std::int64_t width : kWidths) {
      for (const int spread : kSpreads) {
        const Case<T> c(shape, width, spread);
        for (const Isa isa : available_isas()) {
          if (multiplies_bfloat16(isa) && !std::is_same_v<T, BFloat16>)
            continue;  // is kAvx512 then
          set_isa(isa);
          bool here = true;
          std::ostringstream name;
          name << type << "." << name_of(isa) << "." << shape.name << ".d" << width << ".s"
               << spread;
          lines->push_back("  \"" + name.str() + "\": " + measured(c, threads, &here));
          if (!here) std::cerr << "fovea_numerics: " << name.str() << " breaks the contract\n";
          *holds = *holds && here;
        }
      }
    }
  }
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (std::size_t i = 0; i < lines.size(); ++i)
    text += lines[i] + (i + 1 < lines.size() ? ",\n" : "\n");
  return text;
}

int main_of(bool quick, const std::string& file) {
  Threads threads(1);
  const Isa best = current_isa();
  std::string isas;
  std::vector<Exp2Error> exp2;
  for (const Isa isa : available_isas()) {
    isas += (isas.empty() ? "\"" : ", \"") + std::string(name_of(isa)) + "\"";
    if (exp2_of(isa) != nullptr) exp2.push_back({name_of(isa), exp2_of(isa)});
  }
  const std::int64_t floats = measure_exp2(exp2, quick ? 4099 : 1);
  std::vector<std::string> exponentials{"  \"floats\": " + std::to_string(floats)};
  for (const Exp2Error& e : exp2) {
    exponentials.push_back("  \"" + e.name + "\": {\"relative\": " + text_of(e.relative) +
                           ", \"at\": " + text_of(e.at) + ", \"ulps\": " + text_of(e.ulps) + "}");
  }
  bool holds = true;
  std::vector<std::string> cases;
  measure_type<float>("float32", threads, &cases, &holds);
  measure_type<BFloat16>("bfloat16", threads, &cases, &holds);
  measure_type<Float16>("float16", threads, &cases, &holds);
  set_isa(best);
  std::ofstream to(file);
  to << "{\n \"command\": \"fovea_numerics" << (quick ? " --quick" : "") << "\",\n \"cpu\": \""
     << measure::this_machine().cpu << "\",\n \"compiler\": \"" << __VERSION__
     << "\",\n \"isas\": [" << isas << "],\n \"exp2\": {\n"
     << joined(exponentials) << " },\n \"cases\": {\n"
     << joined(cases) << " }\n}\n";
  if (!to.flush()) {
    std::cerr << "fovea_numerics: cannot write " << file << "\n";
    return 1;
  }
  return holds ? 0 : 1;
}

}  // namespace
}  // namespace fovea::numerics

int main(int argc, char** argv) {
  bool quick = false;
  std::string file = "bench/results/numerics.json";
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      quick = true;
    } else if (argv[i][0] == '-') {
      std::cerr << "usage: fovea_numerics [--quick] [FILE.json]: measures errors against fp64 ("
                << file << " unless FILE is given)\n";
      return 2;
    } else {
      file = argv[i];
    }
  }
  return fovea::numerics::main_of(quick, file);
}
