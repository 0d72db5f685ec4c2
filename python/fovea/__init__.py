"""Exact attention on a CPU, and what it attended to.

attend() is the mechanism; help(fovea.attend) has its formula, shapes, edges and an example. attend_backward()
gives its gradients; in torch, import fovea.torch does so by itself.
"""

from typing import List

from . import _engine
from ._arrays import Error
from ._attend import Attention, attend, highlights
from ._backward import Gradients, attend_backward
from ._parts import KeyValueCache, merge

__version__ = _engine.__version__

__all__ = ["Attention", "Error", "Gradients", "KeyValueCache", "attend", "attend_backward", "available_isas",
           "highlights", "isa", "merge", "set_isa", "__version__"]


def isa() -> str:
    """The instruction set in use, one of available_isas(): the best there is, unless FOVEA_ISA names another."""
    return _engine.isa()


def set_isa(name: str) -> None:
    """Use another one, for calls that start later. Raises Error unless it is among available_isas()."""
    _engine.set_isa(name)


def available_isas() -> List[str]:
    """What this build and this processor can run, best first."""
    return _engine.available_isas()
