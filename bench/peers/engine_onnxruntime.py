"""ONNX Runtime: its own MultiHeadAttention and GroupQueryAttention, and ONNX's Attention."""
from __future__ import annotations

import typing

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from situations import TOP
from worker import Engine, Skip, Task, Way

MICROSOFT = "com.microsoft"
TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}


def rows(x: np.ndarray) -> np.ndarray:
    """[B, H, N, D] to [B, N, H * D]."""
    b, h, n, d = x.shape
    return np.ascontiguousarray(x.transpose(0, 2, 1, 3)).reshape(b, n, h * d)


class Program:
    """A graph of one attention node (and what follows it), with inputs and outputs bound once per cache."""

    def __init__(self, task: Task, nodes: list[onnx.NodeProto], inputs: list[dict[str, np.ndarray]],
                 outputs: dict[str, typing.Any], constants: dict[str, np.ndarray] | None = None,
                 shared: dict[str, str] | None = None) -> None:
        """`inputs`: one a cache. `outputs`: name to (shape, element type). `shared`: output in an input's memory."""
        graph = helper.make_graph(
            nodes, "attention",
            [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
             for n, x in inputs[0].items()],
            [helper.make_tensor_value_info(n, kind, shape) for n, (shape, kind) in outputs.items()],
            [onnx.numpy_helper.from_array(x, n) for n, x in (constants or {}).items()])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23), helper.make_opsetid(MICROSOFT, 1)],
                                  ir_version=11)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = task.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                                    providers=["CPUExecutionProvider"])
        self.bindings = []
        self.arrays: list[dict[str, np.ndarray]] = []
        for each in inputs:
            binding = self.session.io_binding()
            held = {n: onnxruntime.OrtValue.ortvalue_from_numpy(x) for n, x in each.items()}
            for n, value in held.items():
                binding.bind_ortvalue_input(n, value)
            results: dict[str, np.ndarray] = {}
            for n, (shape, kind) in outputs.items():
                if shared and n in shared:
                    binding.bind_ortvalue_output(n, held[shared[n]])
                    continue
                results[n] = np.empty(shape, helper.tensor_dtype_to_np_dtype(kind))
                binding.bind_output(n, "cpu", 0, results[n].dtype, shape, results[n].ctypes.data)
            self.bindings.append((binding, held))
            self.arrays.append(results)

    def call(self, copy: int) -> dict[str, np.ndarray]:
        self.session.run_with_iobinding(self.bindings[copy][0])
        return self.arrays[copy]


class OnnxRuntime(Engine):
    name = "onnxruntime"

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def about(self) -> dict[str, typing.Any]:
        return {"version": f"ONNX Runtime {onnxruntime.__version__}",
                "settings": f"intra_op_num_threads {self.threads}, all graph optimisations, IO binding"}

    def ways(self, task: Task) -> list[Way]:
        if task.type == "bfloat16":
            raise Skip("its attention on the CPU takes float32 and float16 only")
        if task.want != "out":
            return self.ways_with_weights(task)
        s = task.situation
        ways = []
        if s.N == 1 and s.M > 1 and s.G != s.H:
            ways.append(self.decode(task))
        if s.causal:
            ways.append(self.grouped(task))
        if s.G == s.H:
            ways += [self.multi_head(task, False), self.multi_head(task, True)]
        ways.append(self.onnx_attention(task))
        return ways

    def results_of_rows(self, task: Task) -> typing.Callable[[typing.Any], dict[str, np.ndarray]]:
        s = task.situation
        return lambda raw: {"out": raw["out"].reshape(s.B, s.N, s.H, s.D).transpose(0, 2, 1, 3)}

    def multi_head(self, task: Task, heads_first: bool) -> Way:
        s, kind = task.situation, TYPES[task.type]
        k, v = task.array("k"), task.array("v")
        inputs = {"q": rows(task.array("q")), "k": k if heads_first else rows(k), "v": v if heads_first else rows(v)}
        names = ["q", "k", "v"]
        if s.padded:
            inputs["lengths"] = np.array(s.lengths(), dtype=np.int32)
            names += ["", "lengths"]
        node = helper.make_node("MultiHeadAttention", names, ["out"], domain=MICROSOFT, num_heads=s.H,
                                unidirectional=int(s.causal))
        program = Program(task, [node], [inputs], {"out": ((s.B, s.N, s.H * s.D), kind)})
        layout = "keys and values [B,H,M,D]" if heads_first else "[B,N,H*D]"
        return Way(f"MultiHeadAttention, {layout}", program.call, self.results_of_rows(task))

    def grouped(self, task: Task, qk_output: bool = False) -> Way:
        """Causal from the first position; it also writes the cache that it would go on with."""
        s, kind = task.situation, TYPES[task.type]
        inputs = {"q": rows(task.array("q")), "k": rows(task.array("k")), "v": rows(task.array("v")),
                  "last": np.full(s.B, s.M - 1, dtype=np.int32)}
        outputs: dict[str, typing.Any] = {"out": ((s.B, s.N, s.H * s.D), kind),
                                          "k_kept": ((s.B, s.G, s.M, s.D), kind),
                                          "v_kept": ((s.B, s.G, s.M, s.D), kind)}
        options: dict[str, typing.Any] = {}
        if qk_output:
            outputs["weights"] = ((s.B, s.H, s.N, s.M), kind)
            options["qk_output"] = 2  # after the softmax
        node = helper.make_node("GroupQueryAttention", ["q", "k", "v", "", "", "last", "total"], list(outputs),
                                domain=MICROSOFT, num_heads=s.H, kv_num_heads=s.G, **options)
        program = Program(task, [node], [inputs], outputs, {"total": np.array(s.M, dtype=np.int32)})
        of_rows = self.results_of_rows(task)
        return Way("GroupQueryAttention" + (", output_qk" if qk_output else ""), program.call,
                   lambda raw: of_rows(raw) | {n: raw[n] for n in ("weights",) if n in raw})

    def decode(self, task: Task) -> Way:
        """The last key comes with the query; the cache is one buffer for past and present."""
        s, kind = task.situation, TYPES[task.type]
        q, k, v = task.array("q"), task.array("k"), task.array("v")
        inputs = [{"q": rows(q), "k": rows(k[:, :, -1:]), "v": rows(v[:, :, -1:]), "k_past": k.copy(),
                   "v_past": v.copy(), "last": np.full(s.B, s.M - 1, dtype=np.int32)} for _ in range(task.copies)]
        kept = (s.B, s.G, s.M, s.D)
        node = helper.make_node("GroupQueryAttention", ["q", "k", "v", "k_past", "v_past", "last", "total"],
                                ["out", "k_kept", "v_kept"], domain=MICROSOFT, num_heads=s.H, kv_num_heads=s.G)
        program = Program(task, [node], inputs,
                          {"out": ((s.B, s.N, s.H * s.D), kind), "k_kept": (kept, kind), "v_kept": (kept, kind)},
                          {"total": np.array(s.M, dtype=np.int32)}, {"k_kept": "k_past", "v_kept": "v_past"})
        return Way("GroupQueryAttention, past and present in one buffer", program.call, self.results_of_rows(task))

    def onnx_attention(self, task: Task, want: str = "out") -> Way:
        s, kind = task.situation, TYPES[task.type]
        k, v = task.array("k"), task.array("v")
        inputs = [{"q": task.array("q"), "k": k, "v": v}] + [{"q": task.array("q"), "k": k.copy(), "v": v.copy()}
                                                             for _ in range(1, task.copies)]
        names = ["q", "k", "v"]
        if s.padded:
            sees = np.arange(s.M)[None, :] < np.array(s.lengths())[:, None]
            inputs[0]["mask"] = np.ascontiguousarray(np.broadcast_to(sees[:, None, None, :], (s.B, 1, s.N, s.M)))
            names.append("mask")
        options: dict[str, typing.Any] = {"is_causal": int(s.causal)}
        outputs: dict[str, typing.Any] = {"out": ((s.B, s.H, s.N, s.D), kind)}
        made = ["out"]
        nodes = []
        matrix, row = (s.B, s.H, s.N, s.M), (s.B, s.H, s.N)
        if want != "out":
            options["qk_matmul_output_mode"] = 3  # after the softmax
            made += ["", "", "weights"]
            if want == "weights":
                outputs["weights"] = (matrix, kind)
            else:
                nodes = [helper.make_node("TopK", ["weights", "top_count"], ["top", "top_index"], axis=-1),
                         helper.make_node("Add", ["weights", "tiny"], ["above_zero"]),
                         helper.make_node("Log", ["above_zero"], ["logs"]),
                         helper.make_node("Mul", ["weights", "logs"], ["terms"]),
                         helper.make_node("ReduceSum", ["terms", "last_axis"], ["negative"], keepdims=0),
                         helper.make_node("Neg", ["negative"], ["entropy"])]
                outputs |= {"top": ((*row, TOP), kind), "top_index": ((*row, TOP), TensorProto.INT64),
                            "entropy": (row, kind)}
                if want == "received":
                    nodes.append(helper.make_node("ReduceSum", ["weights", "query_axis"], ["received"], keepdims=0))
                    outputs["received"] = ((s.B, s.H, s.M), kind)
        node = helper.make_node("Attention", names, made, **options)
        constants: dict[str, np.ndarray] = {"top_count": np.array([TOP], np.int64), "last_axis": np.array([-1], np.int64),
                     "query_axis": np.array([2], np.int64), "tiny": np.array(1e-37, np.float32)}
        used = {n for other in nodes for n in other.input}
        program = Program(task, [node, *nodes], inputs, outputs, {n: x for n, x in constants.items() if n in used})
        name = "ONNX Attention-23" + {"out": "", "weights": ", qk_matmul_output"}.get(
            want, ", qk_matmul_output, TopK, Log, Mul, ReduceSum")
        return Way(name, program.call, lambda raw: raw)

    def ways_with_weights(self, task: Task) -> list[Way]:
        ways = [self.onnx_attention(task, task.want)]
        if task.want == "weights" and task.situation.causal:
            ways.append(self.grouped(task, qk_output=True))
        return ways


def make(threads: int) -> Engine:
    return OnnxRuntime(threads)
