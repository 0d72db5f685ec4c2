"""attend_backward on NumPy's arrays and torch's tensors, and dropout, against float64."""

import math

import ml_dtypes
import numpy as np
import pytest
import torch
from reference import assert_close, attention, gradients, summed_to
from test_attend import normal, random_case

import fovea

NAMES = ("dq", "dk", "dv")


def largest(x):
    return max(1.0, np.abs(x).max(initial=0))


@pytest.mark.parametrize("seed", range(120))
def test_random_combinations(seed):
    r, q, k, v, causal, before, after, options = random_case(1000 + seed)
    rule = dict(options, causal=False if causal == "none" else causal, window=(before, after))
    for highlight in ("factor", "received_weights"):
        rule.pop(highlight, None)
        options.pop(highlight, None)
    truth = attention(q, k, v, causal=causal, before=before, after=after, **options)
    G = normal(r, *truth["out"].shape)
    want = gradients(q, k, v, truth["p"], G, options.get("scale"))
    done = fovea.attend(q, k, v, lse=True, **rule)
    bias = options.get("bias")
    got = fovea.attend_backward(q, k, v, done, G, dbias=bias is not None, key_gradient=True, **rule)
    for name in NAMES + ("key_gradient",):
        assert getattr(got, name).dtype == np.float32
        assert_close(getattr(got, name), want[name], 2e-5 * largest(want[name]), name)
    if bias is not None:
        of_bias = summed_to(want["ds"], bias.shape)
        assert_close(got.dbias, of_bias, 2e-5 * largest(of_bias), "dbias")
    else:
        assert got.dbias is None
    tensors = [torch.from_numpy(x) for x in (q, k, v)]
    moved = {name: torch.from_numpy(x) if isinstance(x, np.ndarray) else x for name, x in rule.items()}
    again = fovea.attend_backward(*tensors, fovea.attend(*tensors, lse=True, **moved), torch.from_numpy(G), **moved)
    for name in NAMES:
        assert isinstance(getattr(again, name), torch.Tensor)
        assert np.array_equal(getattr(again, name).numpy(), getattr(got, name)), name


@pytest.mark.parametrize("rank", [2, 3])
def test_ranks(rank):
    r = np.random.default_rng(rank)
    H, G = (6, 2) if rank == 3 else (1, 1)
    q, k, v, g = normal(r, 1, H, 9, 16), normal(r, 1, G, 13, 16), normal(r, 1, G, 13, 4), normal(r, 1, H, 9, 4)
    bias = normal(r, 9, 13)
    truth = attention(q, k, v, bias=bias)
    want = gradients(q, k, v, truth["p"], g)
    drop = (0,) if rank == 3 else (0, 0)
    q, k, v, g = q[drop], k[drop], v[drop], g[drop]
    got = fovea.attend_backward(q, k, v, fovea.attend(q, k, v, bias=bias, lse=True), g, bias=bias, dbias=True,
                                key_gradient=True)
    for name in NAMES + ("key_gradient",):
        assert_close(getattr(got, name), want[name][drop], 1e-5, name)
    assert_close(got.dbias, want["ds"].sum((0, 1)), 1e-5, "dbias")


def test_packed_batches():
    r = np.random.default_rng(3)
    queries, keys = [0, 3, 3, 10], [0, 5, 9, 16]
    q, k, v, g = normal(r, 10, 4, 8), normal(r, 16, 2, 8), normal(r, 16, 2, 8), normal(r, 10, 4, 8)
    packed = dict(query_offsets=queries, key_offsets=keys, causal=True)
    done = fovea.attend(q, k, v, lse=True, **packed)
    got = fovea.attend_backward(q, k, v, done, g, key_gradient=True, **packed)
    for b in range(3):
        of_q, of_k = slice(queries[b], queries[b + 1]), slice(keys[b], keys[b + 1])
        one = [np.moveaxis(x, 1, 0)[None] for x in (q[of_q], k[of_k], v[of_k], g[of_q])]
        want = gradients(*one[:3], attention(*one[:3], causal="bottom-right")["p"], one[3])
        for name, place in (("dq", of_q), ("dk", of_k), ("dv", of_k)):
            assert_close(getattr(got, name)[place], np.moveaxis(want[name][0], 0, 1), 1e-5, name)
        assert_close(got.key_gradient[of_k], want["key_gradient"][0].T, 1e-5, "key_gradient")


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision(name):
    """Rounded once: at most one unit in the last place of the largest, and float32 gradients less."""
    r = np.random.default_rng(4)
    dtype = np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(np.float16)
    q, k, v, g = (normal(r, 1, 2, 40, 32).astype(dtype) for _ in range(4))
    want = gradients(q, k, v, attention(q, k, v)["p"], g)
    done = fovea.attend(q, k, v, lse=True, out_dtype="float32")
    step = float(ml_dtypes.finfo(dtype).eps)
    got = fovea.attend_backward(q, k, v, done, g)
    wide = fovea.attend_backward(q, k, v, done, g, gradient_dtype="float32")
    for which in NAMES:
        assert getattr(got, which).dtype == dtype and getattr(wide, which).dtype == np.float32
        assert_close(getattr(got, which), want[which], step * largest(want[which]), which)
        assert np.array_equal(getattr(wide, which).astype(dtype), getattr(got, which)), which


def test_parts_add_up():
    r = np.random.default_rng(5)
    q, k, v, g = (normal(r, 2, 30, 8) for _ in range(4))
    done = fovea.attend(q, k, v, lse=True)
    whole = fovea.attend_backward(q, k, v, done, g)
    parts = [fovea.attend_backward(q, k, v, done, g, key_begin=a, key_end=b) for a, b in ((0, 11), (11, 30))]
    for name in NAMES:
        assert_close(sum(getattr(part, name) for part in parts), getattr(whole, name), 1e-5, name)
    assert np.all(parts[0].dk[:, 11:] == 0)


def test_only_what_is_asked_for():
    r = np.random.default_rng(6)
    q, k, v, g = (normal(r, 2, 5, 8) for _ in range(4))
    done = fovea.attend(q, k, v, lse=True)
    all_of_them = fovea.attend_backward(q, k, v, done, g)
    for name in NAMES:
        got = fovea.attend_backward(q, k, v, done, g, **{other: other == name for other in NAMES})
        assert np.array_equal(getattr(got, name), getattr(all_of_them, name))
        assert all(getattr(got, other) is None for other in NAMES if other != name)


def dropped(q, k, M, **rule):
    """What dropout makes of each weight, read off values that are the unit vectors."""
    values = np.broadcast_to(np.eye(M, dtype=np.float32), (*k.shape[:-1], M))
    with_dropout = fovea.attend(q, k, values, **rule)
    return with_dropout, np.where(with_dropout != 0, 1 / (1 - rule["dropout"]), 0)


def test_dropout():
    r = np.random.default_rng(7)
    B, H, N, M, rate = 2, 4, 50, 60, 0.3
    q, k, v, g = normal(r, B, H, N, 8), normal(r, B, 2, M, 8), normal(r, B, 2, M, 5), normal(r, B, H, N, 5)
    rule = dict(dropout=rate, dropout_seed=2**64 - 3, dropout_offset=2**32 - 1)
    weights, kept = dropped(q, k, M, **rule)
    p = attention(q, k, v)["p"]
    assert_close(weights, p * kept, 1e-5, "the weights that are left")
    count, share = p.size, (kept == 0).mean()
    assert abs(share - rate) < 5 * math.sqrt(rate * (1 - rate) / count), share
    done = fovea.attend(q, k, v, lse=True, entropy=True, received=True, **rule)
    plain = fovea.attend(q, k, v, lse=True, entropy=True, received=True)
    assert_close(done.out, np.einsum("bhnm,bhme->bhne", p * kept, np.repeat(v, 2, 1).astype(np.float64)), 1e-5, "out")
    for name in ("lse", "entropy", "received"):
        assert np.array_equal(getattr(done, name), getattr(plain, name)), f"{name} is that of the weights before it"
    want = gradients(q, k, v, p, g, kept=kept)
    got = fovea.attend_backward(q, k, v, done, g, key_gradient=True, **rule)
    for name in NAMES + ("key_gradient",):
        assert_close(getattr(got, name), want[name], 2e-5 * largest(want[name]), name)
    for other in ({"dropout_seed": 1}, {"dropout_offset": 1}):
        assert 0.3 < (dropped(q, k, M, **{**rule, **other})[1] != kept).mean() < 0.5, "2 x 0.3 x 0.7 of them differ"
    assert np.array_equal(done.out, fovea.attend(q, k, v, **rule)), "the same again"


def test_edges():
    r = np.random.default_rng(8)
    q, k, v, g = normal(r, 4, 8), normal(r, 5, 8), normal(r, 5, 3), normal(r, 4, 3)
    mask = np.ones((4, 5), bool)
    mask[1] = False  # a query that sees nothing
    mask[:, 4] = False  # a key that nobody sees
    k[4], v[4], q[1], g[1] = np.nan, np.nan, np.nan, np.nan
    got = fovea.attend_backward(q, k, v, fovea.attend(q, k, v, mask=mask, lse=True), g, mask=mask)
    assert np.all(got.dq[1] == 0) and np.all(got.dk[4] == 0) and np.all(got.dv[4] == 0)
    assert all(np.isfinite(getattr(got, name)).all() for name in NAMES)
    none = fovea.attend_backward(q, k[:0], v[:0], fovea.attend(q, k[:0], v[:0], lse=True), g)
    assert np.all(none.dq == 0) and none.dk.shape == (0, 8)
    none = fovea.attend_backward(q[:0], k, v, fovea.attend(q[:0], k, v, lse=True), g[:0])
    assert np.all(none.dk == 0) and np.all(none.dv == 0) and none.dq.shape == (0, 8)


def test_threads_change_nothing():
    r = np.random.default_rng(9)
    q, k, v, g = (normal(r, 1, 700, 16) for _ in range(4))
    done = fovea.attend(q, k, v, lse=True)
    one, two = (fovea.attend_backward(q, k, v, done, g, threads=n) for n in (1, 2))
    assert all(np.array_equal(getattr(one, name), getattr(two, name)) for name in NAMES)


def test_errors():
    q, k, v, g = (np.ones(shape, np.float32) for shape in ((4, 8), (5, 8), (5, 3), (4, 3)))
    done = fovea.attend(q, k, v, lse=True)

    def raises(text, *arguments, kind=fovea.Error, **options):
        with pytest.raises(kind) as caught:
            fovea.attend_backward(*arguments, **options)
        assert text in str(caught.value), str(caught.value)

    raises("attend_backward: done has no lse: attend(..., lse=True)", q, k, v, fovea.attend(q, k, v, entropy=True), g)
    raises("attend_backward: done has no out: attend needs v", q, k, v, fovea.attend(q, k, None, lse=True), g)
    raises("done is a ndarray but must be an Attention", q, k, v, fovea.attend(q, k, v), g, kind=TypeError)
    raises("attend_backward: v is not given", q, k, None, done, g)
    raises("out_gradient is [4, 4] but must be [4, 3]", q, k, v, done, np.ones((4, 4), np.float32))
    raises("out_gradient is float64 but must be float32: pass out_gradient.astype(numpy.float32)", q, k, v, done,
           g.astype(float))
    raises("lse is [4] but must be [3]", q[:3], k, v, fovea.Attention(out=done.out[:3], lse=done.lse), g[:3])
    raises("dbias is asked for but bias is not given", q, k, v, done, g, dbias=True)
    raises("none of dq, dk, dv, dbias and key_gradient", q, k, v, done, g, dq=False, dk=False, dv=False)
    raises("gradient_dtype is float16 but must be float32 or q's type, float32", q, k, v, done, g,
           gradient_dtype="float16")
    raises("dropout.rate is 1.0", q, k, v, done, g, dropout=1)
    raises("dropout_seed is -1 but must be in [0, 2^64)", q, k, v, done, g, dropout_seed=-1)
    raises("dropout_offset is 4294967296 but must be in [0, 2^32)", q, k, v, done, g, dropout_offset=2**32)
    raises("dropout_seed is 0.5 but must be a whole number", q, k, v, done, g, dropout_seed=0.5, kind=TypeError)
    raises("out_gradient has stride 2", q, k, v, done, np.ones((4, 6), np.float32)[:, ::2])
