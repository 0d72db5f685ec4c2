"""What the docstrings and pages show is what happens."""

import doctest
import inspect
import pathlib
import re

import pytest

import fovea
import fovea.torch

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_docstrings():
    run = 0
    things = [(name, getattr(room, name)) for room in (fovea, fovea.torch) for name in room.__all__]
    for name, thing in things:
        if name == "__version__":
            continue
        assert inspect.getdoc(thing), f"{name} has no docstring"
        for test in doctest.DocTestFinder(recurse=True).find(thing, name, globs={}):
            result = doctest.DocTestRunner().run(test)
            assert result.failed == 0
            run += result.attempted
    assert run >= 20


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_pages(page):
    """Every ```python block of a page runs, in order, in one session; with >>> as a doctest."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    names = {}
    for block in blocks:
        if ">>>" in block:
            test = doctest.DocTestParser().get_doctest(block, names, page, page, 0)
            runner = doctest.DocTestRunner()
            runner.run(test, clear_globs=False)
            assert runner.failures == 0
            names = test.globs
        else:
            exec(compile(block, page, "exec"), names)


def test_version():
    wanted = re.search(r"project\(fovea VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)
    assert fovea.__version__ == wanted
