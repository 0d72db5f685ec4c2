"""A worker: one engine in processes of its own. The driver asks by lines of JSON, a line answers each.

    python worker.py ENGINE THREADS

Loading a library takes longer than most measurements, and a fresh process is what makes memory
comparable; so the library is imported once, before any thread is started, and every "begin" is answered
from a new fork of that process, which ends with "end".

    begin {situation, type, threads, want, folder}  ->  {ways: [name, ...]} or {skip: why}
    first {way}           the first call: memory at its peak beyond what stood before; rows of the results, to files
    time  {way, seconds}  calls for so long, at least one (and each rotated cache equally often)
    end
"""
from __future__ import annotations

import abc
import ctypes
import dataclasses
import importlib
import json
import os
import pathlib
import sys
import time
import traceback
import typing

import numpy as np

import situations

# One call of an engine: runs on cache number `copy` and returns its results as it has them.
Call = typing.Callable[[int], typing.Any]


@dataclasses.dataclass
class Way:
    """One layout and setting of an engine."""
    name: str
    call: Call
    # From what `call` returned to {"out": [B, H, N, D], "weights": ..., "top": ..., "entropy": ..., "received": ...}.
    results: typing.Callable[[typing.Any], dict[str, np.ndarray]]


class Skip(Exception):
    """The engine does not have this; the text says why."""


@dataclasses.dataclass
class Task:
    situation: situations.Situation
    type: str
    threads: int
    want: str  # out; weights; top (8 keys and entropy); received (top, and received)
    copies: int  # of the keys and values, to be taken in turn
    folder: pathlib.Path
    rows: list[tuple[int, int, int]]  # b, h, i: what results are compared at

    def array(self, name: str) -> np.ndarray:
        return situations.read_array(self.situation, self.type, self.folder, name)


class Engine(abc.ABC):
    """Made before the fork: imports its library and starts no thread."""
    name: str

    @abc.abstractmethod
    def about(self) -> dict[str, typing.Any]:
        """Version and settings, for the record."""

    @abc.abstractmethod
    def ways(self, task: Task) -> list[Way]:
        """Raises Skip. What has to be compiled is compiled here."""


def read_line() -> dict[str, typing.Any] | None:
    """Byte by byte from the pipe: parent and child share it, so nothing may be read ahead."""
    line = bytearray()
    while True:
        byte = os.read(0, 1)
        if not byte:
            return None
        if byte == b"\n":
            return json.loads(line)
        line += byte


# Libraries print to standard output; answers go to a copy of it that they do not know: see main.
answers = 1


def answer(**fields: typing.Any) -> None:
    os.write(answers, (json.dumps(fields) + "\n").encode())


def memory(field: str) -> float:
    """MiB of this process: VmRSS (now) or VmHWM (highest)."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(field))


def forget_highest() -> None:
    """VmHWM starts again from what is in use now; memory that was freed is given back first."""
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def first(way: Way, task: Task) -> dict[str, typing.Any]:
    forget_highest()
    before = memory("VmRSS")
    begin, worked = time.perf_counter(), time.process_time()
    raw = way.call(0)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - worked
    highest = memory("VmHWM")
    results = way.results(raw)
    for name, array in results.items():
        # Of [B, H, N, ...] the rows that are compared, of [B, H, M] all.
        part = array if name == "received" else np.stack([array[b, h, i] for b, h, i in task.rows])
        part.astype(np.float32).tofile(task.folder / f"result.{name}.bin")
    return {"seconds": seconds, "cpu": cpu, "MiB": highest - before, "results": list(results)}


def timed(way: Way, copies: int, least: float) -> dict[str, typing.Any]:
    calls = 0
    begin, worked = time.perf_counter(), time.process_time()
    while True:
        for copy in range(copies):
            way.call(copy)
        calls += copies
        spent = time.perf_counter() - begin
        if spent >= least:
            return {"seconds": spent / calls, "calls": calls, "cpu": (time.process_time() - worked) / calls}


def serve(engine: Engine, request: dict[str, typing.Any]) -> None:
    """One situation, in a process of its own, from `begin` to `end`."""
    try:
        task = Task(situations.BY_NAME[request["situation"]], request["type"], request["threads"], request["want"],
                    request["copies"], pathlib.Path(request["folder"]), request["rows"])
        ways = engine.ways(task)
        answer(ways=[way.name for way in ways])
    except Skip as skip:
        answer(skip=str(skip))
        return
    except Exception as error:  # whatever a foreign library throws ends up in the record
        traceback.print_exc()
        answer(skip=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return
    while (asked := read_line()) and asked["do"] != "end":
        try:
            way = ways[asked["way"]]
            if asked["do"] == "first":
                answer(**first(way, task))
            else:
                answer(**timed(way, task.copies, asked["seconds"]))
        except Exception as error:
            traceback.print_exc()
            answer(error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def main() -> None:
    global answers
    answers = os.dup(1)
    os.dup2(2, 1)
    name, threads = sys.argv[1], int(sys.argv[2])
    try:
        engine: Engine = importlib.import_module(f"engine_{name}").make(threads)
        answer(about=engine.about())
    except Exception as error:
        traceback.print_exc()
        answer(missing=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return
    while request := read_line():
        if request["do"] == "end":
            continue  # of a situation that was skipped
        if request["do"] != "begin":
            answer(error="the worker for this situation has died")
            continue
        child = os.fork()
        if child == 0:
            serve(engine, request)
            os._exit(0)  # foreign libraries' threads and exit handlers are not waited for
        _, status = os.waitpid(child, 0)
        if status != 0:
            answer(error=f"the worker died (status {status})")


if __name__ == "__main__":
    import worker  # the module that engines know, not this copy of it
    worker.main()
