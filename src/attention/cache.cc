#include "fovea/cache.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <new>
#include <string>
#include <utility>

#include "base/aligned.h"
#include "fovea/error.h"

namespace fovea {
namespace {

[[noreturn]] void fail(const std::string& text) { throw Error("cache: " + text); }

std::string text_of(std::int64_t n) { return std::to_string(n); }

// "[2, 8, 64, 128]" of sizes whose product may be too large for a View.
std::string text_of(const KeyValueCache::Shape& shape, std::int64_t width) {
  return "[" + text_of(shape.batch) + ", " + text_of(shape.heads) + ", " + text_of(shape.capacity) +
         ", " + text_of(width) + "]";
}

void check_size(const char* name, std::int64_t size) {
  if (size < 1 || size > INT32_MAX) {  // lengths are int32
    fail(std::string(name) + " is " + text_of(size) + " but must be in [1, 2147483647]");
  }
}

void check_shape(const KeyValueCache::Shape& shape) {
  check_size("batch", shape.batch);
  check_size("heads", shape.heads);
  check_size("capacity", shape.capacity);
  check_size("key_width", shape.key_width);
  check_size("value_width", shape.value_width);
  if (shape.type != DataType::kFloat32 && shape.type != DataType::kBFloat16 &&
      shape.type != DataType::kFloat16) {
    fail(std::string("type is ") + name_of(shape.type) +
         " but must be float32, bfloat16 or float16");
  }
}

// Bytes of both arrays, or -1 where no pointer reaches that far.
std::int64_t bytes_of(const KeyValueCache::Shape& shape) {
  std::int64_t bytes = shape.key_width + shape.value_width;
  for (const std::int64_t size :
       {static_cast<std::int64_t>(size_of(shape.type)), shape.batch, shape.heads, shape.capacity}) {
    if (bytes > std::numeric_limits<std::ptrdiff_t>::max() / size) return -1;
    bytes *= size;
  }
  return bytes;
}

AlignedArray<std::byte> allocate(const KeyValueCache::Shape& shape, std::int64_t width) {
  const std::size_t bytes =
      static_cast<std::size_t>(shape.batch * shape.heads * shape.capacity * width) *
      size_of(shape.type);
  auto memory = aligned_array<std::byte>(bytes);
  ask_for_huge_pages(memory.get(), bytes);
  return memory;
}

View view_of(const std::byte* data, const KeyValueCache::Shape& shape, std::int64_t width) {
  View view;
  view.data = data;
  view.type = shape.type;
  view.rank = 4;
  view.shape = {shape.batch, shape.heads, shape.capacity, width};
  view.strides = {shape.heads * shape.capacity * width, shape.capacity * width, width, 1};
  return view;
}

void check_new(const char* name, const View& view, const KeyValueCache::Shape& shape,
               std::int64_t width, const char* letters) {
  if (view.type != shape.type) {
    fail(std::string(name) + " is " + name_of(view.type) + " but the cache is " +
         name_of(shape.type));
  }
  if (view.rank != 4) {
    fail(std::string(name) + " is " + shape_text(view) + " but must have 4 dimensions " + letters);
  }
  const std::int64_t n = view.size(2);
  if (n < 0) fail(std::string(name) + " is " + shape_text(view) + ": a negative size");
  View want = view;
  want.shape = {shape.batch, shape.heads, n, width};
  if (view.shape != want.shape) {
    fail(std::string(name) + " is " + shape_text(view) + " but must be " + letters + " = " +
         shape_text(want));
  }
  if (!view.given() && n > 0) fail(std::string(name) + " is not given");
  if (width > 1 && view.step(3) != 1) {
    fail(std::string(name) + " has stride " + text_of(view.step(3)) +
         " in its last dimension but must have 1: copy it row by row");
  }
}

}  // namespace

struct KeyValueCache::Memory {
  explicit Memory(const Shape& s)
      : shape(s),
        keys(allocate(s, s.key_width)),
        values(allocate(s, s.value_width)),
        lengths(static_cast<std::size_t>(s.batch)) {}

  std::int64_t length(std::int64_t b) const { return lengths[static_cast<std::size_t>(b)]; }

  // Of one position of one head.
  std::size_t key_bytes() const { return static_cast<std::size_t>(shape.key_width) * element(); }
  std::size_t value_bytes() const {
    return static_cast<std::size_t>(shape.value_width) * element();
  }
  std::size_t element() const { return size_of(shape.type); }

  // Where position j of head g of sequence b begins, in an array of `bytes` a position.
  std::size_t place(std::int64_t b, std::int64_t g, std::int64_t j, std::size_t bytes) const {
    return static_cast<std::size_t>((b * shape.heads + g) * shape.capacity + j) * bytes;
  }

  // The first `count` positions of the view's sequence b, written from position `length(b)` on.
  void copy_in(const View& view, std::byte* to, std::size_t bytes, std::int64_t b,
               std::int64_t count) const {
    const auto* data = static_cast<const std::byte*>(view.data);
    const auto size = static_cast<std::int64_t>(element());
    const bool straight = view.step(2) * size == static_cast<std::int64_t>(bytes);
    for (std::int64_t g = 0; g < shape.heads; ++g) {
      const std::byte* from = data + (b * view.step(0) + g * view.step(1)) * size;
      std::byte* at = to + place(b, g, length(b), bytes);
      if (straight) {
        std::memcpy(at, from, static_cast<std::size_t>(count) * bytes);
        continue;
      }
      for (std::int64_t j = 0; j < count; ++j, at += bytes) {
        std::memcpy(at, from + j * view.step(2) * size, bytes);
      }
    }
  }

  // f(array, bytes of a position), for both arrays.
  template <class F>
  void each_array(const F& f) {
    f(keys.get(), key_bytes());
    f(values.get(), value_bytes());
  }

  void copy_sequence(std::int64_t from, std::int64_t to) {
    const auto used = static_cast<std::size_t>(length(from));
    each_array([&](std::byte* array, std::size_t bytes) {
      for (std::int64_t g = 0; g < shape.heads; ++g) {
        std::memcpy(array + place(to, g, 0, bytes), array + place(from, g, 0, bytes), used * bytes);
      }
    });
    lengths[static_cast<std::size_t>(to)] = lengths[static_cast<std::size_t>(from)];
  }

  void swap_sequences(std::int64_t a, std::int64_t b) {
    const auto used = static_cast<std::size_t>(std::max(length(a), length(b)));
    each_array([&](std::byte* array, std::size_t bytes) {
      for (std::int64_t g = 0; g < shape.heads; ++g) {
        std::byte* first = array + place(a, g, 0, bytes);
        std::swap_ranges(first, first + used * bytes, array + place(b, g, 0, bytes));
      }
    });
    std::swap(lengths[static_cast<std::size_t>(a)], lengths[static_cast<std::size_t>(b)]);
  }

  Shape shape;
  AlignedArray<std::byte> keys;  // the large ones first: what cannot be had fails at once
  AlignedArray<std::byte> values;
  std::vector<std::int32_t> lengths;
};

KeyValueCache::KeyValueCache(const Shape& shape) {
  check_shape(shape);
  const std::string arrays = "keys " + text_of(shape, shape.key_width) + " and values " +
                             text_of(shape, shape.value_width) + " of " + name_of(shape.type);
  const std::int64_t bytes = bytes_of(shape);
  if (bytes < 0) fail(arrays + " are more than memory can address: is a size wrong?");
  try {
    memory_ = std::make_unique<Memory>(shape);
  } catch (const std::bad_alloc&) {
    fail(arrays + " need " + text_of(bytes) +
         " bytes, which are not to be had: make the capacity smaller");
  }
}

KeyValueCache::~KeyValueCache() = default;
KeyValueCache::KeyValueCache(KeyValueCache&&) noexcept = default;
KeyValueCache& KeyValueCache::operator=(KeyValueCache&&) noexcept = default;

void KeyValueCache::append(const View& k, const View& v, std::span<const std::int32_t> counts) {
  Memory& m = *memory_;
  check_new("k", k, m.shape, m.shape.key_width, "[B, G, n, D]");
  check_new("v", v, m.shape, m.shape.value_width, "[B, G, n, E]");
  const std::int64_t n = k.size(2);
  if (v.size(2) != n) {
    fail("v has " + text_of(v.size(2)) + " positions but k has " + text_of(n));
  }
  if (!counts.empty() && static_cast<std::int64_t>(counts.size()) != m.shape.batch) {
    fail("counts has " + std::to_string(counts.size()) + " entries but the batch has " +
         text_of(m.shape.batch));
  }
  const auto count_of = [&](std::int64_t b) {
    return counts.empty() ? n : counts[static_cast<std::size_t>(b)];
  };
  for (std::int64_t b = 0; b < m.shape.batch; ++b) {
    const std::int64_t count = count_of(b);
    if (count < 0 || count > n) {
      fail("counts[" + text_of(b) + "] is " + text_of(count) + " but must be in [0, n] = [0, " +
           text_of(n) + "]");
    }
    if (count > m.shape.capacity - m.length(b)) {
      fail("sequence " + text_of(b) + " has " + text_of(m.length(b)) + " positions and " +
           text_of(count) + " more do not fit into a capacity of " + text_of(m.shape.capacity) +
           ": make the cache larger, or truncate it");
    }
  }
  for (std::int64_t b = 0; b < m.shape.batch; ++b) {
    const std::int64_t count = count_of(b);
    if (count == 0) continue;
    m.copy_in(k, m.keys.get(), m.key_bytes(), b, count);
    m.copy_in(v, m.values.get(), m.value_bytes(), b, count);
    m.lengths[static_cast<std::size_t>(b)] += static_cast<std::int32_t>(count);
  }
}

void KeyValueCache::reorder(std::span<const std::int32_t> from) {
  Memory& m = *memory_;
  const std::int64_t B = m.shape.batch;
  if (static_cast<std::int64_t>(from.size()) != B) {
    fail("from has " + std::to_string(from.size()) + " entries but the batch has " + text_of(B));
  }
  for (std::size_t b = 0; b < from.size(); ++b) {
    if (from[b] < 0 || from[b] >= B) {
      fail("from[" + std::to_string(b) + "] is " + text_of(from[b]) +
           " but must be in [0, B - 1] = [0, " + text_of(B - 1) + "]");
    }
  }
  // What is still to be read from each sequence, and the sequence that each is still to become:
  // itself, once it is done.
  std::vector<std::int32_t> readers(from.size());
  std::vector<std::int32_t> source(from.begin(), from.end());
  std::vector<std::int32_t> free;  // nobody reads them any more
  free.reserve(from.size());
  const auto at = [](auto& list, std::int32_t b) -> auto& {
    return list[static_cast<std::size_t>(b)];
  };
  for (std::int32_t b = 0; b < B; ++b) {
    if (at(source, b) != b) ++at(readers, at(source, b));
  }
  for (std::int32_t b = 0; b < B; ++b) {
    if (at(readers, b) == 0 && at(source, b) != b) free.push_back(b);
  }
  while (!free.empty()) {
    const std::int32_t b = free.back();
    free.pop_back();
    const std::int32_t read = at(source, b);
    m.copy_sequence(read, b);
    at(source, b) = b;
    if (--at(readers, read) == 0 && at(source, read) != read) free.push_back(read);
  }
  // What is left is read by one other each: cycles. A swap puts b right, and what b was into the next.
  for (std::int32_t b = 0; b < B; ++b) {
    for (std::int32_t to = b; at(source, to) != to;) {
      const std::int32_t next = at(source, to);
      at(source, to) = to;
      if (next == b) break;
      m.swap_sequences(to, next);
      to = next;
    }
  }
}

void KeyValueCache::truncate(std::int64_t b, std::int64_t length) {
  Memory& m = *memory_;
  if (b < 0 || b >= m.shape.batch) {
    fail("sequence " + text_of(b) + " is not in a batch of " + text_of(m.shape.batch));
  }
  if (length < 0 || length > m.length(b)) {
    fail("sequence " + text_of(b) + " has " + text_of(m.length(b)) +
         " positions and cannot be truncated to " + text_of(length));
  }
  m.lengths[static_cast<std::size_t>(b)] = static_cast<std::int32_t>(length);
}

const KeyValueCache::Shape& KeyValueCache::shape() const { return memory_->shape; }

View KeyValueCache::keys() const {
  return view_of(memory_->keys.get(), memory_->shape, memory_->shape.key_width);
}

View KeyValueCache::values() const {
  return view_of(memory_->values.get(), memory_->shape, memory_->shape.value_width);
}

std::span<const std::int32_t> KeyValueCache::lengths() const { return memory_->lengths; }

}  // namespace fovea
