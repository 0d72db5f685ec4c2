"""attend: the engine's call in NumPy's and torch's words."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, Dict, Generic, List, NamedTuple, Optional, Sequence, Tuple, TypeVar

import numpy as np

from . import _engine
from ._arrays import (Error, Integers, Kind, dtype_name, kind_of, read, read_floats, read_integers, read_mask, read_numbers,
                      shape_text)

A = TypeVar("A")

# Beyond any machine's use, and under what makes the system refuse.
_MOST_THREADS = 1024


@dataclass(frozen=True, eq=False)
class Attention(Generic[A]):
    """What attention gave. What was not asked for is None.

    A class with names, not a tuple: new highlights may come without breaking anybody's unpacking.

    ==========  ====================  =======================================================
    out         [..., H, N, E]        sum_j p_ij v_j
    lse         [..., H, N]           log sum_j exp(s_ij), float32; -inf where nothing is seen
    top_index   [..., H, N, top]      the keys of largest weight, int32; -1 where fewer are seen
    top_weight  [..., H, N, top]      their weights p_ij, float32, descending; 0 with -1
    received    [..., H, M]           sum_i w_i p_ij, float32
    entropy     [..., H, N]           -sum_j p_ij log p_ij in nats, float32
    rows        [..., H, R, M]        p_i whole for the queries asked for, float32
    ==========  ====================  =======================================================
    """

    out: Optional[A]
    lse: Optional[A] = None
    top_index: Optional[A] = None
    top_weight: Optional[A] = None
    received: Optional[A] = None
    entropy: Optional[A] = None
    rows: Optional[A] = None

    def __repr__(self) -> str:
        given = [f"{name} {shape_text(tuple(x.shape))} {x.dtype}" for name, x in vars(self).items() if x is not None]
        return f"fovea.Attention({', '.join(given)})"


class Sizes(NamedTuple):
    """What the shapes of results follow from."""

    queries: Tuple[int, ...]  # shape of q without its width: [..., H, N] or [T, H]
    received: Tuple[int, ...]  # [..., H, M] or [S, H]
    rows: Tuple[int, ...]  # [..., H, R, M] or [R, H, M]


class Prepared(NamedTuple):
    """A call, and the arrays as the engine reads them."""

    call: _engine.Call
    q: _engine.Array
    k: _engine.Array
    v: Optional[_engine.Array]
    bias: Optional[_engine.Array]
    sizes: Sizes
    longest: int  # the keys of the longest sequence


def _broadcast(what: str, name: str, array: _engine.Array, shape: Tuple[int, ...]) -> _engine.Array:
    try:
        return array.broadcast_to(shape)
    except ValueError:
        raise Error(f"{what}: {name} is {shape_text(array.shape)} but must broadcast to {shape_text(shape)}") from None


def _of_scores(what: str, name: str, array: _engine.Array) -> _engine.Array:
    if len(array.shape) > 4:
        raise Error(f"{what}: {name} is {shape_text(array.shape)} but must broadcast to [B, H, N, M]")
    return array


def _check_rank(what: str, name: str, array: _engine.Array, packed: bool, other_packed: bool, rank: int) -> None:
    count = len(array.shape)
    if count == (3 if packed else 4 if other_packed else rank) and 2 <= count <= 4:
        return
    letters = {"q": "HND", "k": "GMD", "v": "GME"}[name]
    whole = f"[B, {', '.join(letters)}]"
    if packed:
        wanted = (f"must be [{'T' if name == 'q' else 'S'}, {letters[0]}, {letters[2]}], for it is packed "
                  f"({'query' if name == 'q' else 'key'}_offsets is given)")
    elif other_packed:
        wanted = f"must be {whole}, for the other side is packed"
    elif not 2 <= count <= 4:
        wanted = f"must be [{', '.join(letters[1:])}], [{', '.join(letters)}] or {whole}"
    else:
        wanted = f"q has {rank} dimensions: q, k and v need the same number of them"
    raise Error(f"{what}: {name} is {shape_text(array.shape)} but {wanted}")


def _offsets(what: str, name: str, x: Any) -> Optional[Integers]:
    starts = read_integers(what, name, x)
    if starts is not None and starts.size == 0:
        raise Error(f"{what}: {name} has no entry but must have one more than there are sequences")
    return starts


def _lengths(what: str, name: str, x: Any, batch: int) -> List[int]:
    lengths = read_integers(what, name, x)
    if lengths is not None and lengths.size != batch:
        raise Error(f"{what}: {name} has {lengths.size} entries but the batch has {batch}")
    return _listed(lengths)


def _listed(x: Optional[Integers]) -> List[int]:
    return [] if x is None else x.tolist()


def _longest(offsets: Integers) -> int:
    return max(0, int(np.max(np.diff(offsets), initial=0)))


def window_sides(what: str, window: Any) -> Tuple[Optional[int], Optional[int]]:
    if window is None:
        return None, None
    pair = window if isinstance(window, (tuple, list)) else (window, None)
    if len(pair) != 2:
        raise Error(f"{what}: window is {window!r} but must be before or (before, after)")
    sides = []
    for name, side in zip(("before", "after"), pair):
        try:
            sides.append(None if side is None else operator.index(side))
        except TypeError:
            raise TypeError(f"{what}: window's {name} is {side!r} but must be a whole number, or None for no "
                            "limit") from None
        if side is not None and side < 0:
            raise Error(f"{what}: window's {name} is {side} but must be at least 0: None means no limit")
    return sides[0], sides[1]


def causal_name(what: str, causal: Any) -> str:
    if isinstance(causal, (bool, np.bool_)):
        return "bottom-right" if causal else "none"
    if isinstance(causal, str) and causal in ("bottom-right", "top-left"):
        return causal
    raise Error(f"{what}: causal is {causal!r} but must be False, True, 'bottom-right' (what True means) or 'top-left'")


def threads_count(what: str, threads: Optional[int]) -> int:
    """For the engine: 0 means all processors."""
    if threads is None:
        return 0
    count = operator.index(threads)
    if not 1 <= count <= _MOST_THREADS:
        raise Error(f"{what}: threads is {count} but must be in [1, {_MOST_THREADS}], or None for one a processor")
    return count


def _integer(what: str, name: str, x: Any) -> Optional[int]:
    try:
        return None if x is None else operator.index(x)
    except TypeError:
        raise TypeError(f"{what}: {name} is {x!r} but must be a whole number") from None


def _bits(what: str, name: str, x: Any, count: int) -> int:
    try:
        number = operator.index(x)
    except TypeError:
        raise TypeError(f"{what}: {name} is {x!r} but must be a whole number") from None
    if not 0 <= number < 1 << count:
        raise Error(f"{what}: {name} is {number} but must be in [0, 2^{count})")
    return number


def prepare(what: str, q: Any, k: Any, v: Any, *, scale: Any, causal: Any, window: Any, mask: Any, bias: Any,
            alibi_slopes: Any, key_lengths: Any, query_lengths: Any, query_offsets: Any, key_offsets: Any,
            key_begin: Any, key_end: Any, rows: Any = None, factor: Any = None, received_weights: Any = None,
            dropout: Any = 0.0, dropout_seed: Any = 0, dropout_offset: Any = 0) -> Prepared:
    """The engine's inputs and options, and the shapes of results."""
    q_array = read_floats(what, "q", q)
    k_array = read_floats(what, "k", k)
    v_array = None if v is None else read_floats(what, "v", v)
    query_starts = _offsets(what, "query_offsets", query_offsets)
    key_starts = _offsets(what, "key_offsets", key_offsets)
    rank = len(q_array.shape)
    _check_rank(what, "q", q_array, query_starts is not None, key_starts is not None, rank)
    _check_rank(what, "k", k_array, key_starts is not None, query_starts is not None, rank)
    if v_array is not None:
        _check_rank(what, "v", v_array, key_starts is not None, query_starts is not None, rank)

    # B, and the number of queries that rows may name.
    if query_starts is not None:
        batch, heads, count = query_starts.size - 1, q_array.shape[1], q_array.shape[0]
    else:
        batch, heads, count = (q_array.shape[0] if rank == 4 else 1), (1 if rank == 2 else q_array.shape[-3]), \
            q_array.shape[-2]
    lead = q_array.shape[:-2] if query_starts is None else (batch, heads)
    keys = k_array.shape[-2] if key_starts is None else _longest(key_starts)
    received = lead + (keys,) if key_starts is None else (k_array.shape[0], heads)

    row_queries = read_integers(what, "rows", rows)
    if row_queries is not None:
        if row_queries.size and not (-count <= row_queries.min() and row_queries.max() < count):
            raise Error(f"{what}: rows is {row_queries.tolist()} but there are {count} queries")
        row_queries = np.where(row_queries < 0, row_queries + count, row_queries)
    row_count = 0 if row_queries is None else row_queries.size
    sizes = Sizes(
        queries=tuple(q_array.shape[:-1]), received=received,
        rows=(row_count, heads, keys) if query_starts is not None else lead + (row_count, keys))

    seen = None if mask is None else _of_scores(what, "mask", read_mask(what, mask))
    added = None if bias is None else _of_scores(what, "bias", read_numbers(what, "bias", bias))
    slopes = None if alibi_slopes is None else read_numbers(what, "alibi_slopes", alibi_slopes)
    if slopes is not None and len(slopes.shape) not in (1, 2):
        raise Error(f"{what}: alibi_slopes is {shape_text(slopes.shape)} but must be [H] or [B, H]")
    factors = None if factor is None else _broadcast(what, "factor", read_numbers(what, "factor", factor), received)
    weights = None if received_weights is None else _broadcast(
        what, "received_weights", read_numbers(what, "received_weights", received_weights), sizes.queries)

    before, after = window_sides(what, window)
    call = _engine.Call(
        q_array, k_array, v_array, seen, added, slopes, factors, weights, _listed(query_starts), _listed(key_starts),
        _lengths(what, "key_lengths", key_lengths, batch), _lengths(what, "query_lengths", query_lengths, batch),
        _listed(row_queries), None if scale is None else float(scale),
        causal_name(what, causal), before, after, _integer(what, "key_begin", key_begin),
        _integer(what, "key_end", key_end), float(dropout), _bits(what, "dropout_seed", dropout_seed, 64),
        _bits(what, "dropout_offset", dropout_offset, 32))
    return Prepared(call, q_array, k_array, v_array, added, sizes, keys)


class Results:
    """Memory for what was asked for, in the caller's kind, and the same as the engine sees it."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._made: Dict[str, Any] = {}
        self._seen: Dict[str, _engine.Array] = {}
        self._own: List[str] = []

    def ask(self, name: str, shape: Tuple[int, ...], dtype: str = "float32") -> None:
        self.use(name, self._kind.empty(shape, dtype), (dtype,))
        self._own.append(name)

    def use(self, name: str, memory: Any, types: Sequence[str]) -> _engine.Array:
        array = read("attend", name, memory, types, writable=True)
        self._made[name], self._seen[name] = memory, array
        return array

    def ask_highlights(self, what: str, sizes: Sizes, top: Any, received: bool, entropy: bool, rows: Any) -> None:
        count = operator.index(top)
        if count < 0:
            raise Error(f"{what}: top is {count} but must be at least 0")
        if count > 0:
            self.ask("top_index", sizes.queries + (count,), "int32")
            self.ask("top_weight", sizes.queries + (count,))
        if received:
            self.ask("received", sizes.received)
        if entropy:
            self.ask("entropy", sizes.queries)
        if rows is not None:
            self.ask("rows", sizes.rows)

    def names(self) -> List[str]:
        return list(self._seen)

    def seen(self, name: str) -> Optional[_engine.Array]:
        return self._seen.get(name)

    def finished(self) -> Dict[str, Any]:
        return {**self._made, **{name: self._kind.finished(self._made[name]) for name in self._own}}

    def attention(self) -> Attention[Any]:
        return Attention(**{"out": None, **self.finished()})


def use_out(results: Results, what: str, out: Any, shape: Tuple[int, ...], types: Sequence[str],
             inputs: Sequence[Tuple[str, _engine.Array]]) -> None:
    array = results.use("out", out, types)
    if tuple(array.shape) != shape:
        raise Error(f"{what}: out is {shape_text(array.shape)} but must be {shape_text(shape)}")
    for name, other in inputs:
        if array.address == other.address and 0 not in shape:
            raise Error(f"{what}: out is the memory of {name}, which is still read while out is written: give it "
                        "memory of its own")


def attend(q: Any, k: Any, v: Any, *, scale: Any = None, causal: Any = False, window: Any = None, mask: Any = None,
           bias: Any = None, alibi_slopes: Any = None, key_lengths: Any = None, query_lengths: Any = None,
           query_offsets: Any = None, key_offsets: Any = None, key_begin: Any = None, key_end: Any = None,
           top: Any = 0, received: bool = False, entropy: bool = False, rows: Any = None, lse: bool = False,
           factor: Any = None, received_weights: Any = None, dropout: Any = 0.0, dropout_seed: Any = 0,
           dropout_offset: Any = 0, out: Any = None, out_dtype: Any = None, threads: Any = None) -> Any:
    """Exact attention, and what it attended to.

        s_ij = scale <q_i, k_j> + bias_ij - slope_h |c_i - j|    over the keys j that query i may see
        p_i  = softmax(s_i)       out_i = sum_j p_ij v_j         lse_i = log sum_j exp(s_ij)

    No N x M array is ever made.

    Arrays
        q [N, D], [H, N, D] or [B, H, N, D], k [M, D], [G, M, D] or [B, G, M, D], v likewise with a width
        E of its own: all NumPy arrays, torch tensors on the CPU, or anything that has __dlpack__, of
        float32, bfloat16 (torch's, or ml_dtypes' in NumPy) or float16. H is a multiple of G: query head h
        reads key head h // (H // G). They are read where they lie, with any strides whose last one is 1,
        so q.transpose(1, 2) of [B, N, H, D] costs nothing. Results are of q's kind and have its rank.
        float64 is an error: fovea computes sums in float32 and casts nothing by itself.

    What a query may see
        causal      True or "bottom-right": query i sees key j when j <= i + M - N, so the last query sees
                    every key. "top-left": when j <= i, which is what is_causal=True means in
                    torch.nn.functional.scaled_dot_product_attention. They agree where N equals M.
        window      before, or (before, after), None for no limit: query i sees key j when
                    c - before <= j <= c + after, with c = i + M - N ("top-left": c = i) its own place.
        mask        bool, True: may see, as in torch. Broadcasts to [B, H, N, M] as NumPy does, from the
                    right; a mask over keys alone, [B, M], is mask[:, None, None, :].
        bias        float32, added to the scaled scores; broadcasts likewise; -inf hides.
        alibi_slopes    [H] or [B, H], float32 or a list: slope_h |c - j| is taken from the score.
        key_lengths, query_lengths    [B] integers: the keys and queries that count. M and N above are
                    then these.
        key_begin, key_end    attend over this part of the keys alone; merge() puts parts together.

    Packed batches
        With query_offsets [B + 1], ascending from 0 to T, q is [T, H, D]: sequences end to end, without
        padding; with key_offsets k is [S, G, D] and v [S, G, E]. Results over queries are then [T, H, ...]
        and over keys [S, H]. One side may be packed and the other [B, ...].

    Highlights, exact, from the same pass, in memory linear in N. With any of them an Attention is
    returned, whose fields have the names given here; without, out alone.
        top=K       top_index, top_weight [..., N, K]: the K keys of largest weight, descending, ties to
                    the lower index; -1 and 0 where fewer are seen. With factor [..., H, M] ranked by
                    p_ij factor_j.
        received    received [..., H, M]: the weight that each key got, sum_i w_i p_ij, w being
                    received_weights [..., H, N] or ones; with factor sum_i w_i p_ij factor_j
        entropy     entropy [..., N]: -sum_j p_ij log p_ij, in nats
        rows        rows [..., R, M]: the whole p_i of the R queries named, negative ones from the end
        lse         lse [..., N]

    Edges
        A query that sees no key gives zeros, lse -inf, entropy 0. Hidden keys never matter, not even a
        NaN in them. NaN or +inf in a visible score gives NaN. v may be None where out is not wanted.

    Others
        scale       1 / sqrt(D) unless given
        dropout     the share of weights to drop, in [0, 1), in training: the others grow by 1 / (1 - dropout).
                    It meets out alone: lse and highlights are those of the weights before it.
        dropout_seed, dropout_offset    integers of 64 and of 32 bits: which weights are dropped depends on
                    them and on a weight's place alone. One seed a run, a new offset each step, say.
        out         an array to write the result to, which is also returned; it must not overlap inputs
        out_dtype   "float32" instead of q's type
        threads     how many to use; None: one for each processor. The same bits for any number. Several
                    Python threads may call at once; each gets threads of its own.

    Wrong arguments raise fovea.Error, a ValueError, before anything is computed.

    >>> import numpy as np
    >>> import fovea
    >>> q = np.array([[1, 0]], np.float32)              # one query, which points at the first key
    >>> k = np.array([[1, 0], [-10, 1]], np.float32)
    >>> v = np.array([[10, 20], [30, 40]], np.float32)
    >>> fovea.attend(q, k, v, scale=1.0)
    array([[10.000334, 20.000334]], dtype=float32)
    >>> seen = fovea.attend(q, k, v, scale=1.0, top=1, entropy=True)
    >>> print(seen.top_index, seen.top_weight)
    [[0]] [[0.9999833]]
    >>> seen
    fovea.Attention(out [1, 2] float32, top_index [1, 1] int32, top_weight [1, 1] float32, entropy [1] float32)
    """
    what = "attend"
    prepared = prepare(
        what, q, k, v, scale=scale, causal=causal, window=window, mask=mask, bias=bias, alibi_slopes=alibi_slopes,
        key_lengths=key_lengths, query_lengths=query_lengths, query_offsets=query_offsets, key_offsets=key_offsets,
        key_begin=key_begin, key_end=key_end, rows=rows, factor=factor, received_weights=received_weights,
        dropout=dropout, dropout_seed=dropout_seed, dropout_offset=dropout_offset)
    q_array, v_array, sizes = prepared.q, prepared.v, prepared.sizes
    count = threads_count(what, threads)
    results = Results(kind_of(q))
    if v_array is not None:
        dtype = q_array.dtype if out_dtype is None else dtype_name(what, "out_dtype", out_dtype)
        if dtype not in (q_array.dtype, "float32"):
            raise Error(f"{what}: out_dtype is {dtype} but must be float32 or q's type, {q_array.dtype}")
        shape = sizes.queries + (v_array.shape[-1],)
        if out is None:
            results.ask("out", shape, dtype)
        else:
            types = (dtype,) if out_dtype is not None else (q_array.dtype, "float32")
            use_out(results, what, out, shape, types, [("q", q_array), ("v", v_array)])
    elif out is not None:
        raise Error(f"{what}: out is given but v is not")
    if lse:
        results.ask("lse", sizes.queries)
    results.ask_highlights(what, sizes, top, received, entropy, rows)
    if not results.names():
        raise Error(f"{what}: v is None and no highlight is asked for: there is nothing to compute")
    seen = results.seen
    _engine.attend(prepared.call, seen("out"), seen("lse"), seen("top_index"), seen("top_weight"), seen("received"),
                   seen("entropy"), seen("rows"), count)
    given = results.attention()
    return given.out if results.names() == ["out"] else given


def highlights(q: Any, k: Any, lse: Any, *, scale: Any = None, causal: Any = False, window: Any = None,
               mask: Any = None, bias: Any = None, alibi_slopes: Any = None, key_lengths: Any = None,
               query_lengths: Any = None, query_offsets: Any = None, key_offsets: Any = None, key_begin: Any = None,
               key_end: Any = None, top: Any = 0, received: bool = False, entropy: bool = False, rows: Any = None,
               factor: Any = None, received_weights: Any = None, threads: Any = None) -> Attention[Any]:
    """What was attended to, asked for later: from q, k and the lse that attend gave.

        p_ij = exp(s_ij - lse_i)

    All arguments mean what they mean in attend and must be those of that call; values are not needed. So
    attend can run without highlights, and they are computed when somebody looks: one product of q and k,
    no N x M array. lse is float32 [..., H, N], as attend(..., lse=True) gives it.

    With the lse of a whole, and key_begin and key_end of a part of its keys, the weights are those of the
    whole: the part's received and rows, and its share of the entropy.

    Returns an Attention whose out and lse are None.

    >>> import numpy as np
    >>> import fovea
    >>> q = np.array([[1, 0]], np.float32)
    >>> k = np.array([[1, 0], [-10, 1]], np.float32)
    >>> done = fovea.attend(q, k, k, scale=1.0, lse=True)
    >>> print(fovea.highlights(q, k, done.lse, scale=1.0, top=1).top_weight)
    [[0.9999833]]
    """
    what = "highlights"
    prepared = prepare(
        what, q, k, None, scale=scale, causal=causal, window=window, mask=mask, bias=bias, alibi_slopes=alibi_slopes,
        key_lengths=key_lengths, query_lengths=query_lengths, query_offsets=query_offsets, key_offsets=key_offsets,
        key_begin=key_begin, key_end=key_end, rows=rows, factor=factor, received_weights=received_weights)
    count = threads_count(what, threads)
    sizes = prepared.sizes
    sums = read(what, "lse", lse, ("float32",))
    if tuple(sums.shape) != sizes.queries:
        raise Error(f"{what}: lse is {shape_text(sums.shape)} but must be {shape_text(sizes.queries)}")
    results = Results(kind_of(q))
    results.ask_highlights(what, sizes, top, received, entropy, rows)
    if not results.names():
        raise Error(f"{what}: none of top, received, entropy and rows is asked for: there is nothing to compute")
    seen = results.seen
    _engine.highlights(prepared.call, sums, seen("top_index"), seen("top_weight"), seen("received"), seen("entropy"),
                       seen("rows"), count)
    return results.attention()
