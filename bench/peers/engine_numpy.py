"""NumPy on OpenBLAS: the formula as it is written (the floor), and the same a head and a block of rows at a time."""
from __future__ import annotations

import typing

import numpy as np

from situations import TOP
from worker import Engine, Skip, Task, Way

ROWS = 256  # of a block: its scores stay in the cache


class Numpy(Engine):
    def __init__(self, threads: int, blocks: bool) -> None:
        self.threads = threads
        self.blocks = blocks
        self.name = "blas" if blocks else "numpy"

    def about(self) -> dict[str, typing.Any]:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return {"version": f"NumPy {np.__version__}, {blas['name']} {blas['version']}",
                "settings": f"OPENBLAS_NUM_THREADS {self.threads}" +
                            (f"; a head and {ROWS} rows at a time, without hidden keys" if self.blocks else "")}

    def ways(self, task: Task) -> list[Way]:
        s = task.situation
        if task.type != "float32":
            raise Skip("NumPy has no " + task.type if task.type != "float16" else "BLAS has no float16")
        q, k, v = (task.array(name) for name in "qkv")
        ks = [k] + [k.copy() for _ in range(1, task.copies)]
        vs = [v] + [v.copy() for _ in range(1, task.copies)]
        if self.blocks:
            if task.want != "out":
                raise Skip("as NumPy: the weights are there anyway")
            return [self.in_blocks(task, q, ks, vs)]
        return [self.as_written(task, q, ks, vs)]

    def as_written(self, task: Task, q: np.ndarray, ks: list[np.ndarray], vs: list[np.ndarray]) -> Way:
        s = task.situation
        hides: np.ndarray | None = None
        if s.causal:
            hides = ~np.tri(s.N, s.M, s.M - s.N, dtype=bool)
        elif s.padded:
            hides = (np.arange(s.M)[None, :] >= np.array(s.lengths())[:, None])[:, None, None, :]
        each = s.H // s.G

        def call(copy: int) -> dict[str, np.ndarray]:
            k, v = ks[copy], vs[copy]
            if each > 1:
                k, v = k[:, :, None], v[:, :, None]
            grouped = q.reshape(s.B, s.G, each, s.N, s.D) if each > 1 else q
            scores = grouped @ np.swapaxes(k, -1, -2)
            scores *= np.float32(s.D ** -0.5)
            if hides is not None:
                np.copyto(scores, -np.inf, where=hides)
            scores -= scores.max(-1, keepdims=True)
            weights = np.exp(scores, out=scores)
            weights /= weights.sum(-1, keepdims=True)
            results = {"out": (weights @ v).reshape(s.B, s.H, s.N, s.D)}
            if task.want == "weights":
                results["weights"] = weights
            elif task.want != "out":
                index = np.argpartition(weights, s.M - TOP, -1)[..., s.M - TOP:]
                top = np.take_along_axis(weights, index, -1)
                results["top"] = -np.sort(-top, -1)
                if task.want == "received":
                    results["received"] = weights.sum(2)
                with np.errstate(divide="ignore", invalid="ignore"):
                    logs = np.log(weights)
                logs[weights == 0] = 0
                logs *= weights
                results["entropy"] = -logs.sum(-1)
            return results

        return Way("as written", call, lambda raw: raw)

    def in_blocks(self, task: Task, q: np.ndarray, ks: list[np.ndarray], vs: list[np.ndarray]) -> Way:
        s = task.situation
        each = s.H // s.G
        lengths = s.lengths()
        out = np.empty((s.B, s.H, s.N, s.D), np.float32)
        scaled = q * np.float32(s.D ** -0.5)
        room = np.empty(ROWS * s.M, np.float32)
        # In the block on the diagonal the key of the block's own row i stands at column i.
        hides = ~np.tri(min(ROWS, s.N), dtype=bool)

        def softmax(scores: np.ndarray) -> np.ndarray:
            scores -= scores.max(-1, keepdims=True)
            return np.exp(scores, out=scores)

        def call(copy: int) -> np.ndarray:
            k, v = ks[copy], vs[copy]
            if s.N == 1:  # the query heads that share keys are the rows
                rows = scaled.reshape(s.B, s.G, each, s.D)
                weights = softmax(rows @ np.swapaxes(k, -1, -2))
                total = weights.sum(-1, keepdims=True)
                np.divide(weights @ v, total, out=out.reshape(s.B, s.G, each, s.D))
                return out
            for b in range(s.B):
                for h in range(s.H):
                    for begin in range(0, s.N, ROWS):
                        end = min(begin + ROWS, s.N)
                        keys = lengths[b] if lengths else end if s.causal else s.M
                        scores = room[:(end - begin) * keys].reshape(end - begin, keys)
                        np.matmul(scaled[b, h, begin:end], k[b, h // each, :keys].T, out=scores)
                        if s.causal:
                            np.copyto(scores[:, begin:], -np.inf, where=hides[:end - begin, :end - begin])
                        weights = softmax(scores)
                        np.matmul(weights, v[b, h // each, :keys], out=out[b, h, begin:end])
                        out[b, h, begin:end] /= weights.sum(-1, keepdims=True)
            return out

        return Way(f"a head and {ROWS} rows at a time", call, lambda raw: {"out": raw})


def make(threads: int) -> Engine:
    return Numpy(threads, blocks=False)
