"""Ending a fit for a plain reason: the loss is no number any more, or it was meant to be short."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Optional, Union

from torch import Tensor
from typing_extensions import override

from ..callback import AnyCallback
from ..cell import Cell, cell
from ..events import AfterEpoch, LossEvent, Phase
from ..outcomes import CancelTrain


@dataclass(frozen=True)
class TerminateOnNaN(AnyCallback):
    """Cancels the fit when the loss of a batch is nan or infinite, in training before the step that would spoil all.

    To look at a loss waits for the device. With `every` above 1 only each so many batches, and the last of an epoch's
    training, wait: a loss in between is not missed, but up to that many steps have been taken by then.
    """

    every: int = 1
    """After how many batches to look at their losses; with 1 no bad step is ever taken."""

    bad: Cell[Union[Tensor, bool]] = cell(False)
    """Whether a loss since the last look was nan or infinite; a tensor, still on its device."""

    unseen: Cell[int] = cell(0)
    """How many losses have not been looked at."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"TerminateOnNaN.every is {self.every}, and has to be at least 1 batch.")

    @override
    def after_loss(self, event: LossEvent) -> Optional[CancelTrain]:
        """Looks at the loss, or notes on the device whether it is bad."""
        place = f"epoch {event.epoch}, batch {event.index}, {event.phase}"
        if self.every == 1:
            loss = float(event.loss.detach())
            return None if math.isfinite(loss) else CancelTrain(f"the loss is {loss} ({place})")
        self.bad.value = self.bad.value | ~event.loss.detach().isfinite()
        self.unseen.value += 1
        last = event.phase == "train" and event.index + 1 == event.n_batches
        return self._look(place) if last or self.unseen.value == self.every else None

    @override
    def after_epoch(self, event: AfterEpoch) -> Optional[CancelTrain]:
        """Looks at what is left."""
        return self._look(f"the end of epoch {event.epoch}")

    def _look(self, place: str) -> Optional[CancelTrain]:
        """Looks at all losses since the last look."""
        bad, unseen = bool(self.bad.value), self.unseen.value
        self.bad.restart()
        self.unseen.restart()
        return CancelTrain(f"a loss was nan or infinite in the last {unseen} batches up to {place}") if bad else None


@dataclass(frozen=True)
class StopAfterNBatches(AnyCallback):
    """Cancels the fit after so many training batches, to try out that everything runs."""

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    n_batches: int = 2
    """How many training batches the fit is to have, over all its epochs; one that was cancelled counts too."""

    count: Cell[int] = cell(0)
    """How many it has had."""

    def __post_init__(self) -> None:
        if self.n_batches < 1:
            raise ValueError(f"StopAfterNBatches.n_batches is {self.n_batches}, and has to be at least 1.")

    @override
    def after_batch(self, event: object) -> Optional[CancelTrain]:
        """Counts the batch."""
        self.count.value += 1
        if self.count.value < self.n_batches:
            return None
        return CancelTrain(f"{self.n_batches} training batches were asked for")
