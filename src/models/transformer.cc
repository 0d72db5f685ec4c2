#include "models/transformer.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "fovea/attend.h"

namespace fovea {
namespace {

constexpr std::int64_t kFirstCapacity = 16;  // steps; it doubles when they are used up

void embed(const Embedding& e, std::span<const std::int32_t> ids, std::int64_t place,
           std::int64_t width, float* x) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const float* row = e.rows->data() + ids[i] * width;
    const float* position = e.positions.data() + (place + static_cast<std::int64_t>(i)) * width;
    float* to = x + static_cast<std::int64_t>(i) * width;
    for (std::int64_t d = 0; d < width; ++d) to[d] = row[d] * e.scale + position[d];
  }
}

// Rows of `parts` vectors of d floats, cut into heads: [B, H, N, d / H], part `part` of each row.
template <class ViewType, class T>
ViewType heads(T* data, std::int64_t part, std::int64_t parts, std::int64_t sentences,
               std::int64_t H, std::int64_t N, std::int64_t d, std::int64_t sentence_step) {
  return ViewType(data + part * d, {sentences, H, N, d / H}, {sentence_step, d / H, parts * d, 1});
}

}  // namespace

Encoded encode(const Model& model, std::span<const Ids* const> sources, Threads& threads) {
  const std::int64_t d = model.config.width;
  const std::int64_t H = model.config.encoder_heads;
  Encoded e;
  e.sentences = static_cast<std::int64_t>(sources.size());
  for (const Ids* source : sources) {
    e.lengths.push_back(static_cast<std::int32_t>(source->size()));
    e.places = std::max<std::int64_t>(e.places, e.lengths.back());
  }
  const std::int64_t B = e.sentences;
  const std::int64_t S = e.places;
  std::vector<float> x(
      static_cast<std::size_t>(B * S * d));  // padding stays finite: it starts at 0
  for (std::int64_t b = 0; b < B; ++b) {
    embed(model.weights.source, *sources[static_cast<std::size_t>(b)], 0, d, x.data() + b * S * d);
  }
  Scratch s;
  for (const EncoderLayer& layer : model.weights.encoder) {
    float* qkv = room(s.wide, B * S * 3 * d);
    float* context = room(s.context, B * S * d);
    float* delta = room(s.delta, B * S * d);
    apply(layer.self.qkv, x.data(), B * S, qkv, threads);
    Inputs inputs;
    inputs.q = heads<View>(qkv, 0, 3, B, H, S, d, S * 3 * d);
    inputs.k = heads<View>(qkv, 1, 3, B, H, S, d, S * 3 * d);
    inputs.v = heads<View>(qkv, 2, 3, B, H, S, d, S * 3 * d);
    inputs.key_lengths = e.lengths;
    inputs.query_lengths = e.lengths;
    Outputs outputs;
    outputs.out = heads<MutableView>(context, 0, 1, B, H, S, d, S * d);
    attend(inputs, {}, outputs, threads);
    apply(layer.self.out, context, B * S, delta, threads);
    add_norm(x.data(), delta, B * S, layer.self.norm);
    feed_forward(layer.ffn, model.config.activation, x.data(), B * S, s, threads);
  }
  for (const DecoderLayer& layer : model.weights.decoder) {
    e.kv.emplace_back(static_cast<std::size_t>(B * S * 2 * d));
    apply(layer.cross.kv, x.data(), B * S, e.kv.back().data(), threads);
  }
  return e;
}

Decoder::Decoder(const Model& model, Encoded encoded, int beams, Threads& threads)
    : model_(model),
      encoded_(std::move(encoded)),
      beams_(beams),
      threads_(threads),
      past_(model.weights.decoder.size()) {}

// Doubles the room for steps; what is there moves to its new place.
void Decoder::make_room() {
  if (steps_ < capacity_) return;
  const std::int64_t width = 2 * model_.config.width;
  const std::int64_t before = capacity_ * beams_;
  capacity_ = capacity_ == 0 ? kFirstCapacity : 2 * capacity_;
  const std::int64_t after = capacity_ * beams_;
  for (std::vector<float>& kv : past_) {
    std::vector<float> larger(static_cast<std::size_t>(encoded_.sentences * after * width));
    for (std::int64_t b = 0; b < encoded_.sentences; ++b) {
      std::copy_n(kv.begin() + b * before * width, before * width,
                  larger.begin() + b * after * width);
    }
    kv = std::move(larger);
  }
  if (beams_ == 1) return;
  const std::int64_t rows = encoded_.sentences * beams_;
  AlignedArray<bool> larger = aligned_array<bool>(static_cast<std::size_t>(rows * after));
  std::fill_n(larger.get(), rows * after, false);
  for (std::int64_t row = 0; row < rows; ++row) {
    std::copy_n(sees_.get() + row * before, before, larger.get() + row * after);
  }
  sees_ = std::move(larger);
}

// Each beam sees what its parent saw, and itself at this step.
void Decoder::see(std::span<const std::int32_t> parents) {
  if (beams_ == 1) return;
  const std::int64_t slots = capacity_ * beams_;
  const std::int64_t used = steps_ * beams_;
  const AlignedArray<bool> before = aligned_array<bool>(static_cast<std::size_t>(beams_ * used));
  for (std::int64_t b = 0; b < encoded_.sentences; ++b) {
    bool* rows = sees_.get() + b * beams_ * slots;
    for (std::int64_t j = 0; j < beams_; ++j) {
      std::copy_n(rows + j * slots, used, before.get() + j * used);
    }
    for (std::int64_t j = 0; j < beams_; ++j) {
      const std::int64_t parent = parents[static_cast<std::size_t>(b * beams_ + j)];
      bool* row = rows + j * slots;
      std::copy_n(before.get() + parent * used, used, row);
      std::fill_n(row + used, beams_, false);
      row[used + j] = true;
    }
  }
}

void Decoder::step(std::span<const std::int32_t> ids, std::span<const std::int32_t> parents) {
  const std::int64_t d = model_.config.width;
  const std::int64_t rows = encoded_.sentences * beams_;
  make_room();
  see(parents);
  x_.resize(static_cast<std::size_t>(rows * d));
  for (std::int64_t r = 0; r < rows; ++r) {
    embed(model_.weights.target, ids.subspan(static_cast<std::size_t>(r), 1), steps_, d,
          x_.data() + r * d);
  }
  for (std::size_t l = 0; l < model_.weights.decoder.size(); ++l) {
    self_attention(l);
    cross_attention(l);
    feed_forward(model_.weights.decoder[l].ffn, model_.config.activation, x_.data(), rows, scratch_,
                 threads_);
  }
  ++steps_;
}

void Decoder::self_attention(std::size_t l) {
  const SelfAttention& self = model_.weights.decoder[l].self;
  const std::int64_t d = model_.config.width;
  const std::int64_t H = model_.config.decoder_heads;
  const std::int64_t B = encoded_.sentences;
  const std::int64_t rows = B * beams_;
  const std::int64_t slots = capacity_ * beams_;
  const std::int64_t used = (steps_ + 1) * beams_;
  float* qkv = room(scratch_.wide, rows * 3 * d);
  float* context = room(scratch_.context, rows * d);
  float* delta = room(scratch_.delta, rows * d);
  float* past = past_[l].data();
  apply(self.qkv, x_.data(), rows, qkv, threads_);
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t slot = r / beams_ * slots + steps_ * beams_ + r % beams_;
    std::copy_n(qkv + r * 3 * d + d, 2 * d, past + slot * 2 * d);
  }
  Inputs inputs;
  inputs.q = heads<View>(qkv, 0, 3, B, H, beams_, d, beams_ * 3 * d);
  inputs.k = heads<View>(past, 0, 2, B, H, used, d, slots * 2 * d);
  inputs.v = heads<View>(past, 1, 2, B, H, used, d, slots * 2 * d);
  if (beams_ > 1) {
    inputs.mask = View(sees_.get(), {B, 1, beams_, used}, {beams_ * slots, 0, slots, 1});
  }
  Outputs outputs;
  outputs.out = heads<MutableView>(context, 0, 1, B, H, beams_, d, beams_ * d);
  attend(inputs, {}, outputs, threads_);
  apply(self.out, context, rows, delta, threads_);
  add_norm(x_.data(), delta, rows, self.norm);
}

// The beams of a sentence are queries of one sentence: its keys are read once, and never copied.
void Decoder::cross_attention(std::size_t l) {
  const CrossAttentionWeights& cross = model_.weights.decoder[l].cross;
  const std::int64_t d = model_.config.width;
  const std::int64_t H = model_.config.decoder_heads;
  const std::int64_t B = encoded_.sentences;
  const std::int64_t S = encoded_.places;
  const std::int64_t rows = B * beams_;
  float* q = room(scratch_.wide, rows * d);
  float* context = room(scratch_.context, rows * d);
  float* delta = room(scratch_.delta, rows * d);
  float* kv = encoded_.kv[l].data();
  apply(cross.q, x_.data(), rows, q, threads_);
  Inputs inputs;
  inputs.q = heads<View>(q, 0, 1, B, H, beams_, d, beams_ * d);
  inputs.k = heads<View>(kv, 0, 2, B, H, S, d, S * 2 * d);
  inputs.v = heads<View>(kv, 1, 2, B, H, S, d, S * 2 * d);
  inputs.key_lengths = encoded_.lengths;
  Outputs outputs;
  outputs.out = heads<MutableView>(context, 0, 1, B, H, beams_, d, beams_ * d);
  attend(inputs, {}, outputs, threads_);
  apply(cross.out, context, rows, delta, threads_);
  add_norm(x_.data(), delta, rows, cross.norm);
}

void Decoder::keep(std::span<const std::int32_t> sentences) {
  const std::int64_t width = 2 * model_.config.width;
  const auto move_rows = [&](auto* memory, std::int64_t size) {
    for (std::size_t to = 0; to < sentences.size(); ++to) {
      if (static_cast<std::int64_t>(to) == sentences[to]) continue;
      std::copy_n(memory + sentences[to] * size, size,
                  memory + static_cast<std::int64_t>(to) * size);
    }
  };
  for (std::vector<float>& kv : past_) move_rows(kv.data(), capacity_ * beams_ * width);
  for (std::vector<float>& kv : encoded_.kv) move_rows(kv.data(), encoded_.places * width);
  if (beams_ > 1) move_rows(sees_.get(), beams_ * capacity_ * beams_);
  move_rows(encoded_.lengths.data(), 1);
  encoded_.sentences = static_cast<std::int64_t>(sentences.size());
  encoded_.lengths.resize(sentences.size());
}

Forced force(const Model& model, const Encoded& encoded, std::span<const std::int32_t> inputs,
             bool with_weights, Threads& threads) {
  const std::int64_t d = model.config.width;
  const std::int64_t H = model.config.decoder_heads;
  const std::int64_t S = encoded.places;
  const auto T = static_cast<std::int64_t>(inputs.size());
  Forced result;
  result.hidden.resize(static_cast<std::size_t>(T * d));
  float* x = result.hidden.data();
  embed(model.weights.target, inputs, 0, d, x);
  std::vector<std::int32_t> every(inputs.size());
  std::iota(every.begin(), every.end(), 0);
  const std::int64_t layers = static_cast<std::int64_t>(model.weights.decoder.size());
  if (with_weights) result.weights.resize(static_cast<std::size_t>(layers * H * T * S));
  Scratch s;
  for (std::int64_t l = 0; l < layers; ++l) {
    const DecoderLayer& layer = model.weights.decoder[static_cast<std::size_t>(l)];
    float* qkv = room(s.wide, T * 3 * d);
    float* context = room(s.context, T * d);
    float* delta = room(s.delta, T * d);
    const float* kv = encoded.kv[static_cast<std::size_t>(l)].data();
    const MutableView out = heads<MutableView>(context, 0, 1, 1, H, T, d, T * d);

    apply(layer.self.qkv, x, T, qkv, threads);
    Inputs self;
    self.q = heads<View>(qkv, 0, 3, 1, H, T, d, T * 3 * d);
    self.k = heads<View>(qkv, 1, 3, 1, H, T, d, T * 3 * d);
    self.v = heads<View>(qkv, 2, 3, 1, H, T, d, T * 3 * d);
    Options causal;
    causal.causal = Causal::kTopLeft;
    Outputs outputs;
    outputs.out = out;
    attend(self, causal, outputs, threads);
    apply(layer.self.out, context, T, delta, threads);
    add_norm(x, delta, T, layer.self.norm);

    apply(layer.cross.q, x, T, qkv, threads);
    Inputs cross;
    cross.q = heads<View>(qkv, 0, 1, 1, H, T, d, T * d);
    cross.k = heads<View>(kv, 0, 2, 1, H, S, d, S * 2 * d);
    cross.v = heads<View>(kv, 1, 2, 1, H, S, d, S * 2 * d);
    if (with_weights) {
      cross.row_queries = every;
      outputs.rows = MutableView(result.weights.data() + l * H * T * S, {1, H, T, S});
    }
    attend(cross, {}, outputs, threads);
    apply(layer.cross.out, context, T, delta, threads);
    add_norm(x, delta, T, layer.cross.norm);
    feed_forward(layer.ffn, model.config.activation, x, T, s, threads);
  }
  return result;
}

}  // namespace fovea
