"""What attend computes, against float64 and against torch."""

import numpy as np
import pytest
import torch
from reference import assert_close, assert_top, attention

import fovea


def normal(r, *shape):
    return r.normal(size=shape).astype(np.float32)


def random_case(seed):
    """One of everything, each with some chance."""
    r = np.random.default_rng(seed)
    B, G = r.integers(1, 4), r.integers(1, 4)
    H = G * r.integers(1, 4)
    N, M = int(r.choice([1, 2, 7, 33, 70])), int(r.choice([1, 3, 17, 64, 130]))
    D, E = int(r.choice([1, 5, 16, 64])), int(r.choice([1, 8, 33]))
    q, k, v = normal(r, B, H, N, D), normal(r, B, G, M, D), normal(r, B, G, M, E)
    options = {}
    causal = str(r.choice(["none", "bottom-right", "top-left"]))
    before, after = (None if r.random() < 0.6 else int(r.integers(0, 40)) for _ in range(2))
    if r.random() < 0.3:
        options["scale"] = float(r.normal())
    if r.random() < 0.3:
        options["key_lengths"] = r.integers(0, M + 1, B)
    if r.random() < 0.3:
        options["query_lengths"] = r.integers(0, N + 1, B)

    def part_of(*shape):  # broadcast in some dimensions, some on the left missing
        shape = [size if r.random() < 0.7 else 1 for size in shape]
        return shape[r.integers(0, 3):]

    if r.random() < 0.4:
        options["mask"] = r.random(part_of(B, H, N, M)) < 0.7
    if r.random() < 0.4:
        bias = 2 * normal(r, *part_of(B, H, N, M))
        bias[r.random(bias.shape) < 0.1] = -np.inf
        options["bias"] = bias
    if r.random() < 0.3:
        options["factor"] = np.abs(normal(r, B, H, M))
    if r.random() < 0.3:
        options["received_weights"] = np.abs(normal(r, B, H, N))
    return r, q, k, v, causal, before, after, options


def check_all(got, truth, p, rows, options, tolerance, largest):
    assert_close(got.out, truth["out"], tolerance * largest, "out")
    assert_close(got.lse, truth["lse"], 1e-5 + tolerance * 4, "lse")
    assert_top(got.top_index, got.top_weight, p, options.get("factor"), max(1e-5, tolerance))
    scale = max(1.0, np.abs(truth["received"]).max(initial=0))
    assert_close(got.received, truth["received"], max(1e-5, tolerance) * scale, "received")
    assert_close(got.entropy, truth["entropy"], 2e-5 + 10 * tolerance, "entropy")
    assert_close(got.rows, p[..., rows, :], max(1e-5, tolerance), "rows")


@pytest.mark.parametrize("seed", range(200))
def test_random_combinations(seed):
    r, q, k, v, causal, before, after, options = random_case(seed)
    truth = attention(q, k, v, causal=causal, before=before, after=after, **options)
    rows = sorted({0, q.shape[2] - 1})
    said = {"none": False, "bottom-right": r.choice([True, False]) or "bottom-right", "top-left": "top-left"}[causal]
    window = None if before is None and after is None else before if after is None else (before, after)
    asked = dict(causal=said, window=window, top=int(r.integers(1, 9)), received=True, entropy=True, rows=rows, lse=True)
    got = fovea.attend(q, k, v, **asked, **options)
    check_all(got, truth, truth["p"], rows, options, 1e-5, max(1, np.abs(v).max()))
    plain = fovea.attend(q, k, v, causal=said, window=window, **{n: x for n, x in options.items()
                                                               if n not in ("factor", "received_weights")})
    assert isinstance(plain, np.ndarray) and plain.dtype == np.float32
    assert np.array_equal(plain, got.out), "highlights changed the output"
    tensors = [torch.from_numpy(x) for x in (q, k, v)]
    again = fovea.attend(*tensors, **asked, **{n: torch.from_numpy(x) if isinstance(x, np.ndarray) else x
                                               for n, x in options.items()})
    for name in ("out", "lse", "top_index", "top_weight", "received", "entropy", "rows"):
        tensor = getattr(again, name)
        assert isinstance(tensor, torch.Tensor), name
        assert np.array_equal(tensor.numpy(), getattr(got, name)), name


@pytest.mark.parametrize("rank", [2, 3])
def test_ranks(rank):
    r = np.random.default_rng(rank)
    lead = (1, 6) if rank == 3 else (1, 1)
    q, k, v = normal(r, *lead, 9, 16), normal(r, 1, 2 if rank == 3 else 1, 13, 16), normal(r, 1, 2 if rank == 3 else 1, 13, 4)
    truth = attention(q, k, v)
    drop = (0,) if rank == 3 else (0, 0)
    got = fovea.attend(q[drop], k[drop], v[drop], top=2, received=True, entropy=True, rows=[0, -1], lse=True)
    for name, want in (("out", truth["out"]), ("lse", truth["lse"]), ("received", truth["received"]),
                       ("entropy", truth["entropy"]), ("rows", truth["p"][:, :, [0, 8]])):
        assert_close(getattr(got, name), want[drop], 1e-5, name)
    assert got.top_index.shape == q[drop].shape[:-1] + (2,)
    assert_top(got.top_index, got.top_weight, truth["p"][drop])
    with_length = fovea.attend(q[drop], k[drop], v[drop], key_lengths=7, query_lengths=np.int64(4))
    assert_close(with_length, attention(q, k, v, key_lengths=[7], query_lengths=[4])["out"][drop], 1e-5)
    weighted = fovea.attend(q[drop], k[drop], v[drop], received=True, factor=np.full(1, 2, np.float32),
                            received_weights=[0.5] * 9)
    assert_close(weighted.received, truth["received"][drop], 1e-5, "broadcast factor and weights")


def test_masks_broadcast_as_in_numpy():
    r = np.random.default_rng(5)
    q, k, v = normal(r, 2, 4, 5, 8), normal(r, 2, 4, 6, 8), normal(r, 2, 4, 6, 8)
    for shape in ((6,), (5, 6), (1, 6), (5, 1), (4, 5, 6), (4, 1, 6), (2, 1, 1, 6), (2, 4, 5, 6), (1, 1, 1, 1)):
        mask = r.random(shape) < 0.7
        assert_close(fovea.attend(q, k, v, mask=mask), attention(q, k, v, mask=mask)["out"], 1e-5, str(shape))
        bias = normal(r, *shape)
        assert_close(fovea.attend(q, k, v, bias=bias), attention(q, k, v, bias=bias)["out"], 1e-5, str(shape))
    keys = r.random((2, 6)) < 0.7  # the padding mask of the docstring
    assert_close(fovea.attend(q, k, v, mask=keys[:, None, None, :]),
                 attention(q, k, v, mask=keys[:, None, None, :])["out"], 1e-5)
    assert_close(fovea.attend(q[0, 0], k[0, 0], v[0, 0], mask=np.ones((1, 1, 5, 6), bool)),
                 attention(q[:1, :1], k[:1, :1], v[:1, :1])["out"][0, 0], 1e-5)


@pytest.mark.parametrize("N, M", [(1, 1), (40, 40), (128, 128), (7, 300)])
def test_same_as_torch(N, M):
    torch.manual_seed(N)
    q, k, v = torch.randn(2, 8, N, 64), torch.randn(2, 8, M, 64), torch.randn(2, 8, M, 64)
    sdpa = torch.nn.functional.scaled_dot_product_attention
    assert_close(fovea.attend(q, k, v), sdpa(q, k, v), 1e-5)
    assert_close(fovea.attend(q, k, v, causal="top-left"), sdpa(q, k, v, is_causal=True), 1e-5, "top-left is torch's")
    mask = torch.rand(N, M) < 0.7
    mask[:, 0] = True
    assert_close(fovea.attend(q, k, v, mask=mask), sdpa(q, k, v, attn_mask=mask), 1e-5, "mask")
    bias = torch.randn(8, N, M)
    assert_close(fovea.attend(q, k, v, bias=bias, scale=0.3), sdpa(q, k, v, attn_mask=bias, scale=0.3), 1e-5, "bias")
    some = k[:, :2], v[:, :2]
    assert_close(fovea.attend(q, *some), sdpa(q, *some, enable_gqa=True), 1e-5, "grouped heads")
    if N == M:
        assert_close(fovea.attend(q, k, v, causal=True), sdpa(q, k, v, is_causal=True), 1e-5)
    elif N > 1:
        there = torch.ones(N, M, dtype=torch.bool).tril(M - N)
        assert_close(fovea.attend(q, k, v, causal=True), sdpa(q, k, v, attn_mask=there), 1e-5, "bottom-right")


def test_edges():
    r = np.random.default_rng(1)
    q, k, v = normal(r, 3, 4), normal(r, 5, 4), normal(r, 5, 2)
    k[4], v[4] = np.nan, np.nan
    blind = fovea.attend(q, k, v, mask=np.zeros((3, 5), bool), top=2, entropy=True, lse=True, rows=[1], received=True)
    assert np.all(blind.out == 0) and np.all(blind.lse == -np.inf) and np.all(blind.entropy == 0)
    assert np.all(blind.top_index == -1) and np.all(blind.top_weight == 0)
    assert np.all(blind.rows == 0) and np.all(blind.received == 0)
    assert_close(fovea.attend(q, k, v, key_lengths=4), fovea.attend(q, k[:4], v[:4]), 1e-6, "hidden NaN")
    assert np.all(np.isnan(fovea.attend(q, k, v))), "visible NaN"
    assert np.all(fovea.attend(q, k[:0], v[:0]) == 0)
    assert fovea.attend(q[:0], k, v).shape == (0, 2)
    empty = fovea.attend(torch.empty(2, 0, 4), torch.empty(2, 5, 4), torch.empty(2, 5, 3), top=3, lse=True, received=True)
    assert empty.out.shape == (2, 0, 3) and empty.top_index.shape == (2, 0, 3) and np.all(empty.received.numpy() == 0)
    assert fovea.attend(q, k, v, key_lengths=4, rows=[]).rows.shape == (0, 5)
    none = fovea.attend(np.empty((0, 2, 3, 4), np.float32), np.empty((0, 2, 5, 4), np.float32),
                        np.empty((0, 2, 5, 4), np.float32), key_lengths=[])
    assert none.shape == (0, 2, 3, 4)


def test_highlights_without_values():
    r = np.random.default_rng(2)
    q, k, v = normal(r, 3, 4), normal(r, 5, 4), normal(r, 5, 2)
    got = fovea.attend(q, k, None, entropy=True, lse=True)
    assert got.out is None and got.top_index is None
    with_values = fovea.attend(q, k, v, entropy=True, lse=True)
    assert np.array_equal(got.entropy, with_values.entropy) and np.array_equal(got.lse, with_values.lse)


def test_top_beyond_the_keys():
    r = np.random.default_rng(3)
    q, k, v = normal(r, 3, 4), normal(r, 5, 4), normal(r, 5, 2)
    got = fovea.attend(q, k, v, top=8)
    assert np.all(got.top_index[:, 5:] == -1) and np.all(got.top_weight[:, 5:] == 0)
    assert np.all(np.sort(got.top_index[:, :5]) == np.arange(5))


def test_instruction_sets():
    r = np.random.default_rng(4)
    q, k, v = normal(r, 40, 16), normal(r, 50, 16), normal(r, 50, 16)
    truth = attention(q[None, None], k[None, None], v[None, None])["out"][0, 0]
    at_first = fovea.isa()
    assert at_first in fovea.available_isas() and fovea.available_isas()[-1] == "scalar"
    try:
        for name in fovea.available_isas():
            fovea.set_isa(name)
            assert fovea.isa() == name
            assert_close(fovea.attend(q, k, v), truth, 1e-5, name)
    finally:
        fovea.set_isa(at_first)
    with pytest.raises(fovea.Error, match="neon is not one of"):
        fovea.set_isa("neon")
