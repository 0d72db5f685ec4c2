#!/usr/bin/env python3
"""Does attention help to read? The reader of fovea train --task classify, pooling by attention against pooling
by the plain mean, cross-validated on Pang and Lee's film reviews; a bag of words beside them.

  study/reading.py --data FOLDER --prepare BUILD/fovea-prepare --fit BUILD/fovea-fit --fovea BUILD/fovea

FOLDER holds movie_reviews.zip (polarity dataset 2.0, whole reviews) and sentence_polarity.zip (single
sentences). Every run of a fold is a line of --out/reading.runs.jsonl; runs that are there are not made again, so an
interrupted study goes on where it was. The last step, --summary-only, needs nothing else: it reads the runs and writes
--out/reading.json and the tables of --out/reading.md.

Python's standard library only.
"""
import argparse
import json
import math
import os
import random
import re
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

from translation import write

LABELS = ("negative", "positive")
FOLDS = 10
RESAMPLES = 10000

# Chosen on fold 9 of movie_reviews and on a random tenth of sentence_polarity, by hand, with few trials; the same for
# both poolings. No test fold decided when to stop: the steps are fixed.
SETTINGS = {
    "movie_reviews": ["--vocab", "8000"],
    "sentence_polarity": ["--vocab", "8000"],
}
SHAPE = ["--width", "64", "--heads", "4", "--ffn", "256", "--encoder-layers", "1", "--positions", "128"]
TRAINING = {
    "movie_reviews": ["--steps", "800", "--decay-steps", "700", "--warmup", "100", "--batch-tokens", "4000",
                      "--rate", "0.003", "--query-rate", "10", "--piece-dropout", "0.4"],
    "sentence_polarity": ["--steps", "300", "--decay-steps", "250", "--warmup", "50", "--batch-tokens", "4000",
                          "--rate", "0.002", "--query-rate", "10", "--piece-dropout", "0.4"],
}
LENGTHS = {  # words; the upper end is outside
    "movie_reviews": [0, 400, 600, 800, 1100, 1 << 30],
    "sentence_polarity": [0, 10, 16, 22, 30, 1 << 30],
}


def read_reviews(folder):
    """(fold, label, text) of every review: fold i is cv(100 i) to cv(100 i + 99), as the set's authors number them."""
    texts = []
    with zipfile.ZipFile(folder / "movie_reviews.zip") as archive:
        for name in sorted(archive.namelist()):
            match = re.fullmatch(r"movie_reviews/(neg|pos)/cv(\d)\d\d_\d+\.txt", name)
            if match:
                text = " ".join(archive.read(name).decode("utf-8").split())
                texts.append((int(match[2]), LABELS[match[1] == "pos"], text))
    return texts


def read_sentences(folder):
    """The set has no folds of its own: a shuffle of each class, seed 2005, cut into ten."""
    texts = []
    with zipfile.ZipFile(folder / "sentence_polarity.zip") as archive:
        for label, end in zip(LABELS, ("neg", "pos")):
            raw = archive.read("sentence_polarity/rt-polarity." + end).decode("latin-1")
            lines = [" ".join(line.split()) for line in raw.split("\n") if line.strip()]
            random.Random(2005).shuffle(lines)
            texts += [(i % FOLDS, label, line) for i, line in enumerate(lines)]
    return texts


SETS = {"movie_reviews": read_reviews, "sentence_polarity": read_sentences}


# --- the bag of words: which words a text has, and nothing of their order -------------------------------------

def bag(text):
    return sorted(set(re.findall(r"[^\W_]+(?:'[^\W_]+)?|[^\w\s]", text.lower())))


def log_odds(train):
    """What each word says for "positive": Bernoulli presence features in a multinomial model, add-one smoothing."""
    counts = {label: Counter() for label in LABELS}
    for label, words in train:
        counts[label].update(words)
    known = set(counts[LABELS[0]]) | set(counts[LABELS[1]])
    totals = {label: sum(counts[label].values()) + len(known) for label in LABELS}
    return {w: math.log((counts[LABELS[1]][w] + 1) / totals[LABELS[1]]) -
               math.log((counts[LABELS[0]][w] + 1) / totals[LABELS[0]]) for w in known}


def bayes(train, test):
    """Naive Bayes: Pang, Lee and Vaithyanathan's (2002)."""
    prior = Counter(label for label, _ in train)
    odds = log_odds(train)
    bias = math.log(prior[LABELS[1]] / prior[LABELS[0]])
    return [LABELS[bias + sum(odds.get(w, 0) for w in words) > 0] for words in test]


def logistic(train, test, epochs=30, penalty=1e-4, rate=0.5):
    """Logistic regression on presence, each text scaled to length 1; stochastic gradient, L2."""
    weights, bias = Counter(), 0.0
    order = list(range(len(train)))
    rng = random.Random(1)
    scale, step = 1.0, 0
    for _ in range(epochs):
        rng.shuffle(order)
        for i in order:
            label, words = train[i]
            step += 1
            now = rate / (1 + rate * penalty * step)
            unit = 1 / math.sqrt(max(1, len(words)))
            score = bias + scale * unit * sum(weights[w] for w in words)
            slope = (1 if label == LABELS[1] else 0) - 1 / (1 + math.exp(-max(-30, min(30, score))))
            scale *= 1 - now * penalty
            for w in words:
                weights[w] += now * slope * unit / scale
            bias += now * slope
    return [LABELS[bias + scale * sum(weights[w] for w in words) / math.sqrt(max(1, len(words))) > 0]
            for words in test]


BASELINES = {"bayes": bayes, "logistic": logistic}


# --- where a reader looks ---------------------------------------------------------------------------------------

# Words that are punctuation alone have no weight and no evidence of their own; they do not count here.

def effective_share(shares):
    """On how many of the words these shares would lie if they were even, exp of their entropy, of all words."""
    shares = [s for s in shares if s > 0]
    total = sum(shares)
    if len(shares) < 2:
        return None
    return math.exp(-sum(s / total * math.log(s / total) for s in shares)) / len(shares)


def telling(row, odds):
    """|log odds| of the words by naive Bayes, as the pooling's weights average them, over their plain mean."""
    says = [(weight, abs(odds.get(row["text"][slice(*word["core"])].lower(), 0)))
            for word, weight in zip(row["words"], row["weights"]) if weight > 0]
    plain = sum(s for _, s in says)
    if len(says) < 2 or plain == 0:
        return None
    return sum(w * s for w, s in says) / sum(w for w, _ in says) / (plain / len(says))


def mean_of(values):
    values = [v for v in values if v is not None]
    return round(sum(values) / max(1, len(values)), 4)


# --- one fold ----------------------------------------------------------------------------------------------------

def write_tsv(path, rows):
    path.write_text("".join(f"{label}\t{text}\n" for label, text in rows), encoding="utf-8")


def run(words, **how):
    done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}\nended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def bits(values):
    """"0110...": of each text of the fold, in order, whether the model was right."""
    return "".join("1" if value else "0" for value in values)


def read_runs(path):
    runs = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        one = json.loads(line)
        one["right"] = [int(c) for c in one["right"]]
        runs[one["set"], one["model"], one["seed"], one["fold"]] = one
    return runs


def cpu_seconds():
    times = os.times()
    return times.children_user + times.children_system


def prepare(options, folder, name, train):
    """Text to ids, once for all models of a fold; whole or not at all, since another process may want the same."""
    ids, mine = folder / "ids", folder / f"ids-{os.getpid()}"
    if not ids.exists():
        mine.mkdir(parents=True)
        write_tsv(mine / "train.tsv", train)
        run([options.prepare, "--task", "classify", "--out", mine, "--train", mine / "train.tsv",
             "--hold-out", 0, "--positions", 128, *SETTINGS[name]])
        try:
            mine.rename(ids)
        except OSError:  # the other one was first
            run(["rm", "-rf", mine])
    return ids


def read_fold(options, work, name, pooling, fold, seed, texts):
    """Trains on nine folds and reads the tenth with the program that users have."""
    test = [(label, text) for f, label, text in texts if f == fold]
    ids = prepare(options, work / f"{name}-{fold}", name, [(label, text) for f, label, text in texts if f != fold])
    folder = work / f"{name}-{fold}" / f"{pooling}-{seed}"
    begun, cpu = time.time(), cpu_seconds()
    # A checkpoint would be of a run that was interrupted: --resume is the same as starting where there is none.
    run([options.fit, "--task", "classify", "--ids", ids, "--run", folder, "--resume", "--pooling", pooling, "--seed",
         seed, "--threads", 1, "--valid-every", 100000, "--log-every", 100000, *SHAPE, *TRAINING[name]],
        env=dict(os.environ, OMP_NUM_THREADS="1"))
    trained, cpu_trained = time.time(), cpu_seconds()
    (folder / "test.txt").write_text("".join(text + "\n" for _, text in test), encoding="utf-8")
    out = run([options.fovea, "classify", "--json", "--threads", 1, "--model", folder / "model", folder / "test.txt"])
    rows = [json.loads(line) for line in out.splitlines()]
    odds = log_odds([(label, bag(text)) for f, label, text in texts if f != fold])
    result = {
        "set": name, "model": pooling, "fold": fold, "seed": seed,
        "right": bits(bool(row["labels"]) and row["labels"][0]["label"] == label
                      for row, (label, _) in zip(rows, test)),
        "words": [len(text.split()) for _, text in test],
        "train_seconds": round(trained - begun, 1), "train_cpu_seconds": round(cpu_trained - cpu, 1),
        "read_seconds": round(time.time() - trained, 1),
        "effective_words": mean_of(effective_share(row["weights"]) for row in rows),
        "effective_evidence": mean_of(effective_share(map(abs, row["evidence"])) for row in rows),
        "telling": mean_of(telling(row, odds) for row in rows),
        "command": ["fovea-fit", "--task", "classify", "--pooling", pooling, "--seed", seed, *SHAPE, *TRAINING[name]],
    }
    run(["rm", "-rf", folder])
    return result


def bag_fold(name, model, fold, texts):
    test = [(label, text) for f, label, text in texts if f == fold]
    begun = time.time()
    found = BASELINES[model]([(label, bag(text)) for f, label, text in texts if f != fold],
                             [bag(text) for _, text in test])
    return {"set": name, "model": model, "fold": fold, "seed": 0,
            "right": bits(a == label for a, (label, _) in zip(found, test)),
            "words": [len(text.split()) for _, text in test], "train_seconds": round(time.time() - begun, 1)}


def make_runs(options):
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "reading.runs.jsonl"
    done = read_runs(path)
    texts = {name: read(options.data) for name, read in SETS.items()}
    plan = [(seed, fold, name, model) for seed in options.seeds for fold in range(options.folds) for name in SETS
            for model in ("attention", "mean", "bayes", "logistic")
            if seed == options.seeds[0] or model in ("attention", "mean")]
    for seed, fold, name, model in plan:
        if name not in (options.sets or SETS) or model not in (options.models or NAMES):
            continue
        bags = model in BASELINES
        if (name, model, 0 if bags else seed, fold) in done:
            continue
        result = bag_fold(name, model, fold, texts[name]) if bags else \
            read_fold(options, options.work, name, model, fold, seed, texts[name])
        with path.open("a") as lines:
            lines.write(json.dumps(result) + "\n")
        right = result["right"]
        print(f"{name} {model} fold {fold} seed {result['seed']}: {100 * right.count('1') / len(right):.1f} % "
              f"in {result['train_seconds']} s", flush=True)


# --- what came out -----------------------------------------------------------------------------------------------

def mcnemar(a, b):
    """Exact two-sided p of the texts on which exactly one is right."""
    only_a, only_b = sum(x > y for x, y in zip(a, b)), sum(x < y for x, y in zip(a, b))
    n, k = only_a + only_b, min(only_a, only_b)
    if n == 0:
        return only_a, only_b, 1.0
    tail = sum(math.exp(math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2))
               for i in range(k + 1))
    return only_a, only_b, min(1.0, 2 * tail)


def interval(differences, seed=1):
    """Paired bootstrap over texts: the middle 95 % of the mean difference, in points."""
    rng = random.Random(seed)
    n = len(differences)
    if n == 0:
        return None
    # Resampling texts of a few kinds is drawing how many of each kind there are.
    kinds = Counter(differences)
    values, weights = list(kinds), [kinds[v] / n for v in kinds]
    means = []
    for _ in range(RESAMPLES):
        left, rest, total = n, 1.0, 0.0
        for value, weight in zip(values[:-1], weights[:-1]):
            p = min(1.0, weight / rest) if rest > 0 else 0
            mean, sd = left * p, math.sqrt(max(0.0, left * p * (1 - p)))
            count = min(left, max(0, round(rng.gauss(mean, sd)))) if left * p * (1 - p) > 25 else \
                sum(rng.random() < p for _ in range(left))
            total += value * count
            left -= count
            rest -= weight
        means.append((total + values[-1] * left) / n)
    means.sort()
    return [round(100 * means[int(0.025 * RESAMPLES)], 2), round(100 * means[int(0.975 * RESAMPLES)], 2)]


def summary(options):
    found = read_runs(options.out / "reading.runs.jsonl")
    out = {"folds": FOLDS, "shape": SHAPE, "training": TRAINING, "vocabulary": SETTINGS, "resamples": RESAMPLES,
           "sets": {}}
    for name in SETS:
        models = sorted({m for s, m, _, _ in found if s == name})
        entry = {"models": {}}
        for model in models:
            keys = sorted(k[2:] for k in found if k[:2] == (name, model))
            right = [r for k in keys for r in found[(name, model) + k]["right"]]
            by_fold = [100 * sum(found[(name, model) + k]["right"]) / len(found[(name, model) + k]["right"]) for k in keys]
            some = [found[(name, model) + k] for k in keys]
            entry["models"][model] = {
                "runs": [list(k) for k in keys], "texts": len(right), "accuracy": round(100 * sum(right) / len(right), 2),
                "fold_sd": round(math.sqrt(sum((x - sum(by_fold) / len(by_fold)) ** 2 for x in by_fold)
                                           / max(1, len(by_fold) - 1)), 2),
                "by_length": [],
                "train_seconds": round(sum(r["train_seconds"] for r in some) / len(some), 1)}
            for field in ("train_cpu_seconds", "read_seconds", "effective_words", "effective_evidence", "telling"):
                if field in some[0]:
                    entry["models"][model][field] = round(sum(r[field] for r in some) / len(some), 3)
            edges = LENGTHS[name]
            words = [w for r in some for w in r["words"]]
            for low, high in zip(edges, edges[1:]):
                part = [r for r, w in zip(right, words) if low <= w < high]
                entry["models"][model]["by_length"].append(
                    {"words": [low, high], "texts": len(part),
                     "accuracy": round(100 * sum(part) / len(part), 2) if part else None})
        both = sorted(set(k[2:] for k in found if k[:2] == (name, "attention")) &
                      set(k[2:] for k in found if k[:2] == (name, "mean")))
        if both:
            a = [r for k in both for r in found[(name, "attention") + k]["right"]]
            b = [r for k in both for r in found[(name, "mean") + k]["right"]]
            words = [w for k in both for w in found[(name, "attention") + k]["words"]]
            only_a, only_b, p = mcnemar(a, b)
            entry["attention_over_mean"] = {
                "runs": len(both), "points": round(100 * (sum(a) - sum(b)) / len(a), 2),
                "interval": interval([x - y for x, y in zip(a, b)]), "only_attention": only_a, "only_mean": only_b,
                "mcnemar_p": float(f"{p:.3g}"), "by_length": []}
            for low, high in zip(LENGTHS[name], LENGTHS[name][1:]):
                d = [x - y for x, y, w in zip(a, b, words) if low <= w < high]
                entry["attention_over_mean"]["by_length"].append(
                    {"words": [low, high], "texts": len(d), "points": round(100 * sum(d) / len(d), 2) if d else None,
                     "interval": interval(d)})
        out["sets"][name] = entry
    write(options.out / "reading.json", json.dumps(out, indent=1) + "\n")
    write_tables(options.out / "reading.md", out)


def span(low, high):
    return f"{low}+" if high >= 1 << 30 else f"under {high}" if low == 0 else f"{low}-{high - 1}"


NAMES = {"attention": "reader, attention", "mean": "reader, mean", "bayes": "bag of words, naive Bayes",
         "logistic": "bag of words, logistic regression"}


def tables(out):
    lines = []
    for name, entry in out["sets"].items():
        if not entry["models"]:
            continue
        lengths = [span(*part["words"]) for part in next(iter(entry["models"].values()))["by_length"]]
        lines += ["", f"**{name}**: accuracy in per cent, overall and by number of words", "",
                  "| model | folds run | all | sd of folds | " + " | ".join(lengths) + " |",
                  "|---|---:|---:|---:|" + "---:|" * len(lengths)]
        for model in ("attention", "mean", "logistic", "bayes"):
            one = entry["models"].get(model)
            if one:
                cells = [f"{part['accuracy']:.1f}" if part["texts"] else "" for part in one["by_length"]]
                lines.append(f"| {NAMES[model]} | {len(one['runs'])} | {one['accuracy']:.1f} | {one['fold_sd']:.1f} | "
                             + " | ".join(cells) + " |")
        more = entry.get("attention_over_mean")
        if more:
            cells = [f"{part['points']:+.1f} [{part['interval'][0]:+.1f}, {part['interval'][1]:+.1f}]"
                     if part["texts"] else "" for part in more["by_length"]]
            lines.append(f"| attention over mean, points [95 %] | {more['runs']} | {more['points']:+.1f} "
                         f"[{more['interval'][0]:+.1f}, {more['interval'][1]:+.1f}] | | " + " | ".join(cells) + " |")
            lines += ["", f"Right where the other is wrong: attention {more['only_attention']}, mean {more['only_mean']} "
                          f"texts (McNemar, exact, p = {more['mcnemar_p']:g}). Training a fold took "
                          f"{entry['models']['attention']['train_cpu_seconds']:.0f} s of one core with attention, "
                          f"{entry['models']['mean']['train_cpu_seconds']:.0f} s with the mean. Attention's weights are as "
                          f"spread as if they fell evenly on {100 * entry['models']['attention']['effective_words']:.0f} % of the "
                          f"words (the mean's: {100 * entry['models']['mean']['effective_words']:.0f} %)."]
    return "\n".join(lines) + "\n"


BEGIN, END = "<!-- tables: study/reading.py writes what stands from here -->", "<!-- to here -->"


def write_tables(path, out):
    page = path.read_text() if path.exists() else f"{BEGIN}\n{END}\n"
    head, rest = page.split(BEGIN, 1)
    write(path, head + BEGIN + "\n" + tables(out) + "\n" + END + rest.split(END, 1)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the two zip files")
    parser.add_argument("--prepare", type=Path, default="build/release/fovea-prepare")
    parser.add_argument("--fit", type=Path, default="build/fit/fovea-fit")
    parser.add_argument("--fovea", type=Path, default="build/release/fovea")
    parser.add_argument("--work", type=Path, default="build/study/reading", help="for what is thrown away")
    parser.add_argument("--out", type=Path, default="docs/study")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--sets", nargs="*", choices=list(SETS), help="only these")
    parser.add_argument("--models", nargs="*", choices=list(NAMES), help="only these; another process may run others")
    parser.add_argument("--folds", type=int, choices=range(1, FOLDS + 1), default=FOLDS, metavar="N",
                        help="only the first N, to see that it works")
    parser.add_argument("--summary-only", action="store_true")
    options = parser.parse_args()
    if not options.summary_only:
        if not options.data:
            parser.error("--data FOLDER is missing: where movie_reviews.zip and sentence_polarity.zip are")
        make_runs(options)
    summary(options)


if __name__ == "__main__":
    main()
