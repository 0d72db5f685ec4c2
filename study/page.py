#!/usr/bin/env python3
"""docs/does-attention-help.md from docs/study/*.json: its tables, and the pictures beside the JSON.

    python3 study/page.py            writes them
    python3 study/page.py --check    writes nothing; exit 1 where the page or a picture differs from what the JSON says

A table stands between <!-- study: NAME --> and <!-- end -->; the words around it are written by hand. Needs nothing but Python.
"""

from __future__ import annotations

import json
import pathlib
import re
import statistics
import sys
import typing

import charts
from charts import Chart, Panel, Point, Series
from translation import write

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "does-attention-help.md"
DATA = ROOT / "docs" / "study"
MARK = re.compile(r"(<!-- study: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
CONTEXTS = ("attention", "mean")
LANGUAGES = {"de-en": "German to English", "fr-en": "French to English"}
Json = dict[str, typing.Any]


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def words(of: Json) -> str:
    return f"{of['least']} to {of['most']}" if of["most"] is not None else f"{of['least']} or more"


def short_words(of: Json) -> str:
    return f"{of['least']}-{of['most']}" if of["most"] is not None else f"{of['least']}+"


# --- the translator ---------------------------------------------------------------------------------------------------


def by_language(study: Json) -> dict[str, list[Json]]:
    """The comparisons of each language, one a seed."""
    found: dict[str, list[Json]] = {}
    for name, compared in study["compared"].items():
        found.setdefault(name.split(",")[0], []).append(compared)
    return {language: found[language] for language in LANGUAGES if language in found}


def groups(seeds: list[Json]) -> list[tuple[str, list[Json]]]:
    """All lines, then each length: the same group of every seed."""
    return [("all", [s["all"] for s in seeds])] + [
        (words(group["words"]), [s["by_length"][i] for s in seeds]) for i, group in enumerate(seeds[0]["by_length"])]


def mean_of(of: list[Json], metric: str, context: str) -> float:
    return statistics.mean(group[metric][context]["score"] for group in of)


def translation_table(study: Json, metric: str) -> str:
    rows = []
    for language, seeds in by_language(study).items():
        for name, of in groups(seeds):
            differences = [group[metric]["difference"] for group in of]
            rows.append([LANGUAGES[language], name, str(of[0]["lines"]),
                         *(f"{mean_of(of, metric, context):.1f}" for context in CONTEXTS),
                         f"{statistics.mean(d['score'] for d in differences):+.1f}",
                         f"{min(d['low'] for d in differences):+.1f} to {max(d['high'] for d in differences):+.1f}",
                         f"{max(d['p_value'] for d in differences):.3f}"])
    return table(["", "words of the source", "lines", "attention", "mean", "difference", "95 % of resampled differences", "p at most"], rows)


def bleu(study: Json) -> str:
    return translation_table(study, "bleu")


def chrf(study: Json) -> str:
    return translation_table(study, "chrf")


def seeds(study: Json) -> str:
    rows = []
    for name, compared in sorted(study["compared"].items()):
        language, seed = name.split(", ")
        rows.append([LANGUAGES[language], seed.removeprefix("seed "), *(
            f"{compared['all'][metric][context]['score']:.2f}" for metric in ("bleu", "chrf") for context in CONTEXTS),
            *(f"{study['runs'][f'{language} {context}, {seed}']['validation_loss']:.3f}" for context in CONTEXTS)])
    return table(["", "seed", "BLEU, attention", "BLEU, mean", "chrF, attention", "chrF, mean", "validation loss, attention", "mean"], rows)


def cost(study: Json) -> str:
    rows = []
    for language, lengths in study["cost"].items():
        for of in lengths:
            rows.append([LANGUAGES[language], words(of["words"]), f"{of['words']['mean']:.0f}",
                         *(f"{of[context]['milliseconds']:.1f}" for context in CONTEXTS),
                         *(f"{of[context]['peak_mib']:.0f}" for context in CONTEXTS)])
    return table(["", "words of the source", "on average", "ms a sentence, attention", "mean", "peak MiB, attention", "mean"], rows)


def bleu_chart(study: Json) -> Chart:
    panels, names = [], []
    for language, of_seeds in by_language(study).items():
        names = [short_words(group["words"]) for group in of_seeds[0]["by_length"]]
        series = []
        for colour, context in enumerate(CONTEXTS):
            points = []
            for i, (_, of) in enumerate(groups(of_seeds)[1:]):
                scores = [group["bleu"][context] for group in of]
                points.append(Point(i, mean_of(of, "bleu", context), min(s["low"] for s in scores), max(s["high"] for s in scores)))
            series.append(Series(context, points, colour))
        panels.append(Panel(LANGUAGES[language], series))
    return Chart("BLEU by length of the source", "words of the source", "BLEU", panels, x_names=names, y_from=0,
                 description="Mean over seeds; bars: where resampled scores of any seed lie (95 %).")


# --- 1 / sqrt(d) ------------------------------------------------------------------------------------------------------


def gradients(scale: Json) -> str:
    def cells(of: Json) -> list[str]:
        return [f"{of['median_row']:.3g}", f"{of['root_mean_square_row']:.2f}", f"{of['entropy']:.2f}", f"{100 * of['rows_settled']:.0f} %"]

    head = ["d"]
    for name in ("1 / sqrt(d)", "no scale"):
        head += [f"{name}: median row", "root mean square", "entropy", "rows settled"]
    return table(head, [[str(g["width"]), *cells(g["scaled"]), *cells(g["unscaled"])] for g in scale["gradients"]])


def learning(scale: Json) -> str:
    rates = [r["rate"] for r in scale["learning"][0]["scaled"]["rates"]]
    rows = []
    for of in scale["learning"]:
        for key, name in (("scaled", "1 / sqrt(d)"), ("unscaled", "none")):
            taken = [r["steps_to_half"] for r in of[key]["rates"]]
            best = min((t for t in taken if t is not None), default=None)
            rows.append([str(of["width"]), name, *("never" if t is None else f"**{t}**" if t == best else str(t) for t in taken)])
    return table(["d", "scale", *(f"rate {rate:g}" for rate in rates)], rows)


def gradient_chart(scale: Json) -> Chart:
    series = [Series(name, [Point(g["width"], g[key]["median_row"]) for g in scale["gradients"]], colour)
              for colour, (key, name) in enumerate((("scaled", "scale 1/sqrt(d)"), ("unscaled", "no scale")))]
    return Chart("The gradient that reaches the scores of a query", "width d of queries and keys", "norm of a row of ds, median",
                 [Panel("", series)], x_log=True, y_log=True)


def learning_chart(scale: Json) -> Chart:
    panels = []
    for of in scale["learning"]:
        if of["width"] not in (64, 1024):
            continue
        series = [Series(name, [Point(10 * (i + 1), y) for i, y in enumerate(of[key]["best"]["curve"][:16])], colour)
                  for colour, (key, name) in enumerate((("scaled", "scale 1/sqrt(d)"), ("unscaled", "no scale")))]
        panels.append(Panel(f"d = {of['width']}, each at its best rate", series))
    return Chart("Learning to find the right key", "steps", "loss, mean of ten steps", panels, y_from=0)


# --- the page ---------------------------------------------------------------------------------------------------------

TABLES: dict[str, tuple[str, typing.Callable[[Json], str]]] = {
    "bleu": ("translation", bleu), "chrf": ("translation", chrf), "seeds": ("translation", seeds), "cost": ("translation", cost),
    "gradients": ("scale", gradients), "learning": ("scale", learning)}
CHARTS: dict[str, tuple[str, typing.Callable[[Json], Chart]]] = {
    "bleu-by-length": ("translation", bleu_chart), "gradients": ("scale", gradient_chart), "learning": ("scale", learning_chart)}


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    studies = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in DATA.glob("*.json")}
    page = PAGE.read_text(encoding="utf-8")
    used: set[str] = set()

    def fill(mark: re.Match[str]) -> str:
        used.add(mark[2])
        source, make = TABLES[mark[2]]
        return mark[1] + make(studies[source]) + mark[3]

    wanted = {PAGE: MARK.sub(fill, page)}
    for name, (source, make) in CHARTS.items():
        wanted[DATA / f"{name}.svg"] = charts.draw(make(studies[source]))
    if missing := TABLES.keys() - used:
        print(f"page.py: {PAGE.name} has no place for {', '.join(sorted(missing))}", file=sys.stderr)
        return 1
    different = [path for path, content in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != content]
    if arguments:
        for path in different:
            print(f"page.py: {path.relative_to(ROOT)} is not what docs/study/*.json says; run study/page.py", file=sys.stderr)
        return 1 if different else 0
    for path in different:
        write(path, wanted[path])
        print(f"wrote {path.relative_to(ROOT)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
