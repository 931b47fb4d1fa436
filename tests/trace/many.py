"""A trace of as many events as one likes, made quickly: for what has to cope with long ones.

python tests/trace/many.py 100000 long.trace
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typedcb.trace.framing import Writer
from typedcb.trace.records import (
    FORMAT,
    Call,
    CallbackInfo,
    End,
    ErrorValue,
    Event,
    Header,
    ItemsValue,
    NamedValues,
    TensorValue,
    TextValue,
    Value,
    WeightValue,
)

TRAIN_BATCHES, VALID_BATCHES = 200, 40
NAMES = ("RandomShift", "Standardize", "AvgStats", "SmoothLoss", "GradientClip", "ParamScheduler", "Recorder")
HOOKS: dict[str, tuple[str, ...]] = {
    "RandomShift": ("begin_batch",),
    "Standardize": ("begin_batch",),
    "AvgStats": ("begin_epoch", "after_loss", "begin_validate", "after_validate", "after_epoch"),
    "SmoothLoss": ("after_loss",),
    "GradientClip": ("after_backward",),
    "ParamScheduler": ("begin_fit", "begin_batch"),
    "Recorder": ("after_loss", "after_epoch", "after_fit"),
}
TRAIN_ONLY = ("RandomShift", "SmoothLoss", "ParamScheduler", "Recorder")
WEIGHTS = ("0.weight", "1.weight", "1.bias", "4.weight", "4.bias")


def header() -> Header:
    callbacks = tuple(
        CallbackInfo(
            name,
            "typedcb.callbacks",
            0,
            ("train",) if name in TRAIN_ONLY else ("train", "valid"),
            HOOKS[name],
            {"beta": 0.98} if name == "SmoothLoss" else {},
            {"mean": "fit", "count": "fit"} if name == "SmoothLoss" else {},
        )
        for name in NAMES
    )
    shapes: dict[str, Value] = {name: TensorValue((16, 16), "float32") for name in WEIGHTS}
    return Header(
        FORMAT,
        "fit",
        1_790_000_000.0,
        {"typedcb": "0.1.0", "torch": "2.13.0", "python": "3.11.7"},
        {"name": "here", "machine": "x86_64", "system": "Linux", "threads": 2, "pid": 7},
        {"torch": 0, "random:torch": 1, "random:python": 2},
        callbacks,
        {"class": "Sequential", "weights": NamedValues("dict", len(shapes), shapes)},
        {"class": "AdamW", "hypers:lr": 0.01},
        {"every_batches": 1, "hashes": True},
    )


class Made:
    """Makes events that look as those of a real fit do."""

    def __init__(self) -> None:
        self.number = 0
        self.clock = 0.0
        self.step = 0

    def hashed(self, salt: int) -> bytes:
        return (hash((self.number, salt)) & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")

    def tensor(self, *shape: int, mean: float = 0.0) -> TensorValue:
        return TensorValue(shape, "float32", "cpu", self.hashed(len(shape)), mean, 1.0 if shape else 0.0)

    @property
    def loss(self) -> float:
        return 2.3 * math.exp(-self.step / 4000) + 0.1 * abs(math.sin(self.step * 12.9898) * math.cos(self.step * 7))

    @property
    def lr(self) -> float:
        return 0.01 * (1 + math.cos(self.step / 3000)) / 2

    def weights(self, kind: str) -> dict[str, Value]:
        each: dict[str, Value] = {
            f"{kind}:{name}": WeightValue(self.hashed(place), 3.0 + place + self.step / 1e4)
            for place, name in enumerate(WEIGHTS)
        }
        return {kind: WeightValue(self.hashed(99), 9.0 + self.step / 1e4), **each}

    def calls(self, hook: str, phase: str | None) -> Iterator[Call]:
        at = 2e-5
        for index, name in enumerate(NAMES):
            if hook not in HOOKS[name] or (phase == "valid" and name in TRAIN_ONLY):
                continue
            took = 1e-5 * (index + 1) * (1 + 0.3 * math.sin(self.number + index))
            more: dict[str, Any] = {}
            if name in ("RandomShift", "Standardize"):
                more = {"answer": "BeginBatch", "fields": {"xb": self.tensor(64, 1, 28, 28)}}
            elif name == "SmoothLoss":
                more = {"changed": {"cells:SmoothLoss.mean": self.loss, "cells:SmoothLoss.count": self.step}}
            elif name == "ParamScheduler" and hook == "begin_batch":
                more = {"changed": {"hypers:lr": self.lr}}
            elif name == "GradientClip":
                more = {"changed": self.weights("gradients")}
            elif name == "Recorder" and hook == "after_loss":
                last = ItemsValue("tuple", 1, (self.lr,))
                more = {"changed": {"cells:Recorder.params": ItemsValue("Series", self.step + 1, (last,))}}
            elif name == "AvgStats" and hook == "after_validate":
                more = {"changed": {"cells:AvgStats.valid_loss": self.loss * 1.1}}
            yield Call(index, at, took, **more)
            at += took

    def event(self, hook: str, **more: Any) -> Event:
        calls = tuple(self.calls(hook, more.get("phase")))
        made = Event(self.number, hook, self.clock, 5e-5 + sum(call.seconds for call in calls), calls=calls, **more)
        self.number += 1
        self.clock += made.seconds + 1e-3
        return made

    def batch(self, phase: str, epoch: int, index: int) -> Iterator[Event]:
        where: dict[str, Any] = {"phase": phase, "epoch": epoch, "index": index, "step": self.step}
        first = {"n_batches": TRAIN_BATCHES if phase == "train" else VALID_BATCHES} if not index else {}
        images = {"xb": self.tensor(64, 1, 28, 28), "yb": self.tensor(64)}
        yield self.event("begin_batch", fields={**first, **images}, before={"random:torch": self.number}, **where)
        yield self.event("after_pred", fields={"pred": self.tensor(64, 10)}, **where)
        yield self.event("after_loss", fields={"loss": self.tensor(mean=self.loss)}, **where)
        reached = "AfterLoss"
        if phase == "train":
            yield self.event("after_backward", before=self.weights("gradients"), **where)
            yield self.event("after_step", before=self.weights("weights"), **where)
            self.step += 1
            reached = "AfterStep"
        yield self.event("after_batch", fields={"reached": reached, "error": None}, **where)

    def epoch(self, epoch: int) -> Iterator[Event]:
        yield self.event("begin_epoch", epoch=epoch, fields={"n_epochs": 100})
        for index in range(TRAIN_BATCHES):
            yield from self.batch("train", epoch, index)
        yield self.event("begin_validate", epoch=epoch)
        for index in range(VALID_BATCHES):
            yield from self.batch("valid", epoch, index)
        yield self.event("after_validate", epoch=epoch)
        yield self.event("after_epoch", epoch=epoch, fields={"n_epochs": 100})

    def run(self, n_events: int) -> Iterator[Event]:
        yield self.event("begin_fit", fields={"n_epochs": 100, "start_epoch": 0}, before=self.weights("weights"))
        epoch = 0
        while True:
            for event in self.epoch(epoch):
                if self.number >= n_events:
                    failed: dict[str, Value] = {"outcome": "Failed"}
                    yield self.event("after_fit", fields=failed, before={"cells:AvgStats.note": TextValue("str", "x")})
                    return
                yield event
            epoch += 1


def write_many(path: Path, n_events: int) -> Path:
    """Writes a trace of so many events; the fit in it ends by an error."""
    writer = Writer(path)
    writer.write(header())
    made = Made()
    for event in made.run(n_events):
        writer.write(event)
    writer.write(End("Failed", made.clock, "", ErrorValue("ZeroDivisionError", "division by zero", "m.py:3 in loss")))
    writer.close()
    return path


if __name__ == "__main__":
    write_many(Path(sys.argv[2]), int(sys.argv[1]))
