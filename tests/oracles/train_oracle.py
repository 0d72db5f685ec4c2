"""The trainer beside transformers and beside itself.

  python tests/oracles/train_oracle.py --prepare build/dev/fovea-prepare [--fit build/fit/fovea-fit]

Without --fit it builds train/fit against this Python's torch, in build/fit-oracle. It checks that
  - ids of fovea-prepare are those of transformers' MarianTokenizer, on hard text too;
  - logits of an exported folder are transformers' (1e-4 of the largest), attention and mean context;
  - the fused loops take the same steps as torch's own operations;
  - a training killed with -9 again and again, and resumed, ends in the same weights, byte for byte;
  - guided alignment: the loss is the cross-entropy of the links beside transformers' attention, fused and plain take
    the same steps, and after training that head follows the links while others need not;
  - two processes under torchrun take the steps of one process with the doubled batch, and stop and resume like one;
  - interrupts, wrong options, broken checkpoints end in one clear line.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np
import torch
from safetensors.torch import load_file
from transformers import MarianMTModel, MarianTokenizer

failures = 0


def check(good, what):
    global failures
    print("  ok  " if good else "  FAILED", what, flush=True)
    failures += not good


def make_pairs(count, seed):
    """Pairs of our own making: a toy language that a small model can learn a little of."""
    choose = random.Random(seed)
    who = [("le chat", "the cat"), ("la fille", "the girl"), ("l'homme", "the man"), ("Zoë", "Zoë")]
    does = [("mange", "eats"), ("dort", "sleeps"), ("n'écoute pas", "does not listen"), ("part", "leaves")]
    where = [("ici", "here"), ("à Paris", "in Paris"), ("", ""), ("sous la table", "under the table")]
    pairs = []
    for _ in range(count):
        parts = [choose.choice(who), choose.choice(does), choose.choice(where)]
        number = str(choose.randrange(100))
        pairs.append(tuple(" ".join(part[side] for part in parts if part[side]) + " " + number + choose.choice(".!?")
                           for side in (0, 1)))
    return pairs


# What a tokenizer trips over: odd spaces, quotes, ligatures, accents in two forms, other scripts, emoji,
# control characters, its own word mark, text that looks like a special token in mid-sentence.
HARD = ["L\u2019homme\u00a0! \u00ab\u202fOui\u202f\u00bb", "e\u0301te\u0301 \ufb01n \u00bd \u2026", "\u2581mark \u2581 ",
        "  two  spaces\u3000wide ", "\u4f60\u597d \u043f\u0440\u0438\u0432\u0435\u0442 \U0001f600\u200d\U0001f525", "a\u0007b\u200bc\u00adfoo",
        "1,234.56 % 12:30", "\uff21\uff22\uff23 \u2460", "don't ' \" ` \u00b4", "\u0130stanbul stra\u00dfe \u1e9e"]


def read_ids(path):
    data = pathlib.Path(path).read_bytes()
    magic, version, vocabulary, pairs, sources, targets = struct.unpack_from("<8siiqqq", data)
    assert magic == b"FOVEAIDS" and version == 1
    numbers = np.frombuffer(data, "<i4", offset=40)
    lengths = numbers[:pairs], numbers[pairs:2 * pairs]
    ids = numbers[2 * pairs:2 * pairs + sources], numbers[2 * pairs + sources:]
    assert len(ids[1]) == targets
    return [[part.tolist() for part in np.split(ids[side], np.cumsum(lengths[side])[:-1])] for side in (0, 1)]


def read_links(path):
    data = pathlib.Path(path).read_bytes()
    magic, version, zero, pairs, total = struct.unpack_from("<8siiqq", data)
    assert magic == b"FOVEALNK" and version == 1 and zero == 0
    numbers = np.frombuffer(data, "<i4", offset=32)
    links = np.split(numbers[pairs:].reshape(total, 2), np.cumsum(numbers[:pairs])[:-1])
    return [list(map(tuple, pair.tolist())) for pair in links]


def write_tsv(path, pairs):
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), encoding="utf-8")


class Trainer:
    def __init__(self, fit, ids, folder):
        self.fit, self.ids, self.folder = fit, ids, folder

    def words(self, run, *options):
        small = "--width 32 --heads 4 --ffn 48 --encoder-layers 2 --decoder-layers 2 --threads 1".split()
        return [self.fit, "--ids", self.ids, "--run", self.folder / run, *small, *map(str, options)]

    def __call__(self, run, *options, status=0, processes=1):
        words = self.words(run, *options)
        if processes > 1:
            words = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--standalone", "--nproc-per-node",
                     str(processes), "--", *words]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != status:
            print(done.stderr)
            check(False, f"fovea-fit {options} gave {done.returncode}, expected {status}")
        self.said = done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


def check_tokenizer(ids, pairs, valid):
    print("ids beside MarianTokenizer")
    tokenizer = MarianTokenizer.from_pretrained(ids)
    sources, targets = read_ids(ids / "train.ids")
    check(sources == tokenizer([source for source, _ in pairs])["input_ids"], f"{len(pairs)} sources")
    check(targets == tokenizer(text_target=[target for _, target in pairs])["input_ids"], f"{len(pairs)} targets")
    sources, _ = read_ids(ids / "valid.ids")
    check(sources == tokenizer([source for source, _ in valid])["input_ids"], f"{len(HARD)} hard texts")


def transformers_logits(folder, ids, count):
    model = MarianMTModel.from_pretrained(folder, dtype=torch.float32).eval()
    pad, rows = model.config.pad_token_id, []
    for source, target in list(zip(*read_ids(ids / "valid.ids")))[:count]:
        with torch.no_grad():
            out = model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([[pad] + target[:-1]]))
        rows.append(out.logits[0])
    return torch.cat(rows)


def check_logits(train, ids, folder):
    print("logits beside transformers")
    for context in ("attention", "mean"):
        for precision in ("fp32", "bf16"):
            name = f"logits-{context}-{precision}"
            options = ["--context", context, "--precision", precision, "--weights", "fp32"]
            train(name, *options, "--steps", 30, "--warmup", 10, "--decay-steps", 10, "--valid-every", 30)
            train(name, *options[:2], "--precision", "fp32", *options[4:], "--export", folder / name / "model",
                  "--logits", folder / f"{name}.safetensors")
            ours = load_file(folder / f"{name}.safetensors")["logits"]
            theirs = transformers_logits(folder / name / "model", ids, 32)
            worst = float((ours - theirs).abs().max() / theirs.abs().max())
            check(ours.shape == theirs.shape and worst < 1e-4, f"{context}, trained in {precision}: {worst:.1e}")
    mean = load_file(folder / "logits-mean-fp32" / "model" / "model.safetensors")
    frozen = [name for name in mean if "encoder_attn.q_proj" in name]
    check(len(frozen) == 4 and not any(mean[name].any() for name in frozen), "mean context asks with zeros")
    pad = mean["model.shared.weight"][-1]
    check(not pad.any(), "the row of <pad> is zero")


def check_fused(train, folder):
    print("fused loops beside torch's operations")
    for context in ("attention", "mean"):
        losses = []
        for plain in ([], ["--plain"]):
            events = train(f"fused-{context}-{len(plain)}", "--precision", "fp32", "--dropout", 0, "--steps", 12,
                           "--warmup", 4, "--decay-steps", 2, "--log-every", 1, "--context", context, *plain)
            losses.append([(event["loss"], event["norm"]) for event in events if event["event"] == "progress"])
        worst = np.abs(np.array(losses[0]) / np.array(losses[1]) - 1).max()
        check(len(losses[0]) == 12 and worst < 1e-4, f"{context}: losses and gradient norms of 12 steps, {worst:.1e}")


def guided_share(model, ids, layer, head):
    """Of the linked target pieces of the first pairs, how many look most at a piece that they are linked to; and the
    cross-entropy of the links a target piece, as fovea-fit reports it."""
    model = MarianMTModel.from_pretrained(model, dtype=torch.float32, attn_implementation="eager").eval()
    right = linked = tokens = 0
    loss = 0.0
    for source, target, links in list(zip(*read_ids(ids / "train.ids"), read_links(ids / "train.links")))[:200]:
        with torch.no_grad():
            out = model(input_ids=torch.tensor([source]), output_attentions=True,
                        decoder_input_ids=torch.tensor([[model.config.pad_token_id] + target[:-1]]))
        weights = out.cross_attentions[layer][0, head]
        tokens += len(target)
        for row in {to for _, to in links}:
            keys = [key for key, to in links if to == row]
            loss -= float(weights[row, keys].log().mean())
            right += int(weights[row].argmax()) in keys
            linked += 1
    return right / linked, loss / tokens


def check_guided(train, folder, prepare, pairs):
    print("guided alignment")
    # The toy language goes word by word but for its French negation; links against the order, that nobody would find
    # by themselves: the first word to the last one, and so on.
    ids = folder / "guided-ids"
    (folder / "links").write_text("".join(" ".join(f"{len(source.split()) - 1 - i}-{i}" for i in range(
        min(len(source.split()), len(target.split())))) + "\n" for source, target in pairs[:200]))
    write_tsv(folder / "guided.tsv", pairs[:200])
    subprocess.run([prepare, "--out", ids, "--train", folder / "guided.tsv", "--valid", folder / "guided.tsv", "--vocab",
                    "120", "--guided-alignment", folder / "links"], check=True, stderr=subprocess.DEVNULL)
    guided = Trainer(train.fit, ids, folder)
    everything = ["--batch-tokens", 100000, "--precision", "fp32", "--weights", "fp32", "--dropout", 0, "--log-every", 1]
    events = guided("guided-0", *everything, "--rate", 0, "--steps", 1)
    reported = events[1]["alignment_loss"]
    _, expected = guided_share(folder / "guided-0" / "model", ids, 1, 0)
    check(abs(reported / expected - 1) < 1e-4, f"the loss is {reported:.6f}, beside transformers {expected:.6f}")
    losses = []
    for plain in ([], ["--plain"]):
        events = guided(f"guided-fused-{len(plain)}", "--precision", "fp32", "--dropout", 0, "--steps", 12, "--log-every",
                        1, "--warmup", 4, "--guided-alignment-layer", 1, "--guided-alignment-weight", 2, *plain)
        losses.append([(event["loss"], event["norm"], event["alignment_loss"]) for event in events
                       if event["event"] == "progress"])
    worst = np.abs(np.array(losses[0]) / np.array(losses[1]) - 1).max()
    check(len(losses[0]) == 12 and worst < 1e-4, f"fused and plain: losses and gradient norms of 12 steps, {worst:.1e}")
    fit = ["--steps", 300, "--warmup", 30, "--decay-steps", 50, "--rate", 0.003, "--batch-tokens", 600, "--average", 0.9,
           "--valid-every", 300]
    for name, more, least, most in (
            ("last", ["--guided-alignment-weight", 1], 0.8, 1), ("none", ["--guided-alignment-weight", 0], 0, 0.4),
            ("first", ["--guided-alignment-weight", 1, "--guided-alignment-layer", 1], 0.8, 1)):
        events = guided(f"guided-{name}", *fit, *more)
        layer = 0 if name == "first" else 1
        share, _ = guided_share(folder / f"guided-{name}" / "model", ids, layer, 0)
        check(least <= share <= most, f"{name}: {100 * share:.1f} % of the linked pieces follow their links")
        other, _ = guided_share(folder / f"guided-{name}" / "model", ids, layer, 1)
        check(other < 0.4, f"{name}: the next head {100 * other:.1f} %")
        reading = json.loads((folder / f"guided-{name}" / "model" / "config.json").read_text())["fovea"].get("reading")
        check(reading == (None if name == "none" else {"layer": layer + 1, "head": 1, "step": "output",
                                                       "weighting": "raw"}), f"{name}: the model says how to read it")
        check(("alignment_loss" in events[1]) == (name != "none"), f"{name}: progress tells the loss, if there is one")
    guided("guided-mean", "--context", "mean", "--steps", 2, status=1)
    check("--guided-alignment-weight 0" in guided.said, "the mean has nothing to guide")
    train("guided-missing", "--guided-alignment-weight", 1, "--steps", 2, status=1)
    check("fovea-prepare --guided-alignment" in train.said, "a weight without alignments")
    train("guided-layer", "--guided-alignment-layer", 3, status=2)
    check("only 2 layers" in train.said, "a layer that is not there")
    data = (ids / "train.links").read_bytes()
    (ids / "train.links").write_bytes(data[:-4])
    guided("guided-cut", "--steps", 2, status=1)
    check("train.links: its size" in guided.said, "a file of links that was cut")
    (ids / "train.links").write_bytes(data)
    return guided


def check_processes(train, guided, folder):
    print("two processes")
    options = ["--precision", "fp32", "--weights", "fp32", "--dropout", 0, "--steps", 40, "--warmup", 5, "--decay-steps",
               10, "--log-every", 1, "--valid-every", 20, "--checkpoint-every", 15]

    def curve(events):
        return np.array([(e["loss"], e["norm"], e["epoch"], e.get("alignment_loss", 1)) for e in events
                         if e["event"] == "progress"])

    for trainer, name, tokens in ((train, "plain", 150), (train, "tiny", 8), (guided, "guided", 150)):
        one = trainer(f"one-{name}", *options, "--batch-tokens", 2 * tokens)
        two = trainer(f"two-{name}", *options, "--batch-tokens", tokens, processes=2)
        worst = np.abs(curve(one) / curve(two) - 1).max()
        check(len(curve(two)) == 40 and worst < 1e-4, f"{name}: losses and norms of 40 steps, {worst:.1e}")
        ours, theirs = (load_file(folder / f"{which}-{name}" / "model" / "model.safetensors") for which in ("two", "one"))
        # A bias of the keys changes no weight of attention: its gradient is rounding noise, which Adam makes large.
        apart = max(float((ours[key] - theirs[key]).abs().max()) for key in ours if not key.endswith("k_proj.bias"))
        check(apart < 1e-3, f"{name}: weights {apart:.1e} apart")
        check([e["event"] for e in one] == [e["event"] for e in two], f"{name}: one process speaks")
    losses = np.diff(curve(one)[:, 0])
    check(np.abs(losses).max() > 1e-2, "the curve moves")
    # With dropout, whose draws differ between the processes.
    usual = ["--steps", 400, "--warmup", 5, "--decay-steps", 10, "--batch-tokens", 100, "--checkpoint-every", 10]
    train("two-whole", *usual, processes=2)
    stopped = train("two-parts", *usual, "--time-limit", 0.5, processes=2)[-1]
    check(stopped["complete"] == 0 and 0 < stopped["step"] < 400 and train.said.count("--resume goes on") == 1,
          f"a time limit ends both, at step {stopped['step']}")
    train("two-parts", *usual, "--resume", processes=2)
    whole, parts = ((folder / name / "model" / "model.safetensors").read_bytes() for name in ("two-whole", "two-parts"))
    check(whole == parts, "resumed: the same weights, byte for byte")
    events = train("two-patient", "--steps", 1000, "--rate", 0, "--valid-every", 3, "--patience", 2, processes=2)
    check(events[-1]["event"] == "end" and events[-1]["complete"] == 1 and events[-1]["step"] == 9, "early stop")
    for environment, text in (({"WORLD_SIZE": "2"}, "RANK is ''"), ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'"),
                              ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK is 2, but WORLD_SIZE is 2"),
                              ({"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_ADDR is not set")):
        done = subprocess.run(train.words("lost", "--steps", 1), capture_output=True, text=True,
                              env={**os.environ, **environment})
        check(done.returncode == 1 and text in done.stderr and "torchrun" in done.stderr, f"refused: {text}")


def check_resume(train, folder):
    print("kill -9 and resume")
    options = ["--steps", 120, "--warmup", 20, "--decay-steps", 40, "--checkpoint-every", 7, "--valid-every", 50,
               "--batch-tokens", 200]
    train("whole", *options)
    expected = (folder / "whole" / "model" / "model.safetensors").read_bytes()
    choose, kills = random.Random(5), 0
    for _ in range(60):
        child = subprocess.Popen(train.words("killed", *options, "--resume"), stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, text=True)
        child.stdout.readline()  # it has started
        time.sleep(choose.uniform(0.0, 0.5))
        child.kill()
        rest = child.stdout.read()
        child.wait()
        if '"event":"end"' in rest:
            break
        kills += 1
    train("killed", *options, "--resume")
    check(kills >= 3, f"killed {kills} times")
    check((folder / "killed" / "model" / "model.safetensors").read_bytes() == expected, "same model, byte for byte")
    check(len(list((folder / "killed").glob("checkpoint-*.bin"))) == 2, "two checkpoints are kept")
    child = subprocess.Popen(train.words("stopped", *options[:1], 100000, *options[2:]), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    child.stdout.readline()
    time.sleep(1)
    child.send_signal(signal.SIGINT)
    out, words = child.communicate()
    check(child.returncode == 0 and '"complete":0' in out and "--resume goes on" in words, "an interrupt ends cleanly")


def check_early_stop(train):
    print("early stop")
    events = train("patient", "--steps", 1000, "--rate", 0, "--valid-every", 3, "--patience", 2)
    steps = [event["step"] for event in events if event["event"] == "valid"]
    check(steps == [3, 6, 9] and events[-1]["complete"] == 1, "two validations without gain end it")


def check_refusals(train, folder):
    print("refusals")
    train("whole", "--steps", 5, status=1)
    check("--resume goes on" in train.said, "a run folder in use")
    train("whole", "--steps", 5, "--resume", "--ffn", 64, status=1)
    check("another shape" in train.said, "a checkpoint of another shape")
    train("new", "--steps", "five", status=2)
    train("new", "--width", 30, status=2)
    for path in sorted((folder / "killed").glob("checkpoint-*.bin")):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    train("killed", "--steps", 200, "--resume", status=1)
    check("no whole checkpoint" in train.said and "checksum" in train.said, "broken checkpoints are named")
    broken = folder / "broken"
    shutil.copytree(folder / "whole" / "model", broken)
    data = (broken / "model.safetensors").read_bytes()
    for name, bad in {"cut": data[:-10], "empty": b"", "huge": struct.pack("<Q", 1 << 60) + data[8:]}.items():
        (broken / "model.safetensors").write_bytes(bad)
        train(f"from-{name}", "--steps", 2, "--init-from", broken, status=1)
        check("broken/model.safetensors" in train.said, f"--init-from a {name} file")


def build_fit():
    root = pathlib.Path(__file__).resolve().parents[2]
    folder = root / "build" / "fit-oracle"
    subprocess.run(["cmake", "-S", root / "train" / "fit", "-B", folder, "-G", "Ninja",
                    f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", folder], check=True, stdout=subprocess.DEVNULL)
    return folder / "fovea-fit"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--prepare", required=True, type=pathlib.Path)
    parser.add_argument("--fit", type=pathlib.Path)
    arguments = parser.parse_args()
    fit = (arguments.fit or build_fit()).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        pairs, valid = make_pairs(1500, 1), [(text, "the cat") for text in HARD] + make_pairs(40, 2)
        write_tsv(folder / "train.tsv", pairs)
        write_tsv(folder / "valid.tsv", valid)
        ids = folder / "ids"
        subprocess.run([arguments.prepare, "--out", ids, "--train", folder / "train.tsv", "--valid",
                        folder / "valid.tsv", "--vocab", "120"], check=True)
        check_tokenizer(ids, pairs, valid)
        train = Trainer(fit, ids, folder)
        check_logits(train, ids, folder)
        check_fused(train, folder)
        guided = check_guided(train, folder, arguments.prepare, pairs)
        check_processes(train, guided, folder)
        check_resume(train, folder)
        check_early_stop(train)
        check_refusals(train, folder)
    print("train oracle:", "passed" if failures == 0 else f"{failures} failed")
    sys.exit(failures != 0)


main()
