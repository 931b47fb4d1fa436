"""Records the events of a loop, and every callback's turn at them.

The listeners of each event are wrapped when the plan is made: one before them looks at the event, one around each of
them sees its turn, one behind them writes the record. A round that is cut short, by a Cancel or an error, is written
when the next event comes, or at once where nothing can follow in it.
"""

from __future__ import annotations

import time
import warnings
from typing import Callable, Final, Generic, Literal, Optional, Sequence, Union

import attrs
import msgspec
from torch import Tensor

from .. import hooks
from ..callback import SomeCallback
from ..cell import State
from ..dependencies import own_states
from ..dispatch import E, Listeners
from ..errors import TraceWarning
from ..events import AfterFit, Cancelled, Failed
from ..hooks import HookSpec
from ..identity import names_of
from ..needs import HasModelAndOpt
from ..outcomes import Cancel
from .framing import Writer
from .header import header_of
from .looking import Cells, Gradients, Hypers, RandomNumbers, Watched, Weights, same
from .options import Options
from .records import Call, End, Event, Header, TextValue, Value
from .summaries import Summarizer, error_value

_POSITION: Final = ("phase", "epoch", "index", "step")
_PAYLOAD: Final = ("xb", "yb", "pred", "loss")
_MISSING: Final = object()


class _Turn(Generic[E]):
    """A listener whose turns are recorded; to the loop's messages it is the hook that it stands for."""

    __slots__ = ("__name__", "__self__", "_callback", "_hook", "_recorder", "_spec")

    def __init__(self, recorder: Recorder, spec: HookSpec, hook: Callable[[E], object], callback: int) -> None:
        self.__self__: object = getattr(hook, "__self__", None)
        self.__name__ = spec.name
        self._recorder = recorder
        self._spec = spec
        self._hook = hook
        self._callback = callback

    def __call__(self, event: E) -> object:
        record = self._recorder.under_way
        if record is None:
            return self._hook(event)
        begun = time.perf_counter()
        try:
            answer = self._hook(event)
        except BaseException as error:
            self._recorder.turn(self._spec, self._callback, event, error, begun, time.perf_counter())
            raise
        self._recorder.turn(self._spec, self._callback, event, answer, begun, time.perf_counter())
        return answer


class _Edge(Generic[E]):
    """What is called before and after the listeners of an event."""

    __slots__ = ("__name__", "__self__", "_act", "_spec")

    def __init__(self, owner: object, spec: HookSpec, act: Callable[[HookSpec, E], None]) -> None:
        self.__self__ = owner
        self.__name__ = spec.name
        self._spec = spec
        self._act = act

    def __call__(self, event: E) -> None:
        self._act(self._spec, event)


@attrs.define
class _UnderWay:
    """An event that has come, and is not over."""

    event: Event
    begun: float
    calls: list[Call]


class Recorder:
    """Records what one plan calls.

    Args:
        owner: The Trace, which messages name.
        learn: The model and the optimizer.
        callbacks: In the order in which they run; the traces among them are passed over.
        options: What is recorded.
        writer: Makes what the records are written by; called when a run begins.
    """

    under_way: Optional[_UnderWay]
    """The event that is being recorded."""

    def __init__(
        self,
        owner: SomeCallback,
        learn: HasModelAndOpt,
        callbacks: Sequence[SomeCallback],
        options: Options,
        writer: Callable[[], Writer],
    ) -> None:
        self.under_way = None
        self._owner = owner
        self._learn = learn
        self._options = options
        self._names = _names(callbacks)
        self._callbacks = tuple(callbacks)
        self._index_of = {id(callback): index for index, callback in enumerate(callbacks)}
        self._open_writer = writer
        self._writer: Optional[Writer] = None
        self._given_up = False
        self._kind: Literal["fit", "validation"] = "fit"
        self._zero = 0.0
        self._number = 0
        self._fields: dict[str, Value] = {}
        self._held: dict[str, tuple[object, int]] = {}
        self._n_batches: Value = None
        self._batch: tuple[object, ...] = ()
        self._payload_names = tuple(name for name in _PAYLOAD if name in options.fields)
        self._summarize = Summarizer(options.hashes, options.stats, options.sync)
        self._watched: tuple[Watched, ...] = ()

    def around(self, spec: HookSpec, listeners: Listeners[E]) -> Listeners[E]:
        """The listeners of an event, with what records it around them."""
        if spec.name not in self._options.events and spec not in (hooks.BEGIN_FIT, hooks.AFTER_FIT):
            return listeners
        turns = tuple(self._turn(spec, listener) for listener in listeners)
        return (_Edge[E](self._owner, spec, self._begin), *turns, _Edge[E](self._owner, spec, self._end))

    def _turn(self, spec: HookSpec, listener: Callable[[E], object]) -> Callable[[E], object]:
        index = self._index_of.get(id(getattr(listener, "__self__", None)))
        return listener if index is None else _Turn(self, spec, listener, index)

    def _begin(self, spec: HookSpec, event: msgspec.Struct) -> None:
        """An event has come."""
        self._finish()
        if self._given_up and spec is not hooks.BEGIN_FIT:
            return
        if self._writer is None or self._writer.closed or spec is hooks.BEGIN_FIT:
            self._begin_run("fit" if spec is hooks.BEGIN_FIT else "validation")
        where: msgspec.Struct = getattr(event, "reached", event)
        position: dict[str, object] = {name: getattr(where, name, None) for name in _POSITION}
        index = position["index"]
        if spec.name not in self._options.events or (isinstance(index, int) and index % self._options.every_batches):
            return
        begun = time.perf_counter()
        batch = (position["phase"], position["epoch"], index)
        if spec is hooks.BEGIN_BATCH or (index is not None and batch != self._batch):
            self._forget_batch()
            self._batch = batch
        record = Event(
            self._number,
            spec.name,
            begun - self._zero,
            0.0,
            fields=self._first_fields(event),
            before=self._changes(spec.name, opening=True),
        )
        self._number += 1
        self.under_way = _UnderWay(msgspec.structs.replace(record, **position), begun, [])

    def turn(
        self, spec: HookSpec, callback: int, event: msgspec.Struct, answer: object, begun: float, ended: float
    ) -> None:
        """A callback's turn is over.

        Args:
            spec: The hook.
            callback: Which callback.
            event: What it was given.
            answer: What it answered or raised.
            begun: When its turn began.
            ended: When its turn was over.
        """
        under_way = self.under_way
        if under_way is None:
            return
        answered = answer if isinstance(answer, msgspec.Struct) and type(answer) is type(event) else None
        failed = isinstance(answer, BaseException) and not isinstance(answer, spec.cancels or ())
        call = Call(
            callback,
            begun - under_way.begun,
            ended - begun,
            None if answer is None or failed else type(answer).__name__,
            answer.reason if isinstance(answer, Cancel) else "",
            self._payload(event if answered is None else answered),
            self._changes(spec.name, opening=False),
            error_value(answer) if isinstance(answer, BaseException) and failed else None,
        )
        under_way.calls.append(call)

    def _end(self, spec: HookSpec, event: msgspec.Struct) -> None:
        """All listeners of an event have been called."""
        self._finish()
        if spec is hooks.AFTER_BATCH:
            self._forget_batch()
        if isinstance(event, AfterFit):
            self._end_run(_end_of_fit(event, time.perf_counter() - self._zero))
        elif spec is hooks.AFTER_VALIDATE and self._kind == "validation":
            self._end_run(End("Validated", time.perf_counter() - self._zero))

    def _finish(self) -> None:
        """Writes the event that is under way."""
        under_way, self.under_way = self.under_way, None
        if under_way is not None:
            took = time.perf_counter() - under_way.begun
            self._write(msgspec.structs.replace(under_way.event, seconds=took, calls=tuple(under_way.calls)))

    def _forget_batch(self) -> None:
        self._summarize.forget()
        self._held.clear()
        self._fields.clear()

    def _first_fields(self, event: msgspec.Struct) -> dict[str, Value]:
        """The fields of an event, without those that are as they were recorded last."""
        found = self._payload(event)
        for name in event.__struct_fields__:
            if name in _POSITION or name in _PAYLOAD:
                continue
            value = self._field(getattr(event, name))
            if name != "n_batches" or value != self._n_batches:
                found[name] = value
            if name == "n_batches":
                self._n_batches = value
        return found

    def _payload(self, event: msgspec.Struct) -> dict[str, Value]:
        """What of an event's xb, yb, pred and loss is not as it was recorded last."""
        found: dict[str, Value] = {}
        for name in self._payload_names:
            held: object = getattr(event, name, _MISSING)
            if held is _MISSING:
                continue
            count = held._version if isinstance(held, Tensor) and not held.is_inference() else -1
            last = self._held.get(name)
            if last is not None and last[0] is held and last[1] == count >= 0:
                continue
            self._held[name] = (held, count)
            value = self._summarize(held)
            if name not in self._fields or not same(value, self._fields[name]):
                self._fields[name] = found[name] = value
        return found

    def _field(self, value: object) -> Value:
        if isinstance(value, Cancel):
            return TextValue(type(value).__name__, value.reason)
        if isinstance(value, BaseException):
            return TextValue(type(value).__name__, error_value(value).message)
        if isinstance(value, msgspec.Struct) and type(value).__module__ == AfterFit.__module__:
            return type(value).__name__  # the furthest event that a batch has reached, or an outcome
        return self._summarize(value)

    def _changes(self, hook: str, *, opening: bool) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for watched in self._watched:
            found.update(watched.changes(hook=hook, opening=opening))
        return found

    def _begin_run(self, kind: Literal["fit", "validation"]) -> None:
        self._kind = kind
        self._number = 0
        self._n_batches = None
        self._forget_batch()
        self._summarize = Summarizer(self._options.hashes, self._options.stats, self._options.sync, self._names)
        self._watched = tuple(self._watchers())
        self._given_up = True
        self._writer = self._open_writer()
        self._given_up = False
        self._zero = time.perf_counter()
        self._write(header_of(self._kind, self._learn, self._callbacks, self._names, self._options, self._summarize))

    def _end_run(self, end: End) -> None:
        self._write(end)
        writer, self._writer = self._writer, None
        self._watched = ()
        self._forget_batch()
        if writer is not None:
            self._safely(writer.close)

    def _write(self, record: Union[Header, Event, End]) -> None:
        writer = self._writer
        if writer is not None and not writer.closed:
            self._safely(lambda: writer.write(record))

    def _safely(self, act: Callable[[], None]) -> None:
        """Does something with the file. A full disk ends the trace, and not the fit."""
        try:
            act()
        except OSError as error:
            writer, self._writer, self._given_up = self._writer, None, True
            path = "" if writer is None else f" {writer.path}"
            if writer is not None:
                writer.abandon()
            warnings.warn(f"the trace{path} ends here, and the fit goes on: {error}", TraceWarning, stacklevel=2)

    def _watchers(self) -> list[Watched]:
        options = self._options
        model, opt = self._learn.model, self._learn.opt
        first = "after_backward" if "after_backward" in options.events else "after_step"
        those: dict[str, Callable[[], Watched]] = {
            "cells": lambda: Cells(self._states(), self._summarize),
            "weights": lambda: Weights(model, each=options.each_weight, sync=options.sync, thorough=options.thorough),
            "gradients": lambda: Gradients(
                model, each=options.each_weight, sync=options.sync, thorough=options.thorough, first=first
            ),
            "hypers": lambda: Hypers(opt, self._summarize),
            "random": lambda: RandomNumbers(sync=options.sync),
        }
        return [make() for name, make in those.items() if name in options.watch]

    def _states(self) -> dict[str, State]:
        return {
            f"{self._names[id(callback)]}.{field}": state
            for callback in self._callbacks
            for field, state in own_states(callback).items()
        }


def _names(callbacks: Sequence[SomeCallback]) -> dict[int, str]:
    """What callbacks and their cells are called, by id: `SmoothLoss`, `SmoothLoss#2`, `SmoothLoss#2.mean`."""
    names = names_of(callbacks)
    cells = {
        id(state): f"{names[id(callback)]}.{field}"
        for callback in callbacks
        for field, state in own_states(callback).items()
    }
    return {**names, **cells}


def _end_of_fit(event: AfterFit, seconds: float) -> End:
    outcome = event.outcome
    reason = outcome.cancel.reason if isinstance(outcome, Cancelled) else ""
    error = error_value(outcome.error) if isinstance(outcome, Failed) else None
    return End(type(outcome).__name__, seconds, reason, error)
