"""fovea.torch beside torch's own attention: the same meaning of every argument, the same gradients.

The truth is torch's attention in float64. Where a tolerance is asked of rounding it is torch's own error in the
same type, doubled, and a floor.
"""

import functools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference import assert_close
from torch.utils.checkpoint import checkpoint

import fovea
import fovea.torch

ours = fovea.torch.scaled_dot_product_attention
sdpa = F.scaled_dot_product_attention  # as it is: some tests put ours in its place


def theirs(query, key, value, attn_mask=None, *more, **options):
    """torch's own, which in four dimensions takes no mask of fewer than two."""
    return sdpa(query, key, value, attn_mask if attn_mask is None else torch.atleast_2d(attn_mask), *more, **options)


def randn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def out_and_gradients(attention, tensors, mask=None, dtype=None, **options):
    """out, and what every input that is a floating one gets for a given gradient of out."""
    def leaf(x):
        return x.detach().to(x.dtype if dtype is None else dtype).requires_grad_()

    leaves = [leaf(x) for x in tensors]
    if mask is not None and mask.is_floating_point():
        mask = leaf(mask)
        leaves.append(mask)
    out = attention(*leaves[:3], attn_mask=mask, **options)
    given = randn(*out.shape, seed=99).to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, leaves, given)]


def compare(tensors, mask=None, floor=2e-6, **options):
    """Ours beside float64, no farther than twice torch's own error and `floor` of the largest number."""
    got = out_and_gradients(ours, tensors, mask, **options)
    own = out_and_gradients(theirs, tensors, mask, **options)
    truth = out_and_gradients(theirs, tensors, mask, torch.float64, **options)
    for name, x, y, exact in zip(("out", "query", "key", "value", "mask"), got, own, truth, strict=False):
        assert x.dtype == y.dtype and x.shape == y.shape, name
        theirs_error = float((y.double() - exact).abs().max()) if y.numel() else 0
        size = max(1.0, float(exact.abs().max())) if y.numel() else 1
        assert_close(x.double(), exact, 2 * theirs_error + floor * size, name)
    return got


SHAPES = {
    "two dimensions": ((5, 4), (6, 4), (6, 3)),
    "three": ((3, 5, 4), (3, 6, 4), (3, 6, 3)),
    "four": ((2, 3, 40, 16), (2, 3, 70, 16), (2, 3, 70, 16)),
    "five": ((3, 2, 2, 5, 4), (3, 2, 2, 6, 4), (3, 2, 2, 6, 3)),
    "six": ((2, 1, 3, 2, 5, 4), (2, 1, 3, 2, 6, 4), (2, 1, 3, 2, 6, 4)),
    "broadcast batch": ((2, 8, 5, 4), (1, 8, 6, 4), (8, 6, 4)),
    "one key head": ((2, 8, 5, 4), (2, 1, 6, 4), (2, 1, 6, 4)),
    "one query head": ((2, 1, 5, 4), (2, 3, 6, 4), (2, 3, 6, 4)),
    "one query": ((2, 3, 1, 8), (2, 3, 300, 8), (2, 3, 300, 8)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name):
    tensors = [randn(*shape, seed=at) for at, shape in enumerate(SHAPES[name])]
    compare(tensors)
    compare(tensors, is_causal=True)
    compare(tensors, scale=0.3)


@pytest.mark.parametrize("N, M", [(7, 7), (3, 9), (9, 3), (300, 200)])
def test_causal_is_aligned_at_the_top_left(N, M):
    tensors = [randn(2, 2, n, 8, seed=n) for n in (N, M, M)]
    compare(tensors, is_causal=True)
    first = ours(*tensors, is_causal=True)[:, :, 0]
    assert_close(first, tensors[2][:, :, 0], 1e-6, "the first query sees the first key alone")


@pytest.mark.parametrize("shape", [(), (1,), (6,), (5, 6), (5, 1), (1, 6), (4, 5, 6), (4, 1, 6), (2, 1, 1, 6), (2, 4, 5, 6),
                                   (1, 1, 1, 1)])
def test_masks_broadcast(shape):
    tensors = [randn(2, 4, n, 8, seed=n) for n in (5, 6, 6)]
    seen = randn(*shape, seed=1) > -0.5
    compare(tensors, seen)
    compare(tensors, randn(*shape, seed=2))


def test_masks_of_many_dimensions():
    tensors = [randn(3, 2, 4, n, 8, seed=n) for n in (5, 6, 6)]
    for shape in ((5, 6), (4, 5, 6), (2, 1, 1, 6), (3, 1, 1, 5, 1), (3, 2, 4, 5, 6), (1, 1, 4, 1, 1)):
        compare(tensors, randn(*shape, seed=1) > -0.5)
        compare(tensors, randn(*shape, seed=2))


@pytest.mark.parametrize("shapes", [
    ((2, 8, 5, 4), (2, 2, 6, 4), (2, 2, 6, 4)), ((2, 8, 5, 4), (2, 2, 6, 4), (2, 4, 6, 3)),
    ((2, 8, 5, 4), (1, 2, 6, 4), (1, 2, 6, 4)), ((8, 5, 4), (2, 6, 4), (2, 6, 4)), ((3, 2, 8, 5, 4), (3, 2, 4, 6, 4), (3, 2, 4, 6, 4)),
])
def test_grouped_heads(shapes):
    tensors = [randn(*shape, seed=at) for at, shape in enumerate(shapes)]
    compare(tensors, enable_gqa=True)
    compare(tensors, randn(8, 5, 6, seed=7), enable_gqa=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"mask": "float"}, {"mask": "bool"}, {"mask": "float32"}])
def test_half_precision(dtype, options):
    tensors = [randn(2, 4, n, 32, seed=at, dtype=dtype) for at, n in enumerate((50, 70, 70))]
    options = dict(options)
    kind = options.pop("mask", None)
    mask = None if kind is None else randn(50, 70, seed=7)
    mask = mask > -1 if kind == "bool" else mask.to(dtype) if kind == "float" else mask
    # Gradients are rounded to the type: half a unit in the last place of the largest, here and there a whole one.
    got = compare(tensors, mask, floor=torch.finfo(dtype).eps, **options)
    assert all(x.dtype == dtype for x in got[:4])


def test_gradcheck():
    """By finite differences, in float32: a step of 1e-2 leaves some 1e-4 of curvature and of rounding (2e-7 / 1e-2)."""
    tensors = [randn(2, 2, n, 4, seed=n).double().requires_grad_() for n in (3, 5, 5)]
    bias = randn(2, 1, 5, seed=9).double().requires_grad_()

    def call(q, k, v, added, **options):
        return fovea.torch.attend(q.float(), k.float(), v.float(), bias=added.float(), **options).double()

    for options in ({}, {"causal": True}, {"window": 1, "alibi_slopes": [0.5, 0.25]}, {"key_lengths": [5, 2]}):
        assert torch.autograd.gradcheck(functools.partial(call, **options), (*tensors, bias), eps=1e-2, atol=1e-3,
                                        rtol=1e-3)


def samples():
    """Arguments of fovea::attend, among them all that decide the shape of a result."""
    def sample(q, k, v, **more):
        rules = dict(mask=None, bias=None, alibi_slopes=None, key_lengths=None, query_lengths=None, query_offsets=None,
                     key_offsets=None, dropout_seed=None, scale=None, causal="none", window_before=None, window_after=None,
                     dropout=0.0, factor=None, received_weights=None, top=0, received=False, entropy=False, rows=None)
        assert not set(more) - set(rules)
        return (*(x.requires_grad_() for x in (q, k, v)), *{**rules, **more}.values())

    four = [(2, 4, 5, 8), (2, 2, 6, 8), (2, 2, 6, 3)]
    of_four = [randn(*shape, seed=at) for at, shape in enumerate(four)]
    everything = dict(top=3, received=True, entropy=True, rows=[0, -1])
    offsets = dict(query_offsets=torch.tensor([0, 2, 5]), key_offsets=torch.tensor([0, 4, 6]))
    return {
        "plain": sample(*of_four),
        "causal": sample(*of_four, causal="top-left", scale=0.5),
        "mask": sample(*of_four, mask=randn(5, 6) > 0, window_before=3, window_after=0),
        "bias": sample(*of_four, bias=randn(4, 1, 6).requires_grad_(), alibi_slopes=torch.ones(4)),
        "lengths": sample(*of_four, key_lengths=torch.tensor([6, 3]), query_lengths=torch.tensor([2, 5])),
        "dropout": sample(*of_four, dropout=0.5, dropout_seed=torch.tensor(7)),
        "highlights": sample(*of_four, **everything, factor=torch.ones(2, 4, 6), received_weights=torch.ones(2, 4, 5)),
        "two dimensions": sample(randn(5, 8), randn(6, 8), randn(6, 3), **everything),
        "three": sample(randn(4, 5, 8), randn(2, 6, 8), randn(2, 6, 8), **everything),
        "packed": sample(randn(5, 4, 8), randn(6, 2, 8), randn(6, 2, 8), **offsets, top=2, received=True, entropy=True),
        "queries packed": sample(randn(5, 4, 8), randn(2, 2, 6, 8), randn(2, 2, 6, 8), **everything,
                                 query_offsets=torch.tensor([0, 2, 5])),
        "transposed": sample(*(x.transpose(1, 2).contiguous().transpose(1, 2) for x in of_four)),
        "last stride": sample(*(x.mT.contiguous().mT for x in of_four)),
        "slices": sample(*(torch.cat([x, x], -1)[..., :x.shape[-1]] for x in of_four)),
        "bfloat16": sample(*(x.bfloat16() for x in of_four), **everything),
        "no keys": sample(randn(2, 2, 3, 4), randn(2, 2, 0, 4), randn(2, 2, 0, 4)),
        "no queries": sample(randn(2, 2, 0, 4), randn(2, 2, 3, 4), randn(2, 2, 3, 4), top=2, received=True),
    }


@pytest.mark.parametrize("name", samples())
def test_opcheck(name):
    arguments = samples()[name]
    torch.library.opcheck(torch.ops.fovea.attend, arguments)
    arguments = [x.detach() if isinstance(x, torch.Tensor) else x for x in arguments]
    q, k, v, *rules = arguments[:16]
    done = torch.ops.fovea.attend(*arguments)
    given = randn(*done[0].shape, seed=5).to(q.dtype)
    for wanted in ([True] * 3 + [rules[1] is not None], [False, True, False, False]):
        torch.library.opcheck(torch.ops.fovea.attend_backward, (q, k, v, *done[:2], given, *rules, wanted))


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile(backend):
    """Whole graphs, without a break; gradients and highlights too."""
    q, k, v = (randn(2, 4, n, 8, seed=at).requires_grad_() for at, n in enumerate((5, 6, 6)))
    bias = randn(5, 6).requires_grad_()
    heads = randn(2, 2, 6, 8, seed=4)

    def call(q, k, v, bias):
        seen = fovea.torch.attend(torch.tanh(q), k, v, bias=bias, causal=True, top=2, entropy=True)
        drop = ours(q, heads, heads, torch.ones(5, 6, dtype=torch.bool), 0.5, enable_gqa=True)
        return seen.out.square().sum() + seen.entropy.sum() + ours(q, k, v, is_causal=True).sum(), seen.top_index, drop

    results = []
    for run in (call, torch.compile(call, backend=backend, fullgraph=True)):
        loss, index, drop = run(q, k, v, bias)
        assert torch.isfinite(drop).all()
        results.append([loss, index, *torch.autograd.grad(loss, (q, k, v, bias))])
    for eager, compiled in zip(*results, strict=True):
        assert_close(compiled.detach(), eager.detach(), 1e-6 * max(1, float(eager.detach().abs().max())))


def test_compile_dynamic():
    call = torch.compile(lambda q, k, v: fovea.torch.attend(q, k, v, causal=True, top=2, received=True),
                         backend="aot_eager", fullgraph=True, dynamic=True)
    for n in (4, 9, 17):
        q, k, v = (randn(2, 2, n, 8, seed=at) for at in range(3))
        got, want = call(q, k, v), fovea.attend(q, k, v, causal=True, top=2, received=True)
        for name in ("out", "top_index", "received"):
            assert torch.equal(getattr(got, name), getattr(want, name)), name


def test_highlights():
    q, k, v = (randn(2, 4, n, 8, seed=at).requires_grad_() for at, n in enumerate((5, 6, 6)))
    mask = randn(4, 5, 6, seed=3) > -0.5
    asked = dict(top=3, received=True, entropy=True, rows=torch.tensor([0, -1]), lse=True)
    for got, want in (
            (ours(q, k, v, mask, **asked), fovea.attend(*(x.detach() for x in (q, k, v)), mask=mask, **asked)),
            (ours(q, k, v, is_causal=True, **asked),
             fovea.attend(*(x.detach() for x in (q, k, v)), causal="top-left", **asked))):
        assert isinstance(got, fovea.Attention) and got.out.requires_grad
        for name, x in vars(want).items():
            assert torch.equal(getattr(got, name), x), name
            assert name == "out" or not getattr(got, name).requires_grad, name
    some = ours(q, k, v, top=1)
    assert some.lse is None and some.entropy is None and torch.equal(some.out, ours(q, k, v))
    many = ours(*(x.expand(3, 2, 4, -1, 8) for x in (q, k, v)), **asked)
    one = ours(q, k, v, **asked)
    for name, x in vars(one).items():
        assert torch.equal(getattr(many, name), x.expand(3, *x.shape)), name
    gradients = [torch.autograd.grad(result.square().sum(), (q, k, v)) for result in (one.out, ours(q, k, v))]
    assert all(map(torch.equal, *gradients)), "highlights change no gradient"


def test_attend_takes_all_rules():
    """The rules that torch's attention lacks: the results and gradients are those of the NumPy door."""
    r = np.random.default_rng(0)
    q, k, v, g = (torch.from_numpy(r.normal(size=shape).astype(np.float32))
                  for shape in ((2, 4, 9, 8), (2, 2, 11, 8), (2, 2, 11, 5), (2, 4, 9, 5)))
    bias = torch.from_numpy(r.normal(size=(4, 1, 11)).astype(np.float32))
    flat = [x.transpose(1, 2).flatten(0, 1) for x in (q, k, v, g)]
    cases = [
        ((q, k, v, g), dict(causal=True, window=(4, None), alibi_slopes=[0.5, 0.25, 0.125, 0.0], bias=bias)),
        ((q, k, v, g), dict(causal="top-left", key_lengths=[11, 4], query_lengths=torch.tensor([3, 9]), scale=0.1)),
        ((q, k, v, g), dict(mask=bias > 0, factor=[2.0] * 11, received_weights=torch.ones(9), rows=4)),
        (flat, dict(query_offsets=[0, 9, 18], key_offsets=torch.tensor([0, 11, 22]), causal=True, rows=[17, 0])),
    ]
    for (q, k, v, g), rule in cases:
        leaves = [x.detach().clone().requires_grad_() for x in (q, k, v)]
        own = dict(rule)
        if "bias" in rule:
            leaves.append(rule["bias"].clone().requires_grad_())
            own["bias"] = leaves[3]
        got = fovea.torch.attend(*leaves[:3], lse=True, top=2, received=True, **own)
        want = fovea.attend(q, k, v, lse=True, top=2, received=True, **rule)
        for name, x in vars(want).items():
            assert x is None or torch.equal(getattr(got, name), x), name
        rule = {name: x for name, x in rule.items() if name not in ("factor", "received_weights", "rows")}
        back = fovea.attend_backward(q, k, v, want, g, dbias="bias" in rule, **rule)
        for x, name in zip(torch.autograd.grad(got.out, leaves, g), ("dq", "dk", "dv", "dbias"), strict=False):
            assert torch.equal(x, getattr(back, name)), name


def test_dropout():
    N = M = 64
    q, k, g = randn(2, 4, N, 8, seed=1), randn(2, 4, M, 8, seed=2), randn(2, 4, N, M, seed=3)
    units = torch.eye(M).expand(2, 4, M, M)
    torch.manual_seed(5)
    first = ours(q, k, units, dropout_p=0.25)
    second = ours(q, k, units, dropout_p=0.25)
    torch.manual_seed(5)
    assert torch.equal(first, ours(q, k, units, dropout_p=0.25)), "the same seed, the same weights"
    assert ((first == 0) != (second == 0)).float().mean() > 0.3, "another call drops others"
    share = float((first == 0).float().mean())
    assert abs(share - 0.25) < 5 * math.sqrt(0.25 * 0.75 / first.numel()), share
    assert_close(first.double(), torch.softmax(q.double() @ k.double().mT / 8**0.5, -1) * (first != 0) / 0.75, 1e-5)

    q, k, v = (x.clone().requires_grad_() for x in (q, k, randn(2, 4, M, M, seed=4)))
    torch.manual_seed(5)
    got = torch.autograd.grad(ours(q, k, v, dropout_p=0.25), (q, k, v), g)
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    weights = torch.softmax(exact[0] @ exact[1].mT / 8**0.5, -1) * (first != 0) / 0.75
    for x, y in zip(got, torch.autograd.grad(weights @ exact[2], exact, g.double()), strict=True):
        assert_close(x, y, 2e-5 * float(y.abs().max()), "the same weights are dropped in the gradient")

    torch.manual_seed(5)
    again = torch.autograd.grad(checkpoint(lambda *x: ours(*x, dropout_p=0.25), q, k, v, use_reentrant=False), (q, k, v), g)
    assert all(map(torch.equal, got, again)), "a checkpointed block drops the same when it runs again"

    state = torch.get_rng_state()
    ours(q, k, v)
    assert torch.equal(state, torch.get_rng_state()), "without dropout nothing is drawn"
    nothing = ours(q, k, v, dropout_p=1.0)
    assert torch.all(nothing == theirs(q, k, v, dropout_p=1.0)) and torch.all(nothing == 0)
    assert all(torch.all(x == 0) for x in torch.autograd.grad(nothing, (q, k, v), g))


def test_queries_that_see_nothing():
    tensors = [randn(1, 2, n, 4, seed=n) for n in (5, 6, 6)]
    seen = torch.ones(5, 6, dtype=torch.bool)
    seen[2] = False
    for mask in (seen, torch.zeros(5, 6).masked_fill(~seen, -math.inf)):
        out, dq, dk, dv, *of_mask = out_and_gradients(ours, tensors, mask)
        assert torch.all(out[:, :, 2] == 0) and torch.all(dq[:, :, 2] == 0)
        assert all(torch.isfinite(x).all() for x in (dq, dk, dv, *of_mask))
        assert_close(out.detach(), theirs(*tensors, mask), 1e-6, "torch gives zeros too")


def test_any_strides():
    """Copied where the last stride is not 1, else read as they lie; the result lies as query does."""
    base = [randn(2, 3, n, 8, seed=n) for n in (5, 6, 6)]
    want = out_and_gradients(ours, base)
    ways = {
        "heads inside": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
        "columns": lambda x: x.mT.contiguous().mT,
        "every second": lambda x: torch.stack([x, -x], -1).flatten(-2)[..., ::2],
        "a slice": lambda x: torch.cat([x, x], -1)[..., 8:],
        "reversed batch": lambda x: x.flip(0)[[1, 0]],
    }
    for name, way in ways.items():
        leaves = [way(x).requires_grad_() for x in base]
        out = ours(*leaves)
        for x, y in zip([out, *torch.autograd.grad(out, leaves, randn(*out.shape, seed=99))], want, strict=True):
            assert torch.equal(x, y), name
    assert ours(*map(ways["heads inside"], base)).transpose(1, 2).is_contiguous(), "so the next view is free"
    for given in (torch.ones(()).expand(2, 3, 5, 8), randn(2, 3, 8, 5).mT, randn(5, 8).expand(2, 3, 5, 8)):
        leaves = [x.clone().requires_grad_() for x in base]
        got = torch.autograd.grad(ours(*leaves), leaves, given)
        exact = [x.double().requires_grad_() for x in base]
        for x, y in zip(got, torch.autograd.grad(theirs(*exact), exact, given.double()), strict=True):
            assert_close(x, y, 1e-5, "any gradient of out")
    expanded = randn(1, 1, 6, 8).requires_grad_()
    whole = expanded.expand(2, 3, 6, 8)
    assert_close(*(torch.autograd.grad(f(base[0], whole, whole).square().sum(), expanded)[0] for f in (ours, theirs)), 1e-4)


def test_only_some_gradients():
    tensors = [randn(2, 3, n, 8, seed=n) for n in (5, 6, 6)]
    all_of_them = out_and_gradients(ours, tensors)
    for at in range(3):
        leaves = [x.clone().requires_grad_(i == at) for i, x in enumerate(tensors)]
        out = ours(*leaves)
        out.backward(randn(*out.shape, seed=99))
        assert torch.equal(leaves[at].grad, all_of_them[1 + at])
        assert all(x.grad is None for i, x in enumerate(leaves) if i != at)
    assert not ours(*tensors).requires_grad
    with torch.no_grad():
        assert not ours(*(x.clone().requires_grad_() for x in tensors)).requires_grad
    with torch.inference_mode():
        ours(*tensors, top=1)
    frozen = randn(5, 6, seed=1)
    leaves = [x.clone().requires_grad_() for x in tensors]
    ours(*leaves, frozen).sum().backward()
    assert frozen.grad is None


def test_no_second_derivative():
    q = randn(1, 2, 3, 4).requires_grad_()
    first, = torch.autograd.grad(ours(q, q, q).square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        first.sum().backward()


def test_functional_gradient():
    tensors = tuple(randn(2, 3, n, 8, seed=n) for n in (5, 6, 6))
    got, want = (torch.func.grad(lambda *x, f=f: f(*x).square().sum(), (0, 1, 2))(*tensors) for f in (ours, theirs))
    for x, y in zip(got, want, strict=True):
        assert_close(x, y, 1e-5)


def test_autocast():
    tensors = [randn(2, 3, n, 8, seed=n).requires_grad_() for n in (5, 6, 6)]
    bias = randn(5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        for options in ({}, {"attn_mask": bias}, {"attn_mask": bias > 0}):
            got, want = (f(*tensors, **options) for f in (ours, theirs))
            assert got.dtype == want.dtype == torch.bfloat16
            assert_close(got.detach().float(), want.detach().float(), 0.02)
        assert ours(tensors[0].half(), *tensors[1:]).dtype == torch.bfloat16
        assert fovea.torch.attend(*tensors, bias=bias).dtype == torch.bfloat16
        gradient, = torch.autograd.grad(ours(*tensors).sum(), tensors[0])
    assert gradient.dtype == torch.float32


def test_in_place_of_torchs_own(monkeypatch):
    """What calls F.scaled_dot_product_attention takes ours: torch's layers do."""
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
    x = randn(3, 7, 16)
    padding = torch.arange(7) >= torch.tensor([7, 4, 2])[:, None]
    calls, results = [], []

    def counted(*arguments, **options):
        calls.append(1)
        return ours(*arguments, **options)

    for attention in (sdpa, counted):
        monkeypatch.setattr(F, "scaled_dot_product_attention", attention)
        out = layer(x, src_key_padding_mask=padding)
        results.append([out, *torch.autograd.grad(out.square().sum(), layer.parameters())])
    assert calls
    for got, want in zip(results[1], results[0], strict=True):
        assert_close(got.detach(), want.detach(), 2e-5 * max(1, float(want.abs().max())))


def test_threads_follow_torch(monkeypatch):
    engine, counts = fovea.torch._engine, []

    class Spy:
        Array = engine.Array

        def __getattr__(self, name):
            def call(*arguments):
                counts.append(arguments[-1])
                getattr(engine, name)(*arguments)
            return call

    monkeypatch.setattr(fovea.torch, "_engine", Spy())
    before = torch.get_num_threads()
    tensors = [randn(1, 2, 600, 16, seed=n) for n in range(3)]
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(out_and_gradients(ours, tensors))
    finally:
        torch.set_num_threads(before)
    assert counts == [1, 1, 2, 2], "forward and backward"
    assert all(map(torch.equal, *results)), "the same bits"


def test_errors():
    q, k, v = randn(2, 4, 5, 8), randn(2, 4, 6, 8), randn(2, 4, 6, 3)

    def raises(text, *arguments, call=ours, kind=fovea.Error, **options):
        with pytest.raises(kind) as caught:
            call(*arguments, **options)
        assert text in str(caught.value), str(caught.value)

    raises("query is a ndarray but must be a tensor: fovea.attend takes NumPy's arrays", q.numpy(), k, v, kind=TypeError)
    raises("attn_mask is a list but must be a tensor", q, k, v, [1], kind=TypeError)
    raises("query is float64 but fovea computes on float32, bfloat16 and float16, and casts nothing by itself: pass "
           "query.float()", q.double(), k, v)
    raises("query is float32 but key is float16; they must be of one type: pass key.to(query.dtype)", q, k.half(), v)
    raises("query is [8] but must be [..., length, width]", q[0, 0, 0], k, v)
    raises("attn_mask and is_causal exclude each other", q, k, v, torch.ones(5, 6) > 0, is_causal=True)
    raises("attn_mask is int64 but must be bool (True: may see), float32 or query's type, float32", q, k, v,
           torch.ones(5, 6, dtype=torch.int64))
    raises("attn_mask is [5, 5] but must broadcast to [2, 4, 5, 6]", q, k, v, torch.ones(5, 5) > 0)
    raises("attn_mask is [3, 2, 4, 5, 6] but must broadcast", q, k, v, torch.ones(3, 2, 4, 5, 6) > 0)
    raises("if query heads share key heads, pass enable_gqa=True", q, k[:, :2], v[:, :2])
    raises("4 query heads cannot share 3 key heads", q, k[:, :3], v[:, :3], enable_gqa=True)
    raises("with enable_gqa must be [..., heads, length, width]", q[0, 0], k, v, enable_gqa=True)
    raises("dropout is 1.5 but must be in [0, 1]", q, k, v, dropout_p=1.5)
    raises("dropout is nan but", q, k, v, dropout_p=math.nan)
    raises("top is -1 but must be at least 0", q, k, v, top=-1)
    raises("rows is [5] but there are 5 queries", q, k, v, rows=5)
    raises("k has width 7 but q has width 8", q, k[..., :7], v)
    raises("scale is inf", q, k, v, scale=math.inf)
    attend = fovea.torch.attend
    raises("q is a list but must be a tensor", [1.0], k, v, call=attend, kind=TypeError)
    raises("causal is 'left' but must be", q, k, v, causal="left", call=attend)
    raises("mask is float32 but a mask is bool", q, k, v, mask=torch.ones(5, 6), call=attend)
    raises("bias is float64 but must be float32", q, k, v, bias=torch.ones(5, 6).double(), call=attend)
    raises("alibi_slopes requires a gradient, which fovea does not compute: pass alibi_slopes.detach()", q, k, v,
           alibi_slopes=torch.ones(4).requires_grad_(), call=attend)
    raises("key_lengths has 1 entries but the batch has 2", q, k, v, key_lengths=[3], call=attend)
    raises("v is a NoneType", q, k, None, call=attend, kind=TypeError)
    nested = torch.nested.nested_tensor([q[0], q[1]])
    raises("query is a nested or sparse tensor but must be a dense one", nested, k, v)


def test_torch_is_needed_only_here(run_python):
    run_python("""
        import sys
        sys.modules["torch"] = None  # as where it is not installed
        import numpy, fovea
        x = numpy.ones((2, 3), numpy.float32)
        fovea.attend_backward(x, x, x, fovea.attend(x, x, x, lse=True), x)
        try:
            import fovea.torch
        except ImportError as error:
            assert "fovea.torch needs torch: pip install torch" in str(error)
        else:
            raise AssertionError("imported")
    """)
