"""fovea attend beside NumPy in float64, PyTorch's scaled_dot_product_attention and ONNX Runtime.

  python tests/oracles/attend_oracle.py --program build/dev/fovea

Every case writes .npy files, runs the program, and compares output and highlights. Truth is the formula in
float64 on the arrays as float32 holds them; PyTorch in float64 must agree with it (which checks what the
options mean), and fovea may err twice as much as a plain loop in float32, plus a floor. ONNX Runtime computes
in float32 and so must be within both errors of each other.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from torch.nn.attention.bias import causal_lower_right, causal_upper_left

FLOOR = 1e-6  # of the largest |v|; of 1 for weights


def rounded(x, type_name):
    """float32 numbers that are of the type, to nearest."""
    if type_name == "bfloat16":
        bits = x.astype(np.float32).view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return x.astype(np.float32).astype(type_name).astype(np.float32)


def own_place(case, B, N, M):
    """[B, 1, N, 1]: where a query stands among the keys."""
    keys = case.get("lengths", np.full(B, M))[:, None, None, None]
    queries = case.get("query_lengths", np.full(B, N))[:, None, None, None]
    i = np.arange(N)[None, None, :, None] + 0 * keys
    return i if case.get("causal") == "top-left" else i + keys - queries


def usual_slopes(H):
    """As the ALiBi paper's code has them."""
    power = 2 ** int(np.floor(np.log2(H)))
    slopes = [2.0 ** (-8 * (h + 1) / power) for h in range(power)]
    return np.array(slopes + (list(usual_slopes(2 * power)[::2][: H - power]) if power < H else []))


def visible(case, B, H, N, M):
    """[B, H, N, M] bool: which keys a query may see, from the definitions."""
    keys = case.get("lengths", np.full(B, M))[:, None, None, None]
    queries = case.get("query_lengths", np.full(B, N))[:, None, None, None]
    i = np.arange(N)[None, None, :, None]
    j = np.arange(M)[None, None, None, :]
    see = (i < queries) & (j < keys) & np.ones((B, H, 1, 1), bool)
    if case.get("causal") == "bottom-right":
        see = see & (j <= i + keys - queries)
    if case.get("causal") == "top-left":
        see = see & (j <= i)
    place = own_place(case, B, N, M)
    begin, end = case.get("keys", (0, M))
    see = see & (j >= begin) & (j < end)
    before, after = (case.get("window", ()) + (None, None))[:2]
    if before is not None:
        see = see & (j >= place - before)
    if after is not None:
        see = see & (j <= place + after)
    if "mask" in case:
        see = see & case["mask"]
    if "bias" in case:
        see = see & (case["bias"] != -np.inf)
    return see


def attention(q, k, v, scale, bias, see, dtype, order):
    """Weights and output by the formula, summing one term after another in `dtype`, forwards or backwards."""
    q, k, v = (x.astype(dtype)[..., ::order] if x is not v else x.astype(dtype) for x in (q, k, v))
    k, v = (np.repeat(x, q.shape[1] // k.shape[1], axis=1) for x in (k, v))
    score = np.zeros(q.shape[:3] + (k.shape[2],), dtype)
    for d in range(q.shape[3]):
        score += q[..., :, None, d] * k[..., None, :, d]
    score = score * dtype(scale)
    if bias is not None:
        score = score + bias.astype(dtype)
    score = np.where(see, score, -np.inf).astype(dtype)
    top = score.max(axis=-1, keepdims=True, initial=-np.inf)
    weight = np.exp(score - np.where(np.isfinite(top), top, 0).astype(dtype))
    total = np.zeros(weight.shape[:3] + (1,), dtype)
    out = np.zeros(q.shape[:3] + (v.shape[3],), dtype)
    for j in range(k.shape[2])[::order]:
        total[..., 0] += weight[..., j]
        out += weight[..., j, None] * np.where(see[..., j, None], v[..., None, j, :], dtype(0))
    divisor = np.where(total > 0, total, dtype(1))
    return weight / divisor, out / divisor


def worst(a, b):
    return float(np.max(np.abs(np.asarray(a, np.float64) - b), initial=0))


class Failures:
    def __init__(self):
        self.count = 0

    def check(self, good, text):
        if not good:  # NaN makes `good` false
            self.count += 1
            print(f"  FAILED: {text}")


def run(program, folder, case, out="o.npy", extra=()):
    """Saves the case's arrays, runs the program, returns (out, highlights)."""
    files = ["q.npy", "k.npy", "v.npy", "-o", out] if out else ["q.npy", "k.npy"]
    command = [program, "attend", *files, *extra]
    for name in "qkv":
        array = case[name]
        if name in case.get("fortran", ""):
            array = np.asfortranarray(array)
        np.save(folder / f"{name}.npy", array)
    for name in ("lengths", "query_lengths", "mask", "bias", "alibi", "query_offsets", "key_offsets"):
        if isinstance(case.get(name), str):
            command += ["--" + name, case[name]]
        elif name in case:
            np.save(folder / f"{name}.npy", case[name])
            command += ["--" + name.replace("_", "-"), f"{name}.npy"]
    if "causal" in case:
        command.append("--causal=" + case["causal"])
    if "window" in case:
        command += ["--window", ",".join(map(str, case["window"]))]
    if "scale" in case:
        command += ["--scale", repr(case["scale"])]
    if "keys" in case:
        command += ["--keys", "{}:{}".format(*case["keys"])]
    if "type" in case:
        command += ["--type", case["type"]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{command} failed: {done.stderr}")
    return np.load(folder / out) if out else None


def run_later(program, folder, case, rows):
    """The highlights again, from q, k and the lse that was stored."""
    command = ["--from-lse", "lse.npy", "--top", "3", "--received", "--entropy", "--highlights", "later.json",
               "--rows", ",".join(map(str, rows))]
    run(program, folder, case, out=None, extra=command)
    return json.loads((folder / "later.json").read_text())


def torch_truth(case, q, k, v, see, scale, bias):
    """PyTorch's own attention in float64, asked for in PyTorch's own words where it has them."""
    q, k, v = (torch.from_numpy(x.astype(np.float64)) for x in (q, k, v))
    alone = not {"lengths", "query_lengths", "mask", "bias", "window", "keys", "alibi"} & set(case)
    if alone and "causal" in case:
        form = causal_lower_right if case["causal"] == "bottom-right" else causal_upper_left
        mask = form(q.shape[2], k.shape[2])
        group = q.shape[1] // k.shape[1]  # the two causal forms take no enable_gqa
        k, v = (x.repeat_interleave(group, dim=1) for x in (k, v))
        got = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    elif alone:
        got = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=scale, enable_gqa=True)
    else:
        mask = torch.from_numpy(np.where(see, 0.0 if bias is None else bias.astype(np.float64), -np.inf))
        got = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=scale, enable_gqa=True)
    return got.numpy()


def onnx_output(q, k, v, scale, see, bias):
    """ONNX Runtime's MultiHeadAttention, float32. Its layout is [B, N, H D]."""
    B, H, N, D = q.shape
    M, E = v.shape[2:]
    node = helper.make_node(
        "MultiHeadAttention", ["q", "k", "v", "", "", "bias"], ["out"], domain="com.microsoft",
        num_heads=H, scale=float(scale), mask_filter_value=-np.inf)
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "attention",
        [tensor("q", TensorProto.FLOAT, [B, N, H * D]), tensor("k", TensorProto.FLOAT, [B, M, H * D]),
         tensor("v", TensorProto.FLOAT, [B, M, H * E]), tensor("bias", TensorProto.FLOAT, [B, H, N, M])],
        [tensor("out", TensorProto.FLOAT, [B, N, H * E])])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=8)
    onnx.checker.check_model(model, check_custom_domain=False)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"])
    flat = lambda x: np.ascontiguousarray(x.transpose(0, 2, 1, 3)).reshape(B, x.shape[2], -1)
    added = np.where(see, 0 if bias is None else bias, -np.inf).astype(np.float32)
    out, = session.run(None, {"q": flat(q), "k": flat(k), "v": flat(v), "bias": added})
    return out.reshape(B, N, H, E).transpose(0, 2, 1, 3)


def check_highlights(fail, highlights, case, weight, allowed, shape, rows):
    """Top, received, entropy and rows against the whole float64 matrix of weights."""
    B, H, N, M = weight.shape
    K = min(case["top"], max(M, 1))
    value = lambda x: np.array(x, np.float64)
    index = np.array(highlights["top"]["index"]).reshape(B, H, N, K)
    top = value(highlights["top"]["weight"]).reshape(B, H, N, K)
    seen = case["see"].sum(axis=-1)[..., None]
    there = np.arange(K) < seen
    fail.check(np.all((index >= 0) == there), "top: how many keys a query sees")
    fail.check(np.all(index[~there] == -1) and np.all(top[~there] == 0), "top: -1 and 0 past the keys")
    at = np.where(there, index, 0)
    named = np.take_along_axis(weight, at, axis=-1) if M else top
    fail.check(worst(top[there], named[there]) <= allowed, "top: weight of the key that is named")
    best = -np.sort(-weight, axis=-1)[..., :K] if M else top
    fail.check(worst(named[there], best[there]) <= 2 * allowed, "top: the keys of largest weight")
    fail.check(np.all(np.diff(top, axis=-1) <= 0), "top: descending")
    unique = [len(set(row[row >= 0])) == (row >= 0).sum() for row in index.reshape(-1, K)]
    fail.check(all(unique), "top: no key twice")
    # Of weights that float32 cannot tell apart the larger comes first; of equal ones the lower index.
    equal = (np.diff(named, axis=-1) == 0) & (named[..., 1:] > 0)
    later = np.diff(index, axis=-1) > 0
    fail.check(np.all(later[equal & there[..., 1:]]), "top: ties to the lower index")

    received = weight.sum(axis=2)
    got = value(highlights["received"]).reshape(B, H, M)
    fail.check(worst(got, received) <= allowed * max(1, N), "received")
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(weight > 0, weight * np.log(weight), 0).sum(axis=-1)
    got = value(highlights["entropy"]).reshape(B, H, N)
    fail.check(worst(got, entropy) <= allowed * max(1.0, np.log(max(M, 2))) * 4, "entropy")
    fail.check(highlights["rows"]["query"] == rows, "rows: which")
    got = value(highlights["rows"]["weight"]).reshape(B, H, len(rows), M)
    fail.check(worst(got, weight[:, :, rows]) <= allowed, "rows")
    fail.check([highlights[key] for key in ("batch", "heads", "queries", "keys")] == [B, H, N, M], "sizes")
    fail.check(np.shape(highlights["entropy"]) == shape[:-1], "the dimensions of q")


def check_case(program, name, case):
    fail = Failures()
    type_name = case.get("type", "float32")
    whole = lambda x: rounded(x, type_name).reshape((1,) * (4 - x.ndim) + x.shape)
    q, k, v = (whole(case[n]) for n in "qkv")
    B, H, N, D = q.shape
    M, E = v.shape[2:]
    scale = np.float32(case.get("scale", 1 / np.sqrt(D)))
    bias = case.get("bias")
    if bias is not None:
        bias = bias.astype(np.float32)
    if "alibi" in case:
        slopes = usual_slopes(H) if isinstance(case["alibi"], str) else case["alibi"].astype(np.float32)
        slopes = slopes.astype(np.float64).reshape(-1, H, 1, 1)
        distance = slopes * np.abs(own_place(case, B, N, M) - np.arange(M)[None, None, None, :])
        bias = (0 if bias is None else bias.astype(np.float64)) - distance
    case["see"] = see = visible(case, B, H, N, M)
    weight, truth = attention(q, k, v, float(scale), bias, see, np.float64, 1)
    errors = [[worst(x, y) for x, y in zip(attention(q, k, v, scale, bias, see, np.float32, order),
                                          (weight, truth))] for order in (1, -1)]
    weight_allowed = 2 * max(e[0] for e in errors) + FLOOR
    allowed = 2 * max(e[1] for e in errors) + FLOOR * np.max(np.abs(v), initial=0)
    if type_name == "bfloat16":  # its weights have 8 bits when they meet the values
        allowed += 2.0**-8 * np.max(np.abs(v), initial=0)
    case["top"] = 3
    rows = sorted({0, N // 2, N - 1}) if N else []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        extra = ["--top", "3", "--received", "--entropy", "--highlights", "h.json"]
        extra += ["--rows", ",".join(map(str, rows))] if rows else []
        extra += ["--lse", "lse.npy"]
        got = run(program, folder, case, extra=extra)
        highlights = json.loads((folder / "h.json").read_text())
        lse = np.load(folder / "lse.npy")
        plain = run(program, folder, case)
        later = dict(highlights, **run_later(program, folder, case, rows)) if rows else highlights
    shape = case["q"].shape[:-1] + (E,)
    fail.check(got.shape == shape and got.dtype == np.float32, f"out is {got.dtype} {got.shape}")
    fail.check(np.array_equal(got, plain), "highlights changed the output")
    got = got.reshape(truth.shape)
    error = worst(got, truth)
    fail.check(error <= allowed, f"out: {error:.2e} > {allowed:.2e}")
    fail.check(np.all(got[~see.any(axis=-1)] == 0), "a query that sees nothing gives zeros")
    some = see.any(axis=-1)
    torch_error = worst(torch_truth(case, q, k, v, see, float(scale), bias)[some], truth[some])
    fail.check(torch_error <= 1e-12 * max(1, np.max(np.abs(v), initial=0)),
               f"PyTorch in float64 means something else: {torch_error:.2e}")
    beside = ""
    if q.shape[1] == k.shape[1] and M and N and scale != 0:  # ONNX Runtime reads 0 as "the default"
        other = onnx_output(q, k, v, scale, see, bias)
        apart = worst(got[some], other[some])
        fail.check(apart <= 2 * allowed, f"ONNX Runtime: {apart:.2e} > {2 * allowed:.2e}")
        beside = f", ONNX Runtime {worst(other[some], truth[some]):.1e}"
    if rows:
        check_highlights(fail, highlights, case, weight, weight_allowed, shape, rows)
        # By lse, which is rounded: relative 1.2e-7 |lse| more.
        largest = np.max(np.abs(lse[np.isfinite(lse)]), initial=0)
        check_highlights(fail, later, case, weight, weight_allowed + 1.2e-7 * largest, shape, rows)
    print(f"{'ok    ' if not fail.count else 'FAILED'} {name}: error {error:.1e} of {allowed:.1e} allowed{beside}")
    return fail.count


def check_packed(program):
    """Sequences end to end are what they are alone."""
    failed = 0
    r = np.random.default_rng(21)
    for causal in (None, "bottom-right", "top-left"):
        for alibi in (None, "auto"):
            fail = Failures()
            lengths = [(9, 9), (0, 5), (1, 30), (17, 0), (40, 33)]
            offsets = [np.concatenate([[0], np.cumsum(n)]) for n in zip(*lengths)]
            T, S = offsets[0][-1], offsets[1][-1]
            H, G, D, E = 6, 2, 16, 12
            case = {n: r.normal(size=s).astype(np.float32)
                    for n, s in (("q", (T, H, D)), ("k", (S, G, D)), ("v", (S, G, E)))}
            more = {key: value for key, value in (("causal", causal), ("alibi", alibi)) if value}
            packed = dict(case, query_offsets=offsets[0].astype(np.int32), key_offsets=offsets[1], **more)
            with tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)
                got = run(program, folder, packed, extra=["--received", "--highlights", "h.json"])
                received = np.array(json.loads((folder / "h.json").read_text())["received"])
            fail.check(got.shape == (T, H, E) and received.shape == (S, H), "shapes")
            for b, (n, m) in enumerate(lengths):
                queries, keys = (slice(o[b], o[b + 1]) for o in offsets)
                q, k, v = (x.swapaxes(0, 1)[None] for x in (case["q"][queries], case["k"][keys], case["v"][keys]))
                place = own_place(more, 1, n, m)
                slopes = usual_slopes(H) if alibi else np.zeros(H)
                bias = -slopes[None, :, None, None] * np.abs(place - np.arange(m)[None, None, None, :])
                see = visible(more, 1, H, n, m)
                weight, truth = attention(q, k, v, 1 / np.sqrt(D), bias, see, np.float64, 1)
                fail.check(worst(got[queries], truth[0].swapaxes(0, 1)) <= 3e-6, f"out of sequence {b}")
                fail.check(worst(received[keys], weight[0].sum(axis=1).T) <= 1e-5, f"received of sequence {b}")
            failed += fail.count
            print(f"{'ok    ' if not fail.count else 'FAILED'} packed {more}")
    return failed


def cases():
    r = np.random.default_rng(20)
    normal = lambda *shape: r.normal(size=shape).astype(np.float32)

    def three(q, k, v, **more):
        return {"q": normal(*q), "k": normal(*k), "v": normal(*v), **more}

    yield "rank 2", three((5, 8), (7, 8), (7, 3))
    yield "rank 3, grouped heads", three((6, 9, 16), (2, 13, 16), (2, 13, 16))
    yield "rank 4, one key head", three((2, 4, 33, 32), (2, 1, 65, 32), (2, 1, 65, 40))
    yield "one query, one key", three((1, 1), (1, 1), (1, 1))
    yield "one query, many keys (decoding)", three((2, 8, 1, 64), (2, 2, 700, 64), (2, 2, 700, 64))
    yield "512 x 512", three((1, 2, 512, 64), (1, 2, 512, 64), (1, 2, 512, 64))
    yield "odd widths", three((3, 129, 5), (3, 257, 5), (3, 257, 130))
    for causal in ("bottom-right", "top-left"):
        for n, m in ((17, 17), (9, 30), (30, 9), (300, 300)):
            yield f"causal {causal} {n} x {m}", three((2, n, 8), (2, m, 8), (2, m, 8), causal=causal)
        yield f"causal {causal}, grouped", three((2, 4, 40, 8), (2, 2, 50, 8), (2, 2, 50, 8), causal=causal)
        yield f"causal {causal}, both lengths", three(
            (3, 2, 20, 8), (3, 2, 20, 8), (3, 2, 20, 8), causal=causal,
            lengths=np.array([20, 7, 0]), query_lengths=np.array([20, 7, 3], np.int32))
    for window in ((0,), (16, 0), (5, 3), (300, 300), (0, 40)):
        for causal in ({}, {"causal": "bottom-right"}, {"causal": "top-left"}):
            yield f"window {window} {causal}", three((2, 300, 8), (2, 310, 8), (2, 310, 8), window=window, **causal)
    yield "lengths, 0 included", three((4, 2, 6, 8), (4, 2, 11, 8), (4, 2, 11, 8),
                                       lengths=np.array([11, 3, 0, 1], np.int32))
    yield "query lengths, 0 included", three((3, 2, 6, 8), (3, 2, 11, 8), (3, 2, 11, 8),
                                             query_lengths=np.array([6, 0, 2]))
    for shape in ((21,), (13, 21), (1, 21), (13, 1), (4, 13, 21), (4, 1, 21), (2, 4, 13, 21), (2, 1, 1, 21), (1, 1, 13, 1)):
        mask = r.random(shape) < 0.6
        yield f"mask {list(shape)}", three((2, 4, 13, 8), (2, 2, 21, 8), (2, 2, 21, 8), mask=mask)
        bias = (2 * r.normal(size=shape)).astype(np.float32)
        bias[r.random(shape) < 0.2] = -np.inf
        yield f"bias {list(shape)}", three((2, 4, 13, 8), (2, 2, 21, 8), (2, 2, 21, 8), bias=bias)
    yield "mask and bias in Fortran order", three(
        (3, 13, 8), (3, 21, 8), (3, 21, 8), mask=np.asfortranarray(r.random((13, 21)) < 0.5),
        bias=np.asfortranarray(r.normal(size=(3, 13, 21))))
    yield "all of it", three((2, 4, 31, 8), (2, 2, 37, 8), (2, 2, 37, 8), causal="bottom-right",
                             lengths=np.array([37, 20]), query_lengths=np.array([31, 25]),
                             mask=r.random((31, 37)) < 0.8, bias=normal(4, 1, 37), scale=0.3)
    for slopes in ("auto", normal(6), np.abs(normal(2, 6))):
        for more in ({}, {"causal": "bottom-right"}, {"causal": "top-left"}, {"bias": normal(13, 21)},
                     {"lengths": np.array([21, 9]), "query_lengths": np.array([5, 13])}):
            yield f"alibi {slopes if isinstance(slopes, str) else list(slopes.shape)} {list(more)}", three(
                (2, 6, 13, 8), (2, 2, 21, 8), (2, 2, 21, 8), alibi=slopes, **more)
    for keys in ((0, 40), (5, 300), (100, 101), (7, 7)):
        yield f"keys {keys}", three((2, 40, 8), (2, 300, 8), (2, 300, 8), keys=keys, causal="bottom-right")
    for type_name in ("float16", "bfloat16"):
        yield f"computed in {type_name}", three((4, 40, 64), (2, 70, 64), (2, 70, 64), type=type_name)
        yield f"computed in {type_name}, causal", three(
            (4, 40, 24), (2, 70, 24), (2, 70, 9), type=type_name, causal="bottom-right", alibi="auto")
    yield "float16 files, not converted", dict(
        {n: a.astype(np.float16) for n, a in three((4, 40, 64), (2, 70, 64), (2, 70, 64)).items()}, type="float16")
    yield "mask that hides everything", three((4, 8), (6, 8), (6, 8), mask=np.zeros((4, 6), bool))
    yield "no keys", three((4, 8), (0, 8), (0, 8))
    for scale in (0.0, -1.0, 3.0, 40.0):
        yield f"scale {scale}", three((19, 8), (23, 8), (23, 8), scale=scale)
    x = three((4, 19, 16), (2, 23, 16), (2, 23, 24))
    for dtype in (np.float16, np.float64):
        yield f"{np.dtype(dtype)}", {name: a.astype(dtype) for name, a in x.items()}
    yield "float64 that float32 rounds", {name: r.normal(size=a.shape) for name, a in x.items()}
    for order in ("q", "k", "v", "qkv"):
        yield f"Fortran order: {order}", dict(x, fortran=order)
    yield "Fortran order, float16", dict({n: a.astype(np.float16) for n, a in x.items()}, fortran="qkv")
    equal = three((3, 8), (40, 8), (40, 8))
    equal["k"][:] = equal["k"][0]
    yield "equal keys: ties", equal
    yield "large values", {n: 30 * a for n, a in three((19, 8), (23, 8), (23, 8)).items()}


def check_help(program):
    """Every line that --help offers for pasting works as it stands."""
    fail = Failures()
    program = pathlib.Path(program).resolve()
    text = subprocess.run([program, "attend", "--help"], capture_output=True, text=True).stdout
    lines = [line.strip() for line in text.split("\n") if line.startswith(("  python3 -c", "  fovea attend "))]
    fail.check(len(lines) >= 4, "lines to paste")
    with tempfile.TemporaryDirectory() as folder:
        for line in lines:
            line = line.replace("python3", sys.executable, 1).replace("fovea attend", f"{program} attend", 1)
            done = subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True)
            fail.check(done.returncode == 0 and not done.stderr, f"{line}: {done.stderr}")
    print(f"{'ok    ' if not fail.count else 'FAILED'} --help: {len(lines)} lines pasted")
    return fail.count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    program = str(pathlib.Path(parser.parse_args().program).resolve())
    failed = check_help(program) + check_packed(program)
    count = 0
    for name, case in cases():
        count += 1
        failed += check_case(program, name, case)
    print(f"{count} cases, {failed} failed checks (numpy {np.__version__}, torch {torch.__version__}, "
          f"onnxruntime {onnxruntime.__version__})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
