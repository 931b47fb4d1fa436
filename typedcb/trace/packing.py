"""A run, packed for a page: a small overview, an index of all events in columns, and the events in compressed chunks.

What a page shows first needs the overview and the index alone; a chunk is unpacked when somebody looks into it. Most
events of a run are of few kinds: who was called, what was answered and what changed are kept once for each kind, as its
signature, and a search goes over signatures.
"""

from __future__ import annotations

import array
import base64
import sys
import zlib
from typing import Final, Iterator, Mapping, Optional, Sequence, Union

import attrs
import msgspec
from typing_extensions import TypeAlias

from .curves import Curve, curves
from .reading import PAYLOAD, TracedRun, begins_batch
from .records import Call, ErrorValue, Event, Value
from .words import shown

CHUNK: Final = 1000
"""How many events a chunk holds."""

Json: TypeAlias = Union[bool, int, float, str, Sequence["Json"], Mapping[str, "Json"], None]
"""What JSON can say."""


@attrs.frozen
class PackedRun:
    """A run for a page."""

    overview: Mapping[str, Json]
    """What is shown of the run as a whole, with its index."""

    chunks: tuple[str, ...]
    """Its events: JSON, compressed by zlib, as base64."""


def packed(run: TracedRun) -> PackedRun:
    """Packs a run.

    Args:
        run: The run.
    """
    header, end = run.header, run.end
    index = _Index()
    for event in run.events:
        index.add(event)
    overview: dict[str, Json] = {
        "kind": header.kind,
        "started": header.started,
        "versions": header.versions,
        "host": _all_shown(header.host),
        "seeds": _all_shown(header.seeds),
        "model": _all_shown(header.model),
        "optimizer": _all_shown(header.optimizer),
        "options": _all_shown(header.options),
        "callbacks": [
            {
                "name": callback.name,
                "module": callback.module,
                "order": callback.order,
                "phases": callback.phases,
                "hooks": callback.hooks,
                "settings": _all_shown(callback.settings),
                "cells": callback.cells,
            }
            for callback in header.callbacks
        ],
        "end": None
        if end is None
        else {"outcome": end.outcome, "seconds": end.seconds, "reason": end.reason, "error": _error(end.error)},
        "count": len(run.events),
        "chunk": CHUNK,
        "costs": _costs(run),
        "curves": [_curve(curve) for curve in curves(run)],
        "signatures": index.signatures,
        "columns": index.columns(),
    }
    return PackedRun(overview, tuple(_chunks(run)))


class _Index:
    """All events of a run in columns."""

    def __init__(self) -> None:
        self.signatures: list[Json] = []
        self._places: dict[str, int] = {}
        self._whole = {name: array.array("I") for name in ("signature", "number")}
        self._signed = {name: array.array("i") for name in ("epoch", "batch")}
        self._at = array.array("d")
        self._seconds = array.array("f")

    def add(self, event: Event) -> None:
        signature: Json = [
            event.hook,
            event.phase or "",
            [call.callback for call in event.calls],
            sorted({call.answer for call in event.calls if call.answer is not None}),
            sorted({name for call in event.calls for name in (*call.changed, *(f"fields:{f}" for f in call.fields))}),
            sorted(event.before),
            any(call.error is not None for call in event.calls),
        ]
        key = msgspec.json.encode(signature).decode()
        place = self._places.setdefault(key, len(self.signatures))
        if place == len(self.signatures):
            self.signatures.append(signature)
        self._whole["signature"].append(place)
        self._whole["number"].append(event.number)
        self._signed["epoch"].append(-1 if event.epoch is None else event.epoch)
        self._signed["batch"].append(-1 if event.index is None else event.index)
        self._at.append(event.at)
        self._seconds.append(event.seconds)

    def columns(self) -> dict[str, Json]:
        """The columns, little-endian, as base64."""
        columns: dict[str, array.array[int] | array.array[float]] = {
            **self._whole,
            **self._signed,
            "at": self._at,
            "seconds": self._seconds,
        }
        return {name: _base64(column) for name, column in columns.items()}


def _base64(column: array.array[int] | array.array[float]) -> str:
    if sys.byteorder == "big":
        column.byteswap()
    return base64.b64encode(column.tobytes()).decode()


def _curve(curve: Curve) -> Json:
    return {
        "name": curve.name,
        "phase": curve.phase,
        "events": _base64(array.array("I", curve.events)),
        "values": _base64(array.array("d", curve.values)),
    }


def _costs(run: TracedRun) -> list[Json]:
    """For each callback, by hook: how often it was called, and how many seconds it took in all."""
    costs: list[dict[str, tuple[int, float]]] = [{} for _ in run.header.callbacks]
    for event in run.events:
        for call in event.calls:
            calls, seconds = costs[call.callback].get(event.hook, (0, 0.0))
            costs[call.callback][event.hook] = calls + 1, seconds + call.seconds
    return [{hook: list(cost) for hook, cost in each.items()} for each in costs]


def _chunks(run: TracedRun) -> Iterator[str]:
    """The events, each chunk with what was known before its first."""
    events: list[Json] = []
    known: dict[str, str] = {}
    first: dict[str, str] = {}
    last: Optional[Event] = None
    for event in run.events:
        events.append(_event(event))
        if begins_batch(event, last):
            _forget(known)
        _learn(known, event)
        last = event
        if len(events) == CHUNK:
            yield _chunk(first, events)
            events, first = [], dict(known)
    if events:
        yield _chunk(first, events)


def _forget(known: dict[str, str]) -> None:
    """Forgets what the batch before carried."""
    for name in PAYLOAD:
        known.pop(f"fields:{name}", None)


def _learn(known: dict[str, str], event: Event) -> None:
    """Adds to what is known what an event says."""
    known.update(_all_shown(event.before))
    known.update({f"fields:{name}": shown(value) for name, value in event.fields.items()})
    for call in event.calls:
        known.update(_all_shown(call.changed))
        known.update({f"fields:{name}": shown(value) for name, value in call.fields.items()})


def _chunk(known: Mapping[str, str], events: Sequence[Json]) -> str:
    return base64.b64encode(zlib.compress(msgspec.json.encode({"known": known, "events": events}), 6)).decode()


def _event(event: Event) -> Json:
    return {
        "step": event.step,
        "fields": _all_shown(event.fields),
        "before": _all_shown(event.before),
        "calls": [_call(call) for call in event.calls],
    }


def _call(call: Call) -> Json:
    return {
        "callback": call.callback,
        "at": call.at,
        "seconds": call.seconds,
        "answer": call.answer,
        "reason": call.reason,
        "fields": _all_shown(call.fields),
        "changed": _all_shown(call.changed),
        "error": _error(call.error),
    }


def _error(error: ErrorValue | None) -> Json:
    return None if error is None else {"kind": error.kind, "message": error.message, "place": error.place}


def _all_shown(values: Mapping[str, Value]) -> dict[str, str]:
    return {name: shown(value) for name, value in values.items()}
