"""Attention with gradients, in torch.

scaled_dot_product_attention() stands in for torch.nn.functional's; attend() is fovea.attend, with all of its
rules, for tensors that require gradients. Both can return highlights. Underneath are two registered operators,
fovea::attend and fovea::attend_backward, so torch.compile takes them into its graph.
"""

from __future__ import annotations

from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

try:
    import torch
except ImportError as missing:
    raise ImportError("fovea.torch needs torch: pip install torch. (fovea itself needs NumPy alone.)") from missing

from torch import Tensor

from . import _engine
from ._arrays import Error, shape_text
from ._attend import Attention, Prepared, causal_name, prepare, window_sides
from ._backward import read_forward

__all__ = ["attend", "scaled_dot_product_attention"]

_FLOATS = (torch.float32, torch.bfloat16, torch.float16)


# --- the operators ---------------------------------------------------------------------------------------
#
# They take what fovea.attend takes, in ranks 2 to 4 or packed. What is not asked for is an empty tensor.


class _Rules(NamedTuple):
    """What both operators are told besides q, k and v, in the order of their schema."""

    mask: Optional[Tensor]
    bias: Optional[Tensor]
    alibi_slopes: Optional[Tensor]
    key_lengths: Optional[Tensor]
    query_lengths: Optional[Tensor]
    query_offsets: Optional[Tensor]
    key_offsets: Optional[Tensor]
    dropout_seed: Optional[Tensor]  # one int64; a tensor, so that a compiled graph draws a new one each time
    scale: Optional[float]
    causal: str
    window_before: Optional[int]
    window_after: Optional[int]
    dropout: float

    def prepared(self, what: str, q: Tensor, k: Tensor, v: Tensor, **highlights: Any) -> Prepared:
        seed = 0 if self.dropout_seed is None else int(self.dropout_seed)
        return prepare(
            what, q, k, v, scale=self.scale, causal=False if self.causal == "none" else self.causal,
            window=(self.window_before, self.window_after), mask=self.mask, bias=self.bias,
            alibi_slopes=self.alibi_slopes, key_lengths=self.key_lengths, query_lengths=self.query_lengths,
            query_offsets=self.query_offsets, key_offsets=self.key_offsets, key_begin=None, key_end=None,
            dropout=self.dropout, dropout_seed=seed, **highlights)


class _Asked(NamedTuple):
    """Which highlights, in the order of the schema."""

    factor: Optional[Tensor]
    received_weights: Optional[Tensor]
    top: int
    received: bool
    entropy: bool
    rows: Optional[List[int]]


_RULES = ("Tensor? mask, Tensor? bias, Tensor? alibi_slopes, Tensor? key_lengths, Tensor? query_lengths, "
          "Tensor? query_offsets, Tensor? key_offsets, Tensor? dropout_seed, float? scale, str causal, "
          "SymInt? window_before, SymInt? window_after, float dropout")
_ASKED = "Tensor? factor, Tensor? received_weights, SymInt top, bool received, bool entropy, SymInt[]? rows"

torch.library.define(
    "fovea::attend", f"(Tensor q, Tensor k, Tensor v, {_RULES}, {_ASKED}) -> (Tensor out, Tensor lse, "
    "Tensor top_index, Tensor top_weight, Tensor received, Tensor entropy, Tensor rows)")
torch.library.define(
    "fovea::attend_backward", f"(Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, Tensor out_gradient, {_RULES}, "
    "bool[] wanted) -> (Tensor dq, Tensor dk, Tensor dv, Tensor dbias)")


def _readable(x: Tensor) -> Tensor:
    """x, or a copy where its rows do not lie in one piece, which is what the engine reads."""
    return x if x.stride(-1) == 1 or x.shape[-1] <= 1 else x.contiguous()


def _like(x: Tensor, width: int) -> Tensor:
    """Memory for [..., width], its dimensions in the order of x's: the transpose that follows is free again."""
    return torch.empty_like(x) if width == x.shape[-1] else x.new_empty((*x.shape[:-1], width))


def _room(q: Tensor, k: Tensor, v: Tensor, rules: _Rules, asked: _Asked, longest: int) -> Tuple[Tensor, ...]:
    """Memory for what fovea::attend gives. `longest`: the keys of the longest sequence."""
    def numbers(shape: Sequence[int]) -> Tensor:
        return q.new_empty(shape, dtype=torch.float32)

    queries = q.shape[:-1]
    packed = rules.query_offsets is not None
    keys_packed = rules.key_offsets is not None
    heads = q.shape[1] if packed else q.shape[-3] if q.dim() > 2 else 1
    lead = q.shape[:-2]
    if packed and not keys_packed:
        lead = (k.shape[0], heads)
    received = (k.shape[0], heads) if keys_packed else (*lead, longest)
    rows = asked.rows or []
    of_rows = (len(rows), heads, longest) if packed else (*lead, len(rows), longest)
    return (
        _like(q, v.shape[-1]),
        numbers(queries),
        q.new_empty((*queries, asked.top) if asked.top else (0,), dtype=torch.int32),
        numbers((*queries, asked.top) if asked.top else (0,)),
        numbers(received if asked.received else (0,)),
        numbers(queries if asked.entropy else (0,)),
        numbers(of_rows if asked.rows is not None else (0,)),
    )


def _split(arguments: Sequence[Any]) -> Tuple[_Rules, Sequence[Any]]:
    count = len(_Rules._fields)
    return _Rules(*arguments[:count]), arguments[count:]


@torch.library.register_fake("fovea::attend")
def _attend_fake(q: Tensor, k: Tensor, v: Tensor, *arguments: Any) -> Tuple[Tensor, ...]:
    rules, rest = _split(arguments)
    asked = _Asked(*rest)
    longest = k.shape[-2]
    if rules.key_offsets is not None:  # known only when it runs; and only rows have that shape
        longest = torch.library.get_ctx().new_dynamic_size() if asked.rows is not None else 0
    return _room(_readable(q), k, v, rules, asked, longest)


@torch.library.impl("fovea::attend", "cpu")
def _attend_cpu(q: Tensor, k: Tensor, v: Tensor, *arguments: Any) -> Tuple[Tensor, ...]:
    rules, rest = _split(arguments)
    asked = _Asked(*rest)
    q, k, v = _readable(q), _readable(k), _readable(v)
    prepared = rules.prepared("attend", q, k, v, rows=asked.rows, factor=asked.factor,
                              received_weights=asked.received_weights)
    room = _room(q, k, v, rules, asked, prepared.longest)
    given = [True, True, asked.top > 0, asked.top > 0, asked.received, asked.entropy, asked.rows is not None]
    _engine.attend(prepared.call, *(_engine.Array(x, True) if wanted else None for x, wanted in zip(room, given)),
                   torch.get_num_threads())
    return room


def _gradient_room(wanted: Sequence[bool], q: Tensor, k: Tensor, v: Tensor, bias: Optional[Tensor]
                   ) -> Tuple[Tensor, ...]:
    room = [torch.empty_like(x) if asked else x.new_empty((0,)) for x, asked in zip((q, k, v), wanted)]
    room.append(q.new_empty(bias.shape if wanted[3] and bias is not None else (0,), dtype=torch.float32))
    return tuple(room)


@torch.library.register_fake("fovea::attend_backward")
def _backward_fake(q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, out_gradient: Tensor,
                   *arguments: Any) -> Tuple[Tensor, ...]:
    rules, (wanted,) = _split(arguments)
    return _gradient_room(wanted, _readable(q), _readable(k), _readable(v), rules.bias)


@torch.library.impl("fovea::attend_backward", "cpu")
def _backward_cpu(q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, out_gradient: Tensor,
                  *arguments: Any) -> Tuple[Tensor, ...]:
    what = "attend_backward"
    rules, (wanted,) = _split(arguments)
    q, k, v = _readable(q), _readable(k), _readable(v)
    prepared = rules.prepared(what, q, k, v)
    forward = read_forward(what, prepared, out, lse, _readable(out_gradient))
    room = _gradient_room(wanted, q, k, v, rules.bias)
    _engine.attend_backward(prepared.call, *forward,
                            *(_engine.Array(x, True) if asked else None for x, asked in zip(room, wanted)), None,
                            torch.get_num_threads())
    return room


def _setup_context(ctx: Any, inputs: Tuple[Any, ...], output: Tuple[Tensor, ...]) -> None:
    rules = _Rules(*inputs[3:3 + len(_Rules._fields)])
    tensors = [x for x in rules if isinstance(x, Tensor)]
    ctx.save_for_backward(*inputs[:3], *output[:2], *tensors)
    ctx.rules = rules._replace(**{name: None for name, x in rules._asdict().items() if isinstance(x, Tensor)})
    ctx.names = [name for name, x in rules._asdict().items() if isinstance(x, Tensor)]
    ctx.count = len(inputs)
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


@torch.autograd.function.once_differentiable  # there is no second derivative, and who asks for one is told
def _backward(ctx: Any, out_gradient: Optional[Tensor], *_: Any) -> Tuple[Optional[Tensor], ...]:
    gradients: List[Optional[Tensor]] = [None] * ctx.count
    places = (0, 1, 2, 3 + _Rules._fields.index("bias"))
    wanted = [ctx.needs_input_grad[place] for place in places]
    if out_gradient is None or not any(wanted):
        return tuple(gradients)
    q, k, v, out, lse, *tensors = ctx.saved_tensors
    rules = ctx.rules._replace(**dict(zip(ctx.names, tensors)))
    given = torch.ops.fovea.attend_backward(q, k, v, out, lse, out_gradient, *rules, wanted)
    for place, asked, gradient in zip(places, wanted, given):
        gradients[place] = gradient if asked else None
    return tuple(gradients)


torch.library.register_autograd("fovea::attend", _backward, setup_context=_setup_context)


class _Eager(torch.autograd.Function):
    """The same gradients without what torch's registered ones spend on reading a schema again: 0.3 ms a call."""

    @staticmethod
    def forward(*inputs: Any) -> Tuple[Tensor, ...]:
        return torch.ops.fovea.attend(*inputs)  # type: ignore[no-any-return]

    setup_context = staticmethod(_setup_context)
    backward = staticmethod(_backward)


# --- the two ways in -------------------------------------------------------------------------------------


def _check_operands(what: str, named: Sequence[Tuple[str, Any]]) -> None:
    first, x = named[0]
    for name, y in named:
        if not isinstance(y, Tensor):
            raise TypeError(f"{what}: {name} is a {type(y).__name__} but must be a tensor"
                            + ("" if name in ("mask", "attn_mask", "bias") else ": fovea.attend takes NumPy's arrays"))
        if y.layout != torch.strided or y.is_nested:
            raise Error(f"{what}: {name} is a nested or sparse tensor but must be a dense one: fovea.torch.attend takes "
                        "sequences of different lengths end to end, with query_offsets and key_offsets")
        if y.device.type not in ("cpu", "meta"):
            raise Error(f"{what}: {name} is on {y.device} but fovea computes on the CPU: pass {name}.cpu()")
    for name, y in named[:3]:
        if y.dtype not in _FLOATS:
            raise Error(f"{what}: {name} is {_type(y)} but fovea computes on float32, bfloat16 and float16, and casts "
                        f"nothing by itself: pass {name}.float()")
        if y.dtype != x.dtype:
            raise Error(f"{what}: {first} is {_type(x)} but {name} is {_type(y)}; they must be of one type: pass "
                        f"{name}.to({first}.dtype)")


def _type(x: Tensor) -> str:
    return str(x.dtype).replace("torch.", "")


def _in_autocast(*tensors: Any) -> Sequence[Any]:
    """As torch's own attention does: under torch.autocast everything but float64 becomes its type."""
    if not torch.is_autocast_enabled("cpu"):
        return tensors
    dtype = torch.get_autocast_dtype("cpu")
    return [x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() and x.dtype != torch.float64 else x
            for x in tensors]


def _tensor(x: Any, dtype: Optional[torch.dtype] = None) -> Optional[Tensor]:
    """Lengths, offsets, slopes: lists become tensors."""
    return x if x is None or isinstance(x, Tensor) else torch.as_tensor(x, dtype=dtype, device="cpu")


def _attention(what: str, q: Tensor, k: Tensor, v: Tensor, *, mask: Any, bias: Any, causal: str, scale: Any,
               dropout: Any, top: int, received: bool, entropy: bool, rows: Any, window: Any = None,
               alibi_slopes: Any = None, key_lengths: Any = None, query_lengths: Any = None, query_offsets: Any = None,
               key_offsets: Any = None, factor: Any = None, received_weights: Any = None) -> Attention[Tensor]:
    """Calls fovea::attend. What was not asked for is None; lse is always there."""
    for name, x in (("alibi_slopes", alibi_slopes), ("factor", factor), ("received_weights", received_weights)):
        if isinstance(x, Tensor) and x.requires_grad and torch.is_grad_enabled():
            raise Error(f"{what}: {name} requires a gradient, which fovea does not compute: pass {name}.detach(), or "
                        "give what ought to be learnt as a bias")
    if not 0 <= dropout <= 1:
        raise Error(f"{what}: dropout is {dropout} but must be in [0, 1]: it is the share of weights that are dropped")
    if top < 0:
        raise Error(f"{what}: top is {top} but must be at least 0")
    all_drop = dropout == 1  # the engine's share is less than 1: there is no scale for what is left of nothing
    rate = 0.0 if all_drop else float(dropout)
    seed = torch.randint(2**63 - 1, (), dtype=torch.int64, device="cpu") if rate > 0 else None
    before, after = window_sides(what, window)
    if rows is not None:
        rows = [rows] if isinstance(rows, int) else [int(row) for row in rows]
    operator = torch.ops.fovea.attend if torch.compiler.is_compiling() else _Eager.apply
    found = operator(
        q, k, v, mask, bias, _tensor(alibi_slopes, torch.float32), _tensor(key_lengths), _tensor(query_lengths),
        _tensor(query_offsets), _tensor(key_offsets), seed, None if scale is None else float(scale), causal, before,
        after, rate, _tensor(factor, torch.float32), _tensor(received_weights, torch.float32), top, received, entropy,
        rows)
    return Attention(
        out=found[0] * 0 if all_drop else found[0], lse=found[1], top_index=found[2] if top else None,
        top_weight=found[3] if top else None, received=found[4] if received else None,
        entropy=found[5] if entropy else None, rows=found[6] if rows is not None else None)


def attend(q: Any, k: Any, v: Any, *, scale: Any = None, causal: Any = False, window: Any = None, mask: Any = None,
           bias: Any = None, alibi_slopes: Any = None, key_lengths: Any = None, query_lengths: Any = None,
           query_offsets: Any = None, key_offsets: Any = None, top: Any = 0, received: bool = False,
           entropy: bool = False, rows: Any = None, lse: bool = False, factor: Any = None,
           received_weights: Any = None, dropout: Any = 0.0) -> Any:
    """fovea.attend for tensors that require gradients: the same words with the same meaning.

        s_ij = scale <q_i, k_j> + bias_ij - slope_h |c_i - j|    over the keys j that query i may see
        p_i  = softmax(s_i)       out_i = sum_j p_ij v_j         lse_i = log sum_j exp(s_ij)

    Gradients reach q, k, v and bias through out; lse and highlights give none. (Once: there is no second
    derivative.) Memory is linear in N and M, forward and backward.

    All arguments are those of help(fovea.attend); what differs:

    q, k, v     tensors on the CPU in any strides: where the last one is not 1 a copy is made. Lists may be
                lists or tensors.
    dropout     the share of weights to drop, in [0, 1]. Which ones follows from torch's generator: the
                same after the same torch.manual_seed, and in a checkpointed block that runs again.
    Under torch.autocast q, k and v are cast as torch casts its own attention's; bias stays float32.
    As many threads as torch.get_num_threads() says.

    Returns out, or a fovea.Attention if a highlight or lse is asked for.

    >>> import torch
    >>> import fovea.torch
    >>> q = torch.tensor([[1.0, 0]], requires_grad=True)
    >>> k = torch.tensor([[1.0, 0], [0, 1]])
    >>> seen = fovea.torch.attend(q, k, torch.tensor([[1.0], [2]]), scale=1.0, top=1)
    >>> seen.top_index.tolist(), round(seen.top_weight.item(), 4)
    ([[0]], 0.7311)
    >>> seen.out.sum().backward()
    >>> q.grad.numpy().round(4).tolist()
    [[-0.19660000503063202, 0.19660000503063202]]
    """
    what = "attend"
    q, k, v = _in_autocast(q, k, v)
    _check_operands(what, [("q", q), ("k", k), ("v", v)] + [(name, x) for name, x in (("mask", mask), ("bias", bias))
                                                            if x is not None])
    done = _attention(
        what, q, k, v, mask=mask, bias=bias, causal=causal_name(what, causal), scale=scale, dropout=dropout, top=top,
        received=received, entropy=entropy, rows=rows, window=window, alibi_slopes=alibi_slopes,
        key_lengths=key_lengths, query_lengths=query_lengths, query_offsets=query_offsets, key_offsets=key_offsets,
        factor=factor, received_weights=received_weights)
    return _as_asked(done, top or received or entropy or rows is not None, lse)


def _as_asked(done: Attention[Tensor], highlights: Any, lse: bool) -> Any:
    if not highlights and not lse:
        return done.out
    return done if lse else Attention(out=done.out, top_index=done.top_index, top_weight=done.top_weight,
                                      received=done.received, entropy=done.entropy, rows=done.rows)


def _flat(x: Tensor) -> Tensor:
    """[..., H, N, D] as [B, H, N, D]."""
    return x.flatten(0, -4) if x.dim() > 4 else x


def _flat_mask(x: Tensor, lead: Sequence[int]) -> Tensor:
    """A mask over [*lead, N, M] as [B or 1, H or 1, N or 1, M or 1]."""
    if len(lead) <= 2:
        return x
    x = x[(None,) * (len(lead) + 2 - x.dim())]
    if any(size > 1 for size in x.shape[:-3]):
        x = x.expand(*lead[:-1], *x.shape[-3:])
    return x.flatten(0, -4)


def _shared_heads(what: str, query: Tensor, key: Tensor, value: Tensor) -> Tuple[Tensor, Tensor]:
    """Key and value with a number of heads that the engine can share among query's."""
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.dim() < 3:
            raise Error(f"{what}: {name} is {shape_text(x.shape)} but with enable_gqa must be [..., heads, length, width]")
    heads = query.shape[-3]
    for name, x in (("key", key), ("value", value)):
        if x.shape[-3] == 0 or heads % x.shape[-3]:
            raise Error(f"{what}: {heads} query heads cannot share {x.shape[-3]} {name} heads: their number must be a "
                        "multiple")
    if key.shape[-3] != value.shape[-3]:  # torch takes this too
        key, value = (x.repeat_interleave(heads // x.shape[-3], -3) for x in (key, value))
    return key, value


def _broadcast(what: str, query: Tensor, key: Tensor, value: Tensor, shared: bool) -> Tuple[Tensor, Tensor, Tensor]:
    """All with the same dimensions before [length, width]; but heads that are shared stay as few as they are."""
    ends = 3 if shared else 2
    if query.shape[:-ends] == key.shape[:-ends] == value.shape[:-ends]:
        return query, key, value
    try:
        lead = torch.broadcast_shapes(query.shape[:-ends], key.shape[:-ends], value.shape[:-ends])
    except RuntimeError:
        raise Error(f"{what}: query {shape_text(query.shape)}, key {shape_text(key.shape)} and value "
                    f"{shape_text(value.shape)} do not broadcast to one another before their last two dimensions"
                    + ("" if shared else ": if query heads share key heads, pass enable_gqa=True")) from None

    def full(x: Tensor) -> Tensor:
        shape = (*lead, *x.shape[-ends:])
        return x if x.shape == shape else x.expand(shape)

    return full(query), full(key), full(value)


def scaled_dot_product_attention(query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
                                 is_causal: bool = False, scale: Any = None, enable_gqa: bool = False, *, top: int = 0,
                                 received: bool = False, entropy: bool = False, rows: Any = None, lse: bool = False
                                 ) -> Any:
    """torch.nn.functional.scaled_dot_product_attention, computed by fovea: the same arguments, the same meaning.

        out = dropout(softmax(scale query key^T + mask)) value

        query [..., H, N, D]    key [..., G, M, D]    value [..., G, M, E]    ->    out [..., H, N, E]

    attn_mask   bool, True: may see; or float32 or query's type, added to the scores. Broadcasts to
                [..., H, N, M]. A float one that requires a gradient gets it.
    dropout_p   the share of weights to drop, in [0, 1], drawn from torch's generator (torch.manual_seed);
                other weights than torch drops for the same seed.
    is_causal   query i sees key j when j <= i: aligned at the TOP LEFT, as in torch. Not with attn_mask.
    scale       1 / sqrt(D) unless given
    enable_gqa  query head h reads key head h // (H // G). Else leading dimensions broadcast.

    top, received, entropy, rows, lse    highlights, as in help(fovea.attend); with any of them a
                fovea.Attention is returned, whose out is what else is returned alone.

    Gradients reach query, key, value and attn_mask, once (no second derivative). A query that sees no key
    gives zeros and gets none. float32, bfloat16 and float16 on the CPU; float64 is an error. torch.autocast
    casts as it does in torch. Wrong arguments raise fovea.Error, a ValueError.

    >>> import torch
    >>> import fovea.torch
    >>> x = torch.randn(2, 8, 10, 16, generator=torch.Generator().manual_seed(0))
    >>> out = fovea.torch.scaled_dot_product_attention(x, x, x, is_causal=True)
    >>> torch.allclose(out, torch.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True), atol=1e-5)
    True
    """
    what = "scaled_dot_product_attention"
    given_type = query.dtype if isinstance(query, Tensor) else None
    query, key, value = _in_autocast(query, key, value)
    _check_operands(what, [("query", query), ("key", key), ("value", value)]
                    + ([] if attn_mask is None else [("attn_mask", attn_mask)]))
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.dim() < 2:
            raise Error(f"{what}: {name} is {shape_text(x.shape)} but must be [..., length, width]")
    if attn_mask is not None and is_causal:
        raise Error(f"{what}: attn_mask and is_causal exclude each other, as in torch: put the triangle into the mask, "
                    "or use fovea.torch.attend(..., mask=, causal='top-left')")
    if enable_gqa:
        key, value = _shared_heads(what, query, key, value)
    one_head = not enable_gqa and all(x.dim() > 2 for x in (query, key, value)) and key.shape[-3] == value.shape[-3] == 1
    query, key, value = _broadcast(what, query, key, value, enable_gqa or one_head)
    lead = query.shape[:-2]

    mask = bias = None
    if attn_mask is not None:
        whole = (*lead, query.shape[-2], key.shape[-2])
        fits = attn_mask.dim() <= len(whole) and all(
            size in (1, full) for size, full in zip(reversed(attn_mask.shape), reversed(whole)))
        if not fits:
            raise Error(f"{what}: attn_mask is {shape_text(attn_mask.shape)} but must broadcast to {shape_text(whole)}")
        flat = _flat_mask(attn_mask, lead)
        if attn_mask.dtype == torch.bool:
            mask = flat
        elif attn_mask.dtype in (torch.float32, query.dtype, given_type):
            bias = flat.to(torch.float32)
        else:
            raise Error(f"{what}: attn_mask is {_type(attn_mask)} but must be bool (True: may see), float32 or "
                        f"query's type, {_type(query)}")

    done = _attention(what, _flat(query), _flat(key), _flat(value), mask=mask, bias=bias,
                      causal="top-left" if is_causal else "none", scale=scale, dropout=dropout_p, top=top,
                      received=received, entropy=entropy, rows=rows)
    if len(lead) > 2:
        done = Attention(**{name: None if x is None else x.unflatten(0, lead[:-1]) for name, x in vars(done).items()})
    return _as_asked(done, top or received or entropy or rows is not None, lse)
