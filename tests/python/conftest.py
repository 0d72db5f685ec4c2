"""What several test files use."""

import subprocess
import sys
import textwrap

import pytest


@pytest.fixture
def run_python(tmp_path):
    """Runs a program in a Python of its own; fails with what it printed. Gives its standard output."""

    def run(program, seconds=60):
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, capture_output=True,
                              text=True, timeout=seconds)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
