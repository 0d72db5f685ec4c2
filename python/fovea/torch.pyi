# What users of fovea.torch see, with types. The explanations are in the docstrings: help(fovea.torch.attend).
from typing import Literal, Optional, Sequence, Tuple, Union, overload

from torch import Tensor

from . import Attention

__all__ = ["attend", "scaled_dot_product_attention"]

_Integers = Union[int, Sequence[int], Tensor]
_Numbers = Union[Sequence[float], Tensor]
_Window = Union[int, Tuple[Optional[int], Optional[int]]]
_Causal = Union[bool, Literal["bottom-right", "top-left"]]

# No highlight asked for: out alone.
@overload
def attend(  # type: ignore[overload-overlap]  # top=0 is an int too, and comes first
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: Optional[float] = None,
    causal: _Causal = False,
    window: Optional[_Window] = None,
    mask: Optional[Tensor] = None,
    bias: Optional[Tensor] = None,
    alibi_slopes: Optional[_Numbers] = None,
    key_lengths: Optional[_Integers] = None,
    query_lengths: Optional[_Integers] = None,
    query_offsets: Optional[_Integers] = None,
    key_offsets: Optional[_Integers] = None,
    top: Literal[0] = 0,
    received: Literal[False] = False,
    entropy: Literal[False] = False,
    rows: None = None,
    lse: Literal[False] = False,
    factor: Optional[_Numbers] = None,
    received_weights: Optional[_Numbers] = None,
    dropout: float = 0.0,
) -> Tensor: ...
@overload
def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: Optional[float] = None,
    causal: _Causal = False,
    window: Optional[_Window] = None,
    mask: Optional[Tensor] = None,
    bias: Optional[Tensor] = None,
    alibi_slopes: Optional[_Numbers] = None,
    key_lengths: Optional[_Integers] = None,
    query_lengths: Optional[_Integers] = None,
    query_offsets: Optional[_Integers] = None,
    key_offsets: Optional[_Integers] = None,
    top: int = 0,
    received: bool = False,
    entropy: bool = False,
    rows: Optional[_Integers] = None,
    lse: bool = False,
    factor: Optional[_Numbers] = None,
    received_weights: Optional[_Numbers] = None,
    dropout: float = 0.0,
) -> Attention[Tensor]: ...
@overload
def scaled_dot_product_attention(  # type: ignore[overload-overlap]
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Optional[Tensor] = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: Optional[float] = None,
    enable_gqa: bool = False,
    *,
    top: Literal[0] = 0,
    received: Literal[False] = False,
    entropy: Literal[False] = False,
    rows: None = None,
    lse: Literal[False] = False,
) -> Tensor: ...
@overload
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Optional[Tensor] = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: Optional[float] = None,
    enable_gqa: bool = False,
    *,
    top: int = 0,
    received: bool = False,
    entropy: bool = False,
    rows: Optional[_Integers] = None,
    lse: bool = False,
) -> Attention[Tensor]: ...
