#include "models/linear.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <dnnl.hpp>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/aligned.h"
#include "base/random.h"
#include "fovea/error.h"

// GCC's OpenMP runtime, which oneDNN uses. Its header is not among clang's.
extern "C" {
int omp_get_max_threads(void);
void omp_set_num_threads(int);
}

namespace fovea {
namespace {

using Memory = dnnl::memory;
using Dims = Memory::dims;

constexpr std::int64_t kTile = 16;  // the block whose bits the others are held to
constexpr std::array<std::int64_t, 7> kBlocks = {64, 32, 16, 8, 4, 2, 1};

// Keeps oneDNN on the calling thread, and leaves the caller's OpenMP as it was.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) {
    if (before_ != 1) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (before_ != 1) omp_set_num_threads(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::stream& stream() {
  thread_local dnnl::stream own(engine());
  return own;
}

// Scratch memory of oneDNN, one for each thread, kept from call to call.
std::byte* scratch(std::size_t size) {
  thread_local AlignedArray<std::byte> bytes;
  thread_local std::size_t have = 0;
  if (have < size) {
    bytes = aligned_array<std::byte>(size);
    have = size;
  }
  return bytes.get();
}

struct Shape {
  std::int64_t in;
  std::int64_t out;
  auto operator<=>(const Shape&) const = default;
};

// A compiled product of a fixed number of rows.
struct Product {
  std::int64_t rows = 0;
  dnnl::inner_product_forward run;
  Memory::desc x;
  Memory::desc y;
  Memory::desc scratch;
};

// Everything about a shape but the weights: shared by all layers of that shape.
struct Plan {
  Memory::desc packed;  // the weights as the products want them
  Memory::desc bias;
  std::vector<Product> products;  // rows descending
};

dnnl::inner_product_forward::primitive_desc describe(const Shape& s, std::int64_t rows,
                                                     const Memory::desc& weight) {
  const Memory::desc x(Dims{rows, s.in}, Memory::data_type::f32, Memory::format_tag::ab);
  const Memory::desc y(Dims{rows, s.out}, Memory::data_type::f32, Memory::format_tag::ab);
  const Memory::desc b(Dims{s.out}, Memory::data_type::f32, Memory::format_tag::a);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), dnnl::prop_kind::forward_inference, x, weight, b, y, attributes};
#else
  return {dnnl::inner_product_forward::desc(dnnl::prop_kind::forward_inference, x, weight, b, y),
          attributes, engine()};
#endif
}

Product product_of(const dnnl::inner_product_forward::primitive_desc& d, std::int64_t rows) {
  return {rows, dnnl::inner_product_forward(d), d.src_desc(), d.dst_desc(), d.scratchpad_desc()};
}

// oneDNN's C++ handles hold no const pointers; it only reads x, weights and bias.
void run(const Product& p, const float* x, const Memory& weight, const Memory& bias, float* y) {
  std::byte* room = scratch(p.scratch.get_size());
  p.run.execute(stream(), {{DNNL_ARG_SRC, Memory(p.x, engine(), const_cast<float*>(x))},
                           {DNNL_ARG_WEIGHTS, weight},
                           {DNNL_ARG_BIAS, bias},
                           {DNNL_ARG_DST, Memory(p.y, engine(), y)},
                           {DNNL_ARG_SCRATCHPAD, Memory(p.scratch, engine(), room)}});
}

Memory pack(const Memory::desc& packed, const Shape& s, const float* weight) {
  Memory plain({Dims{s.out, s.in}, Memory::data_type::f32, Memory::format_tag::ab}, engine(),
               const_cast<float*>(weight));
  Memory result(packed, engine());
  dnnl::reorder(plain, result).execute(stream(), plain, result);
  stream().wait();
  return result;
}

std::vector<float> random_values(std::int64_t count, std::uint64_t seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  Random random(seed);
  for (float& v : values) v = static_cast<float>(2 * random.uniform() - 1);
  return values;
}

// Whether every row of the block gives `want`, bit for bit, when all rows are the same. The order
// of additions does not depend on the values, so one try shows it.
bool gives(const Product& p, std::span<const float> row, const Memory& weight, const Memory& bias,
           std::span<const float> want) {
  std::vector<float> x;
  for (std::int64_t r = 0; r < p.rows; ++r) x.insert(x.end(), row.begin(), row.end());
  std::vector<float> y(want.size() * static_cast<std::size_t>(p.rows));
  run(p, x.data(), weight, bias, y.data());
  for (std::size_t at = 0; at < y.size(); at += want.size()) {
    if (std::memcmp(y.data() + at, want.data(), want.size_bytes()) != 0) return false;
  }
  return true;
}

std::vector<float> first_row(const Product& p, std::span<const float> row, const Memory& weight,
                             const Memory& bias, std::int64_t out) {
  std::vector<float> x;
  for (std::int64_t r = 0; r < p.rows; ++r) x.insert(x.end(), row.begin(), row.end());
  std::vector<float> y(static_cast<std::size_t>(p.rows * out));
  run(p, x.data(), weight, bias, y.data());
  y.resize(static_cast<std::size_t>(out));
  return y;
}

Plan make_plan(const Shape& s) {
  Plan plan;
  const Memory::desc any(Dims{s.out, s.in}, Memory::data_type::f32, Memory::format_tag::any);
  plan.packed = describe(s, kTile, any).weights_desc();
  plan.bias = Memory::desc(Dims{s.out}, Memory::data_type::f32, Memory::format_tag::a);

  const std::vector<float> weight = random_values(s.in * s.out, 1);
  std::vector<float> bias_values = random_values(s.out, 2);
  const std::vector<float> row = random_values(s.in, 3);
  const Memory packed = pack(plan.packed, s, weight.data());
  const Memory bias(plan.bias, engine(), bias_values.data());

  std::vector<Product> all;
  for (const std::int64_t rows : kBlocks) {
    const auto d = describe(s, rows, plan.packed);
    // The slow reference code, which oneDNN falls back to, is never worth a block of its own.
    if (rows != kTile && std::string(d.impl_info_str()).find("ref") != std::string::npos) continue;
    all.push_back(product_of(d, rows));
  }
  // Held to the tile if its own rows agree, else to the smallest block.
  const auto tile =
      std::find_if(all.begin(), all.end(), [](const Product& p) { return p.rows == kTile; });
  std::vector<float> want = first_row(*tile, row, packed, bias, s.out);
  if (!gives(*tile, row, packed, bias, want))
    want = first_row(all.back(), row, packed, bias, s.out);
  for (Product& p : all) {
    if (gives(p, row, packed, bias, want)) plan.products.push_back(std::move(p));
  }
  return plan;
}

const Plan& plan_for(const Shape& s) {
  static std::mutex mutex;
  static std::map<Shape, Plan> plans;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = plans.find(s);
  return found != plans.end() ? found->second : plans.emplace(s, make_plan(s)).first->second;
}

}  // namespace

struct Linear::Packed {
  Shape shape;
  const Plan* plan;
  Memory weight;
  std::vector<float> bias_values;
  Memory bias;
};

Linear::Linear(std::span<const float> weight, std::span<const float> bias, std::int64_t in,
               std::int64_t out) {
  const OneThread one_thread;
  const Shape shape{in, out};
  try {
    auto packed = std::make_shared<Packed>();
    packed->shape = shape;
    packed->plan = &plan_for(shape);
    packed->weight = pack(packed->plan->packed, shape, weight.data());
    packed->bias_values.assign(bias.begin(), bias.end());
    packed->bias_values.resize(static_cast<std::size_t>(out));
    packed->bias = Memory(packed->plan->bias, engine(), packed->bias_values.data());
    packed_ = std::move(packed);
  } catch (const dnnl::error& error) {
    throw Error("linear: oneDNN cannot make the product of [" + std::to_string(out) + ", " +
                std::to_string(in) + "] weights: " + error.what());
  }
}

std::int64_t Linear::in() const { return packed_->shape.in; }
std::int64_t Linear::out() const { return packed_->shape.out; }

void Linear::apply(const float* x, std::int64_t rows, float* y) const {
  const OneThread one_thread;
  const auto [in, out] = packed_->shape;
  const std::vector<Product>& products = packed_->plan->products;
  while (rows > 0) {
    const auto fits = std::find_if(products.begin(), products.end(),
                                   [&](const Product& p) { return p.rows <= rows; });
    if (fits != products.end()) {
      run(*fits, x, packed_->weight, packed_->bias, y);
      x += fits->rows * in;
      y += fits->rows * out;
      rows -= fits->rows;
      continue;
    }
    // Fewer rows than the smallest block: the rest of the block is zeros.
    const Product& p = products.back();
    thread_local std::vector<float> padded_x;
    thread_local std::vector<float> padded_y;
    padded_x.assign(static_cast<std::size_t>(p.rows * in), 0.0f);
    padded_y.resize(static_cast<std::size_t>(p.rows * out));
    std::copy(x, x + rows * in, padded_x.begin());
    run(p, padded_x.data(), packed_->weight, packed_->bias, padded_y.data());
    std::copy(padded_y.begin(), padded_y.begin() + rows * out, y);
    rows = 0;
  }
}

}  // namespace fovea
