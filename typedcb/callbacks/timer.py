"""Where the time goes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

import attrs
from typing_extensions import override

from ..callback import AnyCallback
from ..cell import Cell, Series, cell, series
from ..events import AfterBatch, AfterEpoch, BatchEvent, BeginEpoch, BeginFit


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

    epochs: Series[EpochTime] = series()
    """The time of each epoch."""

    mark: Cell[float] = cell(0.0, saved=False)
    """When time was last counted, by a clock that only differences are taken of."""

    whole: Cell[float] = cell(0.0, reset="epoch")
    """The seconds so far in this epoch."""

    waiting: Cell[float] = cell(0.0, reset="epoch")
    """Of these, the seconds of waiting for training batches."""

    computing: Cell[float] = cell(0.0, reset="epoch")
    """Of these, the seconds of computing on them."""

    batches: Cell[int] = cell(0, reset="epoch")
    """How many training batches there were so far in this epoch."""

    @override
    def begin_fit(self, event: BeginFit) -> None:
        """Starts the clock: a fit that is taken up in the middle of an epoch goes on from the seconds that it had."""
        self.mark.value = time.perf_counter()

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        """Starts the clock."""
        self.mark.value = time.perf_counter()

    @override
    def begin_batch(self, event: BatchEvent) -> None:
        """Ends the waiting."""
        seconds = self._counted()
        if event.phase == "train":
            self.waiting.value += seconds

    @override
    def after_batch(self, event: AfterBatch[object, object, object]) -> None:
        """Ends the computing."""
        seconds = self._counted()
        if event.reached.phase == "train":
            self.computing.value += seconds
            self.batches.value += 1

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Keeps the epoch's time."""
        self._counted()
        self.epochs.append(EpochTime(self.whole.value, self.waiting.value, self.computing.value, self.batches.value))

    def _counted(self) -> float:
        """The seconds since time was last counted, which are counted now."""
        now = time.perf_counter()
        seconds, self.mark.value = now - self.mark.value, now
        self.whole.value += seconds
        return seconds
