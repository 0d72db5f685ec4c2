#!/usr/bin/env python3
"""The comparison of benchmarks counts what it should, and only that.

  python3 tools/compare_bench_test.py
"""

import contextlib
import copy
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import compare_bench  # noqa: E402


def figure(median, half_spread=0.001):
    return {"median": median, "quartiles": [median * (1 - half_spread), median * (1 + half_spread)],
            "best": median * (1 - 2 * half_spread)}


OLD = {
    "command": "fovea bench", "cpu": "Zen 4", "isa": "avx512", "compiler": "12",
    "situations": {
        "self_2k": {"seconds": {"plain": figure(0.1), "received": figure(0.2)}},
        "self_2k 2 threads": {"seconds": {"plain": figure(0.05, 0.04)}},
        "self_2k bfloat16": {"not_supported": "attend: not yet"},
    },
}


class CompareBench(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.new = copy.deepcopy(OLD)

    def compare(self, *options, old=OLD, new=None):
        """(exit status, standard output, standard error)."""
        paths = []
        for name, tree in (("old", old), ("new", self.new if new is None else new)):
            paths.append(str(self.folder / f"{name}.json"))
            pathlib.Path(paths[-1]).write_text(tree if isinstance(tree, str) else json.dumps(tree))
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = compare_bench.main([*paths, *options])
        return status, out.getvalue(), err.getvalue()

    def set(self, name, variant, value):
        self.new["situations"][name]["seconds"][variant] = value

    def line(self, out, name, variant):
        return next(line for line in out.splitlines() if line.startswith(f"{name:32} {variant} "))

    def test_the_same(self):
        status, out, err = self.compare("--fail")
        self.assertEqual((status, err), (0, ""))
        self.assertTrue(out.endswith("0 slower, 0 faster, 3 unchanged, 0 missing\n"), out)

    def test_a_change_counts_beyond_three_percent(self):
        for factor, word in ((1.029, ""), (1.031, "slower"), (1 / 1.029, ""), (1 / 1.031, "faster"),
                             (2, "slower"), (0.5, "faster")):
            self.set("self_2k", "plain", figure(0.1 * factor))
            status, out, _ = self.compare("--fail")
            self.assertEqual(status, 1 if word == "slower" else 0, factor)
            line = self.line(out, "self_2k", "plain")
            self.assertTrue(line.endswith(word or "3.0%"), line)

    def test_and_beyond_three_spreads_of_either_run(self):
        # 4 % half spread in OLD: 12 %.
        for factor, status in ((1.11, 0), (1.13, 1)):
            self.set("self_2k 2 threads", "plain", figure(0.05 * factor))
            self.assertEqual(self.compare("--fail")[0], status, factor)
        self.set("self_2k 2 threads", "plain", figure(0.05))
        # 10 % half spread in NEW: 30 %.
        for factor, status in ((1.29, 0), (1.31, 1)):
            self.set("self_2k", "plain", figure(0.1 * factor, 0.1))
            self.assertEqual(self.compare("--fail")[0], status, factor)

    def test_without_fail_the_status_is_0(self):
        self.set("self_2k", "received", figure(0.4))
        status, out, _ = self.compare()
        self.assertEqual(status, 0)
        self.assertIn("+100.0%", self.line(out, "self_2k", "received"))
        self.assertIn("1 slower, 0 faster, 2 unchanged, 0 missing", out)

    def test_what_is_missing_is_a_regression_and_what_is_new_is_none(self):
        self.new["situations"]["odd"] = {"seconds": {"plain": figure(1)}}
        self.assertEqual(self.compare("--fail")[0], 0)
        self.new["situations"]["self_2k 2 threads"] = {"not_supported": "no longer"}
        status, out, _ = self.compare("--fail")
        self.assertEqual(status, 1)
        self.assertIn("self_2k 2 threads                is missing in", out)

    def test_another_machine_is_said(self):
        self.new["cpu"] = "Zen 5"
        self.assertIn("note: cpu was Zen 4, is Zen 5\n", self.compare()[1])

    def test_files_that_cannot_be_compared(self):
        for new, words in (("{", "is not JSON"), ({}, 'has no "situations"'), ({"situations": []}, "has no"),
                           ({"situations": {"self_2k": {"seconds": {"plain": {"median": 1}}}}}, "as fovea bench"),
                           ({"situations": {"self_2k": {"seconds": {"plain": figure(0)}}}}, "as fovea bench"),
                           ({"situations": {"self_2k": {"seconds": {"plain": figure(float("nan"))}}}},
                            "as fovea bench")):
            status, out, err = self.compare("--fail", new=new)
            self.assertEqual((status, out), (2, ""), words)
            self.assertIn(words, err)
        empty = {"situations": {}}
        self.assertIn("no situation in common", self.compare(old=empty, new=empty)[2])
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(compare_bench.main(["gone.json", "gone.json"]), 2)
        self.assertIn("gone.json: No such file", said.getvalue())


if __name__ == "__main__":
    unittest.main()
