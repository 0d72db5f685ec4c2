"""JAX: jax.nn.dot_product_attention, compiled by XLA for the CPU; and the formula by hand."""
from __future__ import annotations

import typing

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from situations import TOP
from worker import Engine, Task, Way


class Jax(Engine):
    name = "jax"

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def about(self) -> dict[str, typing.Any]:
        return {"version": f"JAX {jax.__version__}",
                "settings": "jit, compiled beforehand; threads by the processors that the process may use"}

    def ways(self, task: Task) -> list[Way]:
        s = task.situation

        def device(x: np.ndarray) -> jax.Array:
            return jnp.array(x.view(ml_dtypes.bfloat16) if task.type == "bfloat16" else x)

        q, k, v = (device(task.array(name)) for name in "qkv")
        lengths = jnp.array(s.lengths(), dtype=jnp.int32) if s.padded else None
        if task.want != "out":
            return [self.way("by hand, [B,H,N,D]", self.by_hand(task, None), q, [k], [v], names(task.want))]

        def positions_first(x: jax.Array) -> jax.Array:
            return jnp.array(x.transpose(0, 2, 1, 3))  # [B, N, H, D], as the function takes them

        def library(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, ...]:
            return (jax.nn.dot_product_attention(q, k, v, is_causal=s.causal, key_value_seq_lengths=lengths),)

        q_first = positions_first(q)
        ks, vs = ([positions_first(x)] + [positions_first(x) for _ in range(1, task.copies)] for x in (k, v))
        result = [self.way("jax.nn.dot_product_attention", library, q_first, ks, vs, ["out"], transposed=True)]
        ks, vs = ([x] + [jnp.array(x) for _ in range(1, task.copies)] for x in (k, v))
        result.append(self.way("by hand, [B,H,N,D]", self.by_hand(task, lengths), q, ks, vs, ["out"]))
        return result

    def by_hand(self, task: Task, lengths: jax.Array | None
                ) -> typing.Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, ...]]:
        s = task.situation

        def attention(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, ...]:
            grouped = q.reshape(s.B, s.G, s.H // s.G * s.N, s.D)
            scores = jnp.einsum("bgid,bgjd->bgij", grouped, k, preferred_element_type=jnp.float32) * s.D ** -0.5
            if s.causal:
                sees = jnp.tril(jnp.ones((s.N, s.M), bool), s.M - s.N)
                scores = jnp.where(sees, scores.reshape(s.B, s.H, s.N, s.M), -jnp.inf).reshape(scores.shape)
            if lengths is not None:
                sees = jnp.arange(s.M)[None, :] < lengths[:, None]
                scores = jnp.where(sees[:, None, None, :], scores, -jnp.inf)
            weights = jax.nn.softmax(scores, -1)
            out = jnp.einsum("bgij,bgjd->bgid", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
            out = out.astype(v.dtype).reshape(s.B, s.H, s.N, s.D)
            weights = weights.reshape(s.B, s.H, s.N, s.M)
            if task.want == "out":
                return (out,)
            if task.want == "weights":
                return out, weights
            top, index = jax.lax.top_k(weights, TOP)
            entropy = jax.scipy.special.entr(weights).sum(-1)
            return (out, top, entropy, index, *((weights.sum(2),) if task.want == "received" else ()))
        return attention

    def way(self, name: str, function: typing.Callable[..., tuple[jax.Array, ...]], q: jax.Array,
            ks: list[jax.Array], vs: list[jax.Array], results: list[str], transposed: bool = False) -> Way:
        compiled = jax.jit(function).lower(q, ks[0], vs[0]).compile()

        def convert(raw: tuple[jax.Array, ...]) -> dict[str, np.ndarray]:
            arrays = {n: np.asarray(x).astype(np.float32) for n, x in zip(results, raw)}
            if transposed:
                arrays["out"] = arrays["out"].transpose(0, 2, 1, 3)
            return arrays

        return Way(name, lambda copy: jax.block_until_ready(compiled(q, ks[copy], vs[copy])), convert)


def names(want: str) -> list[str]:
    return ["out", "weights"] if want == "weights" else ["out", "top", "entropy", "top_index", "received"]


def make(threads: int) -> Engine:
    return Jax(threads)
