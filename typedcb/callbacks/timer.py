"""Where the time goes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

import attrs
from typing_extensions import override

from ..callback import AnyCallback
from ..cell import Cell, Series, cell, series
from ..events import AfterBatch, AfterEpoch, BatchEvent, BeginEpoch, Phase


@attrs.frozen
class EpochTime:
    """The time of an epoch, in seconds."""

    whole: float
    """From its beginning to its end, validation included."""

    waiting: float
    """Of that, waiting for the loader's training batches."""

    computing: float
    """Of that, from each training batch's beginning to its end, as the CPU sees it: a device may lag behind."""

    batches: int
    """How many training batches there were."""


@dataclass(frozen=True)
class Timer(AnyCallback):
    """Measures each epoch: as a whole, waiting for data, and computing on it.

    It runs after all other callbacks by default, so that their time in a batch's hooks is in what it measures.
    """

    order: ClassVar[int] = 100

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    epochs: Series[EpochTime] = series()
    """The time of each epoch."""

    begun: Cell[float] = cell(0.0, saved=False)
    """When the epoch began, by a clock that only differences are taken of."""

    mark: Cell[float] = cell(0.0, saved=False)
    """When the last batch ended or began."""

    waiting: Cell[float] = cell(0.0, reset="epoch")
    """The seconds of waiting so far in this epoch."""

    computing: Cell[float] = cell(0.0, reset="epoch")
    """The seconds of computing so far in this epoch."""

    batches: Cell[int] = cell(0, reset="epoch")
    """How many training batches there were so far in this epoch."""

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        """Starts the clock."""
        self.begun.value = self.mark.value = time.perf_counter()

    @override
    def begin_batch(self, event: BatchEvent) -> None:
        """Ends the waiting."""
        now = time.perf_counter()
        self.waiting.value += now - self.mark.value
        self.mark.value = now

    @override
    def after_batch(self, event: AfterBatch[object, object, object]) -> None:
        """Ends the computing."""
        now = time.perf_counter()
        self.computing.value += now - self.mark.value
        self.mark.value = now
        self.batches.value += 1

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Keeps the epoch's time."""
        whole = time.perf_counter() - self.begun.value
        self.epochs.append(EpochTime(whole, self.waiting.value, self.computing.value, self.batches.value))
