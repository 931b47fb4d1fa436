"""Fields that take one item or a tuple of them."""

from __future__ import annotations

from typing import TypeVar, Union

from typing_extensions import TypeIs

T = TypeVar("T")


def as_tuple(value: Union[T, tuple[T, ...]]) -> tuple[T, ...]:
    """One item or several, as a tuple."""
    return value if _is_tuple(value) else (value,)


def _is_tuple(value: Union[T, tuple[T, ...]]) -> TypeIs[tuple[T, ...]]:
    return isinstance(value, tuple)
