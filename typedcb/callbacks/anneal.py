"""Schedules: functions from the position in a fit, 0 at its beginning and 1 at its end, to a value.

one = cosine(1e-3, 1e-5)
two = combine((0.3, linear(1e-4, 1e-3)), (0.7, cosine(1e-3, 1e-5)))
"""

from __future__ import annotations

import math
from typing import Callable

from typing_extensions import TypeAlias

Schedule: TypeAlias = Callable[[float], float]
"""From the position in the fit, in [0, 1], to a value."""


def constant(value: float) -> Schedule:
    """The same value throughout.

    Args:
        value: The value.
    """
    return lambda position: value


def linear(start: float, end: float) -> Schedule:
    """A straight line from `start` to `end`.

    Args:
        start: The value at position 0.
        end: The value at position 1.
    """
    return lambda position: start + position * (end - start)


def cosine(start: float, end: float) -> Schedule:
    """Half a cosine from `start` to `end`: flat at both ends, steepest in the middle.

    Args:
        start: The value at position 0.
        end: The value at position 1.
    """
    return lambda position: start + (1 + math.cos(math.pi * (1 - position))) * (end - start) / 2


def exponential(start: float, end: float) -> Schedule:
    """A constant factor from `start` to `end`, as a learning-rate finder uses.

    Args:
        start: The value at position 0, not 0.
        end: The value at position 1, of the same sign.

    Raises:
        ValueError: One of them is 0, or the signs differ: there is no such factor.
    """
    if start * end <= 0:
        raise ValueError(f"exponential({start}, {end}): both ends have to be above 0, or both below.")
    return lambda position: start * (end / start) ** position


def polynomial(start: float, end: float, power: float = 1.0) -> Schedule:
    """From `start` to `end` as (1 - position)**power falls from 1 to 0.

    Args:
        start: The value at position 0.
        end: The value at position 1.
        power: 1 is a straight line; above 1 it falls fast at first.
    """
    return lambda position: end + (start - end) * (1 - position) ** power


def combine(*phases: tuple[float, Schedule]) -> Schedule:
    """Schedules one after the other.

    Args:
        *phases: Each phase's share of the fit and its schedule, which runs from 0 to 1 within the phase.

    Raises:
        ValueError: There is no phase, a share is not above 0, or the shares do not add up to 1.
    """
    shares = [share for share, _ in phases]
    if not shares or min(shares) <= 0 or not math.isclose(sum(shares), 1, abs_tol=1e-9):
        raise ValueError(f"combine: the shares {shares} have to be above 0 and to add up to 1.")

    def schedule(position: float) -> float:
        begin = 0.0
        for share, inner in phases[:-1]:
            if position < begin + share:
                return inner((position - begin) / share)
            begin += share
        share, inner = phases[-1]
        return inner(min((position - begin) / share, 1.0))

    return schedule


def one_cycle(
    highest: float, *, warm_up: float = 0.3, start_div: float = 25.0, end_div: float = 1e5, rise: Rise = cosine
) -> Schedule:
    """Up to the highest value and down again, far below the start (Smith 2018, https://arxiv.org/abs/1803.09820).

    Args:
        highest: The value at its peak.
        warm_up: The share of the fit that goes up.
        start_div: It starts at highest / start_div.
        end_div: It ends at highest / end_div.
        rise: How it goes up; it comes down by a cosine.
    """
    up, down = rise(highest / start_div, highest), cosine(highest, highest / end_div)
    return combine((warm_up, up), (1 - warm_up, down))


def flat_cosine(start: float, end: float, *, flat: float = 0.75) -> Schedule:
    """The same value for most of the fit, and then half a cosine down (or up) to another.

    Args:
        start: The value of the flat part.
        end: The value at position 1.
        flat: The share of the fit that stays at `start`.
    """
    return combine((flat, constant(start)), (1 - flat, cosine(start, end)))


Rise: TypeAlias = Callable[[float, float], Schedule]
"""An annealer: from a start and an end to a schedule, such as `linear` or `cosine`."""
