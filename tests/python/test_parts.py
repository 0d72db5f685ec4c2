"""merge, and the cache of keys and values."""

import gc

import ml_dtypes
import numpy as np
import pytest
import torch
from reference import assert_close, assert_top, attention

import fovea

R = np.random.default_rng(13)


def normal(*shape):
    return R.normal(size=shape).astype(np.float32)


Q, K, V = normal(2, 4, 9, 16), normal(2, 2, 60, 16), normal(2, 2, 60, 8)
EDGES = ((0, 10), (10, 45), (45, 60))


@pytest.mark.parametrize("drop", [(), (0,), (0, 0)])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_merge(drop, kind):
    truth = attention(Q, K, V, causal="bottom-right")
    q, k, v = (kind(x[drop]) for x in (Q, K, V))
    parts = [fovea.attend(q, k, v, causal=True, key_begin=a, key_end=b, lse=True, top=4, entropy=True) for a, b in EDGES]
    got = fovea.merge(parts)
    assert type(got.out) is type(q) and got.received is None and got.rows is None
    assert_close(got.out, truth["out"][drop], 1e-5)
    assert_close(got.lse, truth["lse"][drop], 1e-5)
    assert_close(got.entropy, truth["entropy"][drop], 1e-4)
    assert_top(got.top_index, got.top_weight, truth["p"][drop])
    out = kind(np.empty(Q[drop].shape[:-1] + (8,), np.float32))
    assert fovea.merge(iter(parts), out=out, threads=1).out is out
    assert_close(out, got.out, 0)


def test_merge_with_factor():
    factor = np.abs(normal(2, 4, 60))
    parts = [fovea.attend(Q, K, V, key_begin=a, key_end=b, lse=True, top=4, factor=factor) for a, b in EDGES]
    got = fovea.merge(parts, factor=factor)
    assert_top(got.top_index, got.top_weight, attention(Q, K, V)["p"], factor)
    assert got.entropy is None


def test_merge_packed():
    offsets = [0, 4, 9]
    q, k, v = normal(9, 4, 16), normal(9, 2, 16), normal(9, 2, 16)
    factor = np.abs(normal(9, 4))
    packed = dict(query_offsets=offsets, key_offsets=offsets, factor=factor)
    parts = [fovea.attend(q, k, v, key_begin=a, key_end=b, lse=True, top=2, **packed) for a, b in ((0, 2), (2, None))]
    whole = fovea.attend(q, k, v, top=2, lse=True, **packed)
    got = fovea.merge(parts, **packed)
    assert_close(got.out, whole.out, 1e-5)
    assert np.array_equal(got.top_index, whole.top_index)
    assert_close(got.top_weight, whole.top_weight, 1e-5)


def test_merge_types():
    parts = [fovea.attend(*(torch.from_numpy(x).bfloat16() for x in (Q, K, V)), key_begin=a, key_end=b, lse=True)
             for a, b in EDGES]
    assert fovea.merge(parts).out.dtype == torch.bfloat16
    wide = fovea.merge(parts, out_dtype=torch.float32)
    assert wide.out.dtype == torch.float32
    assert_close(wide.out, attention(Q, K, V)["out"], 0.05)


def test_merge_errors():
    def raises(text, parts, error=fovea.Error, **options):
        with pytest.raises(error) as caught:
            fovea.merge(parts, **options)
        assert text in str(caught.value), str(caught.value)

    one = fovea.attend(Q, K, V, lse=True, top=2)
    raises("merge: there are no parts: at least one is needed", [])
    raises("parts[0] is a ndarray but must be an Attention", [Q], error=TypeError)
    raises("parts[1] has no lse, without which nothing can be weighed", [one, fovea.attend(Q, K, V, top=2)])
    raises("of parts[0] and parts[1] only one has top_index", [one, fovea.attend(Q, K, V, lse=True)])
    raises("must be [B, H, N]", [one, fovea.attend(Q[:, :, :5], K, V, lse=True, top=2)])
    raises("parts[1].lse is float64 but must be float32", [one, fovea.Attention(one.out, one.lse.astype(np.float64))])
    raises("factor is [60] but must have 3 dimensions", [one], factor=np.ones(60, np.float32))
    raises("out is [2, 4, 9, 7] but must be [2, 4, 9, 8]", [one], out=np.empty((2, 4, 9, 7), np.float32))


@pytest.mark.parametrize("dtype", ["float32", np.float16, ml_dtypes.bfloat16, "bfloat16", torch.float32, torch.bfloat16])
def test_cache(dtype):
    """Decoding step by step gives what attending at once gives."""
    in_torch = isinstance(dtype, torch.dtype)
    cache = fovea.KeyValueCache(batch=2, heads=2, capacity=60, key_width=16, value_width=8, dtype=dtype)
    assert cache.keys.shape == (2, 2, 60, 16) and cache.values.shape == (2, 2, 60, 8)
    assert isinstance(cache.keys, torch.Tensor if in_torch else np.ndarray)
    q, k, v = ((torch.from_numpy(x).to(dtype) if in_torch else x.astype(dtype)) for x in (Q, K, V))
    before = cache.keys
    cache.append(k[:, :, :20], v[:, :, :20])
    cache.append(k[:, :, 20:], v[:, :, 20:], counts=[40, 7])
    assert cache.lengths.dtype == (torch.int32 if in_torch else np.int32) and cache.lengths.tolist() == [60, 27]
    assert before is cache.keys and (before[0] == k[0]).all() and (before[1, :, :27] == k[1, :, :27]).all()
    got = fovea.attend(q, cache.keys, cache.values, key_lengths=cache.lengths, causal=True)
    want = fovea.attend(q, k, v, key_lengths=[60, 27], causal=True)
    assert got.dtype == q.dtype and (got == want).all()
    cache.reorder([1, 1])
    assert cache.lengths.tolist() == [27, 27] and (cache.keys[0, :, :27] == k[1, :, :27]).all()
    cache.truncate(0, 5)
    assert cache.lengths.tolist() == [5, 27]
    cache.reorder(torch.tensor([1, 0]))
    assert cache.lengths.tolist() == [27, 5]
    assert "keys [2, 2, 60, 16]" in repr(cache) and "lengths [27, 5]" in repr(cache)


def test_cache_views_keep_the_memory():
    cache = fovea.KeyValueCache(capacity=5, key_width=4)
    cache.append(np.ones((1, 1, 5, 4), np.float32), np.ones((5, 4), np.float32))
    keys = cache.keys
    assert not keys.flags.writeable
    del cache
    gc.collect()
    assert np.all(keys == 1)
    tensor = fovea.KeyValueCache(capacity=1 << 20, key_width=64, dtype=torch.float32).keys
    gc.collect()
    assert tensor[0, 0, -1].shape == (64,)


def test_cache_errors():
    def raises(text, f, *args, error=fovea.Error, **options):
        with pytest.raises(error) as caught:
            f(*args, **options)
        assert text in str(caught.value), str(caught.value)

    raises("cache: dtype is float64 but must be", fovea.KeyValueCache, capacity=5, key_width=4, dtype=np.float64)
    raises("cache: capacity is 0 but must be", fovea.KeyValueCache, capacity=0, key_width=4)
    raises("not to be had: make the capacity smaller", fovea.KeyValueCache, batch=1 << 20, capacity=1 << 20, key_width=64)
    cache = fovea.KeyValueCache(batch=2, capacity=5, key_width=4)
    x = np.ones((2, 1, 3, 4), np.float32)
    raises("k is float64 but", cache.append, x.astype(np.float64), x)
    raises("k is float16 but the cache is float32", cache.append, x.astype(np.float16), x)
    raises("v is [2, 1, 3, 3] but must be", cache.append, x, x[..., :3])
    raises("counts has 1 entries but the batch has 2", cache.append, x, x, counts=[1])
    raises("counts has 0 entries but the batch has 2", cache.append, x, x, counts=[])
    raises("k is [1, 2, 1, 3, 4] but must be", cache.append, x[None], x)
    cache.append(x, x)
    raises("do not fit into a capacity of 5", cache.append, x, x)
    raises("cannot be truncated to 4", cache.truncate, 0, 4)
    raises("from has 1 entries but the batch has 2", cache.reorder, [0])
    raises("from[1] is 2 but must be in", cache.reorder, [0, 2])
    raises("indices is None", cache.reorder, None, error=TypeError)
    assert cache.lengths.tolist() == [3, 3]
