"""What a comparison of two traces comes to, and by what rules."""

from __future__ import annotations

from typing import Optional

import attrs
from typing_extensions import override

from .amounts import Amount
from .records import Event, Value
from .words import place_of, shown


@attrs.frozen
class Equal:
    """Two traces tell of the same."""

    events: int
    """How many events were compared."""

    notes: tuple[str, ...] = ()
    """What is different about the two and did not show: a version, a setting."""

    @override
    def __str__(self) -> str:
        return "\n".join((f"equal in all {self.events} events", *(f"  {note}" for note in self.notes)))


@attrs.frozen
class Difference:
    """The first moment at which two traces differ."""

    event: Event
    """The event; where one side alone has it, that side's."""

    turn: Optional[str]
    """The callback after whose turn it was seen; None where the event already came with it."""

    name: str
    """What differs: `fields:xb`, `cells:SmoothLoss.mean`, `weights:0.weight`, `hypers:lr`, `random:torch`; `answer` and
    `error` of a turn; `turn` where another callback came; `event` where one side has no such event; `beginning` where
    the notes say what differs."""

    a: Value
    """What one side has."""

    b: Value
    """What the other side has."""

    amount: Optional[Amount] = None
    """By how much; None where there are no numbers that differ."""

    also: tuple[str, ...] = ()
    """What else differs at that moment."""

    compared: int = 0
    """How many events before it were equal."""

    notes: tuple[str, ...] = ()
    """What is different about the two from the beginning: a version, a setting."""

    @override
    def __str__(self) -> str:
        when = "as it came" if self.turn is None else f"after {self.turn}"
        lines = [f"the first difference is at {place_of(self.event)}, {when}: {self.name}"]
        lines += [f"  a  {shown(self.a)}", f"  b  {shown(self.b)}"]
        if self.amount is not None:
            lines.append(f"  they differ in the {self.amount}")
        if self.also:
            rest = f" and {len(self.also) - 8} more" if len(self.also) > 8 else ""
            lines.append(f"  also different then: {', '.join(self.also[:8])}{rest}")
        lines.append(f"  {self.compared} events before it are equal")
        more = [f"  and {len(self.notes) - 12} more, different from the beginning"] if len(self.notes) > 12 else []
        return "\n".join([*lines, *(f"  {note}" for note in self.notes[:12]), *more])


@attrs.frozen
class Rules:
    """What counts as a difference."""

    ignore: tuple[str, ...] = ()
    """Patterns of names that are passed over, such as `random:*` or `cells:MyTimer.*`."""

    tolerance: float = 0.0
    """Up to which relative difference numbers are equal. With any, tensors are compared by their statistics, and hashes
    are not: for one machine against another."""

    common: bool = False
    """Whether events that one side alone has are passed over."""

    callback_names: bool = True
    """Whether callbacks are known by their names; by their places otherwise: for a class that was renamed."""

    measured: bool = False
    """Whether cells that hold times, and cells that no checkpoint holds, are compared too."""

    beginnings: bool = False
    """Whether versions, machines, seeds and settings have to be the same too."""
