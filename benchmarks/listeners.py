"""Callbacks that do no more than listen: what is measured around them is what listening costs."""

from __future__ import annotations

from dataclasses import dataclass

from typedcb import AfterBatch, AfterStep, AnyCallback, BatchEvent, LossEvent


@dataclass(frozen=True)
class Reads(AnyCallback):
    """Reads the loss and the batch's number."""

    def after_loss(self, event: LossEvent) -> None:
        """Reads them."""
        _ = event.loss, event.index


@dataclass(frozen=True)
class ReadsBothEnds(AnyCallback):
    """Reads the batch's number where it begins, and its prediction and its loss where it ends."""

    def begin_batch(self, event: BatchEvent) -> None:
        """Reads it."""
        _ = event.index

    def after_batch(self, event: AfterBatch[object, object, object]) -> None:
        """Reads it."""
        if isinstance(event.reached, AfterStep):
            _ = event.reached.pred, event.reached.loss
