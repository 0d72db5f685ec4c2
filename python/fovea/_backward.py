"""attend_backward: the gradients of attend, for whoever brings an autograd of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Optional, Tuple, TypeVar

from . import _engine
from ._arrays import Error, dtype_name, kind_of, read, shape_text
from ._attend import Attention, Prepared, Results, prepare, threads_count

A = TypeVar("A")


@dataclass(frozen=True, eq=False)
class Gradients(Generic[A]):
    """What attend_backward gave. What was not asked for is None.

    =============  ======================  ================================================
    dq, dk, dv     as q, k and v           of the loss
    dbias          as bias                 ds_ij, summed where bias was broadcast, float32
    key_gradient   [..., H, M]             sum_i p_ij dp_ij, float32
    =============  ======================  ================================================
    """

    dq: Optional[A]
    dk: Optional[A]
    dv: Optional[A]
    dbias: Optional[A] = None
    key_gradient: Optional[A] = None

    def __repr__(self) -> str:
        given = [f"{name} {shape_text(tuple(x.shape))} {x.dtype}" for name, x in vars(self).items() if x is not None]
        return f"fovea.Gradients({', '.join(given)})"


def read_forward(what: str, prepared: Prepared, out: Any, lse: Any, out_gradient: Any
                 ) -> Tuple[_engine.Array, _engine.Array, _engine.Array]:
    """out, lse and the gradient of out, of the shapes that they must have."""
    assert prepared.v is not None
    dtype, queries = prepared.q.dtype, prepared.sizes.queries
    like_out = queries + (prepared.v.shape[-1],)
    arrays = []
    for name, x, types, shape in (("out", out, (dtype, "float32"), like_out), ("lse", lse, ("float32",), queries),
                                  ("out_gradient", out_gradient, (dtype,), like_out)):
        array = read(what, name, x, types)
        if tuple(array.shape) != shape:
            raise Error(f"{what}: {name} is {shape_text(array.shape)} but must be {shape_text(shape)}")
        arrays.append(array)
    return arrays[0], arrays[1], arrays[2]


def attend_backward(q: Any, k: Any, v: Any, done: Any, out_gradient: Any, *, scale: Any = None, causal: Any = False,
                    window: Any = None, mask: Any = None, bias: Any = None, alibi_slopes: Any = None,
                    key_lengths: Any = None, query_lengths: Any = None, query_offsets: Any = None,
                    key_offsets: Any = None, key_begin: Any = None, key_end: Any = None, dropout: Any = 0.0,
                    dropout_seed: Any = 0, dropout_offset: Any = 0, dq: bool = True, dk: bool = True, dv: bool = True,
                    dbias: bool = False, key_gradient: bool = False, gradient_dtype: Any = None,
                    threads: Any = None) -> Gradients[Any]:
    """The gradients of attend: what training needs. (fovea.torch calls it by itself.)

    G_i = dL / d out_i is given; s, p, out are attend's; z_ij is what dropout makes of a weight, 1 without:

        dp_ij = z_ij <G_i, v_j>         delta_i = sum_j p_ij dp_ij = <G_i, out_i>
        ds_ij = p_ij (dp_ij - delta_i)
        dq_i  = scale sum_j ds_ij k_j      dk_j = scale sum_i ds_ij q_i      dv_j = sum_i z_ij p_ij G_i
        dbias_ij = ds_ij

    Sums over i run over the queries of every head that reads the key head. Where bias was broadcast,
    dbias is the sum. No N x M array is made.

    q, k, v     as in attend, and so are all arguments that attend has; they must be those of that call.
    done        the Attention that attend(..., lse=True) gave: its out and lse are read.
    out_gradient    G, [..., H, N, E] (packed [T, H, E]), of q's type.
    dq, dk, dv, dbias    what is computed; the others are None. dbias needs bias.
    key_gradient    also sum_i p_ij dp_ij for each key: how much the loss would rise if every weight that
                the key receives grew by the same small share. Negative: to look at it more would help.
    gradient_dtype    "float32" instead of q's type for dq, dk and dv.
    threads     as in attend. The same bits for any number.

    Edges
        A query that sees no key gets 0 and gives nothing. A hidden pair adds nothing, not even a NaN.
        With key_begin and key_end, and the lse and out of the whole: dk and dv of these keys, 0 for
        others, and their share of dq.

    Wrong arguments raise fovea.Error, a ValueError, before anything is computed.

    >>> import numpy as np
    >>> import fovea
    >>> q = np.array([[1, 0]], np.float32)
    >>> k = np.array([[1, 0], [0, 1]], np.float32)
    >>> v = np.array([[1], [2]], np.float32)
    >>> done = fovea.attend(q, k, v, scale=1.0, lse=True)
    >>> given = fovea.attend_backward(q, k, v, done, np.ones((1, 1), np.float32), scale=1.0)
    >>> given.dv.round(4)                               # the weights themselves
    array([[0.7311],
           [0.2689]], dtype=float32)
    >>> given
    fovea.Gradients(dq [1, 2] float32, dk [2, 2] float32, dv [2, 1] float32)
    """
    what = "attend_backward"
    if not isinstance(done, Attention):
        raise TypeError(f"{what}: done is a {type(done).__name__} but must be an Attention, as attend(..., lse=True) "
                        "gives it")
    for name, x, cure in (("out", done.out, "attend needs v"), ("lse", done.lse, "attend(..., lse=True)")):
        if x is None:
            raise Error(f"{what}: done has no {name}: {cure}")
    if v is None:
        raise Error(f"{what}: v is not given")
    prepared = prepare(
        what, q, k, v, scale=scale, causal=causal, window=window, mask=mask, bias=bias, alibi_slopes=alibi_slopes,
        key_lengths=key_lengths, query_lengths=query_lengths, query_offsets=query_offsets, key_offsets=key_offsets,
        key_begin=key_begin, key_end=key_end, dropout=dropout, dropout_seed=dropout_seed,
        dropout_offset=dropout_offset)
    count = threads_count(what, threads)
    out, lse, given = read_forward(what, prepared, done.out, done.lse, out_gradient)
    dtype = prepared.q.dtype if gradient_dtype is None else dtype_name(what, "gradient_dtype", gradient_dtype)
    if dtype not in (prepared.q.dtype, "float32"):
        raise Error(f"{what}: gradient_dtype is {dtype} but must be float32 or q's type, {prepared.q.dtype}")
    results = Results(kind_of(q))
    for name, wanted, of in (("dq", dq, prepared.q), ("dk", dk, prepared.k), ("dv", dv, prepared.v)):
        if wanted:
            assert of is not None
            results.ask(name, tuple(of.shape), dtype)
    if dbias:
        if prepared.bias is None:
            raise Error(f"{what}: dbias is asked for but bias is not given")
        results.ask("dbias", tuple(prepared.bias.shape))
    if key_gradient:
        results.ask("key_gradient", prepared.sizes.received)
    if not results.names():
        raise Error(f"{what}: none of dq, dk, dv, dbias and key_gradient is asked for: there is nothing to compute")
    seen = results.seen
    _engine.attend_backward(prepared.call, out, lse, given, seen("dq"), seen("dk"), seen("dv"), seen("dbias"),
                            seen("key_gradient"), count)
    return Gradients(**{"dq": None, "dk": None, "dv": None, **results.finished()})
