"""What a run comes to: its epochs, what each callback's turns cost, what changed how often."""

from __future__ import annotations

import statistics
from typing import Iterable, Optional

import attrs

from .reading import TracedRun
from .records import Event, TensorValue, Value


@attrs.frozen
class EpochFigures:
    """An epoch of a run."""

    epoch: int
    """Its number, from 0."""

    train_batches: int
    """How many training batches were recorded."""

    valid_batches: int
    """How many validation batches were recorded."""

    train_loss: Optional[float]
    """The mean of the recorded losses of its training batches, as the last callback left them."""

    valid_loss: Optional[float]
    """The same of its validation batches."""

    seconds: float
    """From its first event to its last."""


@attrs.frozen
class Cost:
    """What a callback's turns took."""

    name: str
    """The callback."""

    turns: int
    """How many turns it had."""

    seconds: float
    """How long they took together."""

    longest: float
    """How long the longest took, in seconds."""

    hook: str
    """The hook that took most of it."""


def epochs_of(run: TracedRun) -> list[EpochFigures]:
    """The epochs of a run, as far as they were recorded."""
    spans: dict[int, tuple[float, float]] = {}
    batches: dict[tuple[int, str], set[int]] = {}
    losses: dict[tuple[int, str], list[float]] = {}
    for event, known in run.states():
        if event.epoch is None:
            continue
        first, _ = spans.get(event.epoch, (event.at, 0.0))
        spans[event.epoch] = (first, event.at + event.seconds)
        if event.phase is None or event.index is None:
            continue
        batches.setdefault((event.epoch, event.phase), set()).add(event.index)
        loss = known.get("fields:loss")
        if event.hook == "after_batch" and isinstance(loss, TensorValue) and loss.mean is not None:
            losses.setdefault((event.epoch, event.phase), []).append(loss.mean)
    return [
        EpochFigures(
            epoch,
            len(batches.get((epoch, "train"), ())),
            len(batches.get((epoch, "valid"), ())),
            _mean(losses.get((epoch, "train"))),
            _mean(losses.get((epoch, "valid"))),
            last - first,
        )
        for epoch, (first, last) in sorted(spans.items())
    ]


def _mean(values: Optional[list[float]]) -> Optional[float]:
    return statistics.fmean(values) if values else None


def costs_of(run: TracedRun) -> list[Cost]:
    """What each callback's turns took, the dearest first."""
    times: dict[int, list[float]] = {}
    hooks: dict[int, dict[str, float]] = {}
    for event in run.events:
        for call in event.calls:
            times.setdefault(call.callback, []).append(call.seconds)
            by_hook = hooks.setdefault(call.callback, {})
            by_hook[event.hook] = by_hook.get(event.hook, 0.0) + call.seconds
    found = [
        Cost(run.callback(index).name, len(took), sum(took), max(took), max(hooks[index], key=hooks[index].__getitem__))
        for index, took in times.items()
    ]
    return sorted(found, key=lambda cost: -cost.seconds)


def changes_of(run: TracedRun) -> dict[str, tuple[int, Value]]:
    """How often each cell and hyperparameter changed, and what it was in the end."""
    found: dict[str, tuple[int, Value]] = {}
    for event in run.events:
        for changed in (event.before, *(call.changed for call in event.calls)):
            for name, value in changed.items():
                if name.startswith(("cells:", "hypers:")):
                    found[name] = (found.get(name, (-1, None))[0] + 1, value)  # the first one is what it began with
    return dict(sorted(found.items()))


@attrs.frozen
class Filter:
    """Which events are meant."""

    hook: Optional[str] = None
    """Those of this hook."""

    callback: Optional[str] = None
    """Those at which this callback has a turn."""

    epoch: Optional[int] = None
    """Those of this epoch."""

    batch: Optional[int] = None
    """Those of the batches with this number."""

    phase: Optional[str] = None
    """Those of this phase's batches."""

    search: Optional[str] = None
    """Those with this text in the name of anything that is written of them, or in an answer, a reason or an error."""

    def __bool__(self) -> bool:
        """Whether it leaves anything out."""
        return any(value is not None for value in attrs.astuple(self))

    def takes(self, event: Event, run: TracedRun) -> bool:
        """Whether an event is meant."""
        wanted = (self.hook, self.epoch, self.batch, self.phase)
        got = (event.hook, event.epoch, event.index, event.phase)
        if any(want is not None and want != has for want, has in zip(wanted, got, strict=True)):
            return False
        if self.callback is not None and self.callback not in _callers(event, run):
            return False
        return self.search is None or any(self.search.lower() in word.lower() for word in _words(event, run))


def _callers(event: Event, run: TracedRun) -> set[str]:
    return {run.callback(call.callback).name for call in event.calls}


def _words(event: Event, run: TracedRun) -> Iterable[str]:
    """What a search looks through."""
    yield event.hook
    yield from event.before
    yield from (f"fields:{name}" for name in event.fields)
    for call in event.calls:
        yield run.callback(call.callback).name
        yield from (*call.changed, *(f"fields:{name}" for name in call.fields), call.answer or "", call.reason)
        if call.error is not None:
            yield from (call.error.kind, call.error.message, call.error.place)
