"""What tells callbacks apart in a trace, a checkpoint and an explanation: their class, and their place in it."""

from __future__ import annotations

from typing import Sequence

from typing_extensions import TypeAlias

from .callback import SomeCallback

Key: TypeAlias = tuple[str, int]
"""A callback: its class, and its place among the instances of that class, from 0."""


def keys_of(callbacks: Sequence[SomeCallback]) -> list[Key]:
    """The key of each callback. A class inside of another has that one's name before its own.

    Args:
        callbacks: In the order in which they run.
    """
    keys: list[Key] = []
    counts: dict[str, int] = {}
    for callback in callbacks:
        name = type(callback).__qualname__.rpartition("<locals>.")[2]
        place = counts[name] = counts.get(name, -1) + 1
        keys.append((name, place))
    return keys


def names_of(callbacks: Sequence[SomeCallback]) -> dict[int, str]:
    """What callbacks are called, by id: `SmoothLoss`, `SmoothLoss#2`.

    Args:
        callbacks: In the order in which they run.
    """
    keyed = zip(callbacks, keys_of(callbacks), strict=True)
    return {id(callback): f"{name}#{place + 1}" if place else name for callback, (name, place) in keyed}
