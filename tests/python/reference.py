"""The truth for these tests: attention in float64, as one plain formula on whole matrices. Knows nothing of fovea."""

import numpy as np

NOTHING = -np.inf


def seen_keys(n, m, N, M, causal="none", before=None, after=None, begin=0, end=None):
    """[N, M] bool for one sequence of n queries and m keys."""
    i, j = np.arange(N)[:, None], np.arange(M)[None, :]
    place = i if causal == "top-left" else i + m - n
    see = (i < n) & (j < m) & (j >= begin) & (j < (M if end is None else end))
    if causal != "none":
        see = see & (j <= place)
    if before is not None:
        see = see & (j >= place - before)
    if after is not None:
        see = see & (j <= place + after)
    return see, np.abs(place - j)


def attention(q, k, v, *, scale=None, causal="none", before=None, after=None, mask=None, bias=None, alibi_slopes=None,
              key_lengths=None, query_lengths=None, key_begin=0, key_end=None, factor=None, received_weights=None):
    """q [B, H, N, D], k [B, G, M, D], v [B, G, M, E] -> a dict of out, lse, p [B, H, N, M], received, entropy."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    B, H, N, D = q.shape
    M = k.shape[2]
    k, v = (np.repeat(x, H // x.shape[1], axis=1) for x in (k, v))
    scores = (D ** -0.5 if scale is None else scale) * np.einsum("bhnd,bhmd->bhnm", q, k)
    if bias is not None:
        scores = scores + np.asarray(bias, np.float64)
    for b in range(B):
        n = N if query_lengths is None else query_lengths[b]
        m = M if key_lengths is None else key_lengths[b]
        see, distance = seen_keys(n, m, N, M, causal, before, after, key_begin, key_end)
        if alibi_slopes is not None:
            slopes = np.broadcast_to(np.asarray(alibi_slopes, np.float64), (B, H))[b]
            scores[b] -= slopes[:, None, None] * distance
        scores[b] = np.where(see, scores[b], NOTHING)
    if mask is not None:
        scores = np.where(mask, scores, NOTHING)
    top = np.max(scores, axis=-1, keepdims=True, initial=NOTHING)
    e = np.exp(scores - np.where(np.isfinite(top), top, 0))
    total = e.sum(axis=-1, keepdims=True)
    p = np.divide(e, total, out=np.zeros_like(e), where=total > 0)
    with np.errstate(divide="ignore"):
        lse = np.where(total > 0, np.log(total) + top, NOTHING)[..., 0]
    logs = np.log(p, out=np.zeros_like(p), where=p > 0)
    weights = np.ones((B, H, N)) if received_weights is None else np.asarray(received_weights, np.float64)
    received = np.einsum("bhn,bhnm->bhm", np.broadcast_to(weights, (B, H, N)), p)
    if factor is not None:
        received = received * np.asarray(factor, np.float64)
    return {"out": np.where(p > 0, 1, 0).any(-1, keepdims=True) * np.einsum("bhnm,bhme->bhne", p, v),
            "lse": lse, "p": p, "received": received, "entropy": -(p * logs).sum(-1), "scores": scores}


def assert_close(got, want, tolerance, what=""):
    """Every number within tolerance, infinities equal. NaN anywhere fails."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, not {want.shape}"
    with np.errstate(invalid="ignore"):
        good = (np.abs(got - want) <= tolerance) | ((got == want) & np.isinf(want))
        worst = np.max(np.where(good, 0, np.abs(got - want)), initial=0)
    assert np.all(good), f"{what}: {np.sum(~good)} of {good.size} numbers wrong, the worst by {worst}"


def assert_top(index, weight, p, factor=None, tolerance=1e-5):
    """top_index and top_weight are those of p [..., N, M]; ties and near-ties may stand either way."""
    index, weight = np.asarray(index), np.asarray(weight, np.float64)
    assert index.dtype == np.int32 and index.shape == weight.shape
    K = index.shape[-1]
    rank = p if factor is None else p * np.asarray(factor, np.float64)[..., None, :]
    fewer = np.maximum(K - p.shape[-1], 0)
    pad = [(0, 0)] * (p.ndim - 1) + [(0, fewer)]
    order = -np.sort(-np.pad(np.where(p > 0, rank, -np.inf), pad, constant_values=-np.inf), axis=-1)[..., :K]
    given = index >= 0
    # A weight that is 0 in float32 may be left out or not.
    assert np.all(given >= (np.where(np.isfinite(order), order, 0) > tolerance)), "keys are missing"
    assert np.all(weight[~given] == 0)
    at = np.where(given, index, 0)
    got_p = np.where(given, np.take_along_axis(np.pad(p, pad), at, -1), 0)
    assert_close(weight, got_p, tolerance, "top_weight")
    got_rank = np.where(given, np.take_along_axis(np.pad(rank, pad), at, -1), 0)
    assert_close(got_rank, np.where(given, order, 0), tolerance, "top_index")
    for row in index.reshape(-1, K):
        kept = row[row >= 0]
        assert len(set(kept.tolist())) == len(kept), "a key twice"


def gradients(q, k, v, p, out_gradient, scale=None, kept=None):
    """Of the loss whose gradient by out is given: a dict of dq, dk, dv, ds [B, H, N, M], key_gradient.

    p: the weights, as attention() gives them. kept: what dropout makes of each, 0 or 1 / (1 - rate).
    """
    q, k, v, G = (np.asarray(x, np.float64) for x in (q, k, v, out_gradient))
    B, H, N, D = q.shape
    heads = k.shape[1]
    scale = D ** -0.5 if scale is None else scale
    k, v = (np.repeat(x, H // heads, axis=1) for x in (k, v))
    z = np.ones_like(p) if kept is None else kept
    dp = z * np.einsum("bhne,bhme->bhnm", G, v)
    ds = p * (dp - (p * dp).sum(-1, keepdims=True))

    def of_group(x):
        return x.reshape(B, heads, H // heads, *x.shape[2:]).sum(2)

    return {"dq": scale * np.einsum("bhnm,bhmd->bhnd", ds, k), "ds": ds, "key_gradient": (p * dp).sum(2),
            "dk": scale * of_group(np.einsum("bhnm,bhnd->bhmd", ds, q)),
            "dv": of_group(np.einsum("bhnm,bhne->bhme", z * p, G))}


def summed_to(x, shape):
    """x [B, H, N, M] summed to what was broadcast to it."""
    whole = (1,) * (x.ndim - len(shape)) + tuple(shape)
    over = tuple(d for d, size in enumerate(whole) if size == 1)
    return x.sum(axis=over, keepdims=True).reshape(shape)
