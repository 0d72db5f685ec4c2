"""PyTorch's FlexAttention, compiled for the CPU (needs a C++ compiler)."""
from __future__ import annotations

import typing

import torch
from torch.nn.attention import flex_attention

import engine_torch
from worker import Engine, Skip, Task, Way


class Flex(Engine):
    name = "flex"

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def about(self) -> dict[str, typing.Any]:
        return {"version": f"PyTorch {torch.__version__}",
                "settings": f"torch.compile(flex_attention, dynamic=False), torch.set_num_threads({self.threads}), "
                            "THP_MEM_ALLOC_ENABLE=1"}

    def ways(self, task: Task) -> list[Way]:
        s = task.situation
        if task.want != "out":
            raise Skip("flex_attention gives back the logarithm of the sum and the row maximum, no weights")
        torch.set_num_threads(task.threads)
        q, k, v = (engine_torch.tensor(task, name) for name in "qkv")
        ks = [k] + [k.clone() for _ in range(1, task.copies)]
        vs = [v] + [v.clone() for _ in range(1, task.copies)]
        mask: flex_attention.BlockMask | None = None
        if s.causal:
            mask = flex_attention.create_block_mask(lambda b, h, i, j: i >= j, None, None, s.N, s.M, device="cpu")
        elif s.padded:
            lengths = torch.tensor(s.lengths())
            mask = flex_attention.create_block_mask(lambda b, h, i, j: j < lengths[b], s.B, None, s.N, s.M,
                                                    device="cpu")
        compiled = torch.compile(flex_attention.flex_attention, dynamic=False)

        def way(name: str, q: torch.Tensor) -> Way:
            def call(copy: int) -> torch.Tensor:
                with torch.no_grad():
                    out = compiled(q, ks[copy], vs[copy], block_mask=mask, enable_gqa=q.shape[1] != s.G)
                    return out.reshape(s.B, s.H, s.N, s.D)

            call(0)  # compiles
            return Way(name, call, engine_torch.numpy_results(["out"]))

        ways = [way("block mask" if mask is not None else "no mask", q)]
        if s.N == 1 and s.G != s.H:
            ways.append(way("query heads that share keys folded into queries", q.reshape(s.B, s.G, s.H // s.G, s.D)))
        return ways


def make(threads: int) -> Engine:
    return Flex(threads)
