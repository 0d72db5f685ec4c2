#include "greedy.h"

#include <algorithm>
#include <numeric>

namespace fovea::fit {

using torch::Tensor;

std::vector<std::vector<std::int32_t>> translate(const Model& model, const Corpus& corpus,
                                                 const std::vector<std::int64_t>& chosen,
                                                 torch::Device device) {
  torch::NoGradGuard no_grad;
  constexpr std::size_t kSentences = 128;
  const Shape& shape = model.shape();
  const MarianParameters& parameters = model.parameters();
  std::vector<std::vector<std::int32_t>> hypotheses(chosen.size());
  std::vector<std::size_t> order(chosen.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return corpus.source_length(chosen[a]) < corpus.source_length(chosen[b]);
  });
  for (std::size_t begin = 0; begin < order.size(); begin += kSentences) {
    const std::size_t count = std::min(kSentences, order.size() - begin);
    std::vector<std::int64_t> pairs;
    std::int32_t longest = 0;
    for (std::size_t i = 0; i < count; ++i) {
      pairs.push_back(chosen[order[begin + i]]);
      longest = std::max(longest, corpus.source_length(pairs.back()));
    }
    const Batch batch = corpus.batch(pairs, shape, device);
    const Tensor memory = model.encode(batch, DropoutSource(0, 0, 0));
    const int limit = std::min(shape.positions - 1, 2 * longest + 10);
    std::vector<Tensor> cross, cache;
    for (const DecoderLayer& layer : parameters.decoder) {
      cross.push_back(linear(memory, layer.cross_kv.weight, layer.cross_kv.bias));
      cache.push_back(torch::zeros({static_cast<std::int64_t>(count) * limit, 2 * shape.width},
                                   memory.options()));
    }
    std::vector<std::size_t> open(count);  // sentences not yet ended
    std::iota(open.begin(), open.end(), 0);
    std::vector<std::int32_t> last(count, shape.pad());
    for (int step = 0; step < limit && !open.empty(); ++step) {
      std::vector<std::int32_t> ids, at;
      std::vector<std::int64_t> slots;
      std::vector<Span> own, other;
      for (std::size_t row = 0; row < open.size(); ++row) {
        const auto r = static_cast<std::int32_t>(row), s = static_cast<std::int32_t>(open[row]);
        ids.push_back(last[s]);
        at.push_back(step);
        slots.push_back(static_cast<std::int64_t>(s) * limit + step);
        own.push_back({r, 1, s * limit, step + 1});
        other.push_back({r, 1, batch.source_spans[s].key_start, batch.source_spans[s].key_length});
      }
      const Tensor slot_rows = torch::tensor(slots, torch::kLong).to(device);
      Tensor x = model.embed_rows(torch::tensor(ids, torch::kInt).to(device),
                                  torch::tensor(at, torch::kInt).to(device), {});
      for (std::size_t l = 0; l < parameters.decoder.size(); ++l) {
        const DecoderLayer& layer = parameters.decoder[l];
        const Tensor qkv = linear(x, layer.qkv.weight, layer.qkv.bias);
        cache[l].index_copy_(0, slot_rows, qkv.narrow(1, shape.width, 2 * shape.width));
        const Tensor context =
            cross_attention(qkv.narrow(1, 0, shape.width).contiguous(), cache[l], own, shape.heads);
        x = add_norm(x, linear(context, layer.out.weight, layer.out.bias), layer.self_norm.gamma,
                     layer.self_norm.beta, {});
        const Tensor seen = cross_attention(linear(x, layer.cross_q.weight, layer.cross_q.bias),
                                            cross[l], other, shape.heads);
        x = add_norm(x, linear(seen, layer.cross_out.weight, layer.cross_out.bias),
                     layer.cross_norm.gamma, layer.cross_norm.beta, {});
        x = add_norm(x, model.feed_forward(x, layer.up, layer.down), layer.last_norm.gamma,
                     layer.last_norm.beta, {});
      }
      // Padding is the last class and never chosen.
      const Tensor best = model.logits(x)
                              .narrow(1, 0, shape.vocabulary - 1)
                              .argmax(1)
                              .to(torch::kCPU, torch::kInt)
                              .contiguous();
      const std::int32_t* ended = best.data_ptr<std::int32_t>();
      std::vector<std::size_t> still;
      for (std::size_t row = 0; row < open.size(); ++row) {
        if (ended[row] == kEndId) continue;
        last[open[row]] = ended[row];
        hypotheses[order[begin + open[row]]].push_back(ended[row]);
        still.push_back(open[row]);
      }
      open = std::move(still);
    }
  }
  return hypotheses;
}

}  // namespace fovea::fit
