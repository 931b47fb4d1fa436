"""Typed callbacks that were handed to a trainer as they are, instead of by its adapter's host(...)."""

from __future__ import annotations

from typing import Iterable

from ..callback import is_callback
from ..errors import CallbackError


def refuse_bare(callbacks: Iterable[object], trainer: str, module: str) -> None:
    """Refuses typed callbacks among a trainer's own.

    Args:
        callbacks: What the trainer was given.
        trainer: Its name.
        module: Where the host(...) for it is.

    Raises:
        CallbackError: There is one.
    """
    for callback in callbacks:
        if is_callback(callback):
            name = type(callback).__name__
            raise CallbackError(
                f"{name} is a typed callback, and {trainer} has callbacks of its own: host it, by "
                f"callbacks=[host({name}(...))], of {module}."
            )
