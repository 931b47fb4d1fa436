"""The first moment at which two runs differ.

Runs are compared event by event, and an event by its moments: as it came, and after each callback's turn. What is
compared is all that is known by then, of what either side has noted at that moment. Times are never compared.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Iterable, Iterator, Optional, Sequence, Union

import attrs
from typing_extensions import TypeAlias

from .aligning import Key, Known, Placed, Whole, wholes
from .amounts import amount_of, differs
from .beginnings import beginnings
from .comparison import Difference, Equal, Rules
from .reading import TracedRun, read
from .records import Call, ErrorValue, Event, Header, TextValue, Value

AnyTrace: TypeAlias = Union[str, Path]

MEASURED: Final = ("cells:Timer*.*", "cells:Progress*.*", "cells:PeakMemory*.*", "cells:Profiler*.*")
"""The cells of ready-made callbacks that hold times and sizes, which no two runs have in common."""

_FIRST: Final = ("hypers:", "cells:", "weights:", "weights", "gradients:", "gradients", "fields:", "random:")
"""What is named first of several differences at one moment: what is more likely the others' cause."""


def diff(
    a: Union[AnyTrace, Sequence[AnyTrace]],
    b: Union[AnyTrace, Sequence[AnyTrace]],
    rules: Optional[Rules] = None,
) -> Union[Equal, Difference]:
    """Compares two traces.

    Args:
        a: A trace; or several, in order, of a fit that was left and taken up again.
        b: What it is compared to.
        rules: What counts as a difference.

    Returns:
        Equal, or the first Difference.

    Raises:
        TraceError: A file cannot be read as a trace, or has no run.
    """
    return diff_runs(_runs(a), _runs(b), rules or Rules())


def _runs(traces: Union[AnyTrace, Sequence[AnyTrace]]) -> list[TracedRun]:
    those = [traces] if isinstance(traces, (str, Path)) else traces
    return [run for trace in those for run in read(trace).whole_runs()]


def diff_runs(a: Iterable[TracedRun], b: Iterable[TracedRun], rules: Rules) -> Union[Equal, Difference]:
    """Compares runs that have been read.

    Args:
        a: The runs of one side, in order.
        b: Those of the other side.
        rules: What counts as a difference.
    """
    mine, yours = wholes(a), wholes(b)
    compared = 0
    notes: list[str] = []
    for one, other in zip(mine, yours, strict=False):
        notes += list(beginnings(one.header, other.header))
        if rules.beginnings and notes:
            return Difference(one.events[0].event, None, "beginning", None, None, notes=tuple(notes))
        pair = _Pair(one, other, rules)
        found = pair.first_difference()
        compared += pair.compared
        if found is not None:
            return attrs.evolve(found, compared=compared, notes=tuple(notes))
    if len(mine) != len(yours) and not rules.common:
        more = (mine if len(mine) > len(yours) else yours)[min(len(mine), len(yours))]
        what = f"a {more.header.kind}"
        ours, theirs = (what, None) if len(mine) > len(yours) else (None, what)
        return Difference(more.events[0].event, None, "event", ours, theirs, compared=compared, notes=tuple(notes))
    return Equal(compared, tuple(notes))


class _Pair:
    """Two fits, side by side."""

    def __init__(self, a: Whole, b: Whole, rules: Rules) -> None:
        self._a = a
        self._b = b
        self._rules = rules
        self._known = (Known(), Known())
        self._names = (_Names(a.header, b.header, rules), _Names(b.header, a.header, rules))
        self.compared = 0

    def first_difference(self) -> Optional[Difference]:
        """The first difference; None where there is none."""
        mine, yours = _Queue(self._a.events), _Queue(self._b.events)
        while True:
            self._take_silent(mine, 0)
            self._take_silent(yours, 1)
            one, other = mine.next, yours.next
            if one is not None and other is not None and one.key == other.key:
                found = self._events(one.event, other.event)
                if found is not None:
                    return found
                self.compared += 1
                mine.pop()
                yours.pop()
            elif one is None and other is None:
                return None
            elif self._rules.common:
                self._take_extra(mine, yours)
            else:
                return _extra(one, other, yours)

    def _take_silent(self, queue: _Queue, side: int) -> None:
        while queue.next is not None and not queue.next.compared:
            self._take_in(queue.pop().event, side)

    def _take_extra(self, mine: _Queue, yours: _Queue) -> None:
        """Passes over an event that one side alone has."""
        theirs = mine.next is None or (yours.next is not None and yours.next.key not in mine.left)
        queue, side = (yours, 1) if theirs else (mine, 0)
        self._take_in(queue.pop().event, side)

    def _take_in(self, event: Event, side: int) -> None:
        """Takes in what an event has changed, without comparing it."""
        known = self._known[side]
        known.begin(event)
        for call in event.calls:
            known.take(call.changed, call.fields)

    def _events(self, one: Event, other: Event) -> Optional[Difference]:
        for known, event in zip(self._known, (one, other), strict=True):
            known.begin(event)
        if one.step != other.step:
            return _difference(one, None, [("step", one.step, other.step)])
        found = self._moment(one, None, (one.before, one.fields), (other.before, other.fields))
        if found is not None:
            return found
        for place in range(max(len(one.calls), len(other.calls))):
            mine = one.calls[place] if place < len(one.calls) else None
            yours = other.calls[place] if place < len(other.calls) else None
            found = self._calls(one, mine, yours)
            if found is not None:
                return found
        return None

    def _calls(self, event: Event, mine: Optional[Call], yours: Optional[Call]) -> Optional[Difference]:
        caller = None if mine is None else self._names[0].caller(mine)
        other = None if yours is None else self._names[1].caller(yours)
        if mine is None or yours is None or caller != other:
            return _difference(event, None, [("turn", caller, other)])
        turn = self._names[0].shown(mine)
        answers: list[tuple[str, Value, Value]] = [
            ("answer", mine.answer, yours.answer),
            ("reason", mine.reason, yours.reason),
            ("error", _error(mine.error), _error(yours.error)),
        ]
        found = [named for named in answers if named[1] != named[2]]
        if found:
            return _difference(event, turn, found)
        self._known[0].take(mine.changed, mine.fields)
        self._known[1].take(yours.changed, yours.fields)
        return self._moment(event, turn, (mine.changed, mine.fields), (yours.changed, yours.fields))

    def _moment(self, event: Event, turn: Optional[str], mine: _Noted, yours: _Noted) -> Optional[Difference]:
        """What of that which was noted at a moment differs."""
        names = self._names
        noted = {*names[0].compared(mine), *names[1].compared(yours)}
        found: list[tuple[str, Value, Value]] = []
        for name in noted:
            values = [side.value(known, name) for side, known in zip(names, self._known, strict=True)]
            if differs(values[0], values[1], self._rules.tolerance):
                found.append((names[0].own(name), values[0], values[1]))
        return _difference(event, turn, found) if found else None


_Noted: TypeAlias = tuple[dict[str, Value], dict[str, Value]]


class _Names:
    """What the names of one side are compared as."""

    def __init__(self, header: Header, other: Header, rules: Rules) -> None:
        self._alone = {info.name for info in header.callbacks} - {info.name for info in other.callbacks}
        self._callbacks = [info.name for info in header.callbacks]
        self._by_place = not rules.callback_names
        self._seeds = header.seeds
        self._places = {info.name: str(place) for place, info in enumerate(header.callbacks)}
        self._owns: dict[str, str] = {}
        passed_over = [*rules.ignore]
        if not rules.measured:
            passed_over += [
                *MEASURED,
                *(f"cells:{info.name}.{name}" for info in header.callbacks for name in info.unsaved),
            ]
        self._plain = {name for name in passed_over if not any(sign in name for sign in "*?[")}
        self._patterns = [name for name in passed_over if name not in self._plain]
        self._seen: dict[str, Optional[str]] = {}

    def caller(self, call: Call) -> str:
        """Who had a turn, as it is compared."""
        return str(call.callback) if self._by_place else self._callbacks[call.callback]

    def shown(self, call: Call) -> str:
        """Who had a turn."""
        return self._callbacks[call.callback]

    def compared(self, noted: _Noted) -> Iterator[str]:
        """The names of what was noted, as they are compared, without those that are passed over."""
        changed, fields = noted
        for name in (*changed, *(f"fields:{field}" for field in fields)):
            if name not in self._seen:
                self._seen[name] = self._compared(name)
            compared = self._seen[name]
            if compared is not None:
                yield compared

    def _compared(self, name: str) -> Optional[str]:
        if name in self._plain or any(fnmatchcase(name, pattern) for pattern in self._patterns):
            return None
        if not name.startswith("cells:"):
            return name
        callback, _, field = name.removeprefix("cells:").rpartition(".")
        if not self._by_place:
            return None if callback in self._alone else name  # its turns are what differs
        compared = f"cells:{self._places.get(callback, callback)}.{field}"
        self._owns[compared] = name
        return compared

    def own(self, compared: str) -> str:
        """This side's name for what is compared."""
        return self._owns.get(compared, compared)

    def value(self, known: Known, compared: str) -> Value:
        """This side's value."""
        name = self.own(compared)
        return known.values.get(name, self._seeds.get(name))


class _Queue:
    """Events that are still to be compared."""

    def __init__(self, events: Sequence[Placed]) -> None:
        self._events = events
        self._at = 0
        self.left: set[Key] = {placed.key for placed in events if placed.compared}

    @property
    def next(self) -> Optional[Placed]:
        """The next one; None at the end."""
        return self._events[self._at] if self._at < len(self._events) else None

    def pop(self) -> Placed:
        """Takes the next one."""
        placed = self._events[self._at]
        self._at += 1
        self.left.discard(placed.key)
        return placed


def _extra(one: Optional[Placed], other: Optional[Placed], yours: _Queue) -> Difference:
    """The event that one side has, and the other has not."""
    if one is not None and (other is None or one.key not in yours.left):
        return Difference(one.event, None, "event", one.event.hook, _hook(other))
    if other is None:
        raise AssertionError("both sides are at their ends")
    return Difference(other.event, None, "event", _hook(one), other.event.hook)


def _hook(placed: Optional[Placed]) -> Optional[str]:
    return None if placed is None else placed.event.hook


def _error(error: Optional[ErrorValue]) -> Value:
    return None if error is None else TextValue(error.kind, error.message)


def _difference(event: Event, turn: Optional[str], found: Sequence[tuple[str, Value, Value]]) -> Difference:
    """A difference, of several the one that is most likely the others' cause."""
    ordered = sorted(found, key=lambda named: (_rank(named[0]), named[0]))
    (name, a, b), *others = ordered
    also = tuple(other for other, _, _ in others)
    return Difference(event, turn, name, a, b, amount_of(a, b), also)


def _rank(name: str) -> int:
    fields = ("xb", "yb", "pred", "loss")
    kind = next((place for place, prefix in enumerate(_FIRST) if name.startswith(prefix)), 0)
    field = name.removeprefix("fields:")
    return kind * 10 + (fields.index(field) if field in fields else 5)
