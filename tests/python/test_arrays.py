"""Whose arrays, of what type, with which strides, and that none of them is copied."""

import gc
import resource
import sys
import tracemalloc

import array_api_strict
import ml_dtypes
import numpy as np
import pytest
import torch
from reference import assert_close, attention

import fovea
from fovea import _engine

R = np.random.default_rng(7)


def normal(*shape):
    return R.normal(size=shape).astype(np.float32)


Q, K, V = normal(2, 4, 5, 8), normal(2, 4, 6, 8), normal(2, 4, 6, 3)
TRUTH = attention(Q, K, V)["out"]


class OnlyDLPack:
    """An array of no library that fovea could know."""

    def __init__(self, x):
        self.x = x

    def __dlpack__(self, **more):
        return self.x.__dlpack__(**more)

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


def test_kinds():
    assert type(fovea.attend(Q, K, V)) is np.ndarray
    tensor = fovea.attend(torch.from_numpy(Q), K, OnlyDLPack(V))
    assert type(tensor) is torch.Tensor and tensor.dtype == torch.float32 and not tensor.requires_grad
    assert_close(tensor, TRUTH, 1e-5)
    strict = fovea.attend(*(array_api_strict.asarray(x) for x in (Q, K, V)), top=1)
    assert type(strict.out) is type(array_api_strict.asarray(Q))
    assert_close(np.from_dlpack(strict.out), TRUTH, 1e-5)
    assert strict.top_index.dtype == array_api_strict.int32
    unknown = fovea.attend(OnlyDLPack(Q), OnlyDLPack(K), OnlyDLPack(V))
    assert_close(np.from_dlpack(unknown), TRUTH, 1e-5)


def test_default_device_does_not_matter():
    with torch.device("meta"):
        assert fovea.attend(*map(torch.from_numpy, (Q, K, V))).device.type == "cpu"


def test_torch_is_not_imported(run_python):
    run_python("""
        import sys, numpy, fovea
        x = numpy.ones((2, 3), numpy.float32)
        fovea.attend(x, x, x, top=1)
        assert "torch" not in sys.modules and "ml_dtypes" not in sys.modules
    """)


def test_arrays_are_read_where_they_lie():
    for x, address in ((Q, Q.ctypes.data), (torch.from_numpy(Q), Q.ctypes.data),
                       (Q[1:, :, ::-1], Q[1:, :, ::-1].ctypes.data), (OnlyDLPack(Q), Q.ctypes.data)):
        assert _engine.Array(x).address == address
    assert _engine.Array(Q[:, ::2]).strides == (160, 80, 8, 1)
    half = torch.zeros(3, 4, dtype=torch.bfloat16)
    assert _engine.Array(half).address == half.data_ptr() and _engine.Array(half).dtype == "bfloat16"


def test_out_is_filled_in_place():
    memory = np.full((2, 5, 4, 10), 7, np.float32)
    out = memory[..., :3].transpose(0, 2, 1, 3)
    assert fovea.attend(Q, K, V, out=out) is out
    assert_close(memory[..., :3].transpose(0, 2, 1, 3), TRUTH, 1e-5)
    assert np.all(memory[..., 3:] == 7)
    tensor = torch.full((2, 4, 5, 3), 7.0)
    address = tensor.data_ptr()
    got = fovea.attend(*map(torch.from_numpy, (Q, K, V)), out=tensor, entropy=True)
    assert got.out is tensor and tensor.data_ptr() == address
    assert_close(tensor, TRUTH, 1e-5)
    mixed = np.empty((2, 4, 5, 3), np.float32)
    assert fovea.attend(torch.from_numpy(Q), K, V, out=mixed) is mixed


def test_results_belong_to_the_caller_alone():
    first = fovea.attend(Q, K, V)
    kept = first.copy()
    for _ in range(3):
        fovea.attend(-Q, K, V)
    assert np.array_equal(first, kept)
    tensor = fovea.attend(torch.from_numpy(Q), K, V)
    tensor += 1  # writable


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_inputs_are_not_copied(library):
    """64 MiB of keys and values; a copy of either would show."""
    q, k, v = np.zeros((8, 1, 64), np.float32), np.zeros((8, 16384, 64), np.float32), np.zeros((8, 16384, 64), np.float32)
    if library == "torch":
        q, k, v = map(torch.from_numpy, (q, k, v))
    fovea.attend(q, k, v)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB; the most there has been
    tracemalloc.start()
    for _ in range(5):
        fovea.attend(q, k, v)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10


def test_nothing_leaks():
    x, t = np.ones((3, 4), np.float32), torch.ones(3, 4)
    fovea.attend(x, x, x)
    for a in (x, t):
        before = sys.getrefcount(a)
        for _ in range(10):
            fovea.attend(a, a, a, top=1, rows=[0])
            with pytest.raises(fovea.Error):
                fovea.attend(a, a, a, key_lengths=[99])
        assert sys.getrefcount(a) == before


def test_strides():
    packed = normal(2, 9, 4, 24)  # q, k, v beside each other, [B, N, H, 3 D]
    q, k, v = (packed[..., at:at + 8].transpose(0, 2, 1, 3) for at in (0, 8, 16))
    assert not q.flags.c_contiguous
    truth = attention(q, k, v)["out"]
    assert_close(fovea.attend(q, k, v), truth, 1e-5)
    assert_close(fovea.attend(*(torch.from_numpy(packed)[..., at:at + 8].transpose(1, 2) for at in (0, 8, 16))), truth, 1e-5)
    assert_close(fovea.attend(Q[:, :, ::-1], K[:, ::-1], V[:, ::-1]),
                 attention(Q[:, :, ::-1], K[:, ::-1], V[:, ::-1])["out"], 1e-5, "negative strides")
    one = np.broadcast_to(K[:, :1], K.shape)
    assert_close(fovea.attend(Q, one, V), attention(Q, one, V)["out"], 1e-5, "stride 0")
    thin = normal(2, 4, 5, 2)[..., :1]  # width 1: its stride does not matter
    assert_close(fovea.attend(thin, normal(2, 4, 6, 1) * 0, V), np.broadcast_to(V.mean(2, keepdims=True), (2, 4, 5, 3)), 1e-5)
    mask = np.ones((6, 5), bool).T
    mask[0, 3] = False
    assert_close(fovea.attend(Q, K, V, mask=mask), attention(Q, K, V, mask=mask)["out"], 1e-5, "a transposed mask")
    with pytest.raises(fovea.Error, match=r"q has stride 2 in its last dimension but must have 1: copy it"):
        fovea.attend(normal(2, 4, 5, 16)[..., ::2], K, V)
    with pytest.raises(fovea.Error, match=r"v has stride -1 in its last dimension"):
        fovea.attend(Q, K, V[..., ::-1])
    record = np.zeros((2, 4, 5, 8), [("x", np.float32), ("flag", np.int8)])["x"]
    with pytest.raises(fovea.Error, match=r"q has strides .* no multiples of its element size 4: pass q.copy\(\)"):
        fovea.attend(record, K, V)


def test_read_only():
    q, k, v = Q.copy(), K.copy(), V.copy()
    for x in (q, k, v):
        x.flags.writeable = False
    assert_close(fovea.attend(q, k, v), TRUTH, 1e-5)
    out = np.empty_like(TRUTH, np.float32)
    out.flags.writeable = False
    with pytest.raises(fovea.Error, match="out is read-only but results are written to it"):
        fovea.attend(Q, K, V, out=out)


def with_types(dtype):
    return [x.astype(dtype) for x in (Q, K, V)]


@pytest.mark.parametrize("name, eps", [("float16", 2.0 ** -11), ("bfloat16", 2.0 ** -8)])
def test_half_types(name, eps):
    numpy_type = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}[name]
    torch_type = {"float16": torch.float16, "bfloat16": torch.bfloat16}[name]
    q, k, v = with_types(numpy_type)
    truth = attention(q, k, v)
    allowed = 4 * eps * np.abs(V).max()
    got = fovea.attend(q, k, v, top=2, entropy=True, lse=True)
    assert got.out.dtype == numpy_type and got.lse.dtype == np.float32 and got.top_weight.dtype == np.float32
    assert_close(got.out, truth["out"], allowed)
    assert_close(got.lse, truth["lse"], 1e-5)
    assert_close(got.entropy, truth["entropy"], 1e-4)
    wide = fovea.attend(q, k, v, out_dtype="float32")
    assert wide.dtype == np.float32 and np.array_equal(wide.astype(numpy_type), got.out)
    tensors = [torch.from_numpy(x.astype(np.float32)).to(torch_type) for x in (q, k, v)]
    same = fovea.attend(*tensors)
    assert same.dtype == torch_type and np.array_equal(same.float().numpy(), got.out.astype(np.float32))
    for said in ("float32", np.float32, np.dtype("float32"), torch.float32):
        assert fovea.attend(*tensors, out_dtype=said).dtype == torch.float32
    filled = torch.empty(same.shape, dtype=torch.float32)
    assert fovea.attend(*tensors, out=filled) is filled and np.array_equal(filled.numpy(), wide)
    sdpa = torch.nn.functional.scaled_dot_product_attention(*tensors)
    assert_close(same.float(), sdpa.float(), 2 * allowed, "torch")
    foreign = fovea.attend(*map(OnlyDLPack, tensors))
    assert torch.equal(torch.from_dlpack(foreign), same)
    with pytest.raises(fovea.Error, match=f"q is {name} but k is float32; q, k and v must be of one type"):
        fovea.attend(q, K, v)


def raises(text, *args, error=fovea.Error, **options):
    with pytest.raises(error) as caught:
        fovea.attend(*args, **options)
    assert text in str(caught.value), str(caught.value)


def test_wrong_arrays():
    assert issubclass(fovea.Error, ValueError) and fovea.Error.__module__ == "fovea"
    raises("attend: q is float64 but fovea computes on float32, bfloat16 and float16, and casts nothing by itself: pass "
           "q.astype(numpy.float32)", Q.astype(np.float64), K, V)
    raises("v is float64 but", Q, K, torch.from_numpy(V).double())
    raises("pass v.to(torch.float32)", Q, K, torch.from_numpy(V).double())
    raises("q is int64 but", Q.astype(np.int64), K, V)
    raises("q is complex128 but", Q.astype(complex), K, V)
    raises("q holds object, which is no type of numbers", Q.astype(object), K, V)
    raises("q has the other byte order: pass", Q.astype(Q.dtype.newbyteorder()), K, V)
    raises("q is a masked array, whose mask would be lost", np.ma.array(Q), K, V)
    raises("q is a list but must be an array", Q.tolist(), K, V, error=TypeError)
    raises("k is a NoneType but must be an array", Q, None, V, error=TypeError)
    raises("q requires a gradient, which is lost here: use fovea.torch.attend, which gives it; or pass q.detach()",
           torch.from_numpy(Q.copy()).requires_grad_(), K, V)
    with torch.no_grad():
        assert_close(fovea.attend(torch.from_numpy(Q.copy()).requires_grad_(), K, V), TRUTH, 1e-5)
    raises("q cannot be read: Cannot pack tensors on meta", torch.zeros(Q.shape, device="meta"), K, V)
    raises("q cannot be read: ", torch.from_numpy(Q[0, 0]).to_sparse(), K[0, 0], V[0, 0])


def test_wrong_shapes():
    raises("k has width 7 but q has width 8", Q, K[..., :7], V)
    raises("did you pass k transposed? fovea takes keys as rows [M, 8]", Q[0, 0], np.ascontiguousarray(K[0, 0].T), V[0, 0])
    raises("4 query heads cannot share 3 key heads", Q, K[:, :3], V[:, :3])
    raises("all but the width must agree", Q, K, V[:, :, :5])
    raises("q is [1, 2, 4, 5, 8] but must be [N, D], [H, N, D] or [B, H, N, D]", Q[None], K, V)
    raises("q is [8] but must be", Q[0, 0, 0], K, V)
    raises("k is [4, 6, 8] but q has 4 dimensions: q, k and v need the same number of them", Q, K[0], V)
    raises("v is [4, 6, 3] but q has 4 dimensions", Q, K, V[0])
    raises("mask is [1, 1, 5, 7] but must be [B, H, N, M]", Q, K, V, mask=np.ones((5, 7), bool))
    raises("bias is [1, 1, 1, 5, 6] but must broadcast", Q, K, V, bias=np.ones((1, 1, 1, 5, 6), np.float32))
    raises("factor is [5] but must broadcast to [2, 4, 6]", Q, K, V, factor=np.ones(5, np.float32))
    raises("received_weights is [7, 5] but must broadcast to [2, 4, 5]", Q, K, V, received_weights=normal(7, 5))
    raises("alibi_slopes is [2, 4, 1] but must be [H] or [B, H]", Q, K, V, alibi_slopes=normal(2, 4, 1))
    raises("out is [2, 4, 5, 8] but must be [2, 4, 5, 3]", Q, K, V, out=np.empty((2, 4, 5, 8), np.float32))
    raises("q is [2, 4, 5, 8] but must be [T, H, D], for it is packed (query_offsets is given)", Q, K, V,
           query_offsets=[0, 2, 5])
    raises("k is [4, 6, 8] but must be [B, G, M, D], for the other side is packed", Q[0], K[0], V[0],
           query_offsets=[0, 2, 4])


def test_wrong_options():
    raises("mask is float32 but a mask is bool, True: may see. Numbers to add to the scores go to bias=", Q, K, V,
           mask=np.ones((5, 6), np.float32))
    raises("zeros and ones become a mask by mask.astype(bool)", Q, K, V, mask=np.ones((5, 6), np.uint8))
    raises("zeros and ones become a mask by mask.to(torch.bool)", Q, K, V, mask=torch.ones(5, 6))
    raises("bias is float64 but must be float32: pass bias.astype(numpy.float32)", Q, K, V, bias=np.ones((5, 6)))
    raises("bias is bool but must be float32", Q, K, V, bias=np.ones((5, 6), bool))
    raises("causal is 'left' but must be False, True, 'bottom-right' (what True means) or 'top-left'", Q, K, V, causal="left")
    raises("causal is 1 but", Q, K, V, causal=1)
    raises("window's before is -1 but must be at least 0: None means no limit", Q, K, V, window=-1)
    raises("window's after is -2 but", Q, K, V, window=(None, -2))
    raises("window is (1, 2, 3) but must be before or (before, after)", Q, K, V, window=(1, 2, 3))
    raises("window's before is 1.5 but must be a whole number", Q, K, V, window=1.5, error=TypeError)
    raises("key_lengths[1] is 7 but must be in [0, M] = [0, 6]", Q, K, V, key_lengths=[6, 7])
    raises("key_lengths has 3 entries but the batch has 2", Q, K, V, key_lengths=[6, 6, 6])
    raises("key_lengths has 0 entries but the batch has 2", Q, K, V, key_lengths=[])
    raises("query_lengths[0] is -1 but", Q, K, V, query_lengths=torch.tensor([-1, 3]))
    raises("key_lengths is float64 [2] but must be a list of integers", Q, K, V, key_lengths=[1.0, 2.0])
    raises("key_lengths is bool [2] but must be a list of integers", Q, K, V, key_lengths=[True, False])
    raises("key_lengths[0] is 4294967297 but must fit int32", Q, K, V, key_lengths=[2 ** 32 + 1, 2])
    raises("query_offsets has no entry", Q[0], K, V, query_offsets=[])
    raises("rows is [5] but there are 5 queries", Q, K, V, rows=[5])
    raises("rows is [-6] but there are 5 queries", Q, K, V, rows=-6)
    raises("top is -1 but must be at least 0", Q, K, V, top=-1)
    raises("threads is 0 but must be in [1, 1024], or None", Q, K, V, threads=0)
    raises("threads is 100000 but", Q, K, V, threads=100000)
    raises("scale is inf but must be finite", Q, K, V, scale=1e300)
    raises("scale is nan but must be finite", Q, K, V, scale=float("nan"))
    raises("out_dtype is float16 but must be float32 or q's type, float32", Q, K, V, out_dtype="float16")
    raises("v is None and no highlight is asked for", Q, K, None)
    raises("out is given but v is not", Q, K, None, entropy=True, out=np.empty_like(Q))
    raises("out is the memory of q", Q, K, K, out=Q)
    raises("out is float16 but must be float32", Q, K, V, out=np.empty((2, 4, 5, 3), np.float16))


def test_nothing_is_written_before_an_error():
    out = np.full((2, 4, 5, 3), 7, np.float32)
    raises("key_lengths[0] is 9", Q, K, V, key_lengths=[9, 9], out=out)
    assert np.all(out == 7)


def test_repr_says_what_is_there():
    got = fovea.attend(torch.from_numpy(Q), K, V, top=2)
    assert repr(got) == ("fovea.Attention(out [2, 4, 5, 3] torch.float32, top_index [2, 4, 5, 2] torch.int32, "
                         "top_weight [2, 4, 5, 2] torch.float32)")
    with pytest.raises(AttributeError):
        got.out = None
