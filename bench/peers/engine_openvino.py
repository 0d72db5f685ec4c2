"""OpenVINO on its CPU plugin: the operations ScaledDotProductAttention and (causal, decoding) PagedAttention."""
from __future__ import annotations

import typing

import numpy as np
import openvino
from openvino import opset13, properties
from openvino.op import _PagedAttentionExtension as PagedAttention

from situations import TOP
from worker import Engine, Skip, Task, Way

TYPES = {"float32": openvino.Type.f32, "bfloat16": openvino.Type.bf16, "float16": openvino.Type.f16}


def shared_tensor(x: np.ndarray, kind: openvino.Type) -> openvino.Tensor:
    return openvino.Tensor(x, x.shape, kind) if kind == openvino.Type.bf16 else openvino.Tensor(x, shared_memory=True)


def as_float(tensor: openvino.Tensor, kind: openvino.Type) -> np.ndarray:
    if kind == openvino.Type.bf16:
        raw = np.asarray(tensor.data).view(np.uint16).reshape(tuple(tensor.shape))
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return np.asarray(tensor.data)


PAGE = 32  # keys of a block of the cache


class Program:
    def __init__(self, task: Task, inputs: list[list[np.ndarray]], kinds: list[openvino.Type],
                 build: typing.Callable[[list[typing.Any]], dict[str, typing.Any]]) -> None:
        """`inputs`: one list a cache. `build`: from parameters to named outputs."""
        parameters = [opset13.parameter(list(x.shape), kind, name=f"p{i}")
                      for i, (x, kind) in enumerate(zip(inputs[0], kinds))]
        outputs = build(parameters)
        self.names = list(outputs)
        model = openvino.Model([opset13.result(x) for x in outputs.values()], parameters, "attention")
        precision = TYPES[task.type]
        compiled = openvino.Core().compile_model(model, "CPU", {
            properties.inference_num_threads(): task.threads,
            properties.num_streams(): 1,
            properties.hint.inference_precision(): precision,
            properties.hint.kv_cache_precision(): precision,
            properties.hint.performance_mode(): properties.hint.PerformanceMode.LATENCY,
            properties.hint.enable_cpu_pinning(): False})
        self.requests = []
        for each in inputs:
            request = compiled.create_infer_request()
            for i, (x, kind) in enumerate(zip(each, kinds)):
                request.set_input_tensor(i, shared_tensor(x, kind))
            self.requests.append(request)
        self.held = inputs

    def call(self, copy: int) -> openvino.InferRequest:
        request = self.requests[copy]
        request.infer(share_inputs=True, share_outputs=True)
        return request

    def results(self, request: openvino.InferRequest) -> dict[str, np.ndarray]:
        return {name: as_float(tensor, tensor.element_type)
                for name, tensor in zip(self.names, request.output_tensors)}


class OpenVino(Engine):
    name = "openvino"

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def about(self) -> dict[str, typing.Any]:
        return {"version": f"OpenVINO {openvino.get_version().split('-')[0]}",
                "settings": f"INFERENCE_NUM_THREADS {self.threads}, NUM_STREAMS 1, LATENCY, inference precision "
                            "as the arrays'"}

    def ways(self, task: Task) -> list[Way]:
        s, kind = task.situation, TYPES[task.type]
        q, k, v = (task.array(name) for name in "qkv")
        if task.want != "out":
            return [self.with_weights(task, q, k, v)]
        caches = [(k, v)] + [(k.copy(), v.copy()) for _ in range(1, task.copies)]
        arrays = [[q, *cache] for cache in caches]
        kinds = [kind] * 3
        if s.padded:
            sees = (np.arange(s.M)[None, :] < np.array(s.lengths())[:, None])[:, None, None, :]
            added = np.where(sees, 0, -np.inf).astype(np.float32)
            return [self.way("boolean mask [B,1,1,M]", task, [[q, k, v, np.ascontiguousarray(sees)]],
                             [*kinds, openvino.Type.boolean], True),
                    self.way("added mask [B,1,1,M]", task, [[q, k, v, added]], [*kinds, openvino.Type.f32], True)]
        paged = [self.paged(task, q, caches)] if s.B == 1 and (s.causal or s.rotated) else []
        if s.G == s.H:
            return [self.way("[B,H,N,D]", task, arrays, kinds), *paged]
        each = s.H // s.G
        if s.N == 1:
            folded = q.reshape(s.B, s.G, each, s.D)
            return [self.way("query heads that share keys folded into queries", task,
                             [[folded, *cache] for cache in caches], kinds),
                    self.way("keys and values broadcast in the graph", task, arrays, kinds, each=each), *paged]
        repeated = [[q, np.repeat(k, each, 1), np.repeat(v, each, 1)]]
        return [self.way("keys and values repeated beforehand", task, repeated, kinds),
                self.way("keys and values broadcast in the graph", task, arrays, kinds, each=each), *paged]

    def way(self, name: str, task: Task, arrays: list[list[np.ndarray]], kinds: list[openvino.Type],
            masked: bool = False, each: int = 1) -> Way:
        s = task.situation

        def wide(x: typing.Any) -> typing.Any:
            if each == 1:
                return x
            x = opset13.unsqueeze(x, opset13.constant(np.array(2)))
            x = opset13.broadcast(x, opset13.constant(np.array([s.B, s.G, each, s.M, s.D])))
            return opset13.reshape(x, opset13.constant(np.array([s.B, s.H, s.M, s.D])), False)

        def build(p: list[typing.Any]) -> dict[str, typing.Any]:
            mask = {}
            if masked:
                mask["attention_mask"] = (p[3] if kinds[3] in (kinds[0], openvino.Type.boolean)
                                          else opset13.convert(p[3], kinds[0]))
            return {"out": opset13.scaled_dot_product_attention(p[0], wide(p[1]), wide(p[2]), causal=s.causal, **mask)}

        program = Program(task, arrays, kinds, build)

        def results(request: openvino.InferRequest) -> dict[str, np.ndarray]:
            return {"out": program.results(request)["out"].reshape(s.B, s.H, s.N, s.D)}

        return Way(name, program.call, results)

    def paged(self, task: Task, q: np.ndarray, caches: list[tuple[np.ndarray, np.ndarray]]) -> Way:
        """As a language model calls it: the N newest positions come with the call, those before are in pages."""
        s, kind = task.situation, TYPES[task.type]
        pages = -(-s.M // PAGE)
        past = s.M - s.N

        def newest(x: np.ndarray) -> np.ndarray:  # [1, G, M, D] to [N, G * D]
            return np.ascontiguousarray(x[0, :, past:].transpose(1, 0, 2)).reshape(s.N, -1)

        def in_pages(x: np.ndarray) -> np.ndarray:  # [pages, G, PAGE, D]
            room = np.zeros((s.G, pages * PAGE, s.D), x.dtype)
            room[:, :past] = x[0, :, :past]
            return np.ascontiguousarray(room.reshape(s.G, pages, PAGE, s.D).transpose(1, 0, 2, 3))

        def whole(*values: int) -> np.ndarray:
            return np.array(values, np.int32)

        arrays = [[newest(q) if s.N == s.M else q.reshape(s.N, s.H * s.D), newest(k), newest(v), in_pages(k), in_pages(v),
                   whole(past), whole(0, s.N), np.arange(pages, dtype=np.int32), whole(0, pages),
                   np.array(s.M, np.int32)] for k, v in caches]

        def build(p: list[typing.Any]) -> dict[str, typing.Any]:
            nothing, number = np.zeros(0, np.int32), np.array(0, np.int32)
            # Window, rotation, eviction, sparse attention, sinks: none of it.
            rest = [number, nothing, np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32), np.zeros(0, np.float32),
                    np.array(64, np.int32), np.array(8, np.int32), np.zeros(0, np.float32), number,
                    nothing, nothing, nothing, nothing, np.zeros(0, np.uint8), nothing]
            middle = [np.array(s.D ** -0.5, np.float32), number, np.zeros(0, np.float32)]
            node = PagedAttention([x.output(0) for x in [*p[:9], *map(opset13.constant, middle), p[9],
                                                         *map(opset13.constant, rest)]])
            for name, value in (("num_k_heads", s.G), ("k_head_size", s.D), ("num_v_heads", s.G), ("v_head_size", s.D)):
                node.get_rt_info()[name] = value
            return {"out": node.output(0)}

        program = Program(task, arrays, [*[kind] * 5, *[openvino.Type.i32] * 5], build)

        def results(request: openvino.InferRequest) -> dict[str, np.ndarray]:
            return {"out": program.results(request)["out"].reshape(s.N, s.H, s.D).transpose(1, 0, 2)[None]}

        return Way(f"PagedAttention, pages of {PAGE}", program.call, results)

    def with_weights(self, task: Task, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> Way:
        """By hand: the operation has no such output."""
        s, kind = task.situation, TYPES[task.type]
        arrays, kinds = [q, k, v], [kind] * 3
        if s.causal:
            arrays.append(np.where(np.tri(s.N, s.M, s.M - s.N, dtype=bool), 0, -np.inf).astype(np.float32)[None, None])
            kinds.append(openvino.Type.f32)

        def build(p: list[typing.Any]) -> dict[str, typing.Any]:
            scale = opset13.constant(np.array(s.D ** -0.5, np.float32))
            scores = opset13.multiply(opset13.matmul(p[0], p[1], False, True), scale)
            if s.causal:
                scores = opset13.add(scores, p[3])
            weights = opset13.softmax(scores, -1)
            outputs = {"out": opset13.matmul(weights, p[2], False, False)}
            if task.want == "weights":
                return outputs | {"weights": weights}
            top = opset13.topk(weights, opset13.constant(np.array(TOP)), -1, "max", "value")
            logs = opset13.log(opset13.add(weights, opset13.constant(np.array(1e-37, np.float32))))
            entropy = opset13.negative(opset13.reduce_sum(opset13.multiply(weights, logs),
                                                          opset13.constant(np.array([-1])), False))
            outputs |= {"top": top.output(0), "top_index": top.output(1), "entropy": entropy}
            if task.want == "received":
                outputs["received"] = opset13.reduce_sum(weights, opset13.constant(np.array([2])), False)
            return outputs

        program = Program(task, [arrays], kinds, build)
        return Way("MatMul, Softmax, MatMul" + ("" if task.want == "weights" else ", TopK, Log, ReduceSum"),
                   program.call, program.results)


def make(threads: int) -> Engine:
    return OpenVino(threads)
