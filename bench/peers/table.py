#!/usr/bin/env python3
"""The tables of bench/results/peers.json and backward.json, written into the pages between their marks.

    python3 bench/peers/table.py [--check] [PAGE ...]      (README.md and docs/performance.md unless given)

A mark:  <!-- peers: NAME --> ... <!-- peers: end -->   NAME: about, float32, bfloat16, weights, short, backward;
xeon/NAME reads the files in bench/results/xeon, and so on.
--check writes nothing and fails where a page differs from what the file says. Needs nothing but Python.
"""
from __future__ import annotations

import json
import pathlib
import re
import sys
import typing

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "bench" / "results"
MARK = re.compile(r"(<!-- peers: (?P<folder>\w+/)?(?P<name>\w+) -->\n).*?(<!-- peers: end -->)", re.DOTALL)
NAMES = {"fovea": "fovea", "onednn": "oneDNN", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO",
         "torch": "PyTorch", "flex": "FlexAttention", "jax": "JAX", "blas": "BLAS + softmax", "numpy": "NumPy"}

Json = dict[str, typing.Any]


def row(cells: typing.Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join([row(head), "|" + "---|" * len(head), *map(row, rows)])


def milliseconds(seconds: float) -> str:
    """Three figures."""
    ms = seconds * 1e3
    return f"{ms:,.0f}" if ms >= 100 else f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}" if ms >= 1 else f"{ms:.3f}"


def measured(cell: Json | None, engine: str) -> Json | None:
    found = (cell or {}).get("engines", {}).get(engine)
    return None if found is None or "skip" in found else found


def ratio(found: Json | None) -> str:
    """Time over fovea's, or the time itself where fovea has none."""
    if found is None:
        return "-"
    if not found["ratio_to_fovea"]:
        return milliseconds(found["seconds"]["median"]) + " ms"
    return f"{found['ratio_to_fovea']['median']:.2f}"


def of_type(results: Json, type_name: str) -> str:
    """All situations; where there are results for several numbers of threads, they stand beside each other."""
    rows, used, counts = [], set(), []
    for situation in results["situations"].values():
        counts = sorted(situation.get(type_name, {}), key=int)
        for count in counts:
            used |= {e for e in NAMES if e != "fovea" and measured(situation[type_name][count], e)}
    peers = [engine for engine in NAMES if engine in used]
    for situation in results["situations"].values():
        cells = situation.get(type_name)
        if not cells:
            continue
        counts = sorted(cells, key=int)
        fovea = [measured(cells[count], "fovea") for count in counts]
        line = [situation["what"],
                " / ".join(milliseconds(f["seconds"]["median"]) if f else "-" for f in fovea),
                " / ".join(f"{f['share_of_peak']:.0%}" if f and f["share_of_peak"] else "-" for f in fovea)]
        for engine in peers:
            each = [ratio(measured(cells[count], engine)) for count in counts]
            line.append("-" if set(each) == {"-"} else " / ".join(each))
        rows.append(line)
    head = ["", "fovea, ms", "of the peak", *(NAMES[engine] for engine in peers)]
    return table(head, rows)


def about(results: Json) -> str:
    versions = dict.fromkeys(found["version"] for found in results["engines"].values())
    missing = [f"{NAMES[engine]} missing: {why}" for engine, why in results["missing"].items()]
    return f"{results['cpu']}; {results['clock']}. {'; '.join([*versions, *missing])}.\n"


def short(results: Json) -> str:
    """float32, one thread: the quickest of the others, and PyTorch."""
    rows = []
    for situation in results["situations"].values():
        cell = situation.get("float32", {}).get("1")
        fovea = measured(cell, "fovea")
        if not fovea:
            continue
        others = {e: f for e in NAMES if e != "fovea" and (f := measured(cell, e)) and f["ratio_to_fovea"]}
        if not others:
            continue
        best = min(others, key=lambda e: others[e]["ratio_to_fovea"]["median"])
        rows.append([situation["what"], milliseconds(fovea["seconds"]["median"]) + " ms",
                     f"{ratio(others[best])} ({NAMES[best]})", ratio(others.get("torch"))])
    return table(["", "fovea", "quickest other", "PyTorch"], rows)


def weights(results: Json) -> str:
    """What giving back weights costs: milliseconds and MiB."""
    wants = {"out": "attention alone", "weights": "all weights", "top": "top 8, entropy",
             "received": "top 8, entropy, received"}
    rows = []
    for name, by_type in results["weights"].items():
        cells = by_type.get("float32", {}).get("1", {})
        for engine in NAMES:
            found = {want: measured(cells.get(want), engine) for want in wants}
            found["out"] = measured(results["situations"][name].get("float32", {}).get("1"), engine)
            if not any(found[want] for want in wants if want != "out"):
                continue
            rows.append([results["situations"][name]["what"], NAMES[engine]] +
                        [f"{milliseconds(f['seconds']['median'])} ms, {f['peak_MiB']:,.0f} MiB" if f else "-"
                         for f in found.values()])
    return table(["", "", *wants.values()], rows)


def backward(results: Json) -> str:
    """Forward and backward, and backward alone: fovea's time, and PyTorch's over it; 1 thread / 2 threads."""
    rows = []
    for situation in results["situations"].values():
        for type_name in ("float32", "bfloat16"):
            cells = situation.get(type_name, {})
            counts = sorted(cells, key=int)
            line = [situation["what"], type_name]
            for what in ("forward and backward", "backward"):
                found = [cells[count][what] for count in counts]
                line += [" / ".join(milliseconds(f["fovea"]["seconds"]["median"]) for f in found),
                         " / ".join(f"{f['torch']['ratio_to_fovea']['median']:.2f}" for f in found)]
            rows.append(line)
    return table(["", "", "forward and backward, ms", "PyTorch", "backward alone, ms", "PyTorch"], rows)


def read(folder: str, file: str) -> Json | None:
    path = RESULTS / folder / file
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def text_of(folder: str, name: str) -> str:
    if name == "backward":
        gradients = read(folder, "backward.json")
        return (backward(gradients) if gradients else "Not measured yet: `./run peers backward`.") + "\n"
    writers = {"about": about, "short": short, "weights": weights}
    types = ("float32", "bfloat16")
    if name not in writers and name not in types:
        raise SystemExit(f"table: no table {name}: about, float32, bfloat16, weights, short, backward")
    results = read(folder, "peers.json")
    if results is None:
        return "Not measured yet: `./run peers`.\n"
    text = of_type(results, name) if name in types else writers[name](results)
    return text if name == "about" else text + "\n"


def main() -> int:
    check = "--check" in sys.argv[1:]
    pages = [pathlib.Path(word) for word in sys.argv[1:] if word != "--check"]
    marks = faults = 0
    for page in pages or [ROOT / "README.md", ROOT / "docs" / "performance.md"]:
        before = page.read_text(encoding="utf-8")
        marks += len(MARK.findall(before))
        after = MARK.sub(lambda m: m[1] + text_of(m["folder"] or "", m["name"]) + m[4], before)
        if after == before:
            continue
        if check:
            print(f"table: {page} differs from bench/results: python3 bench/peers/table.py", file=sys.stderr)
            faults += 1
        else:
            page.write_text(after, encoding="utf-8")
    print(f"{marks} tables, {faults} pages that differ")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
