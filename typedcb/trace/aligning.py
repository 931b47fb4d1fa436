"""Two traces side by side: which fits belong together, and which events of them.

A fit that was taken up again has several runs, in one file or in several. Its parts are put together: what an earlier
part has run beyond the checkpoint, a later one has run again, and the later one counts.
"""

from __future__ import annotations

from collections import Counter
from typing import Iterable, Iterator, Optional, Sequence

import attrs
from typing_extensions import TypeAlias

from .reading import PAYLOAD, TracedRun, begins_batch
from .records import Event, Header, Value

Key: TypeAlias = tuple[str, Optional[int], Optional[str], Optional[int], int]
"""An event's place in a fit: hook, epoch, phase, batch, and which one of several with these."""


@attrs.frozen
class Placed:
    """An event with its place in the fit."""

    key: Key
    """Its place."""

    event: Event
    """The event."""

    run: TracedRun
    """The run that it is of."""

    compared: bool
    """False for what the parts of a fit have for themselves: where one of them ends and the next begins."""


@attrs.frozen
class Whole:
    """A fit or a validation, from all the runs that it took."""

    header: Header
    """The first run's header."""

    events: tuple[Placed, ...]
    """Its events in order."""


def wholes(runs: Iterable[TracedRun]) -> list[Whole]:
    """The fits and validations that some runs are, or are parts of.

    Args:
        runs: In the order in which they were run.
    """
    parts: list[list[TracedRun]] = []
    for run in runs:
        if _goes_on(run) and parts and parts[-1][0].header.kind == run.header.kind == "fit":
            parts[-1].append(run)
        else:
            parts.append([run])
    return [_whole(those) for those in parts]


def _goes_on(run: TracedRun) -> bool:
    """Whether a run takes up a fit where another one has left it."""
    for event in run.events:
        if event.hook == "begin_epoch" or event.index is not None:
            return bool(event.epoch or event.index or event.step)
    return False


_ENDS = ("after_cancel_train", "after_fit")


def _whole(parts: Sequence[TracedRun]) -> Whole:
    placed: list[list[Placed]] = []
    for place, run in enumerate(parts):
        kept: list[Placed] = []
        counts: Counter[tuple[object, ...]] = Counter()
        for event in run.events:
            where = (event.hook, event.epoch, event.phase, event.index)
            compared = (not place or event.hook != "begin_fit") and (run is parts[-1] or event.hook not in _ENDS)
            kept.append(Placed((*where, counts[where]), event, run, compared))
            counts[where] += 1
        placed.append(kept)
    return Whole(parts[0].header, tuple(_joined(placed)))


def _joined(parts: Sequence[Sequence[Placed]]) -> Iterator[Placed]:
    """The events of all parts, without those that a later part has run again."""
    for place, part in enumerate(parts):
        again = {placed.key for later in parts[place + 1 :] for placed in later if placed.compared}
        yield from (placed for placed in part if not placed.compared or placed.key not in again)


class Known:
    """What is known of a run's state while its events go by."""

    def __init__(self) -> None:
        self._last: Optional[Event] = None
        self.values: dict[str, Value] = {}

    def begin(self, event: Event) -> None:
        """Takes in what an event comes with."""
        if begins_batch(event, self._last):
            for name in PAYLOAD:
                self.values.pop(f"fields:{name}", None)
        self._last = event
        self.take(event.before, event.fields)

    def take(self, changed: dict[str, Value], fields: dict[str, Value]) -> None:
        """Takes in changes."""
        self.values.update(changed)
        self.values.update({f"fields:{name}": value for name, value in fields.items()})
