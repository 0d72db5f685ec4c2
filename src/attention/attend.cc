// The front of attention: cuts a call into sweeps of kernels and spreads them over threads.
#include "fovea/attend.h"

#include <algorithm>
#include <vector>

#include "attention/checks.h"
#include "attention/rows.h"
#include "attention/scratch.h"
#include "base/aligned.h"
#include "fovea/error.h"
#include "fovea/highlights.h"
#include "fovea/isa.h"
#include "kernels/sweep.h"

namespace fovea {
namespace {

using attention::Call;
using attention::Rows;
using kernels::kQueries;
using kernels::Row;
using kernels::Sweep;

// Queries whose column sums are added up one after another. The sums of chunks are then added in
// order, so that the result does not depend on threads.
constexpr std::int64_t kChunk = 1152;

// Keys of short rows: while such a sweep runs, the next is asked for from memory.
constexpr std::int64_t kNearKeys = 64;

// Multiply-adds of one task at least: about 20 microseconds, so that taking a task costs nothing.
constexpr std::int64_t kGrain = 1 << 20;

std::int64_t parts(std::int64_t n, std::int64_t size) { return (n + size - 1) / size; }

// Rows of this thread, kept from call to call as scratch is.
Rows& empty_rows() {
  thread_local Rows rows;
  rows.clear();
  return rows;
}

// `keys`: how many there is room for.
void run_sweep(Sweep& sweep, const Rows& rows, std::int64_t keys, Isa isa) {
  sweep.rows = rows.all().data();
  sweep.row_count = static_cast<int>(rows.all().size());
  if (keys <= kernels::kKeys && sweep.packed == 0) {  // one block, whatever rows see of it
    sweep.scratch = attention::scratch(kernels::scratch_size(sweep, sweep.row_count, 0, keys));
    kernels::run(sweep, isa);
    return;
  }
  if (sweep.packed > 0) {  // what stays packed must not move as the keys grow more
    sweep.scratch =
        attention::scratch(kernels::scratch_size(sweep, sweep.row_count, 0, sweep.packed));
    kernels::run(sweep, isa);
    return;
  }
  std::int64_t first = INT64_MAX;
  std::int64_t end = 0;
  for (const Row& row : rows.all()) {
    if (row.visible == 0) continue;
    first = std::min(first, row.first);
    end = std::max(end, row.visible);
  }
  sweep.scratch =
      attention::scratch(kernels::scratch_size(sweep, sweep.row_count, end == 0 ? 0 : first, end));
  kernels::run(sweep, isa);
}

// Queries [i, i + count) of heads [h, h + heads) of sequence b. The heads share their keys.
struct Item {
  std::int64_t b, h, heads, i, count;
};

// A sweep that is one stage of rows shared by threads.
struct Cut {
  Sweep::Stage stage;
  std::int64_t part;
  float* partials;
};

void run_cut(const Call& call, const Item& item, const Cut& cut, Isa isa) {
  Rows& rows = empty_rows();
  Sweep sweep = attention::sweep_of(call, item.b, item.h);
  sweep.stage = cut.stage;
  sweep.part = cut.part;
  sweep.partials = cut.partials;
  for (std::int64_t h = item.h; h < item.h + item.heads; ++h) {
    attention::add_rows(call, item.b, h, item.i, item.count, nullptr, rows);
  }
  run_sweep(sweep, rows, attention::key_room(call, item.b), isa);
}

// Queries of a sweep for column sums, whose weights are kept and whose keys stay packed: as many as are worth a pass
// over them, fewer where keys and values (`width` floats a key) leave room in L2 for the weights.
std::int64_t column_queries(std::int64_t keys, std::int64_t width) {
  constexpr std::int64_t kNearPacked = 1 << 18;
  return kernels::rows_that_fit(keys, keys * width <= kNearPacked ? 48 : 96);
}

// Of a sweep for whole rows, which packs all keys.
constexpr std::int64_t kWholeRows = 192;

// Where the column sums of a task go: those of its n-th head to first + n * step. Null: not wanted.
struct Columns {
  float* first = nullptr;
  std::int64_t step = 0;
};

// `size` queries of each head a sweep: keys are packed once for all of them. `next`: the item after this one, if
// any.
void run_sweeps(const Call& call, const Item& item, std::int64_t size, const Columns& columns,
                Isa isa, const Item* next = nullptr) {
  Sweep sweep = attention::sweep_of(call, item.b, item.h);
  sweep.columns = columns.first != nullptr;
  if (next != nullptr) attention::look_ahead(call, next->b, next->h, next->i, sweep);
  const std::int64_t keys = attention::key_room(call, item.b);
  if (item.count > size) sweep.packed = kernels::packed_keys(sweep, keys);
  const std::int64_t end = item.i + item.count;
  for (std::int64_t i = item.i; i < end; i += size) {
    Rows& rows = empty_rows();
    for (std::int64_t n = 0; n < item.heads; ++n) {
      float* received = sweep.columns ? columns.first + n * columns.step : nullptr;
      attention::add_rows(call, item.b, item.h + n, i, std::min(size, end - i), received, rows);
    }
    sweep.again = i > item.i;
    run_sweep(sweep, rows, keys, isa);
  }
}

// Queries [i, i + count) of sequence b.
struct Span {
  std::int64_t b, i, count;
};

// The queries of all sequences in spans of `size`: the last of each sequence first, since with a causal
// mask they see most.
std::vector<Span> spans_of(const Call& call, std::int64_t size) {
  std::vector<Span> spans;
  const std::int64_t most = parts(call.z.N, size);
  for (std::int64_t at = most - 1; at >= 0; --at) {
    for (std::int64_t b = 0; b < call.z.B; ++b) {
      const std::int64_t n = attention::query_room(call, b);
      if (at * size < n) spans.push_back({b, at * size, std::min(size, n - at * size)});
    }
  }
  return spans;
}

// What a sweep of `rows` rows over all keys costs, in multiply-adds: reading a number of a key or value takes as long as
// some sixteen.
std::int64_t cost_of(const Call& call, std::int64_t rows) {
  return (rows + 16) * call.z.M * (call.z.D + call.z.E);
}

// Runs f(item) for all items, several in a task when they are small.
template <class F>
void spread(std::int64_t items, std::int64_t cost, Threads& threads, const F& f) {
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, cost));
  threads.run(parts(items, grain), [&](std::int64_t task, int) {
    const std::int64_t end = std::min(items, (task + 1) * grain);
    for (std::int64_t item = task * grain; item < end; ++item) f(item);
  });
}

// Queries of one sweep: many, so that keys are packed rarely, but so that the rows' state stays within half
// of a small L2, and that there are some tasks for each thread. Bits do not depend on it.
std::int64_t queries_of_sweep(const Call& call, std::int64_t heads, int threads) {
  const attention::Sizes& z = call.z;
  std::int64_t queries = kQueries;
  while (queries > 96 && queries * (z.D + z.E + 40) > (1 << 17)) queries /= 2;
  while (queries > 96 && z.B * heads * parts(z.N, queries) < 4 * threads) queries /= 2;
  return queries;
}

// Sweeps that one task takes over the same keys, one after another: so many that there are still some tasks for
// each thread.
std::int64_t sweeps_of_item(const Call& call, std::int64_t heads, std::int64_t queries,
                            int threads) {
  const attention::Sizes& z = call.z;
  std::int64_t sweeps = parts(z.N, queries);
  while (sweeps > 1 && z.B * heads * parts(z.N, queries * sweeps) < 4 * threads) --sweeps;
  return std::max<std::int64_t>(sweeps, 1);
}

// How many query heads of one key head share a sweep: more than one only where a head alone has few
// queries (decoding), and not so many that threads stand idle.
std::int64_t heads_together(const Call& call, int threads) {
  const attention::Sizes& z = call.z;
  if (call.inputs.factor.given()) return 1;
  const std::int64_t group = z.H / z.G;
  std::int64_t heads =
      std::clamp<std::int64_t>(kQueries / std::max<std::int64_t>(z.N, 1), 1, group);
  while (heads > 1 && z.B * z.G * parts(group, heads) < threads) heads = (heads + 1) / 2;
  return heads;
}

// Heads [h, h + heads), of one key head.
struct HeadSet {
  std::int64_t h, heads;
};

// All query heads, so many of a group together.
class HeadSets {
 public:
  HeadSets(const attention::Sizes& z, std::int64_t together)
      : group_(z.H / z.G),
        together_(together),
        of_group_(parts(group_, together)),
        count_(z.G * of_group_) {}
  std::int64_t count() const { return count_; }
  HeadSet at(std::int64_t n) const {
    const std::int64_t begin = n % of_group_ * together_;
    return {n / of_group_ * group_ + begin, std::min(together_, group_ - begin)};
  }

 private:
  std::int64_t group_, together_, of_group_, count_;
};

// Everything but column sums and whole rows.
void attend_rows(const Call& call, Threads& threads, Isa isa) {
  const attention::Sizes& z = call.z;
  const std::int64_t together = heads_together(call, threads.count());
  const HeadSets sets(z, together);
  const std::int64_t queries = queries_of_sweep(call, sets.count(), threads.count());
  const std::int64_t sweeps = sweeps_of_item(call, sets.count(), queries, threads.count());
  const std::vector<Span> spans = spans_of(call, queries * sweeps);
  const auto item_at = [&](std::int64_t at) {
    const Span& span = spans[static_cast<std::size_t>(at / sets.count())];
    const HeadSet set = sets.at(at % sets.count());
    return Item{span.b, set.h, set.heads, span.i, span.count};
  };
  const std::int64_t items = sets.count() * static_cast<std::int64_t>(spans.size());
  const std::int64_t cost = cost_of(call, std::min(z.N, queries * sweeps) * together);
  const std::int64_t cuts = kernels::part_count(z.M);
  if (z.N > kernels::kFewQueries || cuts < 2 || items >= 2 * threads.count()) {
    // The next item is this thread's too where a task has several, or where there is no other thread.
    const bool next_is_ours =
        z.M <= kNearKeys || (z.N <= kernels::kFewQueries && threads.count() == 1);
    spread(items, cost, threads, [&](std::int64_t at) {
      const Item item = item_at(at);
      const Item next = item_at(std::min(at + 1, items - 1));
      const std::int64_t size = item.heads > 1 ? item.count : queries;
      run_sweeps(call, item, size, {}, isa, next_is_ours ? &next : nullptr);
    });
    return;
  }
  // Few queries, few heads, many keys: threads share rows. The bits are those of rows that they do not.
  Sweep sizes = attention::sweep_of(call, 0, 0);
  const std::int64_t step = kernels::partial_size(sizes, static_cast<int>(z.N * together), z.M);
  const auto partials = aligned_array<float>(static_cast<std::size_t>(items * step));
  spread(items * cuts, cost / cuts, threads, [&](std::int64_t at) {
    const Cut cut{Sweep::Stage::kPart, at % cuts, partials.get() + at / cuts * step};
    run_cut(call, item_at(at / cuts), cut, isa);
  });
  spread(items, cost / cuts, threads, [&](std::int64_t at) {
    const Cut cut{Sweep::Stage::kMerge, 0, partials.get() + at * step};
    run_cut(call, item_at(at), cut, isa);
  });
}

// Adds up the column sums of the chunks of sequence b and head h, in order: sums[chunk * keys + j].
void add_chunks(const Call& call, std::int64_t b, std::int64_t h, const float* sums,
                std::int64_t chunks, std::int64_t keys) {
  const attention::KeyLine to = attention::key_line(call, call.outputs.received, b, h);
  const bool factored = call.inputs.factor.given();
  const attention::KeyLine factor =
      factored ? attention::key_line(call, call.inputs.factor, b, h) : to;
  for (std::int64_t j = 0; j < keys; ++j) {
    float sum = 0;
    for (std::int64_t c = 0; c < chunks; ++c) sum += sums[c * keys + j];
    // A key that nobody sees has sum 0, and its factor is not read: it may be NaN.
    if (factored && sum != 0) sum *= factor.data[j * factor.step];
    to.data[j * to.step] = sum;
  }
}

// Everything but whole rows, with column sums: one task takes the queries of a chunk in order. Heads share
// sweeps as above, where sequences have few queries.
void attend_columns(const Call& call, Threads& threads, Isa isa) {
  const attention::Sizes& z = call.z;
  const std::vector<Span> chunks = spans_of(call, kChunk);
  // Where the sums of a sequence's chunks begin: [H, chunks of b, keys of b] each.
  std::vector<std::int64_t> first(static_cast<std::size_t>(z.B) + 1, 0);
  for (std::int64_t b = 0; b < z.B; ++b) {
    const auto at = static_cast<std::size_t>(b);
    const std::int64_t count = parts(attention::query_room(call, b), kChunk);
    first[at + 1] = first[at] + z.H * count * attention::key_room(call, b);
  }
  const auto sums = aligned_array<float>(static_cast<std::size_t>(first.back()));
  const auto sums_of = [&](std::int64_t b, std::int64_t h) {
    const std::int64_t count = parts(attention::query_room(call, b), kChunk);
    return sums.get() + first[static_cast<std::size_t>(b)] +
           h * count * attention::key_room(call, b);
  };
  const std::int64_t most = column_queries(z.M, z.D + z.E);
  const std::int64_t together =
      z.N > kernels::kFewQueries
          ? 1
          : std::min(heads_together(call, threads.count()), most / std::max<std::int64_t>(z.N, 1));
  const HeadSets sets(z, together);
  const std::int64_t cost = cost_of(call, std::min(z.N, kChunk) * together);
  const auto items = sets.count() * static_cast<std::int64_t>(chunks.size());
  spread(items, cost, threads, [&](std::int64_t at) {
    const Span& chunk = chunks[static_cast<std::size_t>(at / sets.count())];
    const HeadSet set = sets.at(at % sets.count());
    const std::int64_t keys = attention::key_room(call, chunk.b);
    const Columns columns = {sums_of(chunk.b, set.h) + chunk.i / kChunk * keys,
                             sums_of(chunk.b, 1) - sums_of(chunk.b, 0)};
    for (std::int64_t n = 0; n < set.heads; ++n) {
      float* received = columns.first + n * columns.step;
      std::fill(received, received + keys, 0.0f);
    }
    const std::int64_t size = set.heads > 1 ? chunk.count : column_queries(keys, z.D + z.E);
    run_sweeps(call, {chunk.b, set.h, set.heads, chunk.i, chunk.count}, size, columns, isa);
  });
  spread(z.B * z.H, parts(z.N, kChunk) * z.M, threads, [&](std::int64_t bh) {
    const std::int64_t b = bh / z.H;
    add_chunks(call, b, bh % z.H, sums_of(b, bh % z.H),
               parts(attention::query_room(call, b), kChunk), attention::key_room(call, b));
  });
}

// Query i of sequence b, asked for as row r.
struct Asked {
  std::int64_t b, i, r;
};

std::vector<Asked> asked_rows(const Call& call) {
  std::vector<Asked> asked;
  const std::span<const std::int32_t>& offsets = call.inputs.query_offsets;
  for (std::int64_t b = 0; b < call.z.B; ++b) {
    for (std::int64_t r = 0; r < call.z.R; ++r) {
      std::int64_t i = call.inputs.row_queries[static_cast<std::size_t>(r)];
      if (!offsets.empty()) {
        i -= offsets[static_cast<std::size_t>(b)];
        if (i < 0 || i >= attention::query_room(call, b)) continue;
      }
      asked.push_back({b, i, r});
    }
  }
  return asked;
}

// Whole rows: sweeps of their own, without values.
void attend_whole_rows(const Call& call, Threads& threads, Isa isa) {
  const attention::Sizes& z = call.z;
  const std::vector<Asked> asked = asked_rows(call);
  const std::int64_t most = kernels::rows_that_fit(z.M, kWholeRows);
  // Runs of rows of one sequence.
  std::vector<std::size_t> begins;
  for (std::size_t at = 0; at < asked.size(); ++at) {
    const bool full = !begins.empty() && at - begins.back() == static_cast<std::size_t>(most);
    if (at == 0 || full || asked[at].b != asked[at - 1].b) begins.push_back(at);
  }
  begins.push_back(asked.size());
  const auto runs = static_cast<std::int64_t>(begins.size()) - 1;
  const std::int64_t cost = std::min<std::int64_t>(z.R, most) * z.M * z.D;
  spread(z.H * runs, cost, threads, [&](std::int64_t at) {
    const std::int64_t h = at % z.H;
    const auto run = static_cast<std::size_t>(at / z.H);
    Rows& rows = empty_rows();
    Sweep sweep = attention::sweep_of(call, asked[begins[run]].b, h);
    sweep.v = nullptr;
    sweep.entropy = false;
    sweep.top = 0;
    sweep.wholes = true;
    for (std::size_t x = begins[run]; x < begins[run + 1]; ++x) {
      Row& row = rows.add(1).front();
      row = attention::whole_row_of(call, asked[x].b, h, asked[x].i, asked[x].r);
      std::fill(row.whole, row.whole + z.M, 0.0f);
    }
    run_sweep(sweep, rows, z.M, isa);
  });
}

void run_call(const Call& call, Threads& threads) {
  const Outputs& outputs = call.outputs;
  const Isa isa = current_isa();
  if (call.z.B == 0 || call.z.H == 0) return;
  if (outputs.received.given()) {
    attend_columns(call, threads, isa);
  } else if (call.z.N > 0 && (outputs.out.given() || outputs.lse.given() ||
                              outputs.entropy.given() || outputs.top_index.given())) {
    attend_rows(call, threads, isa);
  }
  if (call.z.R > 0) attend_whole_rows(call, threads, isa);
}

}  // namespace

void attend(const Inputs& inputs, const Options& options, const Outputs& outputs,
            Threads& threads) {
  run_call({inputs, options, outputs, attention::checked_sizes("attend", inputs, options, outputs)},
           threads);
}

void highlights(const Inputs& inputs, const View& lse, const Options& options,
                const Outputs& outputs, Threads& threads) {
  if (outputs.out.given() || outputs.lse.given()) {
    throw Error(
        "highlights: out and lse are attend's to give; ask for top, received, entropy or rows");
  }
  Call call{inputs, options, outputs,
            attention::checked_sizes("highlights", inputs, options, outputs)};
  attention::check_lse("highlights", inputs, call.z, lse);
  call.lse = lse;
  run_call(call, threads);
}

}  // namespace fovea
