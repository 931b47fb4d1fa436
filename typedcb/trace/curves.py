"""The numbers of a run over its events: losses, cells, hyperparameters, norms; thinned out to what a plot can show."""

from __future__ import annotations

import math
from typing import Final, Optional

import attrs

from .reading import TracedRun
from .records import ItemsValue, TensorValue, Value, WeightValue

MOST_POINTS: Final = 4000
"""How many points a curve keeps: more than a screen has columns."""


@attrs.frozen
class Curve:
    """One number over the events of a run."""

    name: str
    """What it is of: `fields:loss`, `cells:SmoothLoss.mean`, `hypers:lr`, `weights`, …"""

    phase: str
    """For the loss, the phase of its batches; empty for all else."""

    events: tuple[int, ...]
    """Where it changed: places among the run's events."""

    values: tuple[float, ...]
    """What it became there."""


def curves(run: TracedRun) -> tuple[Curve, ...]:
    """The curves of a run, in the order in which they first have a value.

    A curve has a point wherever its number was set. One of more than 4,000 points keeps the least and the greatest of
    each stretch, so that no peak is lost.

    Args:
        run: The run.
    """
    points: dict[tuple[str, str], tuple[list[int], list[float]]] = {}

    def take(place: int, name: str, value: Value, phase: str = "") -> None:
        number = number_of(value)
        if number is not None and math.isfinite(number):
            places, numbers = points.setdefault((name, phase), ([], []))
            places.append(place)
            numbers.append(number)

    for place, event in enumerate(run.events):
        for name, value in event.before.items():
            take(place, name, value)
        if event.hook == "after_loss":
            loss = event.fields.get("loss")
            for call in event.calls:
                loss = call.fields.get("loss", loss)
            take(place, "fields:loss", loss, event.phase or "")
        for call in event.calls:
            for name, value in call.changed.items():
                take(place, name, value)
    return tuple(Curve(name, phase, *_thinned(places, numbers)) for (name, phase), (places, numbers) in points.items())


def number_of(value: Value) -> Optional[float]:
    """The number that a value is, or has: a tensor of one element, a norm, the last item of a series; None for others.

    Args:
        value: The value.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, WeightValue):
        return value.norm
    if isinstance(value, TensorValue):
        return value.mean if math.prod(value.shape) == 1 else None
    if isinstance(value, ItemsValue) and value.kind == "Series" and value.items:
        return number_of(value.items[-1])
    return None


def _thinned(places: list[int], numbers: list[float]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The same curve in at most MOST_POINTS points."""
    if len(places) <= MOST_POINTS:
        return tuple(places), tuple(numbers)
    stretch = math.ceil(2 * len(places) / MOST_POINTS)
    kept: list[int] = []
    for start in range(0, len(places), stretch):
        those = range(start, min(start + stretch, len(places)))
        kept += sorted({min(those, key=numbers.__getitem__), max(those, key=numbers.__getitem__)})
    return tuple(places[each] for each in kept), tuple(numbers[each] for each in kept)
