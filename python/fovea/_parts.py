"""Attention over parts of the keys put together, and keys kept from step to step."""

from __future__ import annotations

import operator
import sys
from typing import Any, Optional, Sequence, Tuple

import numpy as np

from . import _engine
from ._arrays import (FLOATS, Error, dtype_name, kind_of, numpy_bfloat16, read, read_floats, read_integers,
                      read_numbers, shape_text)
from ._attend import Attention, Results, threads_count, use_out

_MERGED = ("out", "lse", "top_index", "top_weight", "entropy")
_TYPES = {"out": FLOATS, "top_index": ("int32",)}


def _read_part(at: int, part: Any) -> Tuple[Optional[_engine.Array], ...]:
    if not isinstance(part, Attention):
        raise TypeError(f"merge: parts[{at}] is a {type(part).__name__} but must be an Attention, as "
                        "attend(..., lse=True) gives it")
    if part.lse is None:
        raise Error(f"merge: parts[{at}] has no lse, without which nothing can be weighed: attend(..., lse=True)")
    return tuple(None if getattr(part, name) is None else
                 read("merge", f"parts[{at}].{name}", getattr(part, name), _TYPES.get(name, ("float32",)))
                 for name in _MERGED)


def merge(parts: Sequence[Attention[Any]], *, factor: Any = None, query_offsets: Any = None, key_offsets: Any = None,
          out: Any = None, out_dtype: Any = None, threads: Any = None) -> Attention[Any]:
    """Attention over parts of the keys, put together exactly.

    Attend once for each part, with key_begin and key_end, always with lse=True; then, with w_a =
    exp(lse_a - lse):

        lse = log sum_a exp(lse_a)    out = sum_a w_a out_a    entropy = sum_a w_a (entropy_a + lse - lse_a)
        top: the K best of all parts' keys, their weights times w_a

    parts       Attentions of one shape, in the order of their keys, no key in two of them. out, entropy
                and top are merged where the parts have them. received and rows are sums and rows of final
                weights: ask highlights() for them, with the merged lse.
    factor, query_offsets, key_offsets    those of the parts' calls, if top was ranked with a factor there
    out, out_dtype, threads    as in attend. Parts of bfloat16 or float16 are rounded already: better merge
                parts made with out_dtype="float32".

    >>> import numpy as np
    >>> import fovea
    >>> q, k, v = np.random.default_rng(0).standard_normal((3, 8, 100, 16), dtype=np.float32)
    >>> parts = [fovea.attend(q, k, v, key_begin=a, key_end=a + 50, lse=True) for a in (0, 50)]
    >>> whole = fovea.attend(q, k, v)
    >>> bool(np.abs(fovea.merge(parts).out - whole).max() < 1e-6)
    True
    """
    what = "merge"
    parts = list(parts)
    if not parts:
        raise Error("merge: there are no parts: at least one is needed")
    arrays = [_read_part(at, part) for at, part in enumerate(parts)]
    for at, part in enumerate(arrays):
        for name, first, other in zip(_MERGED, arrays[0], part):
            if (first is None) != (other is None):
                raise Error(f"{what}: of parts[0] and parts[{at}] only one has {name}: ask the same of every part")
    part_out, part_lse, part_index, _, part_entropy = arrays[0]
    assert part_lse is not None  # _read_part saw to it
    queries = tuple(part_lse.shape)
    query_starts = read_integers(what, "query_offsets", query_offsets)
    key_starts = read_integers(what, "key_offsets", key_offsets)
    factors = None
    if factor is not None:
        factors = read_numbers(what, "factor", factor)
        rank = 2 if key_starts is not None else 3 if query_starts is not None else len(queries)
        if len(factors.shape) != rank:
            raise Error(f"{what}: factor is {shape_text(factors.shape)} but must have {rank} dimensions, as it had "
                        "in attend")
    results = Results(kind_of(parts[0].lse))
    if part_out is not None:
        dtype = part_out.dtype if out_dtype is None else dtype_name(what, "out_dtype", out_dtype)
        if dtype not in FLOATS:
            raise Error(f"{what}: out_dtype is {dtype} but must be {' or '.join(FLOATS)}")
        shape = queries + (part_out.shape[-1],)
        if out is None:
            results.ask("out", shape, dtype)
        else:
            use_out(results, what, out, shape, FLOATS if out_dtype is None else (dtype,), [])
    elif out is not None:
        raise Error(f"{what}: out is given but the parts have none")
    results.ask("lse", queries)
    if part_index is not None:
        results.ask("top_index", tuple(part_index.shape), "int32")
        results.ask("top_weight", tuple(part_index.shape))
    if part_entropy is not None:
        results.ask("entropy", queries)
    _engine.merge(arrays, tuple(results.seen(name) for name in _MERGED), query_starts is not None, factors,
                  [] if query_starts is None else query_starts.tolist(),
                  [] if key_starts is None else key_starts.tolist(), threads_count(what, threads))
    return results.attention()


class KeyValueCache:
    """Keys and values kept from step to step of decoding, for a batch of sequences of different lengths.

        keys [batch, heads, capacity, key_width]    values [batch, heads, capacity, value_width]    lengths [batch]

    Memory is asked for whole and not touched before it is used. keys and values are views of it, made
    once: they show what append and reorder change. Only the first lengths[b] positions of sequence b
    mean anything; attend never reads the others. dtype is a name or a NumPy type, for NumPy arrays, or
    a torch type (torch.bfloat16), for torch tensors. One call at a time, and none while attend reads.

    >>> import numpy as np
    >>> import fovea
    >>> cache = fovea.KeyValueCache(batch=2, heads=1, capacity=100, key_width=4)
    >>> new = np.ones((2, 1, 3, 4), np.float32)
    >>> cache.append(new, new)                          # three positions a sequence
    >>> cache.append(new[:, :, :1], new[:, :, :1], counts=[1, 0])    # and one for the first
    >>> cache.lengths
    array([4, 3], dtype=int32)
    >>> q = np.ones((2, 8, 1, 4), np.float32)           # 8 query heads share the key head
    >>> fovea.attend(q, cache.keys, cache.values, key_lengths=cache.lengths, causal=True).shape
    (2, 8, 1, 4)
    """

    def __init__(self, *, batch: int = 1, heads: int = 1, capacity: int, key_width: int,
                 value_width: Optional[int] = None, dtype: Any = "float32") -> None:
        name = dtype_name("cache", "dtype", dtype)
        if name not in FLOATS:
            raise Error(f"cache: dtype is {name} but must be float32, bfloat16 or float16")
        self._torch = sys.modules["torch"] if str(dtype).startswith("torch.") else None
        numpy_type = np.dtype(name) if name != "bfloat16" else None if self._torch else numpy_bfloat16("cache")
        self._cache = _engine.Cache(operator.index(batch), operator.index(heads), operator.index(capacity),
                                    operator.index(key_width),
                                    operator.index(key_width if value_width is None else value_width), name)
        self._keys, self._values = (self._view(memory, numpy_type)
                                    for memory in (self._cache.keys, self._cache.values))

    def _view(self, memory: Any, numpy_type: Any) -> Any:
        if self._torch is not None:
            return self._torch.from_dlpack(memory(False))
        view = np.from_dlpack(memory(numpy_type.kind == "V"))
        if numpy_type.kind == "V":
            view = view.view(numpy_type)
        view.flags.writeable = False  # append is the way in
        return view

    @property
    def keys(self) -> Any:
        """[batch, heads, capacity, key_width], where they lie."""
        return self._keys

    @property
    def values(self) -> Any:
        """[batch, heads, capacity, value_width], where they lie."""
        return self._values

    @property
    def lengths(self) -> Any:
        """[batch] int32, as they are now: attend's key_lengths."""
        lengths = np.array(self._cache.lengths(), np.int32)
        return lengths if self._torch is None else self._torch.from_numpy(lengths)

    def append(self, k: Any, v: Any, counts: Any = None) -> None:
        """Adds k [batch, heads, n, key_width] and v, of the cache's type, after what each sequence has.

        With counts [batch], each in 0 ... n, only the first counts[b] positions of sequence b.
        """
        numbers = read_integers("cache", "counts", counts)
        if numbers is not None and numbers.size != self._keys.shape[0]:
            raise Error(f"cache: counts has {numbers.size} entries but the batch has {self._keys.shape[0]}")
        k_array, v_array = (read_floats("cache", name, x) for name, x in (("k", k), ("v", v)))
        for name, array in (("k", k_array), ("v", v_array)):
            if len(array.shape) > 4:
                raise Error(f"cache: {name} is {shape_text(array.shape)} but must be [batch, heads, n, width]")
        self._cache.append(k_array, v_array, [] if numbers is None else numbers.tolist())

    def reorder(self, indices: Any) -> None:
        """Sequence b becomes what sequence indices[b] was: beams that survive a step. [batch] integers."""
        numbers = read_integers("cache", "indices", indices)
        if numbers is None:
            raise TypeError("cache: indices is None but must be a list of integers")
        self._cache.reorder(numbers.tolist())

    def truncate(self, b: int, length: int) -> None:
        """Sequence b keeps its first `length` positions, at most what it has; 0 empties it."""
        self._cache.truncate(operator.index(b), operator.index(length))

    def __repr__(self) -> str:
        return (f"fovea.KeyValueCache(keys {shape_text(tuple(self._keys.shape))}, values "
                f"{shape_text(tuple(self._values.shape))}, {self._keys.dtype}, lengths {self._cache.lengths()})")
