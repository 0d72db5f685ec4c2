"""Arrays of other libraries, as the engine reads them; and results in the caller's kind.

NumPy arrays and everything that speaks DLPack are read where they lie. What would need a copy or a cast
is an error that names the cure: a silent copy of a long cache is a fault that nobody sees.
"""

from __future__ import annotations

import sys
from typing import Any, Optional, Sequence, Tuple

import numpy as np

from . import _engine

FLOATS = ("float32", "bfloat16", "float16")

Error = _engine.Error
Integers = np.ndarray[Any, np.dtype[np.int32]]


def torch_of(x: Any) -> Any:
    """The torch module if x is a tensor, else None. Never imports torch: who has a tensor has it."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(x, torch.Tensor) else None


def shape_text(shape: Sequence[int]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def _cast_text(name: str, x: Any, dtype: str) -> str:
    """How the caller turns x into dtype, in the caller's own library."""
    if torch_of(x) is not None:
        return f"{name}.to(torch.{dtype})"
    if isinstance(x, np.ndarray):
        return f"{name}.astype({'bool' if dtype == 'bool' else 'numpy.' + dtype})"
    return f"{name} as {dtype}"


def read(what: str, name: str, x: Any, types: Sequence[str], *, writable: bool = False,
         instead: str = "") -> _engine.Array:
    """x as the engine reads it, of one of `types`. `instead`: a sentence for another type, {cast} filled in."""
    # The usual case goes straight through; what is wrong is looked into only once something is.
    numpy = isinstance(x, np.ndarray)
    is_bfloat16 = numpy and x.dtype.kind == "V" and x.dtype.name == "bfloat16"
    if numpy and type(x) is not np.ndarray and isinstance(x, np.ma.MaskedArray):
        raise Error(f"{what}: {name} is a masked array, whose mask would be lost: pass {name}.data, and what may be "
                    "seen as mask=")
    if not numpy and getattr(x, "requires_grad", False) is True:
        torch = torch_of(x)
        if torch is None or torch.is_grad_enabled():
            raise Error(f"{what}: {name} requires a gradient, which is lost here: use fovea.torch.attend, which "
                        f"gives it; or pass {name}.detach(), or call under torch.no_grad()")
        x = x.detach()
    try:
        # ml_dtypes' bfloat16 is none of NumPy's own types, so no protocol takes it: its bits travel.
        array = _engine.Array(x.view(np.uint16) if is_bfloat16 else x, writable, is_bfloat16)
    except (BufferError, TypeError):  # TypeError: None
        raise _refusal(what, name, x, writable) from None
    if not array.on_cpu:
        raise Error(f"{what}: {name} is on {getattr(x, 'device', 'another device')} but fovea computes on the CPU: "
                    f"copy it there" + (f", {name}.cpu()" if torch_of(x) is not None else ""))
    if array.dtype not in types:
        instead = instead or "must be " + " or ".join(types) + ": pass {cast}"
        raise Error(f"{what}: {name} is {array.dtype} but " + instead.format(cast=_cast_text(name, x, types[0])))
    return array


def _refusal(what: str, name: str, x: Any, writable: bool) -> Exception:
    """Why x could not be read."""
    if isinstance(x, np.ndarray):
        if writable and not x.flags.writeable:
            return Error(f"{what}: {name} is read-only but results are written to it: pass a writable array")
        if not x.dtype.isnative:
            return Error(f"{what}: {name} has the other byte order: pass {name}.astype({name}.dtype.newbyteorder('='))")
        if any(step % x.dtype.itemsize for step in x.strides):
            return Error(f"{what}: {name} has strides {shape_text(x.strides)}, in bytes, that are no multiples of its "
                         f"element size {x.dtype.itemsize}: pass {name}.copy()")
        return Error(f"{what}: {name} holds {x.dtype}, which is no type of numbers that fovea knows")
    if hasattr(x, "__dlpack__"):
        return Error(f"{what}: {name} cannot be read{_why_not(x)}")
    return TypeError(f"{what}: {name} is a {type(x).__name__} but must be an array: NumPy's, torch's or any that has "
                     "__dlpack__")


def _why_not(x: Any) -> str:
    """The words of the library that refused, if it has some."""
    try:
        x.__dlpack__()
    except Exception as refusal:  # any library, any exception: only its text is wanted
        return f": {refusal}"
    return ""


def read_floats(what: str, name: str, x: Any) -> _engine.Array:
    """q, k, v: never cast by itself, for the caller ought to know that float64 is not what is computed."""
    return read(what, name, x, FLOATS,
                instead="fovea computes on float32, bfloat16 and float16, and casts nothing by itself: pass {cast}")


def read_mask(what: str, x: Any) -> _engine.Array:
    return read(what, "mask", x, ("bool",),
                instead="a mask is bool, True: may see. Numbers to add to the scores go to bias=; "
                        "zeros and ones become a mask by {cast}")


def read_numbers(what: str, name: str, x: Any) -> _engine.Array:
    """float32, or a list of Python's own numbers, which have no type to lose."""
    if isinstance(x, (list, tuple)):
        x = np.asarray(x, np.float32)
    return read(what, name, x, ("float32",))


def read_integers(what: str, name: str, x: Any) -> Optional[Integers]:
    """A short list (lengths, offsets, rows) as int32. The only thing that is copied."""
    if x is None:
        return None
    if not isinstance(x, np.ndarray) and not isinstance(x, (int, list, tuple, range)) and hasattr(x, "__dlpack__"):
        x = x.numpy() if torch_of(x) is not None and x.device.type == "cpu" else np.from_dlpack(x)
    array = np.asarray(x)
    if array.ndim == 0:
        array = array.reshape(1)
    if array.size == 0 and array.ndim == 1:
        return np.empty(0, np.int32)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise Error(f"{what}: {name} is {array.dtype} {shape_text(array.shape)} but must be a list of integers")
    limits = np.iinfo(np.int32)
    for at, value in enumerate(array.tolist()):
        if not limits.min <= value <= limits.max:
            raise Error(f"{what}: {name}[{at}] is {value} but must fit int32")
    return array.astype(np.int32)


def dtype_name(what: str, name: str, dtype: Any) -> str:
    """'float32' for 'float32', numpy.float32, numpy.dtype('float32') and torch.float32 alike."""
    text = str(dtype)
    if text.startswith("torch."):
        return text[len("torch."):]
    if isinstance(dtype, str):
        return dtype
    try:
        return str(np.dtype(dtype).name)
    except TypeError:
        raise TypeError(f"{what}: {name} is {dtype!r} but must be a type, as in {name}='float32'") from None


def numpy_bfloat16(what: str) -> Any:
    """The NumPy type of bfloat16, which the package ml_dtypes adds."""
    try:
        import ml_dtypes
    except ImportError:
        raise Error(f"{what}: NumPy has no bfloat16 by itself: pip install ml_dtypes, or use torch.bfloat16") from None
    return np.dtype(ml_dtypes.bfloat16)


class Kind:
    """Where results live: NumPy's arrays."""

    def __init__(self, like: Any = None) -> None:
        self._like = like

    def empty(self, shape: Tuple[int, ...], dtype: str) -> Any:
        if dtype != "bfloat16":
            return np.empty(shape, dtype)
        like = getattr(self._like, "dtype", None)
        return np.empty(shape, like if getattr(like, "name", "") == dtype else numpy_bfloat16("attend"))

    def finished(self, x: Any) -> Any:
        return x


class TorchKind(Kind):
    """torch's tensors, whatever the default device is."""

    def empty(self, shape: Tuple[int, ...], dtype: str) -> Any:
        torch = sys.modules["torch"]
        return torch.empty(shape, dtype=getattr(torch, dtype), device="cpu")


class ForeignKind(Kind):
    """Any other library: memory of ours, which it takes over through DLPack without a copy."""

    def empty(self, shape: Tuple[int, ...], dtype: str) -> Any:
        return _engine.empty(list(shape), dtype)

    def finished(self, x: Any) -> Any:
        namespace = getattr(self._like, "__array_namespace__", None)
        library = namespace() if namespace is not None else sys.modules.get(type(self._like).__module__.split(".")[0])
        from_dlpack = getattr(library, "from_dlpack", None)
        return from_dlpack(x) if from_dlpack is not None else x


def kind_of(x: Any) -> Kind:
    if isinstance(x, np.ndarray):
        return Kind(x)
    return TorchKind(x) if torch_of(x) is not None else ForeignKind(x)
