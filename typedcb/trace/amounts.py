"""How far apart two recorded values are."""

from __future__ import annotations

import math
from typing import Iterator, Optional, Union

import attrs
from typing_extensions import TypeAlias, TypeIs, override

from .looking import same
from .records import ItemsValue, NamedValues, TensorValue, Value, WeightValue

Number: TypeAlias = Union[int, float]


@attrs.frozen
class Amount:
    """By how much two numbers differ."""

    statistic: str
    """Which numbers: `value`, `mean`, `std`, `norm`, with the place of a nested one before it, as in `[0].mean`."""

    absolute: float
    """The difference, not negative."""

    relative: float
    """The difference over the greater of the two, by their size; 0 where both are 0."""

    @override
    def __str__(self) -> str:
        return f"{self.statistic} by {self.absolute:.3g} ({self.relative:.3g} of it)"


def differs(one: Value, other: Value, tolerance: float) -> bool:
    """Whether two values differ.

    Args:
        one: A value.
        other: The value beside it.
        tolerance: Up to which relative difference numbers are taken as equal; with any, hashes say nothing, and
            tensors are compared by their statistics.
    """
    if same(one, other):
        return False
    if is_number(one) and is_number(other):
        return not _near(one, other, tolerance)
    if isinstance(one, TensorValue) and isinstance(other, TensorValue):
        return _tensors_differ(one, other, tolerance)
    if isinstance(one, WeightValue) and isinstance(other, WeightValue):
        return one.hash != other.hash if not tolerance else not _near(one.norm, other.norm, tolerance)
    if isinstance(one, (ItemsValue, NamedValues)) and isinstance(other, (ItemsValue, NamedValues)):
        if (type(one), one.kind, one.length) != (type(other), other.kind, other.length):
            return True
        mine, yours = dict(_inside(one)), dict(_inside(other))
        return mine.keys() != yours.keys() or any(differs(mine[key], yours[key], tolerance) for key in mine)
    return True


def _tensors_differ(one: TensorValue, other: TensorValue, tolerance: float) -> bool:
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return True
    if one.hash is not None and other.hash is not None:
        if one.hash == other.hash:
            return False
        if not tolerance:
            return True
    if one.mean is None or other.mean is None or one.std is None or other.std is None:
        return False  # nothing is known of one of them: it was not looked at
    scale = max(abs(one.mean), abs(other.mean), one.std, other.std)
    near = tolerance * scale
    return not (_within(one.mean, other.mean, near) and _within(one.std, other.std, near))


def _within(one: float, other: float, distance: float) -> bool:
    return same(one, other) or abs(one - other) <= distance


def _near(one: Number, other: Number, tolerance: float) -> bool:
    return one == other or _within(float(one), float(other), tolerance * max(abs(one), abs(other)))


def is_number(value: Value) -> TypeIs[Number]:
    """Whether a value is a number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def amount_of(one: Value, other: Value) -> Optional[Amount]:
    """By how much two values differ, by the first of their numbers that does; None where no number does."""
    for statistic, mine, yours in _numbers(one, other, ""):
        if not same(mine, yours) and mine != yours:
            absolute = abs(float(mine) - float(yours))
            return Amount(statistic, absolute, absolute / max(abs(mine), abs(yours)))
    return None


def _numbers(one: Value, other: Value, place: str) -> Iterator[tuple[str, Number, Number]]:
    """The numbers of two values that stand beside each other."""
    if is_number(one) and is_number(other):
        yield place or "value", one, other
    elif isinstance(one, TensorValue) and isinstance(other, TensorValue):
        single = math.prod(one.shape) == math.prod(other.shape) == 1
        if one.mean is not None and other.mean is not None:
            yield f"{place} {'value' if single else 'mean'}".strip(), one.mean, other.mean
        if one.std is not None and other.std is not None:
            yield f"{place} std".strip(), one.std, other.std
    elif isinstance(one, WeightValue) and isinstance(other, WeightValue):
        yield f"{place} norm".strip(), one.norm, other.norm
    elif isinstance(one, (ItemsValue, NamedValues)) and isinstance(other, (ItemsValue, NamedValues)):
        yield f"{place} length".strip(), one.length, other.length
        yours_by_place = dict(_inside(other))
        for inner, mine in _inside(one):
            if inner in yours_by_place:
                yield from _numbers(mine, yours_by_place[inner], f"{place}{inner}")


def _inside(value: Union[ItemsValue, NamedValues]) -> list[tuple[str, Value]]:
    """What a value holds, by its place in it."""
    if isinstance(value, ItemsValue):
        return [(f"[{index}]", item) for index, item in enumerate(value.items)]
    return [(f".{name}", item) for name, item in value.entries.items()]
