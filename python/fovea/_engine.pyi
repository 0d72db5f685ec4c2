# The extension module of python/engine.cc. Private: fovea/__init__.pyi is what users see.
from typing import Any, List, Optional, Sequence, Tuple

__version__: str

class Error(ValueError): ...

class Array:
    def __init__(self, source: object, writable: bool = ..., as_bfloat16: bool = ...) -> None: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> Tuple[int, ...]: ...
    @property
    def strides(self) -> Tuple[int, ...]: ...
    @property
    def address(self) -> int: ...
    @property
    def on_cpu(self) -> bool: ...
    def broadcast_to(self, shape: Sequence[int]) -> Array: ...

class Call:
    def __init__(
        self,
        q: Array,
        k: Array,
        v: Optional[Array],
        mask: Optional[Array],
        bias: Optional[Array],
        alibi_slopes: Optional[Array],
        factor: Optional[Array],
        received_weights: Optional[Array],
        query_offsets: Sequence[int],
        key_offsets: Sequence[int],
        key_lengths: Sequence[int],
        query_lengths: Sequence[int],
        row_queries: Sequence[int],
        scale: Optional[float],
        causal: str,
        window_before: Optional[int],
        window_after: Optional[int],
        key_begin: Optional[int],
        key_end: Optional[int],
        dropout: float,
        dropout_seed: int,
        dropout_offset: int,
    ) -> None: ...

def attend(
    call: Call,
    out: Optional[Array],
    lse: Optional[Array],
    top_index: Optional[Array],
    top_weight: Optional[Array],
    received: Optional[Array],
    entropy: Optional[Array],
    rows: Optional[Array],
    threads: int,
) -> None: ...
def attend_backward(
    call: Call,
    out: Array,
    lse: Array,
    out_gradient: Array,
    dq: Optional[Array],
    dk: Optional[Array],
    dv: Optional[Array],
    dbias: Optional[Array],
    key_gradient: Optional[Array],
    threads: int,
) -> None: ...
def highlights(
    call: Call,
    lse: Array,
    top_index: Optional[Array],
    top_weight: Optional[Array],
    received: Optional[Array],
    entropy: Optional[Array],
    rows: Optional[Array],
    threads: int,
) -> None: ...

_Part = Tuple[Optional[Array], ...]  # out, lse, top_index, top_weight, entropy

def merge(
    parts: List[_Part],
    merged: _Part,
    packed: bool,
    factor: Optional[Array],
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    threads: int,
) -> None: ...

class Cache:
    def __init__(
        self, batch: int, heads: int, capacity: int, key_width: int, value_width: int, dtype: str
    ) -> None: ...
    def append(self, k: Array, v: Array, counts: Sequence[int]) -> None: ...
    def reorder(self, from_: Sequence[int]) -> None: ...
    def truncate(self, b: int, length: int) -> None: ...
    def lengths(self) -> List[int]: ...
    def keys(self, as_uint16: bool) -> Any: ...
    def values(self, as_uint16: bool) -> Any: ...

def empty(shape: Sequence[int], dtype: str) -> Any: ...
def isa() -> str: ...
def set_isa(name: str) -> None: ...
def available_isas() -> List[str]: ...
