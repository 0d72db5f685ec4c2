"""PyTorch: scaled_dot_product_attention, and softmax(Q K^T) V by hand where weights are wanted."""
from __future__ import annotations

import typing

import numpy as np
import torch
import torch.nn.functional as F

from situations import TOP
from worker import Engine, Skip, Task, Way


def tensor(task: Task, name: str) -> torch.Tensor:
    raw = torch.from_numpy(task.array(name))
    return raw.view(torch.bfloat16) if task.type == "bfloat16" else raw


def as_numpy(x: torch.Tensor) -> np.ndarray:
    return x.float().numpy()


def numpy_results(names: list[str]) -> typing.Callable[[typing.Any], dict[str, np.ndarray]]:
    def convert(raw: typing.Any) -> dict[str, np.ndarray]:
        parts = raw if isinstance(raw, tuple) else (raw,)
        return {name: as_numpy(part) for name, part in zip(names, parts)}
    return convert


class Torch(Engine):
    name = "torch"

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def about(self) -> dict[str, typing.Any]:
        return {"version": f"PyTorch {torch.__version__}",
                "settings": f"torch.set_num_threads({self.threads}), inference_mode, THP_MEM_ALLOC_ENABLE=1"}

    def ways(self, task: Task) -> list[Way]:
        torch.set_num_threads(task.threads)
        torch.inference_mode().__enter__()
        q, k, v = (tensor(task, name) for name in "qkv")
        ks = [k] + [k.clone() for _ in range(1, task.copies)]
        vs = [v] + [v.clone() for _ in range(1, task.copies)]
        if task.want != "out":
            return self.ways_with_weights(task, q, k, v)
        return self.plain_ways(task, q, ks, vs)

    def plain_ways(self, task: Task, q: torch.Tensor, ks: list[torch.Tensor], vs: list[torch.Tensor]) -> list[Way]:
        s = task.situation
        out = numpy_results(["out"])
        sdpa = F.scaled_dot_product_attention

        def native(q: torch.Tensor, ks: list[torch.Tensor], vs: list[torch.Tensor], **options: typing.Any
                   ) -> typing.Callable[[int], torch.Tensor]:
            return lambda copy: sdpa(q, ks[copy], vs[copy], **options)

        if s.padded:
            lengths = torch.tensor(s.lengths())
            sees = (torch.arange(s.M)[None, :] < lengths[:, None])[:, None, None, :]
            added = torch.zeros(sees.shape, dtype=q.dtype).masked_fill(~sees, float("-inf"))
            return [Way("[B,H,N,D], boolean mask [B,1,1,M]", native(q, ks, vs, attn_mask=sees), out),
                    Way("[B,H,N,D], added mask [B,1,1,M]", native(q, ks, vs, attn_mask=added), out),
                    Way("[B,H,N,D], added mask [B,1,N,M] in memory",
                        native(q, ks, vs, attn_mask=added.expand(-1, 1, s.N, -1).contiguous()), out)]
        options: dict[str, typing.Any] = {"is_causal": True} if s.causal else {}
        if s.G == s.H:
            # As a model's projections leave them: [B, N, H, D] in memory.
            across = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, ks[0], vs[0])]
            result = [Way("[B,H,N,D]", native(q, ks, vs, **options), out)]
            if task.copies == 1:
                result.append(Way("[B,N,H,D]", native(across[0], [across[1]], [across[2]], **options), out))
            return result
        result = [Way("enable_gqa", native(q, ks, vs, enable_gqa=True, **options), out)]
        if s.N == 1:  # the query heads that share keys become queries of one head
            folded = q.reshape(s.B, s.G, s.H // s.G, s.D)
            result.append(Way("query heads that share keys folded into queries",
                              lambda copy: sdpa(folded, ks[copy], vs[copy]).reshape(s.B, s.H, 1, s.D), out))
        else:
            k, v = (x.repeat_interleave(s.H // s.G, 1) for x in (ks[0], vs[0]))
            result.append(Way("keys and values repeated beforehand", native(q, [k], [v], **options), out))
        return result

    def ways_with_weights(self, task: Task, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> list[Way]:
        s = task.situation
        sees = torch.ones(s.N, s.M, dtype=torch.bool).tril(s.M - s.N) if s.causal else None
        hides = ~sees if sees is not None else None

        def by_hand() -> tuple[torch.Tensor, torch.Tensor]:
            scores = torch.matmul(q, k.transpose(2, 3)).mul_(s.D ** -0.5)
            if hides is not None:
                scores.masked_fill_(hides, float("-inf"))
            weights = torch.softmax(scores, -1)
            return torch.matmul(weights, v), weights

        def math() -> tuple[torch.Tensor, torch.Tensor]:
            return torch.ops.aten._scaled_dot_product_attention_math(q, k, v, is_causal=s.causal)

        ways = [("softmax(Q K^T) V by hand", by_hand), ("_scaled_dot_product_attention_math", math)]
        def richer(f: typing.Callable[[], tuple[torch.Tensor, torch.Tensor]]) -> typing.Callable[[int], typing.Any]:
            def call(_: int) -> tuple[torch.Tensor, ...]:
                out, weights = f()
                if task.want == "weights":
                    return out, weights
                top = torch.topk(weights, TOP, -1)
                entropy = torch.special.entr(weights).sum(-1)
                rest = (weights.sum(2),) if task.want == "received" else ()
                return (out, top.values, entropy, top.indices, *rest)
            return call

        if task.want == "weights":
            return [Way(name, richer(f), numpy_results(["out", "weights"])) for name, f in ways]
        names = ["out", "top", "entropy", "top_index", "received"]
        return [Way(f"{name}, topk, entr, sum", richer(f), numpy_results(names)) for name, f in ways]


def make(threads: int) -> Engine:
    return Torch(threads)
