"""A changed event that is not handed back."""

from dataclasses import dataclass
from typing import Any

from typedcb import AfterLoss, AfterPred, BeginBatch, Callback


@dataclass(frozen=True)
class Forgets(Callback):
    def begin_batch(self, event: BeginBatch) -> None:
        event.with_batch(event.xb, event.yb)  # typedcb-unused-with

    def after_pred(self, event: AfterPred) -> None:
        event = event.with_pred(event.pred * 2)  # typedcb-unused-with

    def after_loss(self, event: AfterLoss) -> None:
        new = event.with_loss(event.loss * 2)  # typedcb-unused-with

    def _helper(self, event: BeginBatch) -> None:
        event.with_batch(event.xb, event.yb)  # typedcb-unused-with


@dataclass(frozen=True)
class Sets(Callback):
    def begin_batch(self, event: Any) -> None:
        event.xb = event.xb * 2  # typedcb-event-assignment
        event.stop = True  # typedcb-event-assignment
        del event.yb  # typedcb-event-assignment

    def after_loss(self, event: Any) -> None:
        event.loss += 1  # typedcb-event-assignment
        event.xb[0] = 3  # typedcb-event-assignment

    def helper(self, other: Any) -> None:
        other.stop = True
        other.builder.with_batch(3)


@dataclass(frozen=True)
class Returns(Callback):
    def begin_batch(self, event: BeginBatch) -> BeginBatch:
        for _ in range(3):
            event = event.with_batch(event.xb + 1, event.yb)
        return event

    def after_pred(self, event: AfterPred) -> Any:
        new = event.with_pred(event.pred * 2)
        return new if event.step else None

    def after_loss(self, event: AfterLoss) -> AfterLoss:
        return event.with_loss(event.loss * 2)
