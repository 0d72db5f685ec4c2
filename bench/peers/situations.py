"""What is measured: the situations, their arrays, and the truth in fp64.

B batch, H query heads, G key heads, N queries, M keys, D width. Arrays are written once as raw files
and mapped by every worker: q [B, H, N, D], k and v [B, G, M, D], of the type measured.
"""
from __future__ import annotations

import dataclasses
import pathlib
import typing

import numpy as np

TOP = 8  # keys kept for each query where highlights are asked for


@dataclasses.dataclass(frozen=True)
class Situation:
    name: str
    what: str
    B: int
    H: int
    G: int
    N: int
    M: int
    D: int
    causal: bool = False
    padded: bool = False  # keys have lengths of their own
    like: str = ""  # a smaller one: ways that were slow there are not tried here
    rotated: bool = False  # caches of other sentences take turns, so that none stays in the processor's cache

    def lengths(self) -> list[int] | None:
        """Keys of each sequence: between a third of M and M, the first has M."""
        if not self.padded:
            return None
        random = np.random.default_rng(7)
        return [self.M] + random.integers(self.M // 3, self.M + 1, self.B - 1).tolist()

    def pairs(self) -> int:
        """Visible query-key pairs, over all heads."""
        if self.causal:
            each = self.N * self.M - self.N * (self.N - 1) // 2
            return self.B * self.H * each
        lengths = self.lengths()
        return self.H * self.N * (sum(lengths) if lengths else self.B * self.M)

    def operations(self) -> int:
        return 2 * (self.D + self.D) * self.pairs()

    def cache_bytes(self, type_name: str) -> int:
        return 2 * self.B * self.G * self.M * self.D * ITEM_BYTES[type_name]


ALL = [
    Situation("self_512", "self-attention, 512 positions", 1, 8, 8, 512, 512, 64),
    Situation("self_2k", "self-attention, 2,048 positions", 1, 8, 8, 2048, 2048, 64),
    Situation("causal_2k", "the same, causal", 1, 8, 8, 2048, 2048, 64, causal=True),
    Situation("causal_8k", "causal, 8,192 positions", 1, 8, 8, 8192, 8192, 64, causal=True,
              like="causal_2k"),
    Situation("causal_2k_grouped", "causal, 2,048 positions, 32 heads on 8, of 128", 1, 32, 8, 2048, 2048, 128,
              causal=True),
    Situation("translate_batch", "32 sentences, 24 queries on up to 28 keys", 32, 8, 8, 24, 28, 64, padded=True),
    Situation("translate_step", "one new word of 32 sentences, 28 keys", 32, 8, 8, 1, 28, 64),
    Situation("decode", "one new word, 4,096 keys kept, 32 heads on 8, of 128", 1, 32, 8, 1, 4096, 128, rotated=True),
]
BY_NAME = {situation.name: situation for situation in ALL}
# Where giving the weights back is compared.
WEIGHTS = ["self_2k", "causal_8k"]

ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def to_bfloat16(x: np.ndarray) -> np.ndarray:
    """The bits of x rounded to nearest even, as uint16."""
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bits(x: np.ndarray, type_name: str) -> np.ndarray:
    if type_name == "bfloat16":
        return (x.astype(np.uint32) << 16).view(np.float32)
    return x.astype(np.float32)


def write_arrays(situation: Situation, type_name: str, folder: pathlib.Path) -> None:
    random = np.random.default_rng(1)
    s = situation
    for name, shape in (("q", (s.B, s.H, s.N, s.D)), ("k", (s.B, s.G, s.M, s.D)), ("v", (s.B, s.G, s.M, s.D))):
        x = random.standard_normal(shape, dtype=np.float32)
        stored: np.ndarray = to_bfloat16(x) if type_name == "bfloat16" else x.astype(type_name)
        stored.tofile(folder / f"{name}.bin")


def read_array(situation: Situation, type_name: str, folder: pathlib.Path, name: str) -> np.ndarray:
    """As stored: bfloat16 comes as its bits, in uint16."""
    s = situation
    kind = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}[type_name]
    shape = (s.B, s.H, s.N, s.D) if name == "q" else (s.B, s.G, s.M, s.D)
    return np.fromfile(folder / f"{name}.bin", dtype=kind).reshape(shape)


class Truth:
    """Chosen rows in fp64, from the arrays as the workers get them."""

    ROWS = 48

    def __init__(self, situation: Situation, type_name: str, folder: pathlib.Path) -> None:
        s = self.situation = situation
        q, k, v = (from_bits(read_array(s, type_name, folder, name), type_name) for name in "qkv")
        random = np.random.default_rng(2)
        rows = {(0, 0, 0), (s.B - 1, s.H - 1, s.N - 1)}
        while len(rows) < min(self.ROWS, s.B * s.H * s.N):
            rows.add((int(random.integers(s.B)), int(random.integers(s.H)), int(random.integers(s.N))))
        self.rows = sorted(rows)
        lengths = s.lengths()
        self.outs: list[np.ndarray] = []
        self.weights: list[np.ndarray] = []
        for b, h, i in self.rows:
            keys = lengths[b] if lengths else i + 1 + s.M - s.N if s.causal else s.M
            group = h // (s.H // s.G)
            scores = k[b, group, :keys].astype(np.float64) @ q[b, h, i].astype(np.float64) / np.sqrt(s.D)
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            self.outs.append(weights @ v[b, group, :keys].astype(np.float64))
            self.weights.append(weights)

    def error(self, name: str, folder: pathlib.Path) -> float | None:
        """Largest difference of a result that a worker left in `folder`; infinite where a number is missing."""
        values = np.fromfile(folder / f"result.{name}.bin", dtype=np.float32).astype(np.float64)
        if name == "received":  # every query gives away a weight of one
            s = self.situation
            return _largest([values.reshape(s.B, s.H, s.M).sum(-1) / s.N - 1])
        rows = values.reshape(len(self.rows), -1)
        if name == "out":
            return _largest([rows - np.stack(self.outs)])
        if name == "weights":
            return _largest(row[:truth.size] - truth for row, truth in zip(rows, self.weights))
        if name == "top":
            best = [np.sort(truth)[::-1][:TOP] for truth in self.weights]
            return _largest(row[:truth.size] - truth for row, truth in zip(rows, best))
        if name == "entropy":
            return _largest(row + (truth * np.log(truth)).sum() for row, truth in zip(rows, self.weights))
        return None  # indices: ties may be told apart differently


def _largest(differences: typing.Iterable[np.ndarray]) -> float:
    worst = max(float(np.max(np.abs(d))) if np.all(np.isfinite(d)) else np.inf for d in differences)
    return worst
