"""A BLAS and a softmax, a head and a block of rows at a time: see engine_numpy."""
from __future__ import annotations

from engine_numpy import Numpy
from worker import Engine


def make(threads: int) -> Engine:
    return Numpy(threads, blocks=True)
