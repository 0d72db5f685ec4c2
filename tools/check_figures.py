#!/usr/bin/env python3
"""Every marked figure in the pages equals the measurement that it was taken from.

  python3 tools/check_figures.py [--write] [README.md] [docs] ...

A figure is marked by a comment right behind it:

  fovea reaches 71.3<!-- figure: bench/results/attend.json#situations.self_2k.gflops .1f --> GFLOP/s

The path names a value in the file: keys and list positions joined by points (a key may contain points
itself). The last word is a Python format (`.1f`, `,.0f`, `.0%`; `.2f` unless given); a factor may stand before it
(`x1000 .1f` prints seconds as milliseconds). The text before the comment must be exactly what the format
makes of the value. The file must be in bench/results and say at its top level, under "command", how it
was made. Folders are searched for *.md. With --write numbers that differ are put right, as after a new run of
the benchmarks. Needs nothing but Python.
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
COMMENT = re.compile(r"<!--\s*figure\b(.*?)-->", re.DOTALL)
MARK = re.compile(
    r":\s*(?P<file>[^#\s]+)#(?P<path>.+?)(?:\s+x(?P<factor>[0-9.eE+-]+))?(?:\s+(?P<format>[,]?\.\d+[feg%]|d|s))?\s*")
# What a figure may look like: as much of it as stands right before the comment.
FIGURE = re.compile(r"[-+]?[0-9][0-9,]*(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?%?\Z")


class Fault(Exception):
    pass


def value_at(tree, path):
    """tree["a"]["b"][0] for "a.b.0"; a key with points in it is found too."""
    if not path:
        return tree
    if isinstance(tree, dict):
        for key in sorted(tree, key=len, reverse=True):
            if path == key or path.startswith(key + "."):
                try:
                    return value_at(tree[key], path[len(key) + 1:])
                except KeyError:
                    continue
    if isinstance(tree, list):
        first, _, rest = path.partition(".")
        if first.isdecimal() and int(first) < len(tree):
            return value_at(tree[int(first)], rest)
    raise KeyError(path)


def measured(root, file, path):
    name = pathlib.PurePosixPath(file)
    if name.parts[:2] != ("bench", "results") or ".." in name.parts or name.suffix != ".json":
        raise Fault(f"{file} is not a .json file in bench/results")
    try:
        tree = json.loads((root / name).read_text(encoding="utf-8"))
    except OSError as error:
        raise Fault(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise Fault(f"{file} is not JSON: {error}") from None
    if not isinstance(tree, dict) or not isinstance(tree.get("command"), str) or not tree["command"].strip():
        raise Fault(f'{file} does not say under "command" how it was made')
    try:
        return value_at(tree, path)
    except KeyError:
        raise Fault(f"{file} has no {path}") from None


def expected_text(value, factor, form):
    if isinstance(value, str):
        if factor or form not in (None, "s"):
            raise Fault("the value is text: it takes no factor and no format")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Fault(f"the value is not a number: {json.dumps(value)[:60]}")
    if factor:
        value *= float(factor)
    if form == "d":
        if value != int(value):
            raise Fault(f"{value} is not whole")
        value = int(value)
    return format(value, form or ".2f")


def check_mark(root, body, before):
    """Raises Fault unless the text `before` the comment ends with the figure that `body` asks for."""
    mark = MARK.fullmatch(body)
    if not mark:
        raise Fault("a mark is <!-- figure: bench/results/FILE.json#path.to.value [xFACTOR] [FORMAT] -->")
    value = measured(root, mark["file"], mark["path"])
    wanted = expected_text(value, mark["factor"], mark["format"])
    if isinstance(value, str):
        found = before[-len(wanted):]
    else:
        figure = FIGURE.search(before.rstrip("*_` "))
        found = figure.group() if figure else ""
    if found != wanted:
        raise Fault(f"the page says {found or 'no figure'}, {mark['file']}#{mark['path']} says {wanted}")


def check_page(root, page):
    """Returns (number of marks, list of "page:line: what is wrong")."""
    text = page.read_text(encoding="utf-8")
    faults = []
    marks = 0
    for comment in COMMENT.finditer(text):
        marks += 1
        line_start = text.rfind("\n", 0, comment.start()) + 1
        line = text.count("\n", 0, comment.start()) + 1
        before = text[line_start:comment.start()]
        before = before[before.rfind("-->") + 3:] if "-->" in before else before
        try:
            check_mark(root, comment[1], before)
        except Fault as fault:
            faults.append(f"{page}:{line}: {fault}")
    return marks, faults


def write_page(root, page):
    """Puts the figures of the page right: numbers only, each where it stands."""
    text = page.read_text(encoding="utf-8")
    parts = []
    done = 0
    for comment in COMMENT.finditer(text):
        before = text[done:comment.start()]
        mark = MARK.fullmatch(comment[1])
        value = measured(root, mark["file"], mark["path"]) if mark else None
        bare = before.rstrip("*_` ")
        figure = FIGURE.search(bare)
        if figure and not isinstance(value, str) and value is not None:
            before = bare[:figure.start()] + expected_text(value, mark["factor"], mark["format"]) + before[len(bare):]
        parts += [before, comment.group()]
        done = comment.end()
    page.write_text("".join(parts) + text[done:], encoding="utf-8")


def main(arguments, root=ROOT):
    write = "--write" in arguments
    arguments = [argument for argument in arguments if argument != "--write"]
    pages = []
    for argument in arguments or [root / "README.md"]:
        path = pathlib.Path(argument)
        if path.is_dir():
            pages += sorted(path.rglob("*.md"))
        elif path.is_file():
            pages.append(path)
        else:
            print(f"check_figures: {path}: no such page", file=sys.stderr)
            return 1
    marks = 0
    faults = []
    for page in pages:
        if write:
            try:
                write_page(root, page)
            except Fault as fault:
                print(f"check_figures: {page}: {fault}", file=sys.stderr)
                return 1
        count, wrong = check_page(root, page)
        marks += count
        faults += wrong
    for fault in faults:
        print(f"check_figures: {fault}", file=sys.stderr)
    print(f"{marks} figures on {len(pages)} pages, {len(faults)} wrong")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
