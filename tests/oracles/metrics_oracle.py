"""BLEU and chrF of `fovea evaluate` against the sacrebleu package: equal counts, scores within 1e-9.

Usage: metrics_oracle.py --program FOVEA [--data FOLDER of *.test.tsv.gz]

On hostile text, the project's own and, with --data, real sentences. Bootstrap and paired test draw the same
samples as sacrebleu: scores of samples within 1e-9 of those that it computes from whole numbers, and within 1e-3
of what it reports itself (it computes them in float32); p-values equal where no sample ties with the whole.
"""

import argparse
import collections
import gzip
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest

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


def write(folder, name, lines):
    path = folder / name
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="")
    return str(path)


def run(program, folder, hypotheses, references, flags):
    command = [program, "evaluate", "--json", "--hypotheses", write(folder, "hypotheses", hypotheses), "--references"]
    command += [write(folder, f"reference{i}", lines) for i, lines in enumerate(references)]
    done = subprocess.run(command + flags, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command + flags)}: exit {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def near(ours, theirs, what, tolerance=TOLERANCE):
    if not abs(ours - theirs) <= tolerance:  # written so that NaN fails
        sys.exit(f"{what}: fovea {ours!r}, sacrebleu {theirs!r}")


def same(ours, theirs, what):
    if ours != theirs:
        sys.exit(f"{what}: fovea {ours!r}, sacrebleu {theirs!r}")


def without_version(signature):
    return signature[: signature.index("|version:")]


SMOOTHINGS = (("exp", None), ("floor", None), ("floor", 0.01), ("add-k", None), ("none", None))


def check(program, folder, hypotheses, references, what, smoothings=SMOOTHINGS):
    cases = 0
    for lowercase in (False, True):
        for tokens in ("13a", "none", "char"):
            for smooth, value in smoothings:
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


def metrics():
    """As fovea names them in its JSON, and fresh sacrebleu metrics."""
    return {"bleu": BLEU(), ("chrf", 0): CHRF(), ("chrf", 1): CHRF(word_order=2)}


def found(result, name):
    return result[name] if isinstance(name, str) else result[name[0]][name[1]]


def scores_of_samples(metric, hypotheses, references, samples, seed):
    """Of whole numbers, where sacrebleu itself adds up in float32."""
    lines = numpy.array(metric._extract_corpus_statistics(hypotheses, references), dtype="int64")
    drawn = numpy.random.default_rng(seed).choice(len(lines), size=(samples, len(lines)), replace=True)
    return [metric._compute_score_from_stats(lines[sample].sum(0).tolist()).score for sample in drawn]


def check_interval(ours, scores, where):
    scores = sorted(scores)
    cut = len(scores) // 40
    near(ours["mean"], sum(scores) / len(scores), where + ": mean")
    near(ours["low"], scores[cut], where + ": low")
    near(ours["high"], scores[-1 - cut], where + ": high")


def check_p_value(ours, reported, strays, difference, where):
    def p(slack):
        return (1 + int((strays >= difference - slack).sum())) / (1 + len(strays))

    if not p(-TOLERANCE) <= ours <= p(TOLERANCE):
        sys.exit(f"{where}: p-value {ours!r} is not within {p(-TOLERANCE)!r} to {p(TOLERANCE)!r}")
    if p(-1e-3) == p(1e-3):  # no tie, and none that float32 could make
        same(ours, reported, where + ": p-value")


def check_samples(program, folder, system, baseline, references, samples, seed, what):
    """Bootstrap and paired test, on all lines and on each length of the sources."""
    sources = [("w " * (7 * i % 45)).strip() for i in range(len(system))]  # 0 to 44 words
    flags = ["--baseline", write(folder, "baseline", baseline), "--samples", str(samples), "--seed", str(seed),
             "--by-length", "--source", write(folder, "sources", sources)]
    result = run(program, folder, system, references, flags)
    groups = collections.defaultdict(list)
    for line, source in enumerate(sources):
        words = len(source.split())
        groups[0 if words == 0 else max(1, min(40, words // 10 * 10))].append(line)
    parts = [(result, list(range(len(system))))]
    same([group["words"]["least"] for group in result["by_length"]], sorted(groups), what + ": groups")
    parts += [(group, groups[group["words"]["least"]]) for group in result["by_length"]]
    os.environ["SACREBLEU_SEED"] = str(seed)
    cases = 0
    for part, lines in parts:
        same(part["lines"], len(lines), what + ": lines")
        ours, theirs = [system[i] for i in lines], [baseline[i] for i in lines]
        sets = [[lines_of[i] for i in lines] for lines_of in references]
        for name, metric in metrics().items():
            where = f"{what}, {len(lines)} lines, {name}"
            score, other = found(part, name), found(part["baseline"], name)
            near(score["score"], metric.corpus_score(ours, sets).score, where + ": score")
            near(other["score"], metric.corpus_score(theirs, sets).score, where + ": baseline")
            system_scores = scores_of_samples(metric, ours, sets, samples, seed)
            baseline_scores = scores_of_samples(metric, theirs, sets, samples, seed)
            check_interval(score["interval"], system_scores, where)
            check_interval(other["interval"], baseline_scores, where + ", baseline")
            check_interval(score["difference"], [a - b for a, b in zip(system_scores, baseline_scores)],
                           where + ", difference")
            near(score["difference"]["score"], score["score"] - other["score"], where + ": difference")
            signatures, reported = PairedTest([("baseline", theirs), ("system", ours)], {"": metric}, sets,
                                              test_type="bs", n_samples=samples)()
            (signature,), (_, of_baseline_and_system) = signatures.values(), reported.values()
            for mine, its in zip((other, score), of_baseline_and_system):
                near(mine["interval"]["mean"], its.mean, where + ": reported mean", 1e-3)
                near((mine["interval"]["high"] - mine["interval"]["low"]) / 2, its.ci, where + ": reported width", 1e-3)
                same(without_version(mine["signature"]), without_version(str(signature)),
                     where + ": signature")
            sizes = numpy.abs(numpy.array(system_scores) - numpy.array(baseline_scores))
            check_p_value(score["difference"]["p_value"], of_baseline_and_system[1].p_value, sizes - sizes.mean(),
                          abs(score["difference"]["score"]), where)
            cases += 1
    return cases


def check_refusals(program, folder):
    good = write(folder, "good", ["a b c"])
    bad = folder / "bad"
    for data in (b"caf\xe9\n", b"\xed\xa0\x80\n", b"\xc0\xaf\n", b"\xf4\x90\x80\x80\n", b"cut \xe4\xb8\n"):
        bad.write_bytes(data)
        for hypotheses, reference in ((str(bad), good), (good, str(bad))):
            done = subprocess.run([program, "evaluate", "--hypotheses", hypotheses, "--references", reference],
                                  capture_output=True, text=True, check=False)
            if done.returncode != 1 or done.stdout or f"{bad}: line 1, byte" not in done.stderr:
                sys.exit(f"{data!r}: exit {done.returncode}: {done.stdout}{done.stderr}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--data", type=pathlib.Path)
    arguments = parser.parse_args()
    program = arguments.program
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
            baseline = [changed(line, rng) for line in references[0]]
            cases += check_samples(program, folder, hypotheses, baseline, references, 60, 1 + round_, f"hostile {round_}")
        lines = real_lines()
        some = SMOOTHINGS[:1]  # among thousands of lines every order has a match
        cases += check(program, folder, [changed(line, rng) for line in lines], [lines], "the project's own text", some)
        cases += check(program, folder, ["", ""], [["", "a b c d e"]], "empty lines")
        long = [" ".join(rng.choice(PIECES) for _ in range(20000)), "&quot;" * 30000, "ab" * 30000]
        cases += check(program, folder, [changed(line, rng) for line in long], [long], "very long lines")
        for path in sorted(arguments.data.glob("*.test.tsv.gz")) if arguments.data else []:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                pairs = [line.rstrip("\n").split("\t")[:2] for line in file]
            references = [[target for _, target in pairs], [changed(target, rng) for _, target in pairs]]
            hypotheses = [changed(changed(target, rng), rng) for _, target in pairs]
            baseline = [changed(changed(target, rng), rng) for _, target in pairs]
            cases += check(program, folder, hypotheses, references[:1], path.name, some)
            cases += check(program, folder, [source for source, _ in pairs], references, path.name + ", two references", some)
            cases += check_samples(program, folder, hypotheses, baseline, references[:1], 200, 12345, path.name)
        check_refusals(program, folder)
    print(f"metrics: {cases} comparisons with sacrebleu, all equal")


if __name__ == "__main__":
    main()
