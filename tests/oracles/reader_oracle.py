"""fovea's reader (fovea classify) against transformers and the tokenizers package.

Usage: reader_oracle.py --program BERT_DUMP [--prepare FOVEA_PREPARE --fit FOVEA_FIT]

WordPiece: ids and spans on hard text, and every code point of Unicode, with and without lower case.
Encoder:   the states of random BERT models, of every activation and with both spellings of tensor names.
Pooling:   weights, probabilities and evidence against numpy on transformers' states, windows and all.
Training:  with --fit, a small reader is trained here; its folder is loaded by transformers, its logits are those
           of fovea-fit, and torch's own operations (--plain) lose the same as the fused loops.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata
import warnings

import numpy as np
import tokenizers
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, BertTokenizerFast

from tokenizer_oracle import HARD, own_text

failures = 0


def expect(right, what):
    global failures
    if not right:
        failures += 1
        print("FAILED:", what)


class Dump:
    def __init__(self, program, folder, *more):
        self.process = subprocess.Popen([program, str(folder), *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        encoding="utf-8")

    def ask(self, **question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def close(a, b, tolerance):
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return a.shape == b.shape and a.size > 0 and bool(np.all(np.abs(a - b) <= tolerance * max(1.0, np.abs(b).max())))


# --- text ---------------------------------------------------------------------------------------------------------

def learn_vocabulary(folder, lines, lower, accents, chinese):
    learner = tokenizers.BertWordPieceTokenizer(lowercase=lower, strip_accents=accents, handle_chinese_chars=chinese)
    learner.train_from_iterator(lines + HARD, vocab_size=2500, show_progress=False)
    pieces = sorted(learner.get_vocab().items(), key=lambda item: item[1])
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("".join(piece + "\n" for piece, _ in pieces), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "BertTokenizer", "do_lower_case": lower, "strip_accents": accents,
        "tokenize_chinese_chars": chinese, "model_max_length": 64}), encoding="utf-8")
    return len(pieces)


def truth(folder, lower, accents, chinese):
    made = tokenizers.BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=lower, strip_accents=accents,
                                             handle_chinese_chars=chinese)
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return made


def check_text(program, root):
    rng = random.Random(3)
    lines = [line for line in own_text() if line.strip()]
    for number, (lower, accents, chinese) in enumerate([(True, None, True), (False, None, True), (True, False, True),
                                                        (False, True, False)]):
        folder = root / f"text{number}"
        learn_vocabulary(folder, lines, lower, accents, chinese)
        package, dump = truth(folder, lower, accents, chinese), Dump(program, folder, "--pieces-only")
        text = list(HARD) + rng.sample(lines, 400) + ["[CLS] a [SEP]", "x[MASK]y", "[mask]", "[SEP", "x" * 100, "y" * 101, "a[UNK][UNK]b",
                                                      "\u00c5ngstr\u00f6m A\u030angstro\u0308m", "don't stop-gap $5 a^b `c` ~d",
                                                      "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03a3", "\uf900\U0002f800x"]
        for _ in range(200):
            parts = rng.sample(HARD, 3) + rng.sample(lines, 1)
            rng.shuffle(parts)
            text.append(rng.choice(["", " ", "\u00a0"]).join(parts))
        wrong = 0
        for line in text:
            want, got = package.encode(line, add_special_tokens=False), dump.ask(do="pieces", text=line)
            if want.ids != got["ids"] or [list(s) for s in want.offsets] != got["spans"]:
                wrong += 1
                if wrong <= 3:
                    print(f"  {line[:80]!r}\n  want {list(zip(want.tokens, want.offsets))[:12]}\n  got  {list(zip(got['texts'], got['spans']))[:12]}")
        expect(wrong == 0, f"text {number}: {wrong} of {len(text)} lines differ")
        print(f"text, lower case {lower}, strip accents {accents}: {len(text)} lines")
        if number == 0:
            check_code_points(package, dump)
        dump.close()


def check_code_points(package, dump):
    """Each between two letters. Characters that Unicode got after the package's tables were made may differ."""
    differ, old = [], 0
    points = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    for begin in range(0, len(points), 64):
        some = points[begin:begin + 64]
        texts = ["a" + chr(c) + "b" for c in some]
        # One question a block: a line of text with a mark between, then block by block where that differs.
        joined = " \n ".join(texts)
        if package.encode(joined, add_special_tokens=False).ids == dump.ask(do="pieces", text=joined)["ids"]:
            continue
        for c, text in zip(some, texts):
            if package.encode(text, add_special_tokens=False).ids != dump.ask(do="pieces", text=text)["ids"]:
                differ.append(c)
    names = [f"U+{c:04X} {unicodedata.category(chr(c))}" for c in differ]
    print(f"code points: {len(points) - len(differ)} of {len(points)} as the package; differing: {len(differ)}",
          ", ".join(names[:8]))
    expect(not EVERYDAY & set(differ), "everyday characters differ")
    expect(len(differ) < 700, f"{len(differ)} code points differ")  # 568 with ICU 72


EVERYDAY = set(range(0x20, 0x250)) | set(range(0x370, 0x500)) | set(range(0x5D0, 0x5EB)) | set(range(0x621, 0x64B)) | \
    set(range(0x1E00, 0x2070)) | set(range(0x20A0, 0x20BD)) | set(range(0x3000, 0x3100)) | set(range(0x4E00, 0x9FCD)) | \
    set(range(0xAC00, 0xD7A4))


# --- models -------------------------------------------------------------------------------------------------------

def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def read_by_numpy(model, tensors, pieces, positions, ends):
    room, n = positions - 2, len(pieces)
    windows = -(-n // room)
    states, next_piece = [], 0
    for w in range(windows):
        count = n // windows + (w < n % windows)
        ids = [ends[0]] + pieces[next_piece:next_piece + count] + [ends[1]]
        next_piece += count
        with torch.no_grad():
            states.append(model(torch.tensor([ids])).last_hidden_state[0, 1:-1].numpy())
    h = np.concatenate(states).astype(np.float64)
    query, weight, bias = (tensors[k].float().numpy().astype(np.float64) for k in
                           ("fovea.pooling.query", "fovea.classifier.weight", "fovea.classifier.bias"))
    p = softmax(h @ query)
    scores = weight @ (p @ h) + bias
    says = weight @ h.T
    return p, softmax(scores), p * (says - says.mean(0)), windows


def check_reading(program, folder, model, tensors, config, rng, what):
    dump = Dump(program, folder)
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    ends = vocabulary.index("[CLS]"), vocabulary.index("[SEP]")
    for length in (1, 2, config.max_position_embeddings):
        ids = [rng.randrange(config.vocab_size) for _ in range(length)]
        with torch.no_grad():
            want = model(torch.tensor([ids])).last_hidden_state[0].numpy()
        got = np.array(dump.ask(do="states", ids=ids)["states"]).reshape(length, -1)
        expect(close(got, want, 1e-4), f"{what}: states of {length} ids")
    room = config.max_position_embeddings - 2
    texts = [[rng.randrange(config.vocab_size) for _ in range(n)] for n in (1, 7, room, room + 1, 2 * room, 5 * room + 3, 40, 0)]
    answers = [dump.ask(do="read", texts=texts, threads=t)["texts"] for t in (1, 2)]
    expect(answers[0] == answers[1], f"{what}: one and two threads differ")
    expect(answers[0] == [dump.ask(do="read", texts=[t])["texts"][0] for t in texts], f"{what}: the batch changes results")
    for pieces, got in zip(texts, answers[0]):
        if not pieces:
            expect(close(got["probabilities"], softmax(tensors["fovea.classifier.bias"].float().numpy().astype(np.float64)), 1e-6),
                   f"{what}: no pieces")
            continue
        p, probabilities, evidence, windows = read_by_numpy(model, tensors, pieces, config.max_position_embeddings, ends)
        where = f"{what}, {len(pieces)} pieces: "
        expect(got["windows"] == windows, where + "windows")
        expect(close(got["weights"], p, 1e-4), where + "weights")
        expect(close(got["probabilities"], probabilities, 1e-4), where + "probabilities")
        expect(close(np.array(got["evidence"]).reshape(evidence.shape), evidence, 1e-4), where + "evidence")
    dump.close()
    print(f"{what}: {len(texts)} texts")


def check_models(program, root):
    rng = random.Random(5)
    lines = [line for line in own_text() if line.strip()]
    for number, (activation, eps, labels, bare, mean) in enumerate([
            ("gelu", 1e-12, 2, False, False), ("silu", 1e-5, 3, True, False), ("gelu_new", 1e-12, 5, False, True),
            ("relu", 1e-6, 2, False, False)]):
        torch.manual_seed(number)
        folder = root / f"model{number}"
        size = learn_vocabulary(folder, lines, True, None, True)
        config = BertConfig(vocab_size=size, hidden_size=36, num_hidden_layers=3, num_attention_heads=3, intermediate_size=52,
                            max_position_embeddings=16, hidden_act=activation, layer_norm_eps=eps, initializer_range=0.3)
        model = BertModel(config, add_pooling_layer=number % 2 == 0).eval()
        tensors = {("" if bare else "bert.") + k: v.contiguous() for k, v in model.state_dict().items()
                   if not k.endswith(("position_ids", "token_type_ids"))}
        tensors["fovea.pooling.query"] = torch.zeros(36) if mean else torch.randn(36)
        tensors["fovea.classifier.weight"] = torch.randn(labels, 36)
        tensors["fovea.classifier.bias"] = torch.randn(labels)
        save_file(tensors, folder / "model.safetensors")
        written = config.to_dict()
        written["id2label"] = {str(i): f"label {i}" for i in range(labels)}
        written["fovea"] = {"pooling": "mean" if mean else "attention"}
        (folder / "config.json").write_text(json.dumps(written))
        check_reading(program, folder, model, tensors, config, rng, f"{activation}, {labels} labels")


# --- training -----------------------------------------------------------------------------------------------------

def run(words):
    done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        print(done.stderr)
        sys.exit(f"{words[0]} ended with {done.returncode}")
    return done.stdout


def check_training(program, prepare, fit, root):
    rng = random.Random(7)
    good, bad = ["fine", "warm", "bright", "merry", "kind"], ["poor", "cold", "dull", "grim", "mean"]
    filler = "the a of day sea house with in on old long road was is and some".split()
    rows = []
    for _ in range(600):
        label, words = rng.choice([("good", good), ("bad", bad)])
        text = [rng.choice(filler) for _ in range(rng.randint(3, 40))]
        text[rng.randrange(len(text))] = rng.choice(words)
        rows.append(f"{label}\t{' '.join(text)}\n")
    (root / "rows.tsv").write_text("".join(rows))
    (root / "valid.tsv").write_text("".join(rows[:40]))
    run([prepare, "--task", "classify", "--out", root / "ids", "--train", root / "rows.tsv", "--valid", root / "valid.tsv",
         "--vocab", 120, "--positions", 16])
    shape = ["--task", "classify", "--ids", root / "ids", "--width", 32, "--ffn", 48, "--positions", 16, "--precision", "fp32",
             "--batch-tokens", 500, "--warmup", 20, "--decay-steps", 60, "--threads", 1, "--weights", "fp32"]
    losses = {}
    for name, more in (("fused", []), ("plain", ["--plain"])):
        out = run([fit, *shape, "--run", root / f"short-{name}", "--steps", 20, "--decay-steps", 10, "--log-every", 1, "--dropout", 0, *more])
        losses[name] = [json.loads(line)["loss"] for line in out.splitlines() if '"progress"' in line]
    expect(len(losses["fused"]) == 20 and close(losses["fused"], losses["plain"], 1e-5), "fused and plain losses differ")

    out = run([fit, *shape, "--run", root / "whole", "--steps", 160, "--rate", 0.003])
    last = [json.loads(line) for line in out.splitlines() if '"valid"' in line][-1]
    expect(last["accuracy"] >= 0.9, f"a reader of ten telling words is right on {last['accuracy']:.2f}")
    # Stopped half way and resumed: the same weights.
    run([fit, *shape, "--run", root / "halves", "--steps", 160, "--rate", 0.003, "--time-limit", 0.3])
    run([fit, *shape, "--run", root / "halves", "--steps", 160, "--rate", 0.003, "--resume"])
    one, two = (load_file(root / name / "model" / "model.safetensors") for name in ("whole", "halves"))
    expect(one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one), "a resumed run ends elsewhere")

    folder = root / "whole" / "model"
    run([fit, *shape, "--run", root / "whole", "--export", root / "exported", "--logits", root / "logits.safetensors"])
    logits = load_file(root / "logits.safetensors")["logits"].numpy()
    config = BertConfig.from_pretrained(folder)
    expect(config.id2label == {0: "bad", 1: "good"}, "id2label")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, about = BertModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True, dtype=torch.float32)
    expect(not about["missing_keys"], f"transformers misses {about['missing_keys']}")
    expect({k for k in about["unexpected_keys"] if not k.startswith("fovea.")} == set(), f"unexpected {about['unexpected_keys']}")
    check_reading(program, folder, model.eval(), one, config, rng, "trained")
    tokenizer, dump = BertTokenizerFast.from_pretrained(folder), Dump(program, root / "exported")
    texts = [row.rstrip("\n").split("\t")[1] for row in rows[:32]]
    ids = [dump.ask(do="pieces", text=text)["ids"] for text in texts]
    expect(ids == [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts], "transformers' BertTokenizer differs")
    got = [one["probabilities"] for one in dump.ask(do="read", texts=ids)["texts"]]
    expect(close(got, [softmax(row.astype(np.float64)) for row in logits], 1e-4), "fovea-fit's logits differ")
    dump.close()
    print(f"trained: right on {last['accuracy']:.3f} of its validation texts")

    out = run([fit, *shape, "--run", root / "mean", "--pooling", "mean", "--steps", 60, "--rate", 0.003])
    query = load_file(root / "mean" / "model" / "model.safetensors")["fovea.pooling.query"]
    expect(bool((query == 0).all()), "the mean's query moved")
    expect(bool((one["fovea.pooling.query"] != 0).any()), "attention's query stayed")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--prepare")
    parser.add_argument("--fit")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        check_text(options.program, root)
        check_models(options.program, root)
        if options.fit:
            check_training(options.program, options.prepare, options.fit, root)
    if failures:
        sys.exit(f"reader_oracle: {failures} checks failed")
    print("reader_oracle: all agree")


if __name__ == "__main__":
    main()
