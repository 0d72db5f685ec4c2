"""The gradients of attention: fovea beside PyTorch's, on the same arrays, in turn.

    python backward.py [--types float32,bfloat16] [--threads 1,2] [--only SITUATION,...] [--rounds N] [--busy]
                       [--json FILE]

Runs in the environment of the Python tests, where both are installed: ./run peers backward. Each engine is in a
process of its own, stopped while it is not asked. Its first gradients are compared with float64; then they take
turns: forward and backward together, and backward alone. Ways are tried as users have them: autograd (PyTorch's
attention, fovea.torch), and below it the operators themselves. The quickest way of each is kept, every try stands in
the file. A part (--types, --threads, --only) replaces that part of the file.

Clock seconds count, so the machine should do nothing else. Where it must, --busy counts the processor seconds of one
thread (two wait for each other: theirs are the clock's); "waited" is the share of its time that an engine did not run.
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import shlex
import sys
import tempfile
import time
import typing

import numpy as np

import situations
from peers import ROOT, Gone, Json, Worker, processor, spread

HERE = pathlib.Path(__file__).resolve().parent
ENGINES = ["fovea", "torch"]
SITUATIONS = ["self_2k", "causal_2k"]
MEASURES = ["forward and backward", "backward"]
# Largest difference from float64 that still counts as the same result, of the largest number.
BOUNDS = {"float32": 1e-5, "bfloat16": 2e-2}


def arrays(situation: situations.Situation) -> list[np.ndarray]:
    """q, k, v and the gradient of out, [B, H, N, D] float32."""
    s, random = situation, np.random.default_rng(1)
    return [random.standard_normal((s.B, s.H, n, s.D), dtype=np.float32) for n in (s.N, s.M, s.M, s.N)]


# --- one engine, in a process of its own ---------------------------------------------------------------------


class Way(typing.NamedTuple):
    name: str
    forward: typing.Callable[[], typing.Any]  # what backward needs, out first
    backward: typing.Callable[[typing.Any], typing.Sequence[typing.Any]]  # dq, dk, dv


def by_autograd(name: str, attention: typing.Any, leaves: list[typing.Any], given: typing.Any) -> Way:
    import torch
    return Way(name, lambda: (attention(*leaves),),
               lambda done: torch.autograd.grad(done[0], leaves, given, retain_graph=True))


def ways_of_torch(q: typing.Any, k: typing.Any, v: typing.Any, g: typing.Any, causal: bool) -> list[Way]:
    import torch

    def sdpa(*x: typing.Any) -> typing.Any:
        return torch.nn.functional.scaled_dot_product_attention(*x, is_causal=causal)

    def leaves(lay: typing.Callable[[typing.Any], typing.Any]) -> list[typing.Any]:
        return [lay(x).requires_grad_() for x in (q, k, v)]

    def across(x: typing.Any) -> typing.Any:  # [B, N, H, D] in memory, as a model's projections leave it
        return x.transpose(1, 2).contiguous().transpose(1, 2)

    below = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return [
        by_autograd("autograd, [B,H,N,D]", sdpa, leaves(torch.clone), g),
        by_autograd("autograd, [B,N,H,D]", sdpa, leaves(across), across(g)),
        Way("_scaled_dot_product_flash_attention_for_cpu", lambda: below(q, k, v, 0.0, causal),
            lambda done: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                g, q, k, v, done[0], done[1], 0.0, causal)),
    ]


def ways_of_fovea(q: typing.Any, k: typing.Any, v: typing.Any, g: typing.Any, causal: bool) -> list[Way]:
    import torch
    import fovea.torch

    def sdpa(*x: typing.Any) -> typing.Any:
        return fovea.torch.scaled_dot_product_attention(*x, is_causal=causal)

    rule = {"causal": "top-left" if causal else False, "threads": torch.get_num_threads()}

    def forward() -> typing.Any:
        done = fovea.attend(q, k, v, lse=True, **rule)
        return done.out, done

    def backward(done: typing.Any) -> typing.Sequence[typing.Any]:
        gradients = fovea.attend_backward(q, k, v, done[1], g, **rule)
        return gradients.dq, gradients.dk, gradients.dv

    return [by_autograd("fovea.torch", sdpa, [x.clone().requires_grad_() for x in (q, k, v)], g),
            Way("fovea.attend, fovea.attend_backward", forward, backward)]


def work(engine: str, threads: int) -> None:
    """Answers lines of JSON: see Worker in peers.py."""
    import torch
    torch.set_num_threads(threads)
    version = f"PyTorch {torch.__version__}"
    if engine == "fovea":
        import fovea
        version = f"fovea {fovea.__version__}, {fovea.isa()}"
    print(json.dumps({"about": {"version": version}}), flush=True)
    ways: list[Way] = []
    for line in sys.stdin:
        asked = json.loads(line)
        reply: Json = {}
        if asked["do"] == "begin":
            s = situations.BY_NAME[asked["situation"]]
            tensors = [torch.from_numpy(x).to(getattr(torch, asked["type"])) for x in arrays(s)]
            ways = (ways_of_fovea if engine == "fovea" else ways_of_torch)(*tensors, s.causal)
            reply["ways"] = [way.name for way in ways]
        else:
            way = ways[asked["way"]]
            if asked["do"] == "first":
                done = way.forward()
                for name, x in zip(("out", "dq", "dk", "dv"), (done[0], *way.backward(done))):
                    np.save(pathlib.Path(asked["folder"]) / f"{name}.npy", x.detach().float().numpy())
            else:
                done = way.forward() if asked["what"] == "backward" else None
                begin, worked = time.perf_counter(), time.process_time()
                way.backward(done if done is not None else way.forward())
                reply |= {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - worked}
        print(json.dumps(reply), flush=True)


# --- the driver ----------------------------------------------------------------------------------------------


def truth(situation: situations.Situation, type_name: str) -> dict[str, np.ndarray]:
    """out, dq, dk and dv in float64, a head at a time, from the arrays as the engines get them."""
    s = situation
    stored = arrays(s)
    if type_name == "bfloat16":
        stored = [situations.from_bits(situations.to_bfloat16(x), type_name) for x in stored]
    result = {name: np.empty(stored[0].shape) for name in ("out", "dq", "dk", "dv")}
    for b in range(s.B):
        for h in range(s.H):
            q, k, v, g = (x[b, h].astype(np.float64) for x in stored)
            scores = q @ k.T / np.sqrt(s.D)
            if s.causal:
                scores[np.triu_indices(s.N, 1)] = -np.inf
            p = np.exp(scores - scores.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            dp = g @ v.T
            ds = p * (dp - (p * dp).sum(-1, keepdims=True)) / np.sqrt(s.D)
            for name, x in (("out", p @ v), ("dq", ds @ k), ("dk", ds.T @ q), ("dv", p.T @ g)):
                result[name][b, h] = x
    return result


def differences(exact: dict[str, np.ndarray], folder: pathlib.Path) -> dict[str, float]:
    """Of each result the largest, as a share of its largest number; infinite where a number is missing."""
    found = {}
    for name, x in exact.items():
        y = np.load(folder / f"{name}.npy")
        worst = np.max(np.abs(y - x)) / np.max(np.abs(x)) if y.shape == x.shape else np.inf
        found[name] = float(worst) if np.isfinite(worst) else float("inf")
    return found


def cell(workers: dict[str, Worker], situation: situations.Situation, type_name: str, threads: int, rounds: int,
         clock: str, exact: dict[str, np.ndarray]) -> Json:
    tries: dict[str, Json] = {}
    best: dict[tuple[str, str], int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for engine, worker in workers.items():
            names = worker.ask(300, do="begin", situation=situation.name, type=type_name)["ways"]
            tries[engine] = {}
            for number, name in enumerate(names):
                worker.ask(300, do="first", way=number, folder=folder)
                errors = differences(exact, pathlib.Path(folder))
                tried = tries[engine][name] = {"errors": errors}
                if not all(error <= BOUNDS[type_name] for error in errors.values()):
                    tried["error"] = "differs from float64"
                    continue
                for what in MEASURES:
                    tried[what] = min(worker.ask(300, do="time", way=number, what=what)[clock] for _ in "12")
                    kept = best.get((engine, what))
                    if kept is None or tried[what] < tries[engine][names[kept]][what]:
                        best[engine, what] = number
    result: Json = {"clock": clock, "tries": tries}
    for what in MEASURES:
        seconds: dict[str, list[float]] = {engine: [] for engine in workers}
        waited: dict[str, list[float]] = {engine: [] for engine in workers}
        for count in range(rounds):
            for engine in ENGINES[count % 2:] + ENGINES[:count % 2]:
                if (engine, what) not in best:
                    raise Gone(f"{engine} has no way that agrees with float64: {tries[engine]}")
                reply = workers[engine].ask(300, do="time", way=best[engine, what], what=what)
                seconds[engine].append(reply[clock])
                waited[engine].append(1 - reply["cpu"] / (reply["seconds"] * threads))
        # Forward is 2 products for each visible pair, backward 2.5 times as much.
        operations = situation.operations() * (2.5 if what == "backward" else 3.5)
        result[what] = {engine: {
            "way": list(tries[engine])[best[engine, what]], "seconds": spread(seconds[engine]),
            "gflops": operations / spread(seconds[engine])["median"] * 1e-9,
            "waited": spread(waited[engine])["median"]} for engine in workers}
        result[what]["torch"]["ratio_to_fovea"] = spread(
            [theirs / ours for ours, theirs in zip(seconds["fovea"], seconds["torch"])])
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description="fovea's gradients beside PyTorch's")
    parser.add_argument("--types", default="float32,bfloat16")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--only", default=",".join(SITUATIONS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "bench" / "results" / "backward.json")
    chosen = parser.parse_args()
    results: Json = json.loads(chosen.json.read_text(encoding="utf-8")) if chosen.json.exists() else {}
    results |= {"command": shlex.join(["./run", "peers", "backward", *sys.argv[1:]]), "cpu": processor()}
    results.setdefault("situations", {})
    exact: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for name in chosen.only.split(","):
        for type_name in chosen.types.split(","):
            exact[name, type_name] = truth(situations.BY_NAME[name], type_name)
    for threads in map(int, chosen.threads.split(",")):
        with open(os.devnull, "w", encoding="ascii") as log:
            workers = {engine: Worker(engine, threads, [sys.executable, str(HERE / "backward.py"), "--worker", engine,
                                                        str(threads)], log) for engine in ENGINES}
        results["engines"] = {engine: worker.about["version"] for engine, worker in workers.items()}
        try:
            for (name, type_name), wanted in exact.items():
                situation = situations.BY_NAME[name]
                measured = cell(workers, situation, type_name, threads, chosen.rounds,
                                "cpu" if chosen.busy and threads == 1 else "seconds", wanted)
                results["situations"].setdefault(name, {"what": situation.what}).setdefault(
                    type_name, {})[str(threads)] = measured
                chosen.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
                for what in MEASURES:
                    found = measured[what]
                    print(f"{name} {type_name} {threads}: {what}: fovea {found['fovea']['seconds']['median'] * 1e3:.0f} ms, "
                          f"torch x {found['torch']['ratio_to_fovea']['median']:.2f} ({found['torch']['way']})",
                          file=sys.stderr)
        finally:
            for worker in workers.values():
                worker.kill()
    print(f"wrote {shlex.quote(str(chosen.json))}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(main())
