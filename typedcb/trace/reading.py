"""A trace as it is read back: its runs, and each with its events."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Iterator, Optional, Union

import attrs

from ..errors import TraceError
from ..showing import Sheet, Sheets
from .framing import Frames
from .records import FORMAT, CallbackInfo, End, Event, Header, Record, Value

PAYLOAD: Final = ("xb", "yb", "pred", "loss")
"""The fields that are forgotten when a batch begins."""


def begins_batch(event: Event, last: Optional[Event]) -> bool:
    """Whether an event is the first that is recorded of a batch.

    Args:
        event: The event.
        last: The one before it.
    """
    if event.index is None:
        return False
    before = None if last is None else (last.phase, last.epoch, last.index)
    return event.hook == "begin_batch" or before != (event.phase, event.epoch, event.index)


@attrs.frozen
class TracedRun:
    """A fit, or a validation outside of one."""

    header: Header
    """What it was run with."""

    events: tuple[Event, ...]
    """Its events, in the order in which they came."""

    end: Optional[End]
    """How it ended; None where it was killed, or is still under way."""

    def callback(self, index: int) -> CallbackInfo:
        """The callback that a Call names."""
        return self.header.callbacks[index]

    def states(self) -> Iterator[tuple[Event, dict[str, Value]]]:
        """Each event with everything that is known as the first callback gets it: fields, cells, weights and so on.

        The dict is the same one each time, and goes on changing; its fields' names are `fields:loss` and the like.
        """
        known: dict[str, Value] = {}
        last: Optional[Event] = None
        for event in self.events:
            if begins_batch(event, last):
                for name in PAYLOAD:
                    known.pop(f"fields:{name}", None)
            last = event
            known.update(event.before)
            known.update({f"fields:{name}": value for name, value in event.fields.items()})
            yield event, known
            for call in event.calls:
                known.update(call.changed)
                known.update({f"fields:{name}": value for name, value in call.fields.items()})

    def __rich__(self) -> Sheets:
        """What rich shows of it: how it went, and what each callback cost."""
        return Sheets((_how_it_went(self), _costs(self)))

    def _repr_html_(self) -> str:
        return self.__rich__().html()


def _how_it_went(run: TracedRun) -> Sheet:
    epochs = {event.epoch for event in run.events if event.epoch is not None}
    batches = sum(event.hook == "begin_batch" for event in run.events)
    if run.end is None:
        end = "none: it was killed, or is under way"
    else:
        error = "" if run.end.error is None else f", {run.end.error.kind}: {run.end.error.message}"
        end = f"{run.end.outcome} after {run.end.seconds:.2f} s{run.end.reason and f', {run.end.reason}'}{error}"
    rows = (
        ("epochs", f"{len(epochs):,}"),
        ("batches", f"{batches:,}"),
        ("events", f"{len(run.events):,}"),
        ("end", end),
    )
    return Sheet(f"A traced {run.header.kind}", ("", ""), rows)


def _costs(run: TracedRun) -> Sheet:
    calls = [0] * len(run.header.callbacks)
    seconds = [0.0] * len(calls)
    for call in (call for event in run.events for call in event.calls):
        calls[call.callback] += 1
        seconds[call.callback] += call.seconds
    rows = tuple(
        (callback.name, f"{count:,}", f"{1e3 * spent:.2f} ms")
        for callback, count, spent in zip(run.header.callbacks, calls, seconds, strict=True)
    )
    return Sheet("What each callback cost", ("callback", "calls", "in all"), rows)


@attrs.frozen
class TraceFile:
    """A trace that was read."""

    path: Path
    """The file."""

    runs: tuple[TracedRun, ...]
    """Its runs, in order."""

    cut: int
    """How many bytes at its end are no whole record: more than 0 where a run was killed as it wrote."""

    def __rich__(self) -> Sheets:
        """What rich shows of it: its runs, and what each callback cost in them."""
        return Sheets(tuple(sheet for run in self.runs for sheet in run.__rich__().sheets))

    def _repr_html_(self) -> str:
        return self.__rich__().html()

    def whole_runs(self) -> tuple[TracedRun, ...]:
        """Its runs that have an event.

        Raises:
            TraceError: It has none.
        """
        runs = tuple(run for run in self.runs if run.events)
        if not runs:
            raise TraceError(f"{self.path} has no run with an event in it: there is nothing to compare.")
        return runs


def read(path: Union[str, Path]) -> TraceFile:
    """Reads a trace, up to where it is sound.

    Args:
        path: The file.

    Raises:
        TraceError: It cannot be read, is no trace, or is of a format that is newer than this release.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror or error}.") from error
    frames = Frames(content, path)
    runs = tuple(_runs(frames, path))
    return TraceFile(path, runs, frames.cut)


def _runs(records: Iterator[Record] | Frames, path: Path) -> Iterator[TracedRun]:
    header: Optional[Header] = None
    events: list[Event] = []
    end: Optional[End] = None
    for record in records:
        if isinstance(record, Header):
            if header is not None:
                yield TracedRun(header, tuple(events), end)
            header, events, end = _known(record, path), [], None
        elif isinstance(record, Event):
            events.append(record)
        else:
            end = record
    if header is not None:
        yield TracedRun(header, tuple(events), end)


def _known(header: Header, path: Path) -> Header:
    if header.format > FORMAT:
        raise TraceError(
            f"{path} has format {header.format}, and this release reads up to {FORMAT}: install a newer typedcb."
        )
    return header
