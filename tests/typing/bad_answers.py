"""Mistakes with what a hook answers: what is not legal there, and what is no answer at all.

Every line marked `# error` must be reported by every type checker, and no other line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator

from good_callbacks import Every
from torch import Tensor
from typing_extensions import override

from typedcb import (
    AfterBackward,
    AfterBatch,
    AfterCancelBatch,
    AfterCancelEpoch,
    AfterCancelTrain,
    AfterEpoch,
    AfterFit,
    AfterLoss,
    AfterPred,
    AfterStep,
    AfterValidate,
    BatchEvent,
    BeginBatch,
    BeginEpoch,
    BeginFit,
    BeginValidate,
    Callback,
    CancelBatch,
    CancelEpoch,
    CancelTrain,
    Completed,
    Failed,
    SkipBackward,
    SkipStep,
    SkipValidate,
    SkipZeroGrad,
)


@dataclass(frozen=True)
class CancelsTooMuch(Callback):
    """What is not under way cannot be cancelled."""

    @override
    def begin_fit(self, event: BeginFit) -> CancelEpoch:  # error
        return CancelEpoch()

    @override
    def begin_epoch(self, event: BeginEpoch) -> CancelBatch | None:  # error
        return CancelBatch()

    @override
    def after_batch(self, event: AfterBatch) -> CancelBatch:  # error
        return CancelBatch()

    @override
    def begin_validate(self, event: BeginValidate) -> CancelEpoch:  # error
        return CancelEpoch()

    @override
    def after_validate(self, event: AfterValidate) -> CancelEpoch | None:  # error
        return CancelEpoch()

    @override
    def after_epoch(self, event: AfterEpoch) -> CancelEpoch | CancelTrain:  # error
        return CancelEpoch()

    @override
    def after_cancel_batch(self, event: AfterCancelBatch) -> CancelTrain:  # error
        return CancelTrain()

    @override
    def after_cancel_epoch(self, event: AfterCancelEpoch) -> CancelTrain | None:  # error
        return CancelTrain()

    @override
    def after_cancel_train(self, event: AfterCancelTrain) -> CancelTrain:  # error
        return event.cancel

    @override
    def after_fit(self, event: AfterFit) -> CancelBatch:  # error
        return CancelBatch()


@dataclass(frozen=True)
class SkipsElsewhere(Callback):
    """Each Skip belongs to one hook."""

    @override
    def begin_fit(self, event: BeginFit) -> SkipValidate:  # error
        return SkipValidate()

    @override
    def begin_batch(self, event: BeginBatch) -> SkipStep | None:  # error
        return SkipStep()

    @override
    def after_pred(self, event: AfterPred) -> SkipBackward:  # error
        return SkipBackward()

    @override
    def after_loss(self, event: AfterLoss) -> SkipStep:  # error
        return SkipStep()

    @override
    def after_backward(self, event: AfterBackward) -> SkipBackward | None:  # error
        return SkipBackward()

    @override
    def after_step(self, event: AfterStep) -> SkipStep:  # error
        return SkipStep()

    @override
    def after_batch(self, event: AfterBatch) -> SkipZeroGrad:  # error
        return SkipZeroGrad()

    @override
    def begin_epoch(self, event: BeginEpoch) -> SkipValidate | None:  # error
        return SkipValidate()

    @override
    def begin_validate(self, event: BeginValidate) -> SkipBackward:  # error
        return SkipBackward()


@dataclass(frozen=True)
class NothingToReplace(Callback):
    """After backward there is nothing left to replace, and outside of a batch nothing at all."""

    @override
    def after_backward(self, event: AfterBackward) -> AfterBackward:  # error
        return event

    @override
    def after_step(self, event: AfterStep) -> AfterLoss:  # error
        return event.with_loss(event.loss)

    @override
    def after_batch(self, event: AfterBatch) -> AfterBatch | None:  # error
        return event

    @override
    def begin_epoch(self, event: BeginEpoch) -> BeginEpoch:  # error
        return event


@dataclass(frozen=True)
class NoAnswerAtAll(Callback):
    """An answer is an object that says what it means."""

    @override
    def begin_fit(self, event: BeginFit) -> bool:  # error
        return False

    @override
    def begin_batch(self, event: BeginBatch) -> dict[str, Tensor]:  # error
        return {"xb": event.xb}

    @override
    def after_pred(self, event: AfterPred) -> Tensor:  # error
        return event.pred

    @override
    def after_loss(self, event: AfterLoss) -> Tensor:  # error
        return event.loss * 2

    @override
    def after_backward(self, event: AfterBackward) -> type[SkipStep]:  # error
        return SkipStep

    @override
    def after_step(self, event: AfterStep) -> Iterator[None]:  # error
        yield

    @override
    def after_epoch(self, event: AfterEpoch) -> type[CancelTrain] | None:  # error
        return CancelTrain

    @override
    def after_fit(self, event: AfterFit) -> Completed | Failed:  # error
        return Completed()


@dataclass(frozen=True)
class BreaksItsPromise(Callback):
    """What a hook returns is what it says that it returns."""

    @override
    def begin_batch(self, event: BeginBatch) -> BeginBatch:
        return event.with_batch(event.xb)  # error

    @override
    def after_pred(self, event: AfterPred) -> AfterPred:
        return event.pred  # error

    @override
    def after_loss(self, event: AfterLoss) -> SkipBackward | None:
        return SkipStep()  # error

    @override
    def after_backward(self, event: AfterBackward) -> None:
        return SkipStep()  # error

    @override
    def after_step(self, event: AfterStep) -> CancelTrain | None:
        return CancelTrain  # error

    @override
    def begin_validate(self, event: BeginValidate) -> SkipValidate:
        return None  # error


@dataclass(frozen=True)
class ForgetsReturn(Callback):
    """The changed event has to be returned."""

    @override
    def begin_batch(self, event: BeginBatch) -> BeginBatch:  # error
        event.with_batch(event.xb, event.yb)

    @override
    def after_epoch(self, event: AfterEpoch) -> CancelTrain:  # error
        CancelTrain("enough")


@dataclass(frozen=True)
class ReplacesWrongly(Callback):
    """An event is replaced by one of the same payload, from the method that its hook may answer with."""

    @override
    def begin_batch(self, event: BeginBatch) -> BeginBatch:
        if event.index == 0:
            return event.with_batch("inputs", event.yb)  # error
        if event.index == 1:
            return event.with_batch(event.xb, {"yb": event.yb})  # error
        print(event.with_batch(x=event.xb, y=event.yb))  # error
        print(event.with_pred(event.xb))  # error
        return event.with_batch(event.xb, None)  # error

    @override
    def after_pred(self, event: AfterPred) -> AfterPred:
        print(event.with_pred())  # error
        print(event.with_loss(event.pred.mean()))  # error
        return event.with_pred([event.pred])  # error

    @override
    def after_loss(self, event: AfterLoss) -> AfterLoss:
        print(event.with_loss(loss="none"))  # error
        return event.with_loss(float(event.loss))  # error


@dataclass(frozen=True)
class ReturnsAnEarlierEvent(Callback):
    """What is handed back is this hook's own event."""

    @override
    def after_pred(self, event: AfterPred) -> BeginBatch:  # error
        return event.with_batch(event.xb, event.yb)

    @override
    def after_loss(self, event: AfterLoss) -> AfterPred:  # error
        return event.with_pred(event.pred)


@dataclass(frozen=True)
class NarrowsItsBase(Every):
    """A callback of one's own is a base like any other: its hook may skip the step, and nothing else."""

    @override
    def after_backward(self, event: BatchEvent) -> CancelTrain | None:  # error
        return None


CancelTrain(3)  # error
CancelEpoch("enough", 3)  # error
CancelBatch(why="enough")  # error
SkipStep("not now")  # error
CancelTrain().reasons  # error


class CancelRun(CancelTrain):  # error
    """The outcomes are what they are."""


class SkipTwice(SkipStep):  # error
    """The outcomes are what they are."""
