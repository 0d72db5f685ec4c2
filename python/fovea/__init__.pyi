# What users of fovea see, with types. The explanations are in the docstrings: help(fovea.attend).
from dataclasses import dataclass
from typing import Any, Generic, List, Literal, Optional, Protocol, Sequence, Tuple, TypeVar, Union, overload

__all__ = ["Attention", "Error", "Gradients", "KeyValueCache", "attend", "attend_backward", "available_isas",
           "highlights", "isa", "merge", "set_isa", "__version__"]

__version__: str

class _Array(Protocol):
    # NumPy's arrays, torch's tensors, and all others that speak DLPack.
    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...

_A = TypeVar("_A", bound=_Array)
_Integers = Union[int, Sequence[int], _Array]
_Numbers = Union[Sequence[float], _Array]
_Window = Union[int, Tuple[Optional[int], Optional[int]]]
_Causal = Union[bool, Literal["bottom-right", "top-left"]]

class Error(ValueError): ...

# What was not asked for is None; who asked should not have to check, so None is no part of these types. The
# highlights are of q's library, but of other element types than q, which no variable can say.
@dataclass(frozen=True, eq=False)
class Attention(Generic[_A]):
    out: _A
    lse: Any = ...
    top_index: Any = ...
    top_weight: Any = ...
    received: Any = ...
    entropy: Any = ...
    rows: Any = ...

@dataclass(frozen=True, eq=False)
class Gradients(Generic[_A]):
    dq: _A
    dk: _A
    dv: _A
    dbias: Any = ...
    key_gradient: Any = ...

# No highlight asked for: out alone.
@overload
def attend(  # type: ignore[overload-overlap]  # top=0 is an int too, and comes first
    q: _A,
    k: _Array,
    v: _Array,
    *,
    scale: Optional[float] = None,
    causal: _Causal = False,
    window: Optional[_Window] = None,
    mask: Optional[_Array] = None,
    bias: Optional[_Array] = None,
    alibi_slopes: Optional[_Numbers] = None,
    key_lengths: Optional[_Integers] = None,
    query_lengths: Optional[_Integers] = None,
    query_offsets: Optional[_Integers] = None,
    key_offsets: Optional[_Integers] = None,
    key_begin: Optional[int] = None,
    key_end: Optional[int] = None,
    top: Literal[0] = 0,
    received: Literal[False] = False,
    entropy: Literal[False] = False,
    rows: None = None,
    lse: Literal[False] = False,
    factor: Optional[_Numbers] = None,
    received_weights: Optional[_Numbers] = None,
    dropout: float = 0.0,
    dropout_seed: int = 0,
    dropout_offset: int = 0,
    out: Optional[_A] = None,
    out_dtype: Any = None,
    threads: Optional[int] = None,
) -> _A: ...
@overload
def attend(
    q: _A,
    k: _Array,
    v: Optional[_Array],
    *,
    scale: Optional[float] = None,
    causal: _Causal = False,
    window: Optional[_Window] = None,
    mask: Optional[_Array] = None,
    bias: Optional[_Array] = None,
    alibi_slopes: Optional[_Numbers] = None,
    key_lengths: Optional[_Integers] = None,
    query_lengths: Optional[_Integers] = None,
    query_offsets: Optional[_Integers] = None,
    key_offsets: Optional[_Integers] = None,
    key_begin: Optional[int] = None,
    key_end: Optional[int] = None,
    top: int = 0,
    received: bool = False,
    entropy: bool = False,
    rows: Optional[_Integers] = None,
    lse: bool = False,
    factor: Optional[_Numbers] = None,
    received_weights: Optional[_Numbers] = None,
    dropout: float = 0.0,
    dropout_seed: int = 0,
    dropout_offset: int = 0,
    out: Optional[_A] = None,
    out_dtype: Any = None,
    threads: Optional[int] = None,
) -> Attention[_A]: ...
def attend_backward(
    q: _A,
    k: _Array,
    v: _Array,
    done: Attention[_A],
    out_gradient: _Array,
    *,
    scale: Optional[float] = None,
    causal: _Causal = False,
    window: Optional[_Window] = None,
    mask: Optional[_Array] = None,
    bias: Optional[_Array] = None,
    alibi_slopes: Optional[_Numbers] = None,
    key_lengths: Optional[_Integers] = None,
    query_lengths: Optional[_Integers] = None,
    query_offsets: Optional[_Integers] = None,
    key_offsets: Optional[_Integers] = None,
    key_begin: Optional[int] = None,
    key_end: Optional[int] = None,
    dropout: float = 0.0,
    dropout_seed: int = 0,
    dropout_offset: int = 0,
    dq: bool = True,
    dk: bool = True,
    dv: bool = True,
    dbias: bool = False,
    key_gradient: bool = False,
    gradient_dtype: Any = None,
    threads: Optional[int] = None,
) -> Gradients[_A]: ...
def highlights(
    q: _A,
    k: _Array,
    lse: _Array,
    *,
    scale: Optional[float] = None,
    causal: _Causal = False,
    window: Optional[_Window] = None,
    mask: Optional[_Array] = None,
    bias: Optional[_Array] = None,
    alibi_slopes: Optional[_Numbers] = None,
    key_lengths: Optional[_Integers] = None,
    query_lengths: Optional[_Integers] = None,
    query_offsets: Optional[_Integers] = None,
    key_offsets: Optional[_Integers] = None,
    key_begin: Optional[int] = None,
    key_end: Optional[int] = None,
    top: int = 0,
    received: bool = False,
    entropy: bool = False,
    rows: Optional[_Integers] = None,
    factor: Optional[_Numbers] = None,
    received_weights: Optional[_Numbers] = None,
    threads: Optional[int] = None,
) -> Attention[_A]: ...
def merge(
    parts: Sequence[Attention[_A]],
    *,
    factor: Optional[_Numbers] = None,
    query_offsets: Optional[_Integers] = None,
    key_offsets: Optional[_Integers] = None,
    out: Optional[_A] = None,
    out_dtype: Any = None,
    threads: Optional[int] = None,
) -> Attention[_A]: ...

class KeyValueCache:
    def __init__(
        self,
        *,
        batch: int = 1,
        heads: int = 1,
        capacity: int,
        key_width: int,
        value_width: Optional[int] = None,
        dtype: Any = "float32",
    ) -> None: ...
    # NumPy arrays or torch tensors, as dtype says.
    @property
    def keys(self) -> Any: ...
    @property
    def values(self) -> Any: ...
    @property
    def lengths(self) -> Any: ...
    def append(self, k: _Array, v: _Array, counts: Optional[_Integers] = None) -> None: ...
    def reorder(self, indices: _Integers) -> None: ...
    def truncate(self, b: int, length: int) -> None: ...

def isa() -> str: ...
def set_isa(name: str) -> None: ...
def available_isas() -> List[str]: ...
