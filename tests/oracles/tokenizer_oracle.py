"""fovea's tokenizer against transformers' MarianTokenizer and the sentencepiece package.

Usage: tokenizer_oracle.py --program FOVEA

Folders are made here: vocabularies learned from the project's own text, of every model type, with several
normalisations, with pieces missing from vocab.json, with separate vocabularies. Compared on hard text: ids,
pieces, decoded text; spans against sentencepiece's own.
"""

import argparse
import contextlib
import io
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import sentencepiece
from transformers import MarianTokenizer

HERE = pathlib.Path(__file__).resolve().parents[2]
HARD = [
    "", " ", "  ", "a", "\u00a0", "\u3000x\u3000", "\u200b", "\u200bx\u200by", "\ufeffx", "x\u00ady", "e\u0301\u00e9", "\ufb01n", "\u2460\u2161\u00bd",
    "\uff21\uff22\uff23", "\u4e2d\u6587\u3002\u65e5\u672c\u8a9e", "\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8", "\u0645\u0631\u062d\u0628\u0627 \u0628\u0643", "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467",
    ">>fr<< Bonjour", ">>fr<<", ">>fr <<x", ">>fr", "x >>fr<< y", ">>de<<>>fr<< x", " >>fr<< x", ">><<", "<<>>",
    "a</s>b", "</s>", "<unk>", "x<pad>", "<pad><unk></s>", "</s", "< /s>", "a </s> >>fr<< b", "<s>", "<unk >",
    "\u2581", "\u2581a\u2581", "a \u2581 b", "tab\there", "nul\x00here", "\x01\x02", "a\x85b", "a\u2028b", "x" * 300, "\u00df\u1e9e\u0130\u0131",
    "3,5 % de 1\u202f000 \u20ac \u2014 c'est \u00ab bien \u00bb !", "Don't \"quote\" me: 'tis 5'6\"", "http://a.b/c?d=e&f=g#h", "a" + "\u0301" * 20,
    "\U0010ffff\ue000", "\ufffd", "   leading and   inner   spaces   ",
]


def own_text():
    lines = []
    for path in sorted(HERE.glob("*.md")) + sorted(HERE.glob("docs/**/*.md")) + sorted(HERE.glob("include/**/*.h")):
        lines += path.read_text(encoding="utf-8").split("\n")
    return lines


def hard_text(rng, lines):
    text = list(HARD)
    for _ in range(300):
        parts = rng.sample(HARD, 3) + rng.sample(lines, 2)
        rng.shuffle(parts)
        text.append(rng.choice(["", " ", "\u00a0"]).join(parts))
    # a line of the command's input is no more than a line
    return [line.replace("\n", " ").replace("\r", " ") for line in text + rng.sample(lines, 300)]


def learn(lines, folder, name, **options):
    model = io.BytesIO()
    options.setdefault("model_type", "unigram")
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter([line for line in lines if line.strip()]),
                                             model_writer=model, minloglevel=2, **options)
    (folder / name).write_bytes(model.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return [processor.id_to_piece(i) for i in range(len(processor))]


def vocabulary(pieces, rng, drop=0.0):
    """Ids that are not SentencePiece's own; special tokens in it once."""
    kept = [piece for piece in dict.fromkeys(pieces) if piece not in ("</s>", "<unk>", "<pad>") and rng.random() >= drop]
    rng.shuffle(kept)
    names = ["</s>", "<unk>"] + kept + [">>fr<<", "<pad>"]
    return {piece: index for index, piece in enumerate(names)}


def make(folder, rng, lines, drop=0.0, separate=False, **options):
    folder.mkdir()
    source = learn(lines, folder, "source.spm", **options)
    target = learn(lines[::2], folder, "target.spm", **dict(options, vocab_size=max(options["vocab_size"] // 2, 300)))
    config = {"separate_vocabs": separate, "tokenizer_class": "MarianTokenizer"}
    if separate:
        (folder / "vocab.json").write_text(json.dumps(vocabulary(source, rng, drop)), encoding="utf-8")
        (folder / "target_vocab.json").write_text(json.dumps(vocabulary(target, rng, drop), ensure_ascii=False), encoding="utf-8")
    else:
        (folder / "vocab.json").write_text(json.dumps(vocabulary(source + target, rng, drop)), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def load(folder, separate):
    files = {"target_vocab_file": str(folder / "target_vocab.json")} if separate else {}
    with contextlib.redirect_stderr(io.StringIO()):
        return MarianTokenizer(str(folder / "source.spm"), str(folder / "target.spm"), str(folder / "vocab.json"),
                               separate_vocabs=separate, **files)


def ours(program, folder, lines, target):
    text = "".join(line + "\n" for line in lines).encode("utf-8")
    command = [program, "info", str(folder), "--pieces", "-"] + (["--target"] if target else [])
    done = subprocess.run(command, input=text, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.decode()}")
    return [json.loads(line) for line in done.stdout.decode("utf-8").split("\n") if line]


def same(found, expected, what):
    if found != expected:
        sys.exit(f"{what}:\n  fovea        {found!r}\n  transformers {expected!r}")


def spans_of(processor, text):
    """sentencepiece's own, in code points, without white space at the ends."""
    spans = []
    at = {}  # byte offset -> code point
    offset = 0
    for index, sign in enumerate(text):
        at[offset] = index
        offset += len(sign.encode("utf-8"))
    at[offset] = len(text)
    for piece in processor.encode(text, return_type="proto").pieces:
        begin, end = at[piece.begin], at[piece.end]
        while begin < end and text[begin].isspace():
            begin += 1
        while end > begin and text[end - 1].isspace():
            end -= 1
        spans.append([begin, end])
    return spans


def tie(processor, found, expected):
    """Two ways to cut a text that the model scores alike: which one wins changes between sentencepiece's versions."""

    def score(pieces):
        return sum(processor.get_score(processor.piece_to_id(piece)) for piece in pieces)

    return "".join(found) == "".join(expected) and abs(score(found) - score(expected)) <= 1e-4


def check(program, folder, lines, separate):
    tokenizer = load(folder, separate)
    compared = ties = 0
    for target in (False, True):
        results = ours(program, folder, lines, target)
        same(len(results), len(lines), f"{folder.name}: lines")
        processor = tokenizer.spm_target if target else tokenizer.spm_source
        for line, result in zip(lines, results):
            where = f"{folder.name}, target {target}, {line!r}"
            if target:
                expected = tokenizer(text_target=line)["input_ids"]
                tokenizer._switch_to_target_mode()
                pieces = tokenizer.tokenize(line)
                tokenizer._switch_to_input_mode()
            else:
                expected = tokenizer(line)["input_ids"]
                pieces = tokenizer.tokenize(line)
            if result["pieces"] != pieces + ["</s>"] and tie(processor, result["pieces"][:-1], pieces):
                ties += 1
                continue
            same(result["ids"], expected, where + ": ids")
            same(result["pieces"], pieces + ["</s>"], where + ": pieces")
            if target or not separate:
                same(result["text"], tokenizer.decode(expected, skip_special_tokens=True), where + ": decoded")
                for span in result["text_spans"]:
                    if not 0 <= span[0] <= span[1] <= len(result["text"]):
                        sys.exit(f"{where}: span {span} is outside the decoded text")
            if not any(sign in line for sign in (">>", "</s>", "<unk>", "<pad>")):
                same(result["spans"][:-1], spans_of(processor, line), where + ": spans")
            compared += 1
    return compared, ties


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    program = parser.parse_args().program
    rng = random.Random(5)
    lines = own_text()
    compared = ties = 0
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        marian = {"unk_id": 1, "eos_id": 0, "bos_id": -1, "pad_id": -1}
        cases = [
            ("unigram", dict(vocab_size=900, **marian), {}),
            ("unigram-missing", dict(vocab_size=900, **marian), {"drop": 0.2}),
            ("unigram-separate", dict(vocab_size=900, **marian), {"separate": True}),
            ("bpe", dict(vocab_size=900, model_type="bpe"), {}),
            ("char", dict(vocab_size=400, model_type="char", hard_vocab_limit=False), {}),
            ("identity", dict(vocab_size=900, normalization_rule_name="identity"), {}),
            ("nfkc-cf-spaces", dict(vocab_size=900, normalization_rule_name="nfkc_cf", remove_extra_whitespaces=False), {}),
            ("bytes", dict(vocab_size=1100, byte_fallback=True), {}),
            ("no-prefix", dict(vocab_size=900, add_dummy_prefix=False), {}),
            ("suffix", dict(vocab_size=900, treat_whitespace_as_suffix=True), {}),
            ("across-words", dict(vocab_size=900, split_by_whitespace=False), {}),
        ]
        for title, options, more in cases:
            folder = make(root / title, rng, lines, **more, **options)
            counts = check(program, folder, hard_text(rng, lines), more.get("separate", False))
            compared, ties = compared + counts[0], ties + counts[1]
    if 50 * ties > compared:
        sys.exit(f"{ties} ties in {compared} lines: too many to be chance")
    print(f"tokenizer: {compared} lines through {len(cases)} vocabularies, all as transformers and sentencepiece "
          f"({ties} more differ by a tie of two equal scores)")


if __name__ == "__main__":
    main()
