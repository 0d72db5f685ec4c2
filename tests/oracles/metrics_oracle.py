"""BLEU and chrF of `fovea evaluate` against the sacrebleu package: equal counts, scores within 1e-9.

Usage: metrics_oracle.py --program FOVEA
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

from sacrebleu.metrics import BLEU, CHRF

TOLERANCE = 1e-9
HERE = pathlib.Path(__file__).resolve().parents[2]

# What trips tokenisers: spaces of all kinds, entities, signs beside digits, scripts without spaces, case.
PIECES = [
    "a", "b", "Der", "der", "DER", "l'homme", "It's", "3.5", "3,5", "3-4", "-", "--", "-5", "5-", ".", "..", "...",
    ",", ".,", ",.", "a.b", "a,b", "7.", ".7", "x.", ".x", "&quot;", "&amp;", "&lt;", "&gt;", "&amp;quot;", "&", "<skipped>",
    "(hi)", "\"so\"", "'", "`", "~", "{}", "[x]", "/", "\\", "@", "#", "$", "%", "^", "*", "+", "=", "_", "|", "!", "?",
    "\u00ab", "\u00bb", "\u201cq\u201d", "\u2026", "\u2014", "\u4e2d\u6587", "\u3002", "\u65e5\u672c\u8a9e\u3002", "\ud55c\uad6d", "\u0130",
    "\u039f\u0394\u039f\u03a3", "\u03a3", "\u1e9e", "\u00df", "e\u0301", "\u00e9", "\U0001f600", "\u0644\u0627", "A\u0308", "\u01c5", "\u2160",
    "\ufb01", "\u2163", "\u00c5ngstr\u00f6m", "-\u200b-", "\ufeff", "\u00ad",
]
SPACES = [" ", " ", " ", "  ", "\t", "\u00a0", "\u2003", "\u3000", "\u2028", "\u0085", "\x1c", "\x0b", "\u202f", "\u1680", ""]


def hostile_line(rng):
    count = rng.choice([0, 1, 1, 2, 3, 5, 8, 20])
    line = rng.choice(["", "", " "])
    for _ in range(count):
        line += rng.choice(PIECES) + rng.choice(SPACES)
    return line


def changed(line, rng):
    """A translation of sorts: the line with words lost, exchanged and new."""
    words = line.split(" ")
    for _ in range(rng.choice([0, 1, 2, 4])):
        place = rng.randrange(len(words))
        deed = rng.randrange(3)
        if deed == 0 and len(words) > 1:
            del words[place]
        elif deed == 1:
            words[place] = rng.choice(PIECES)
        else:
            words.insert(place, rng.choice(PIECES))
    return " ".join(words)


def real_lines():
    """The project's own documentation as text."""
    lines = []
    for path in sorted(HERE.glob("*.md")) + sorted(HERE.glob("docs/**/*.md")) + sorted(HERE.glob("include/**/*.h")):
        lines += [line for line in path.read_text(encoding="utf-8").split("\n")]
    return lines


def run(program, folder, hypotheses, references, flags):
    def write(name, lines):
        path = folder / name
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="")
        return str(path)

    command = [program, "evaluate", "--json", "--hypotheses", write("hypotheses", hypotheses), "--references"]
    command += [write(f"reference{i}", lines) for i, lines in enumerate(references)]
    done = subprocess.run(command + flags, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command + flags)}: exit {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def near(ours, theirs, what):
    if not abs(ours - theirs) <= TOLERANCE:  # written so that NaN fails
        sys.exit(f"{what}: fovea {ours!r}, sacrebleu {theirs!r}")


def same(ours, theirs, what):
    if ours != theirs:
        sys.exit(f"{what}: fovea {ours!r}, sacrebleu {theirs!r}")


def without_version(signature):
    return signature[: signature.index("|version:")]


def check(program, folder, hypotheses, references, what):
    cases = 0
    for lowercase in (False, True):
        for tokens in ("13a", "none", "char"):
            for smooth, value in (("exp", None), ("floor", None), ("floor", 0.01), ("add-k", None), ("none", None)):
                for effective in (False, True):
                    metric = BLEU(lowercase=lowercase, tokenize=tokens, smooth_method=smooth, smooth_value=value,
                                  effective_order=effective)
                    theirs = metric.corpus_score(hypotheses, references)
                    flags = ["--tokenize", tokens, "--smooth", smooth]
                    flags += ["--smooth-value", str(value)] if value is not None else []
                    flags += ["--lowercase"] * lowercase + ["--effective-order"] * effective
                    result = run(program, folder, hypotheses, references, flags)
                    ours = result["bleu"]
                    where = f"{what}, {' '.join(flags)}"
                    if smooth != "add-k":  # sacrebleu adds k to the counts that it reports
                        same(ours["matched"], theirs.counts, where + ": matched")
                        same(ours["total"], theirs.totals, where + ": total")
                    same(ours["hypothesis_length"], theirs.sys_len, where + ": length")
                    same(ours["reference_length"], theirs.ref_len, where + ": reference length")
                    near(ours["score"], theirs.score, where + ": score")
                    for p, q in zip(ours["precisions"], theirs.precisions):
                        near(p, q, where + ": precision")
                    same(without_version(ours["signature"]), without_version(str(metric.get_signature())),
                         where + ": signature")
                    cases += 1
        for index, word_order in enumerate((0, 2)):
            metric = CHRF(lowercase=lowercase, word_order=word_order)
            theirs = metric.corpus_score(hypotheses, references)
            ours = run(program, folder, hypotheses, references, ["--lowercase"] * lowercase)["chrf"][index]
            where = f"{what}, chrF word order {word_order}, lowercase {lowercase}"
            stats = [sum(column) for column in zip(*metric._extract_corpus_statistics(hypotheses, references))]
            same([n for order in ours["counts"] for n in order], stats, where + ": counts")
            near(ours["score"], theirs.score, where + ": score")
            same(without_version(ours["signature"]), without_version(str(metric.get_signature())), where + ": signature")
            cases += 1
    return cases


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    program = parser.parse_args().program
    rng = random.Random(20)
    cases = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for round_ in range(12):
            count = (1, 1, 2, 3, 10, 400)[round_ % 6]
            sets = (1, 1, 3)[round_ % 3]
            references = [[hostile_line(rng) for _ in range(count)] for _ in range(sets)]
            hypotheses = [changed(rng.choice(references)[i], rng) for i in range(count)]
            cases += check(program, folder, hypotheses, references, f"hostile {round_}")
        lines = real_lines()
        cases += check(program, folder, [changed(line, rng) for line in lines], [lines], "the project's own text")
        cases += check(program, folder, ["", ""], [["", "a b c d e"]], "empty lines")
    print(f"metrics: {cases} comparisons with sacrebleu, all equal")


if __name__ == "__main__":
    main()
