#!/usr/bin/env python3
"""What changed between two runs of fovea bench, and what only looks so.

  python3 tools/compare_bench.py OLD.json NEW.json [--fail]

Compared are the seconds of one call, situation by situation and variant by variant. A change counts only
beyond both 3 % and 3 times the spread: the spread is half the distance of a figure's quartiles, over its
median, and the larger of the two runs' is taken. With --fail the exit status is 1 if something that counts
is slower, or if a situation is missing in NEW; else it is 0. 2: the files cannot be compared.

Seconds of two runs mean something only from one machine, idle both times; what differs between the two
machines or builds is said above the table. Needs nothing but Python.
"""

import argparse
import json
import sys

LEAST = 0.03
SPREADS = 3
# What must be the same for seconds to be compared.
SAME = ("cpu", "processors", "isa", "governor", "compiler")


class Fault(Exception):
    pass


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            tree = json.load(file)
    except OSError as error:
        raise Fault(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise Fault(f"{path} is not JSON: {error}") from None
    if not isinstance(tree, dict) or not isinstance(tree.get("situations"), dict):
        raise Fault(f'{path} has no "situations": it was not written by fovea bench')
    return tree


def spread(figure):
    """Half the quartiles' distance, as a part of the median."""
    low, high = figure["quartiles"]
    if not 0 < low <= figure["median"] <= high < float("inf"):  # NaN fails
        raise ValueError(f"{figure}")
    return (high - low) / 2 / figure["median"]


def verdict(old, new):
    """(change, what it must exceed, word) for two figures of seconds."""
    change = new["median"] / old["median"] - 1
    limit = max(LEAST, SPREADS * max(spread(old), spread(new)))
    # A factor either way is the same distance: half the time is as far as twice the time.
    far = max(new["median"] / old["median"], old["median"] / new["median"]) - 1
    if not far > limit:
        return change, limit, ""
    return change, limit, "slower" if change > 0 else "faster"


def rows(old, new):
    """(situation, variant, old seconds, new seconds, change, limit, word) for what both have."""
    for name, before in old["situations"].items():
        after = new["situations"].get(name)
        if after is None or "seconds" not in before or "seconds" not in after:
            continue
        for variant, figure in before["seconds"].items():
            if variant in after["seconds"]:
                yield (name, variant, figure["median"], after["seconds"][variant]["median"],
                       *verdict(figure, after["seconds"][variant]))


def missing(old, new):
    """Situations that OLD measured and NEW did not."""
    measured = {name for name, row in new["situations"].items() if "seconds" in row}
    return [name for name, row in old["situations"].items() if "seconds" in row and name not in measured]


def time_text(seconds):
    for unit, size in (("s", 1), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.2f} {unit}"
    return f"{seconds / 1e-6:.1f} us"


def main(arguments):
    parser = argparse.ArgumentParser(prog="compare_bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD.json")
    parser.add_argument("new", metavar="NEW.json")
    parser.add_argument("--fail", action="store_true", help="exit 1 on a regression")
    chosen = parser.parse_args(arguments)
    try:
        old, new = read(chosen.old), read(chosen.new)
        table = list(rows(old, new))
        gone = missing(old, new)
        if not table and not gone:
            raise Fault("the two runs have no situation in common")
    except Fault as fault:
        print(f"compare_bench: {fault}", file=sys.stderr)
        return 2
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        print(f"compare_bench: a figure is not as fovea bench writes it: {error!r}", file=sys.stderr)
        return 2
    for key in SAME:
        if old.get(key) != new.get(key):
            print(f"note: {key} was {old.get(key)}, is {new.get(key)}")
    print(f"{'situation':32} {'variant':22} {'before':>10} {'now':>10} {'change':>8} {'counts beyond':>14}")
    for name, variant, before, after, change, limit, word in table:
        print(f"{name:32} {variant:22} {time_text(before):>10} {time_text(after):>10} {change:>+8.1%} "
              f"{limit:>14.1%}  {word}".rstrip())
    for name in gone:
        print(f"{name:32} is missing in {chosen.new}")
    slower = sum(row[-1] == "slower" for row in table)
    faster = sum(row[-1] == "faster" for row in table)
    print(f"{slower} slower, {faster} faster, {len(table) - slower - faster} unchanged, {len(gone)} missing")
    return 1 if chosen.fail and (slower or gone) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
