"""The engines of several processes.

Each is loaded when it is first asked for, since torch's distributed package takes a while to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .accelerate_engine import AccelerateEngine as AccelerateEngine
    from .torch_engine import DDP as DDP
    from .torch_engine import FSDP as FSDP
    from .torch_engine import TorchEngine as TorchEngine

_HOME: Final = {
    "AccelerateEngine": "accelerate_engine",
    "DDP": "torch_engine",
    "FSDP": "torch_engine",
    "TorchEngine": "torch_engine",
}

if not TYPE_CHECKING:  # with it, a checker would take any misspelt name for an object

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'typedcb.engines' has no attribute '{name}'")
        value: object = vars(import_module(f"typedcb.engines.{_HOME[name]}"))[name]
        globals()[name] = value
        return value
