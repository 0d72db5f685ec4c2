#include "arguments.h"

#include <functional>
#include <map>

namespace fovea::fit {

const char kHelp[] =
    R"(fovea-fit: from ids to the weights of a translator (MarianMT layout) or a reader (BERT layout)

  fovea-fit --ids DIR --run DIR [options]
  fovea-fit --task classify --ids DIR --run DIR [options]

DIR of --ids is what fovea-prepare wrote. --run takes checkpoints and hypotheses/. Events go to stdout, one
JSON object a line; words to stderr.

  --model DIR          where the best model so far is kept (model/ in --run)

  --resume             go on from the newest checkpoint of --run; --steps and the rate may change
  --init-from DIR      start from the weights of this model folder
  --export DIR         only write the newest checkpoint of --run as a model folder
  --logits FILE        with --export: also the logits of the first validation pairs, to compare

  --width 256  --heads 4  --ffn 1024  --encoder-layers 4  --decoder-layers 3  --positions 512
  --context attention|mean   mean: cross-attention asks with zeros, so its context is the plain mean

  --batch-tokens 3000  rows on a batch's longer side
  --steps 20000        in all; --warmup 1000 of them rising, the last --decay-steps 4000 falling to 0
  --rate 0.001         at its height
  --dropout 0.1  --smoothing 0.1  --clip 1  --average 0.9995 (moving average of the weights)
  --guided-alignment-weight 0.1   of the loss that makes the first head of a cross-attention follow
                       the alignments that fovea-prepare was given (train.links; 0: no such loss)
  --guided-alignment-layer N   whose: from 1, the last one unless given
  --valid-every 500  --checkpoint-every 200  --log-every 20
  --patience N         stop after N validations without gain (0: never)
  --time-limit S       write a checkpoint and stop after S seconds
  --seed 1  --threads N
  --device cpu|cuda  --precision auto|fp32|bf16 (auto: bf16 where the processor multiplies it)
  --weights fp16|fp32  of the model folder
  --plain              torch's own operations in place of the fused loops, to compare

A reader, --task classify: its encoder reads windows of --positions pieces, and one query pools all of them.
  --width 64  --heads 4  --ffn 256  --encoder-layers 2  --positions 128 (what differs from above)
  --steps 1500  --warmup 100  --decay-steps 1000  --batch-tokens 8000  --valid-every 250
  --pooling attention|mean   mean: the pooling asks with zeros, so it is the plain mean
  --query-rate 10      its query learns at so many times --rate: else it hardly leaves zero
  --piece-dropout 0.1  share of the pieces that are left out, at random, in training

Try:  fovea-fit --ids ids --run run --width 64 --ffn 128 --steps 100 --warmup 20 --decay-steps 50
)";

namespace {

template <typename T>
T number(const std::string& name, const std::string& text, double least, double most) {
  std::size_t end = 0;
  double value = 0;
  try {
    value = std::stod(text, &end);
  } catch (const std::exception&) {
    end = 0;
  }
  if (end == 0 || end != text.size() || !(value >= least && value <= most) ||
      static_cast<double>(static_cast<T>(value)) != value) {
    throw Misuse(name + " " + text + " is out of range; see --help");
  }
  return static_cast<T>(value);
}

}  // namespace

namespace {

// What the defaults above are to a reader.
void reader_defaults(Arguments& a) {
  a.task = TaskKind::kClassify;
  a.shape.width = 64;
  a.shape.ffn = 256;
  a.shape.encoder_layers = 2;
  a.shape.decoder_layers = 0;
  a.shape.positions = 128;
  a.steps = 1500;
  a.warmup = 100;
  a.decay_steps = 1000;
  a.batch_tokens = 8000;
  a.valid_every = 250;
  a.piece_dropout = 0.1;
  a.query_pace = 10;
  a.adam.average = 0.99;
}

}  // namespace

Arguments parse_arguments(const std::vector<std::string>& words) {
  Arguments a;
  std::string task = "translate", pooling = "attention";
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == "--task") task = words[i + 1];
  }
  if (task == "classify") reader_defaults(a);
  std::string context = "attention", weights = "fp16";
  std::map<std::string, std::function<void(const std::string&, const std::string&)>> known;
  auto text = [&](const char* name, std::string& to) {
    known[name] = [&to](const std::string&, const std::string& value) { to = value; };
  };
  auto whole = [&](const char* name, auto& to, double least, double most = 1e12) {
    known[name] = [&to, least, most](const std::string& option, const std::string& value) {
      to = number<std::decay_t<decltype(to)>>(option, value, least, most);
    };
  };
  text("--ids", a.ids);
  text("--run", a.run);
  text("--model", a.model);
  text("--logits", a.logits);
  text("--init-from", a.init_from);
  text("--export", a.export_to);
  text("--device", a.device);
  text("--precision", a.precision);
  text("--context", context);
  text("--pooling", pooling);
  text("--task", task);
  text("--weights", weights);
  whole("--width", a.shape.width, 2, 65536);
  whole("--query-rate", a.query_pace, 0, 1e6);
  whole("--heads", a.shape.heads, 1, 1024);
  whole("--ffn", a.shape.ffn, 1, 1e6);
  whole("--encoder-layers", a.shape.encoder_layers, 1, 100);
  whole("--decoder-layers", a.shape.decoder_layers, 1, 100);
  whole("--positions", a.shape.positions, 2, 65536);
  whole("--steps", a.steps, 1);
  whole("--warmup", a.warmup, 0);
  whole("--decay-steps", a.decay_steps, 0);
  whole("--batch-tokens", a.batch_tokens, 1);
  whole("--valid-every", a.valid_every, 1);
  whole("--checkpoint-every", a.checkpoint_every, 1);
  whole("--log-every", a.log_every, 1);
  whole("--patience", a.patience, 0, 1e6);
  whole("--seed", a.seed, 0);
  whole("--threads", a.threads, 1, 4096);
  whole("--rate", a.rate, 0, 10);
  whole("--dropout", a.dropout, 0, 0.9);
  whole("--smoothing", a.smoothing, 0, 0.9);
  whole("--piece-dropout", a.piece_dropout, 0, 0.9);
  whole("--clip", a.adam.clip, 0);
  whole("--guided-alignment-weight", a.guided_weight, 0, 1e6);
  whole("--guided-alignment-layer", a.guided_layer, 1, 100);
  whole("--average", a.adam.average, 0, 1);
  whole("--time-limit", a.time_limit, 0);

  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& name = words[i];
    if (name == "--resume") {
      a.resume = true;
      continue;
    }
    if (name == "--plain") {
      a.plain = true;
      continue;
    }
    const auto found = known.find(name);
    if (found == known.end()) throw Misuse("unknown option " + name + "; see --help");
    if (++i == words.size()) throw Misuse(name + " needs a value; see --help");
    found->second(name, words[i]);
  }
  auto one_of = [](const char* name, const std::string& value,
                   const std::vector<std::string>& choices) {
    for (const std::string& choice : choices) {
      if (value == choice) return;
    }
    throw Misuse(std::string(name) + " " + value + " is not known; see --help");
  };
  one_of("--task", task, {"translate", "classify"});
  one_of("--context", context, {"attention", "mean"});
  one_of("--pooling", pooling, {"attention", "mean"});
  one_of("--weights", weights, {"fp16", "fp32"});
  one_of("--precision", a.precision, {"auto", "fp32", "bf16"});
  if (a.device.rfind("cuda", 0) != 0) one_of("--device", a.device, {"cpu", "cuda"});
  const bool reads = a.task == TaskKind::kClassify;
  a.shape.mean_context = (reads ? pooling : context) == "mean";
  a.half = weights == "fp16";
  if (!reads && a.guided_layer > a.shape.decoder_layers) {
    throw Misuse("--guided-alignment-layer " + std::to_string(a.guided_layer) +
                 ": the decoder has only " + std::to_string(a.shape.decoder_layers) + " layers");
  }
  if (a.guided_layer == 0) a.guided_layer = a.shape.decoder_layers;
  if (a.ids.empty()) throw Misuse("--ids DIR is missing; see --help");
  if (a.run.empty()) throw Misuse("--run DIR is missing; see --help");
  if (a.model.empty()) a.model = a.run + "/model";
  if (a.shape.width % a.shape.heads != 0) {
    throw Misuse("--width " + std::to_string(a.shape.width) + " is not a multiple of --heads " +
                 std::to_string(a.shape.heads));
  }
  return a;
}

}  // namespace fovea::fit
