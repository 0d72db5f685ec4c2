#!/usr/bin/env python3
"""The tables of docs/numerics.md, from bench/results/numerics.json.

  python3 tools/numerics_page.py           writes them
  python3 tools/numerics_page.py --check   exit 1 where the page has others

A table stands between <!-- numerics: NAME --> and <!-- end -->. Needs nothing but Python.
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "numerics.md"
DATA = ROOT / "bench" / "results" / "numerics.json"
TABLE = re.compile(r"(<!-- numerics: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
SPREADS = (1, 8, 60)
PATHS = ("prefill", "decode")
OUTPUTS = ("out", "lse", "entropy", "top", "received", "rows")


def number(x):
    """8.3e-08 as 8.3e-8."""
    return "0" if x == 0 else re.sub(r"e([-+])0?(\d)", lambda m: "e" + m[1].replace("+", "") + m[2], f"{x:.1e}")


def cases(data, kind, isa=None, path=None, spread=None):
    for name, case in data["cases"].items():
        type_, isa_, path_, _, spread_ = name.split(".")
        if type_ == kind and isa in (None, isa_) and path in (None, path_) and spread in (None, int(spread_[1:])):
            yield case


def worst(found, output, what):
    """The case with the largest error: fovea's, and the plain loop's of the same case."""
    case = max((c[output] for c in found), key=lambda m: m[what])
    return case[what], case["plain_" + what]


def row(cells):
    return "| " + " | ".join(cells) + " |\n"


def head(cells):
    return row(cells) + "|" + "---|" * len(cells) + "\n"


def errors(data, kind, what):
    """Of each output, fovea's error and its ratio to the plain loop's: the worst of all sets and widths."""
    outputs = list(OUTPUTS)
    if kind != "float32":
        outputs.insert(1, "stored")
    text = head(["path", "spread"] + outputs)
    for path in PATHS:
        for spread in SPREADS:
            cells = [path, str(spread)]
            for output in outputs:
                fovea, plain = worst(list(cases(data, kind, path=path, spread=spread)), output, what)
                cells.append(f"{number(fovea)} ({fovea / plain:.2f})" if plain > 0 else number(fovea))
            text += row(cells)
    return text


def sets(data):
    """The error of out by instruction set: the worst of widths and spreads, and of ratios."""
    kinds = ("float32", "bfloat16", "float16")
    text = head(["set"] + [f"{kind}, {path}" for kind in kinds for path in PATHS])
    for isa in data["isas"]:
        cells = [isa]
        for kind in kinds:
            for path in PATHS:
                found = list(cases(data, kind, isa=isa, path=path))
                if not found:
                    cells.append("as avx512")
                    continue
                fovea, plain = worst(found, "out", "max")
                cells.append(f"{number(fovea)} ({fovea / plain:.2f})")
        text += row(cells)
    return text


def exponential(data):
    text = head(["set", "largest relative error", "at x =", "in units of the last place"])
    for isa in data["isas"]:
        if isa in data["exp2"]:
            e = data["exp2"][isa]
            text += row([isa, f"{e['relative']:.3e}".replace("e-0", "e-"), f"{e['at']:.6g}", f"{e['ulps']:.2f}"])
    return text


def table(data, name):
    if name == "exp2":
        return exponential(data)
    if name == "sets":
        return sets(data)
    kind, what = name.split("_")
    return errors(data, kind, what)


def main(arguments):
    data = json.loads(DATA.read_text(encoding="utf-8"))
    have = PAGE.read_text(encoding="utf-8")
    want = TABLE.sub(lambda m: m[1] + table(data, m[2]) + m[3], have)
    if arguments == ["--check"]:
        if want != have:
            print("docs/numerics.md: its tables are not those of bench/results/numerics.json: "
                  "python3 tools/numerics_page.py", file=sys.stderr)
            return 1
        return 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    PAGE.write_text(want, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
