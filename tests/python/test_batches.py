"""Packed batches, ALiBi, parts of the keys, and highlights asked for later."""

import numpy as np
import pytest
import torch
from reference import assert_close, assert_top, attention

import fovea

R = np.random.default_rng(11)


def normal(*shape):
    return R.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("causal", [False, True, "top-left"])
@pytest.mark.parametrize("batched", [False, True])
def test_alibi(causal, batched):
    B, H, N, M = 2, 8, 21, 34
    q, k, v = normal(B, H, N, 16), normal(B, 2, M, 16), normal(B, 2, M, 16)
    slopes = (2.0 ** -np.arange(1, H + 1)).astype(np.float32)
    slopes = np.stack([slopes, slopes[::-1]]) if batched else slopes
    options = dict(key_lengths=[34, 13], query_lengths=[21, 9])
    name = {False: "none", True: "bottom-right"}.get(causal, causal)
    truth = attention(q, k, v, causal=name, alibi_slopes=slopes, **options)
    got = fovea.attend(q, k, v, causal=causal, alibi_slopes=slopes, lse=True, rows=[0, 3, 20], **options)
    assert_close(got.out, truth["out"], 1e-5)
    assert_close(got.lse, truth["lse"], 1e-5)
    assert_close(got.rows, truth["p"][:, :, [0, 3, 20]], 1e-5)
    if not batched:
        listed = fovea.attend(q, k, v, causal=causal, alibi_slopes=slopes.tolist(), **options)
        assert np.array_equal(listed, got.out)
        tensors = fovea.attend(*map(torch.from_numpy, (q, k, v)), causal=causal, alibi_slopes=torch.from_numpy(slopes), **options)
        assert np.array_equal(tensors.numpy(), got.out)


def sequences(offsets, x):
    """[T, H, D] -> a list of [1, H, n, D]"""
    return [x[a:b].transpose(1, 0, 2)[None] for a, b in zip(offsets[:-1], offsets[1:])]


@pytest.mark.parametrize("packed", ["both", "queries", "keys"])
@pytest.mark.parametrize("causal", [False, True, "top-left"])
def test_packed(packed, causal):
    B, H, G, D, E = 4, 4, 2, 16, 9
    query_offsets, key_offsets = np.array([0, 5, 5, 18, 19]), np.array([0, 7, 10, 30, 31])
    name = {False: "none", True: "bottom-right"}.get(causal, causal)
    N, M = 13, 20
    q, k, v = normal(19, H, D), normal(31, G, D), normal(31, G, E)
    options = dict(causal=causal, window=(6, 9), top=3, received=True, entropy=True, lse=True)
    mask = R.random((B, 1, N, M)) < 0.8
    rows = [0, 4, 17, -1]
    if packed == "both":
        factor = np.abs(normal(31, H))
        got = fovea.attend(q, k, v, query_offsets=query_offsets, key_offsets=key_offsets, mask=mask, rows=rows,
                           factor=factor, **options)
        assert got.out.shape == (19, H, E) and got.received.shape == (31, H) and got.rows.shape == (4, H, M)
        qs, ks, vs = sequences(query_offsets, q), sequences(key_offsets, k), sequences(key_offsets, v)
    elif packed == "queries":
        k, v = normal(B, G, M, D), normal(B, G, M, E)
        lengths, factor = torch.tensor([20, 3, 0, 11]), np.abs(normal(B, H, M))
        got = fovea.attend(q, k, v, query_offsets=query_offsets.tolist(), key_lengths=lengths, mask=mask, rows=rows,
                           factor=factor, **options)
        assert got.out.shape == (19, H, E) and got.received.shape == (B, H, M) and got.rows.shape == (4, H, M)
        qs = sequences(query_offsets, q)
        ks, vs = ([x[b:b + 1, :, :lengths[b]] for b in range(B)] for x in (k, v))
    else:
        q = normal(B, H, N, D)
        rows = [0, 12]
        factor = np.abs(normal(31, H))
        got = fovea.attend(q, k, v, key_offsets=torch.from_numpy(key_offsets), mask=mask, rows=rows, factor=factor, **options)
        assert got.out.shape == (B, H, N, E) and got.received.shape == (31, H) and got.rows.shape == (B, H, 2, M)
        qs, ks, vs = [q[b:b + 1] for b in range(B)], sequences(key_offsets, k), sequences(key_offsets, v)
    for b in range(B):
        n, m = qs[b].shape[2], ks[b].shape[2]
        truth = attention(qs[b], ks[b], vs[b], causal=name, before=6, after=9, mask=mask[b:b + 1, :, :n, :m])
        part = slice(query_offsets[b], query_offsets[b + 1])

        def of(x):  # sequence b of a result over queries, as [H, n, ...]
            return x[b] if packed == "keys" else np.swapaxes(x[part], 0, 1)

        assert_close(of(got.out), truth["out"][0], 1e-5, "out")
        assert_close(of(got.lse), truth["lse"][0], 1e-5, "lse")
        assert_close(of(got.entropy), truth["entropy"][0], 1e-4, "entropy")
        keys = slice(key_offsets[b], key_offsets[b + 1])
        own_factor = factor[b, :, :m] if packed == "queries" else factor[keys].T
        assert_top(of(got.top_index), of(got.top_weight), truth["p"][0], own_factor)
        received = got.received[b, :, :m] if packed == "queries" else got.received[keys].T
        assert_close(received, truth["received"][0] * own_factor, 1e-4, "received")
        for at, row in enumerate(rows):
            if packed == "keys":
                assert_close(got.rows[b, :, at, :m], truth["p"][0, :, row], 1e-5, "rows")
            elif part.start <= row % 19 < part.stop:
                assert_close(got.rows[at, :, :m], truth["p"][0, :, row % 19 - part.start], 1e-5, "rows")
                assert np.all(got.rows[at, :, m:] == 0)


def test_packed_is_bit_for_bit_the_padded_one():
    offsets = [0, 3, 10]
    q, k, v = (normal(10, 2, 8) for _ in range(3))
    packed = fovea.attend(q, k, v, query_offsets=offsets, key_offsets=offsets, causal=True)
    alone = [fovea.attend(*(x[a:b].transpose(1, 0, 2) for x in (q, k, v)), causal=True) for a, b in ((0, 3), (3, 10))]
    assert np.array_equal(packed, np.concatenate([x.transpose(1, 0, 2) for x in alone]))


@pytest.mark.parametrize("begin, end", [(0, 10), (10, 40), (None, 7), (33, None), (5, 5)])
def test_parts_of_the_keys(begin, end):
    q, k, v = normal(2, 4, 30, 16), normal(2, 2, 40, 16), normal(2, 2, 40, 16)
    truth = attention(q, k, v, causal="bottom-right", key_begin=begin or 0, key_end=end)
    got = fovea.attend(q, k, v, causal=True, key_begin=begin, key_end=end, lse=True, top=3, rows=[29])
    assert_close(got.out, truth["out"], 1e-5)
    assert_close(got.lse, truth["lse"], 1e-5)
    assert_top(got.top_index, got.top_weight, truth["p"])
    assert_close(got.rows, truth["p"][:, :, 29:], 1e-5)


def test_highlights_later():
    q, k, v = normal(2, 4, 30, 16), normal(2, 2, 40, 16), normal(2, 2, 40, 16)
    options = dict(causal=True, key_lengths=[40, 21], scale=0.4)
    asked = dict(top=3, received=True, entropy=True, rows=[0, -1])
    at_once = fovea.attend(q, k, v, lse=True, **options, **asked)
    for kind in (np.asarray, torch.from_numpy):
        later = fovea.highlights(kind(q), kind(k), kind(at_once.lse), **options, **asked)
        assert type(later.entropy) is type(kind(q)) and later.out is None and later.lse is None
        for name in ("received", "entropy", "rows", "top_weight"):
            assert_close(getattr(later, name), getattr(at_once, name), 1e-4, name)
    truth = attention(q, k, v, causal="bottom-right", key_lengths=[40, 21], scale=0.4)
    assert_top(later.top_index, later.top_weight, truth["p"])
    whole = at_once.lse
    parts = [fovea.highlights(q, k, whole, key_begin=a, key_end=b, entropy=True, received=True, **options)
             for a, b in ((0, 15), (15, 40))]
    assert_close(parts[0].entropy + parts[1].entropy, truth["entropy"], 1e-4)
    assert_close(parts[0].received + parts[1].received, truth["received"], 1e-4)
    with pytest.raises(fovea.Error, match=r"highlights: lse is \[2, 4, 29\] but must be \[2, 4, 30\]"):
        fovea.highlights(q, k, whole[:, :, 1:], top=1)
    with pytest.raises(fovea.Error, match="highlights: none of top, received, entropy and rows is asked for"):
        fovea.highlights(q, k, whole)
    with pytest.raises(fovea.Error, match="highlights: lse is float64 but must be float32"):
        fovea.highlights(q, k, whole.astype(np.float64), top=1)
