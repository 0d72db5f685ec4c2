"""fovea beside the attention of other libraries, on the same arrays, in turn.

    python peers.py --fovea build/dev/bench/fovea_worker [--quick] [--only SITUATION,...] [--engine NAME,...]
                    [--types float32,bfloat16] [--threads 1,2] [--json FILE] [--busy] [--fresh]

Every engine runs in processes of its own (worker.py, fovea_worker.cc, onednn_worker.cc). For each
situation, type and number of threads: each engine offers its ways (layouts, settings); each way's first
call is checked against fp64 and its memory taken; the quickest way is kept. Then the engines take turns,
round after round, each round with the limit of this processor measured in it. Medians and quartiles are
over the rounds, the ratio to fovea is that of each round.

Clock seconds count, so the machine should do nothing else. Where it must, --busy counts the processor seconds
of one thread instead (two threads wait for each other: their figures stay the clock's).

A run that was interrupted goes on where it stopped (the state is in build/peers; --fresh forgets it).
"""
from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
import platform
import select
import signal
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import typing

import numpy as np

import situations
from situations import Situation, Truth

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "build" / "peers"
ENGINES = ["fovea", "onednn", "onnxruntime", "openvino", "torch", "flex", "jax", "blas", "numpy"]
PYTHON_ENGINES = ["onnxruntime", "openvino", "torch", "flex", "jax", "blas", "numpy"]
# Largest difference from fp64 that still counts as the same result.
BOUNDS = {"float32": 1e-4, "bfloat16": 3e-2, "float16": 4e-3}

Json = dict[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Effort:
    cell: float  # seconds that the rounds of one situation, type and number of threads may take together
    turn: float  # seconds that one turn takes at least
    least: int  # rounds
    most: int


FULL = Effort(cell=5, turn=0.04, least=3, most=15)
QUICK = Effort(cell=0.3, turn=0.005, least=1, most=3)
# Who takes so many times as long as the quickest, and this many seconds, takes part in the first rounds only.
SLOW, SLOW_SECONDS = 3.0, 0.2
LONG = 20.0  # seconds of a first call after which there is no second


# --- workers -----------------------------------------------------------------------------------------------


class Gone(Exception):
    """The engine cannot be used (any more); the text says why."""


def environment(threads: int) -> dict[str, str]:
    """The caller's, without what tunes a library by hand."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("OPENBLAS_", "MKL_", "OMP_", "KMP_", "GOMP_", "ONEDNN_", "DNNL_", "XLA_"))}
    libraries = pathlib.Path(sys.prefix) / "lib"
    kept |= {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads),
             "TORCHINDUCTOR_CACHE_DIR": str(WORK / "inductor"), "JAX_PLATFORMS": "cpu", "PYTHONDONTWRITEBYTECODE": "1",
             # PyTorch's own switch: large tensors in huge pages (weights cost it half as much time).
             "THP_MEM_ALLOC_ENABLE": "1",
             # The wheels of oneDNN: the libraries of its runtime, and the driver that makes a CPU its device.
             "LD_LIBRARY_PATH": str(libraries), "OCL_ICD_FILENAMES": str(libraries / "libintelocl.so")}
    if threads == 1:
        kept["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    return kept


class Worker:
    """One engine with one number of threads, on processors of its own number."""

    def __init__(self, engine: str, threads: int, command: list[str], log: typing.TextIO) -> None:
        processors = sorted(os.sched_getaffinity(0))[:threads]
        self.engine = engine
        self.buffer = b""
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=HERE, env=environment(threads),
            preexec_fn=lambda: os.sched_setaffinity(0, processors), start_new_session=True)
        about = self.read(120)
        if "missing" in about:
            raise Gone(about["missing"])
        self.about: Json = about["about"]
        self.signal(signal.SIGSTOP)

    def signal(self, number: int) -> None:
        """To the worker and what it forked. It is stopped while it is not asked: threads that look out for
        their next task without sleeping would take a processor from the engine whose turn it is."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def ask(self, limit: float, **request: typing.Any) -> Json:
        assert self.process.stdin
        self.signal(signal.SIGCONT)
        try:
            self.process.stdin.write((json.dumps(request) + "\n").encode())
            self.process.stdin.flush()
        except OSError:
            raise Gone("the worker has ended") from None
        reply = self.read(limit)
        self.signal(signal.SIGSTOP)
        if "error" in reply:
            raise Gone(reply["error"])
        return reply

    def tell_end(self) -> None:
        assert self.process.stdin
        self.signal(signal.SIGCONT)
        try:
            self.process.stdin.write(b'{"do": "end"}\n')
            self.process.stdin.flush()
        except OSError:
            pass

    def read(self, limit: float) -> Json:
        assert self.process.stdout
        until = time.monotonic() + limit
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, until - time.monotonic()))
            if not ready:
                self.kill()
                raise Gone(f"no answer within {limit:.0f} s")
            part = os.read(self.process.stdout.fileno(), 1 << 16)
            if not part:
                raise Gone(f"the worker ended with {self.process.wait()}")
            self.buffer += part
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()


class Workers:
    """Python's are kept (they fork for each situation), those in C++ are started for each."""

    def __init__(self, fovea: pathlib.Path, onednn: pathlib.Path | None, why_no_onednn: str) -> None:
        self.programs = {"fovea": fovea, "onednn": onednn}
        self.missing = {} if onednn else {"onednn": why_no_onednn}
        self.kept: dict[tuple[str, int], Worker] = {}
        self.about: dict[str, Json] = {}
        WORK.mkdir(parents=True, exist_ok=True)
        self.log = open(WORK / "workers.log", "a", encoding="utf-8")

    def begin(self, engine: str, threads: int) -> Worker:
        if engine in self.missing:
            raise Gone(self.missing[engine])
        program = self.programs.get(engine)
        if program:
            return self.noted(Worker(engine, threads, [str(program), str(threads)], self.log), threads)
        worker = self.kept.get((engine, threads))
        if worker is None or worker.process.poll() is not None:
            try:
                worker = Worker(engine, threads, [sys.executable, str(HERE / "worker.py"), engine, str(threads)],
                                self.log)
            except Gone as gone:
                self.missing[engine] = str(gone)
                raise
            self.kept[engine, threads] = self.noted(worker, threads)
        return worker

    def noted(self, worker: Worker, threads: int) -> Worker:
        about = self.about.setdefault(worker.engine, {"version": worker.about["version"]})
        about.setdefault("settings", {})[str(threads)] = worker.about["settings"]
        return worker

    def end(self, worker: Worker) -> None:
        worker.tell_end()
        if worker.engine in self.programs:
            try:
                worker.process.wait(10)
            except subprocess.TimeoutExpired:
                worker.kill()

    def close(self) -> None:
        for worker in self.kept.values():
            worker.kill()


def build_onednn() -> tuple[pathlib.Path | None, str]:
    """The worker for oneDNN, from the header and library that its wheels brought."""
    prefix = pathlib.Path(sys.prefix)
    if not (prefix / "include" / "oneapi" / "dnnl" / "dnnl_graph.hpp").exists():
        return None, "its wheels are not installed"
    WORK.mkdir(parents=True, exist_ok=True)
    program = WORK / "onednn_worker"
    compiler = os.environ.get("CXX") or shutil.which("c++") or "c++"
    sources = [HERE / "onednn_worker.cc", HERE / "worker.h"]
    if program.exists() and all(program.stat().st_mtime > source.stat().st_mtime for source in sources):
        return program, ""
    done = subprocess.run(
        [compiler, "-O2", "-std=c++20", str(sources[0]), f"-I{HERE}", f"-I{prefix}/include", f"-L{prefix}/lib", "-ldnnl",
         f"-Wl,-rpath,{prefix}/lib", f"-Wl,-rpath-link,{prefix}/lib", "-o", str(program)],
        capture_output=True, text=True)
    if done.returncode != 0:
        return None, "its worker could not be built: " + " ".join(done.stderr.split())[:300]
    return program, ""


# --- measuring ---------------------------------------------------------------------------------------------


def spread(values: list[float]) -> Json:
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(median), "quartiles": [float(low), float(high)], "best": min(values)}


def cache_size() -> int:
    """Bytes of the last cache before memory."""
    sizes = [0]
    for file in pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = file.read_text(encoding="ascii").strip()
        sizes.append(int(text[:-1]) * {"K": 1 << 10, "M": 1 << 20}[text[-1]])
    return max(sizes) or 32 << 20


@dataclasses.dataclass
class Contender:
    """An engine that gave a right result: its way, its times."""
    worker: Worker
    ways: list[str]
    tries: dict[str, Json]
    best: int = 0
    seconds: list[float] = dataclasses.field(default_factory=list)
    ratios: list[float] = dataclasses.field(default_factory=list)
    waited: list[float] = dataclasses.field(default_factory=list)

    def estimate(self) -> float:
        return self.tries[self.ways[self.best]]["seconds"]


class Cell:
    """One situation, type, number of threads, and what is wanted of it."""

    def __init__(self, workers: Workers, effort: Effort, busy: bool, situation: Situation, type_name: str,
                 threads: int, want: str, slow: dict[str, set[str]], folder: pathlib.Path, truth: Truth) -> None:
        self.workers, self.effort, self.situation = workers, effort, situation
        self.type, self.threads, self.want, self.folder, self.truth = type_name, threads, want, folder, truth
        self.clock = "cpu" if busy and threads == 1 else "seconds"
        # Bytes of one whole matrix of weights, where one is wanted.
        matrix = 4 * situation.B * situation.H * situation.N * situation.M
        self.large = want != "out" and matrix > 1 << 30
        self.least = 2 if self.large else effort.least
        self.slow = slow  # ways not to be tried again, by engine
        self.copies = 1
        if situation.rotated:
            self.copies = 1 + 4 * cache_size() // situation.cache_bytes(type_name)

    def measure(self, engines: list[str]) -> Json:
        result: Json = {"engines": {}}
        peaks: list[float] = []
        entered: dict[str, Contender] = {}
        # What holds whole matrices of gigabytes takes its turns with fovea alone, one engine after the other.
        others = [engine for engine in engines if engine != "fovea"]
        groups = [[engine] for engine in others] if self.large and others else [others]
        fovea = self.enter_if_possible("fovea", result) if "fovea" in engines else None
        if fovea:
            entered["fovea"] = fovea
        for group in groups:
            taking_part = {"fovea": fovea} if fovea else {}
            for engine in group:
                if contender := self.enter_if_possible(engine, result):
                    entered[engine] = taking_part[engine] = contender
            if group and not any(engine in taking_part for engine in group):
                continue
            peaks += self.rounds(taking_part, result)
            for engine in group:
                if engine in entered:
                    self.workers.end(entered[engine].worker)
        if peaks:
            result["peak_gflops"] = max(peaks)
        for engine, contender in entered.items():
            if contender.seconds:
                result["engines"][engine] = self.summary(contender, result.get("peak_gflops"))
        if fovea:
            self.workers.end(fovea.worker)
        result["engines"] = {engine: result["engines"][engine] for engine in engines}
        return result

    def enter_if_possible(self, engine: str, result: Json) -> Contender | None:
        try:
            found = self.enter(engine)
        except Gone as gone:
            found = str(gone)
        if isinstance(found, str):
            result["engines"][engine] = {"skip": found}
            return None
        return found

    def open(self, engine: str) -> tuple[Worker, list[str]]:
        """A fresh worker and its ways; Gone where there is none."""
        s = self.situation
        worker = self.workers.begin(engine, self.threads)
        shape = {"B": s.B, "H": s.H, "G": s.G, "N": s.N, "M": s.M, "D": s.D, "causal": s.causal, "lengths": s.lengths()}
        begun = worker.ask(300, do="begin", situation=s.name, shape=shape, type=self.type, threads=self.threads,
                           want=self.want, copies=self.copies, folder=str(self.folder), rows=self.truth.rows)
        if "skip" in begun:
            self.workers.end(worker)
            raise Gone(begun["skip"])
        return worker, begun["ways"]

    def enter(self, engine: str) -> Contender | str:
        """The engine's ways tried; or why there is none."""
        worker, ways = self.open(engine)
        contender = Contender(worker, ways, {})
        quickest = float("inf")
        for number, way in enumerate(ways):
            if way in self.slow.get(engine, ()):
                continue
            try:
                if self.large and contender.tries:
                    self.workers.end(contender.worker)
                    contender.worker, _ = self.open(engine)
                tried = self.first(contender.worker, number)
            except Gone as gone:
                contender.tries[way] = {"error": str(gone)}
                if contender.worker.process.poll() is not None:
                    break
                continue
            contender.tries[way] = tried
            if "error" in tried:
                continue
            # A first call is a slow one; but what takes seconds, or is hopeless, is not asked again to choose a way.
            if tried["seconds"] < max(3 * quickest, 0.3) and tried["seconds"] < 2:
                times = [contender.worker.ask(300, do="time", way=number, seconds=self.effort.turn / 2)[self.clock]
                         for _ in "12"]
                tried["seconds"] = min(times)
            if tried["seconds"] < quickest:
                quickest, contender.best = tried["seconds"], number
        if quickest == float("inf"):
            self.workers.end(contender.worker)
            return "; ".join(f"{way}: {tried['error']}" for way, tried in contender.tries.items())
        if len(contender.tries) > 1:  # what the other ways left behind would count as memory, or hide it
            self.workers.end(contender.worker)
            contender.worker, _ = self.open(engine)
            contender.tries[ways[contender.best]]["MiB"] = self.first(contender.worker, contender.best)["MiB"]
        return contender

    def first(self, worker: Worker, way: int) -> Json:
        """The first call: seconds, memory, errors; "error" where it is not the same result."""
        reply = worker.ask(300, do="first", way=way)
        errors = {name: error for name in reply["results"] if (error := self.truth.error(name, self.folder)) is not None}
        tried: Json = {"seconds": reply[self.clock], "MiB": reply["MiB"], "errors": errors}
        if not all(error <= BOUNDS[self.type] for error in errors.values()):
            tried["error"] = "differs from fp64"
        return tried

    def rounds(self, contenders: dict[str, Contender], result: Json) -> list[float]:
        peaks: list[float] = []
        if not contenders:
            return peaks
        limit = self.workers.begin("fovea", self.threads)
        quickest = min(contender.estimate() for contender in contenders.values())
        begin = time.monotonic()
        count = 0
        while count < self.least or (count < self.effort.most and time.monotonic() - begin < self.effort.cell):
            peak = limit.ask(60, do="peak", type=self.type, threads=self.threads)
            if peak["operations"] is not None:
                peaks.append(peak["operations"] / peak[self.clock] * 1e-9)
            names = list(contenders)
            this_round: dict[str, float] = {}
            for name in names[count % len(names):] + names[:count % len(names)]:
                contender = contenders[name]
                slow = contender.estimate() > max(SLOW * quickest, SLOW_SECONDS)
                if slow and count >= (3 if contender.estimate() < 1 else 1):
                    continue
                if contender.estimate() > LONG:
                    contender.seconds.append(contender.estimate())
                    this_round[name] = contender.estimate()
                    continue
                if self.threads > 1:
                    time.sleep(0.02)  # waiting threads of the engine before may still spin
                try:
                    reply = contender.worker.ask(300, do="time", way=contender.best, seconds=self.effort.turn)
                except Gone as gone:
                    result["engines"][name] = {"skip": str(gone)}
                    contender.seconds.clear()
                    del contenders[name]
                    continue
                this_round[name] = reply[self.clock]
                contender.seconds.append(reply[self.clock])
                contender.waited.append(1 - reply["cpu"] / (reply["seconds"] * self.threads))
            if "fovea" in this_round:
                for name, seconds in this_round.items():
                    contenders[name].ratios.append(seconds / this_round["fovea"])
            count += 1
        self.workers.end(limit)
        return peaks

    def summary(self, contender: Contender, peak: float | None) -> Json:
        s = self.situation
        way = contender.ways[contender.best]
        tried = contender.tries[way]
        seconds = spread(contender.seconds)
        gflops = s.operations() / seconds["median"] * 1e-9
        found: Json = {"way": way, "seconds": seconds, "rounds": len(contender.seconds), "gflops": gflops,
                       "share_of_peak": gflops / peak if peak else None,
                       "ratio_to_fovea": spread(contender.ratios) if contender.ratios else None,
                       "peak_MiB": tried["MiB"], "errors": tried["errors"],
                       # Of the processors' time: what others had of it, or what stood still.
                       "waited": float(np.median(contender.waited)) if contender.waited else None, "tries": contender.tries}
        if s.rotated:
            found["cache_gigabytes_per_second"] = s.cache_bytes(self.type) / seconds["median"] * 1e-9
        return found


# --- the whole ---------------------------------------------------------------------------------------------


def processor() -> str:
    fields: dict[str, str] = {}
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if ":" not in line:
                break
            name, value = line.split(":", 1)
            fields[name.strip()] = value.strip()
    return f"{fields.get('model name')} (family {fields.get('cpu family')}, model {fields.get('model')})"


def huge_pages() -> str:
    try:
        text = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text(encoding="ascii")
        return text[text.index("[") + 1:text.index("]")]
    except (OSError, ValueError):
        return "unknown"


def note_slow(result: Json, slow: dict[str, set[str]]) -> None:
    """Adds the ways, by engine, that are not worth a try with more threads or longer texts."""
    for engine, found in result["engines"].items():
        tries = found.get("tries", {})
        best = min((tried["seconds"] for tried in tries.values() if "error" not in tried), default=0.0)
        slow.setdefault(engine, set()).update(way for way, tried in tries.items()
                                              if "error" in tried or tried["seconds"] > 1.3 * best)


class Cells(typing.NamedTuple):
    part: str  # "situations" or "weights"
    situation: Situation
    type: str
    threads: int
    want: str

    def path(self) -> list[str]:
        last = [] if self.part == "situations" else [self.want]
        return [self.part, self.situation.name, self.type, str(self.threads), *last]


def plan(arguments: argparse.Namespace) -> list[Cells]:
    only = arguments.only.split(",") if arguments.only else [situation.name for situation in situations.ALL]
    if unknown := set(only) - set(situations.BY_NAME):
        raise SystemExit(f"peers: no situation {', '.join(sorted(unknown))}; there are {', '.join(situations.BY_NAME)}")
    types, threads = arguments.types.split(","), [int(count) for count in arguments.threads.split(",")]
    cells = []
    for situation in situations.ALL:
        if situation.name not in only:
            continue
        for type_name in types:
            cells += [Cells("situations", situation, type_name, count, "out") for count in threads]
        if situation.name in situations.WEIGHTS and "float32" in types:
            cells += [Cells("weights", situation, "float32", threads[0], want) for want in ("weights", "top", "received")]
    return cells


def put(tree: Json, path: list[str], value: typing.Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def get(tree: Json, path: list[str]) -> typing.Any:
    for name in path:
        if name not in tree:
            return None
        tree = tree[name]
    return tree


def line(cell: Cells, result: Json) -> str:
    parts = []
    for engine, found in result["engines"].items():
        parts.append(f"{engine} -" if "skip" in found
                     else f"{engine} {found['seconds']['median'] * 1e3:.4g} ms ({found['gflops']:.0f})")
    return f"{cell.situation.name} {cell.type} {cell.threads} {cell.want}: " + ", ".join(parts)


def measure_all(arguments: argparse.Namespace, engines: list[str]) -> Json:
    cells = plan(arguments)
    onednn, why = build_onednn()
    workers = Workers(pathlib.Path(arguments.fovea).resolve(), onednn, why)
    effort = QUICK if arguments.quick else FULL
    # A result belongs to the programs, packages and settings it was made with.
    key = hashlib.sha256()
    for file in sorted([*HERE.glob("*.py"), *HERE.glob("*.cc"), *HERE.glob("*.h"), HERE / "requirements.txt",
                        pathlib.Path(arguments.fovea)]):
        key.update(file.read_bytes())
    key.update(repr((arguments.quick, arguments.busy, engines)).encode())
    state_file = WORK / "state.json"
    state: Json = {"key": key.hexdigest(), "situations": {}, "weights": {}}
    if state_file.exists() and not arguments.fresh:
        kept = json.loads(state_file.read_text(encoding="utf-8"))
        if kept.get("key") == state["key"]:
            state = kept
    begin = time.monotonic()
    known: dict[tuple[str, str, str], dict[str, set[str]]] = {}
    made: tuple[str, str] | None = None
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        folder = pathlib.Path(name)
        for number, cell in enumerate(cells):
            slow = known.setdefault((cell.situation.name, cell.type, cell.want), {})
            if before := get(state, cell.path()):
                note_slow(before, slow)
                print(f"peers: {'/'.join(cell.path())}: from the run before", file=sys.stderr)
                continue
            if made != (cell.situation.name, cell.type):
                situations.write_arrays(cell.situation, cell.type, folder)
                truth = Truth(cell.situation, cell.type, folder)
                made = (cell.situation.name, cell.type)
            like = cell.situation.like if cell.part == "situations" else situations.WEIGHTS[0]
            for engine, those in known.get((like, cell.type, cell.want), {}).items():
                slow.setdefault(engine, set()).update(those)
            # With thousands of keys others need long for the top of each row ("received" has that in it too), NumPy a minute.
            asked = engines
            if cell.situation.M > 4096 and cell.want in ("top", "received"):
                asked = ["fovea"] if cell.want == "top" else [engine for engine in engines if engine != "numpy"]
            result = Cell(workers, effort, arguments.busy, cell.situation, cell.type, cell.threads, cell.want, slow, folder,
                          truth).measure([engine for engine in asked if engine in engines])
            note_slow(result, slow)
            put(state, cell.path(), result)
            state["about"] = state.get("about", {}) | workers.about
            state_file.write_text(json.dumps(state), encoding="utf-8")
            print(f"peers: [{number + 1}/{len(cells)}, {time.monotonic() - begin:.0f} s] {line(cell, result)}",
                  file=sys.stderr, flush=True)
    workers.close()
    state["seconds"] = state.get("seconds", 0) + time.monotonic() - begin
    state["missing"] = workers.missing
    return report(arguments, state, cells)


def report(arguments: argparse.Namespace, state: Json, cells: list[Cells]) -> Json:
    found: Json = {
        "command": shlex.join(["./run", "peers", *arguments.given]),
        "cpu": processor(),
        "caches": f"last level {cache_size() >> 20} MiB",
        "system": f"{platform.system()}, transparent huge pages {huge_pages()}",
        "python": platform.python_version(),
        "minutes": round(state["seconds"] / 60, 1),
        "flops_counted": "2 (D + E) for each visible query-key pair and head",
        "clock": "processor seconds for one thread, clock seconds for more" if arguments.busy else "clock seconds",
        "error": f"largest difference from fp64 over {Truth.ROWS} rows; peak_MiB: of the first call, beyond what stood "
                 "before it, the output included",
        "engines": state.get("about", {}),
        "missing": state["missing"],
        "situations": {}, "weights": {}}
    for cell in cells:
        s = cell.situation
        if (result := get(state, cell.path())) is None:
            continue
        if cell.part == "situations" and s.name not in found["situations"]:
            lengths = s.lengths()
            found["situations"][s.name] = {"what": s.what, "B": s.B, "H": s.H, "G": s.G, "N": s.N, "M": s.M, "D": s.D,
                                           "causal": s.causal, "lengths": lengths, "rotated": s.rotated,
                                           "operations": s.operations()}
        put(found, cell.path(), result)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run peers", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fovea", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="a round or so of each: to see that all works")
    parser.add_argument("--only", default="", metavar="SITUATION,...", help=", ".join(situations.BY_NAME))
    parser.add_argument("--engine", default="", metavar="NAME,...", help=", ".join(ENGINES))
    parser.add_argument("--types", default="float32,bfloat16")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--json", help="default: bench/results/peers.json; of a part, build/peers/part.json")
    parser.add_argument("--busy", action="store_true", help="processor seconds for one thread: the machine is not idle")
    parser.add_argument("--fresh", action="store_true", help="forget what an interrupted run left")
    arguments = parser.parse_args()
    arguments.given = [word for word in sys.argv[1:] if word not in ("--fovea", arguments.fovea)]
    engines = arguments.engine.split(",") if arguments.engine else ENGINES
    if unknown := set(engines) - set(ENGINES):
        raise SystemExit(f"peers: no engine {', '.join(sorted(unknown))}; there are {', '.join(ENGINES)}")
    whole = not (arguments.quick or arguments.only or arguments.engine)
    target = pathlib.Path(arguments.json) if arguments.json else (
        ROOT / "bench" / "results" / "peers.json" if whole else WORK / "part.json")
    found = measure_all(arguments, [engine for engine in ENGINES if engine in engines])
    target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (WORK / "state.json").unlink(missing_ok=True)
    print(f"peers: written to {target}", file=sys.stderr)


if __name__ == "__main__":
    main()
