#!/usr/bin/env python3
"""The check of figures fails on every kind of wrong figure and passes the right ones.

  python3 tools/check_figures_test.py
"""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import check_figures  # noqa: E402

RESULTS = {
    "command": "./run bench attend",
    "cpu": "Zen 4",
    "document 2k": {"gflops": 71.349, "seconds": 0.00123, "sizes": [1, 2048]},
    "share.of.peak": {"fp32": 0.5349},
    "words": 1234567,
    "note": None,
}


class CheckFigures(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        (self.root / "bench/results").mkdir(parents=True)
        self.save("attend.json", RESULTS)

    def save(self, name, tree):
        text = tree if isinstance(tree, str) else json.dumps(tree)
        (self.root / "bench/results" / name).write_text(text)

    def check(self, text):
        """(exit status, what was said) for a page with this text."""
        page = self.root / "README.md"
        page.write_text(text)
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            status = check_figures.main([str(page)], self.root)
        return status, said.getvalue()

    def mark(self, path, form="", file="bench/results/attend.json"):
        return f"<!-- figure: {file}#{path}{' ' + form if form else ''} -->"

    def assert_right(self, figure, path, form=""):
        status, said = self.check(f"reaches {figure}{self.mark(path, form)} of it\n")
        self.assertEqual((status, said), (0, "1 figures on 1 pages, 0 wrong\n"))

    def assert_wrong(self, text, message):
        status, said = self.check(text)
        self.assertEqual(status, 1, text)
        self.assertIn(message, said)

    def test_right_figures(self):
        self.assert_right("71.35", "document 2k.gflops")
        self.assert_right("71.3", "document 2k.gflops", ".1f")
        self.assert_right("**71**", "document 2k.gflops", ".0f")
        self.assert_right("1.23", "document 2k.seconds", "x1000 .2f")
        self.assert_right("2048", "document 2k.sizes.1", "d")
        self.assert_right("53%", "share.of.peak.fp32", ".0%")
        self.assert_right("1,234,567", "words", ",.0f")
        self.assert_right("Zen 4", "cpu")

    def test_several_on_a_line(self):
        line = f"| 71.3{self.mark('document 2k.gflops', '.1f')} | 53%{self.mark('share.of.peak.fp32', '.0%')} |\n"
        self.assertEqual(self.check(line), (0, "2 figures on 1 pages, 0 wrong\n"))
        self.assert_wrong(line.replace("53%", "54%"), "the page says 54%")
        self.assert_wrong(line.replace("| 53%", "| "), "the page says no figure")

    def test_wrong_figures(self):
        path = "document 2k.gflops"
        for figure in ("71.4", "71.34", "171.3", "-71.3", "71.3%", "1,71.3", "7", "71.3 GFLOP/s"):
            self.assert_wrong(f"text\nreaches {figure}{self.mark(path, '.1f')}\n", "README.md:2: the page says")
        self.assert_wrong(f"Zen 5{self.mark('cpu')}\n", "the page says Zen 5")

    def test_what_cannot_be_found(self):
        self.assert_wrong("1" + self.mark("nothing"), "has no nothing")
        self.assert_wrong("1" + self.mark("document 2k.sizes.2"), "has no document 2k.sizes.2")
        self.assert_wrong("1" + self.mark("note"), "the value is not a number: null")
        self.assert_wrong("1" + self.mark("words", file="bench/results/gone.json"), "No such file")
        self.assert_wrong("1" + self.mark("words", file="bench/attend.json"), "not a .json file in bench/results")
        self.assert_wrong("1" + self.mark("words", file="bench/results/../x.json"), "not a .json file in bench/results")
        self.save("bare.json", {"words": 1})
        self.assert_wrong("1" + self.mark("words", file="bench/results/bare.json"), "how it was made")
        self.save("bad.json", "{")
        self.assert_wrong("1" + self.mark("words", file="bench/results/bad.json"), "is not JSON")

    def test_marks_that_are_none(self):
        self.assert_wrong("1<!-- figure attend.json words -->", "a mark is <!-- figure:")
        self.assert_wrong("1<!-- figure: bench/results/attend.json -->", "a mark is <!-- figure:")
        self.assert_wrong("71.3" + self.mark("document 2k.gflops", ".1q"), "has no document 2k.gflops .1q")

    def test_pages_that_are_missing(self):
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(check_figures.main([str(self.root / "gone.md")], self.root), 1)
        self.assertIn("no such page", said.getvalue())


if __name__ == "__main__":
    unittest.main()
