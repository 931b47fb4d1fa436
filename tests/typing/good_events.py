"""Each event with all its fields, and each hook with all that it may answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Optional

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import assert_never, assert_type, override

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
    AnyCallback,
    BatchEvent,
    BeginBatch,
    BeginEpoch,
    BeginFit,
    BeginValidate,
    Callback,
    CancelBatch,
    CancelEpoch,
    Cancelled,
    CancelTrain,
    Completed,
    Failed,
    FitOutcome,
    Loop,
    LossEvent,
    OnlyBegun,
    Phase,
    Reached,
    SkipBackward,
    SkipStep,
    SkipValidate,
    SkipZeroGrad,
)


@dataclass(frozen=True)
class AllFields(Callback):
    """Reads every field of every event."""

    @override
    def begin_fit(self, event: BeginFit) -> None:
        assert_type(event.n_epochs, int)
        assert_type(event.start_epoch, int)

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        assert_type(event.epoch, int)
        assert_type(event.n_epochs, int)

    @override
    def begin_batch(self, event: BeginBatch) -> None:
        assert_type(event.phase, Phase)
        assert_type(event.epoch, int)
        assert_type(event.index, int)
        assert_type(event.n_batches, Optional[int])
        assert_type(event.step, int)
        assert_type(event.xb, Tensor)
        assert_type(event.yb, Tensor)

    @override
    def after_pred(self, event: AfterPred) -> None:
        assert_type(event.xb, Tensor)
        assert_type(event.pred, Tensor)

    @override
    def after_loss(self, event: AfterLoss) -> None:
        assert_type(event.pred, Tensor)
        assert_type(event.loss, Tensor)

    @override
    def after_backward(self, event: AfterBackward) -> None:
        assert_type(event.yb, Tensor)
        assert_type(event.loss, Tensor)

    @override
    def after_step(self, event: AfterStep) -> None:
        assert_type(event.pred, Tensor)
        assert_type(event.loss, Tensor)

    @override
    def after_cancel_batch(self, event: AfterCancelBatch) -> None:
        assert_type(event.cancel, CancelBatch)
        assert_type(event.cancel.reason, str)
        assert_type(event.reached.xb, Tensor)

    @override
    def after_batch(self, event: AfterBatch) -> None:
        assert_type(event.reached.yb, Tensor)

    @override
    def after_cancel_epoch(self, event: AfterCancelEpoch) -> None:
        assert_type(event.epoch, int)
        assert_type(event.cancel, CancelEpoch)

    @override
    def begin_validate(self, event: BeginValidate) -> None:
        assert_type(event.epoch, int)

    @override
    def after_validate(self, event: AfterValidate) -> None:
        assert_type(event.epoch, int)

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        assert_type(event.epoch, int)
        assert_type(event.n_epochs, int)

    @override
    def after_cancel_train(self, event: AfterCancelTrain) -> None:
        assert_type(event.cancel, CancelTrain)

    @override
    def after_fit(self, event: AfterFit) -> None:
        assert_type(event.outcome, FitOutcome)


@dataclass(frozen=True)
class AllAnswers(Callback):
    """Answers each hook with each of what is legal there."""

    answer: str

    @override
    def begin_fit(self, event: BeginFit) -> CancelTrain | None:
        return CancelTrain("enough") if self.answer == "train" else None

    @override
    def begin_epoch(self, event: BeginEpoch) -> CancelEpoch | CancelTrain | None:
        match self.answer:
            case "epoch":
                return CancelEpoch()
            case "train":
                return CancelTrain()
            case _:
                return None

    @override
    def begin_batch(self, event: BeginBatch) -> BeginBatch | CancelBatch | CancelEpoch | CancelTrain | None:
        match self.answer:
            case "replace":
                return event.with_batch(event.xb + 1, event.yb)
            case "batch":
                return CancelBatch("too long")
            case "epoch":
                return CancelEpoch()
            case "train":
                return CancelTrain()
            case _:
                return None

    @override
    def after_pred(self, event: AfterPred) -> AfterPred | CancelBatch | CancelEpoch | CancelTrain | None:
        match self.answer:
            case "replace":
                return event.with_pred(event.pred * 2)
            case "batch":
                return CancelBatch()
            case "epoch":
                return CancelEpoch()
            case "train":
                return CancelTrain()
            case _:
                return None

    @override
    def after_loss(self, event: AfterLoss) -> AfterLoss | SkipBackward | CancelBatch | CancelEpoch | CancelTrain | None:
        match self.answer:
            case "replace":
                return event.with_loss(event.loss / 4)
            case "skip":
                return SkipBackward()
            case "batch":
                return CancelBatch()
            case "epoch":
                return CancelEpoch()
            case "train":
                return CancelTrain()
            case _:
                return None

    @override
    def after_backward(self, event: AfterBackward) -> SkipStep | CancelBatch | CancelEpoch | CancelTrain | None:
        match self.answer:
            case "skip":
                return SkipStep()
            case "batch":
                return CancelBatch()
            case "epoch":
                return CancelEpoch()
            case "train":
                return CancelTrain()
            case _:
                return None

    @override
    def after_step(self, event: AfterStep) -> SkipZeroGrad | CancelBatch | CancelEpoch | CancelTrain | None:
        match self.answer:
            case "skip":
                return SkipZeroGrad()
            case "batch":
                return CancelBatch()
            case "epoch":
                return CancelEpoch()
            case "train":
                return CancelTrain()
            case _:
                return None

    @override
    def after_batch(self, event: AfterBatch) -> CancelEpoch | CancelTrain | None:
        return CancelEpoch() if self.answer == "epoch" else CancelTrain() if self.answer == "train" else None

    @override
    def begin_validate(self, event: BeginValidate) -> SkipValidate | CancelTrain | None:
        return SkipValidate() if self.answer == "skip" else CancelTrain() if self.answer == "train" else None

    @override
    def after_validate(self, event: AfterValidate) -> CancelTrain | None:
        return CancelTrain() if self.answer == "train" else None

    @override
    def after_epoch(self, event: AfterEpoch) -> CancelTrain | None:
        return CancelTrain() if self.answer == "train" else None


@dataclass(frozen=True)
class OneAnswerEach(Callback):
    """A hook may promise more than it has to: one answer, always."""

    @override
    def begin_batch(self, event: BeginBatch) -> BeginBatch:
        return event.with_batch(xb=event.xb, yb=event.yb)

    @override
    def after_pred(self, event: AfterPred) -> AfterPred:
        return event.with_pred(event.pred)

    @override
    def after_loss(self, event: AfterLoss) -> SkipBackward:
        return SkipBackward()

    @override
    def begin_validate(self, event: BeginValidate) -> SkipValidate:
        return SkipValidate()


def give_up(why: str) -> None:
    """Deep inside a helper a Cancel is raised."""
    raise CancelTrain(why)


@dataclass(frozen=True)
class Raises(AnyCallback):
    @override
    def after_loss(self, event: LossEvent) -> None:
        if not event.loss.isfinite():
            give_up("the loss is not finite")


@dataclass(frozen=True)
class BatchEvents(AnyCallback):
    """A hook may ask for less than its event has: what every event inside a batch has."""

    phases: ClassVar[tuple[Phase, ...]] = ("train",)
    order: ClassVar[int] = 10

    @override
    def begin_batch(self, event: BatchEvent) -> None:
        assert_type(event.phase, Phase)
        assert_type(event.n_batches, Optional[int])

    @override
    def after_pred(self, event: BatchEvent) -> CancelBatch | None:
        return CancelBatch() if event.index > 100 else None

    @override
    def after_backward(self, event: BatchEvent) -> SkipStep | None:
        return SkipStep() if event.epoch > 100 else None

    @override
    def after_step(self, event: BatchEvent) -> SkipZeroGrad | None:
        return SkipZeroGrad() if event.step > 100 else None


@dataclass(frozen=True)
class LossEvents(AnyCallback):
    """And what every event has from after_loss on."""

    @override
    def after_loss(self, event: LossEvent) -> SkipBackward | None:
        return SkipBackward() if event.loss.item() > 1e6 else None

    @override
    def after_backward(self, event: LossEvent) -> None:
        assert_type(event.loss, Tensor)

    @override
    def after_step(self, event: LossEvent) -> None:
        assert_type(event.step, int)


def how_far(reached: Reached[Tensor, Tensor, Tensor]) -> str:
    """Every event that a batch may have reached, the furthest first: no case is missing."""
    match reached:
        case AfterStep(loss=loss):
            assert_type(loss, Tensor)
            return "stepped"
        case AfterBackward(loss=loss):
            assert_type(loss, Tensor)
            return "backward"
        case AfterLoss(loss=loss):
            assert_type(loss, Tensor)
            return "loss"
        case AfterPred():
            return "predicted"
        case OnlyBegun(xb=xb, yb=yb):
            assert_type(xb, Tensor)
            assert_type(yb, Tensor)
            return "begun"
        case _ as unreachable:
            assert_never(unreachable)


def how_ended(outcome: FitOutcome) -> str:
    """Every outcome of a fit: no case is missing."""
    match outcome:
        case Completed():
            return "completed"
        case Cancelled(cancel=cancel):
            assert_type(cancel, CancelTrain)
            return cancel.reason
        case Failed(error=error):
            assert_type(error, BaseException)
            return str(error)
        case _ as unreachable:
            assert_never(unreachable)


@dataclass(frozen=True)
class Matches(Callback):
    """Matches where the events stand."""

    @override
    def after_cancel_batch(self, event: AfterCancelBatch) -> None:
        how_far(event.reached)

    @override
    def after_batch(self, event: AfterBatch) -> None:
        how_far(event.reached)
        if isinstance(event.reached, AfterLoss):
            assert_type(event.reached.loss, Tensor)

    @override
    def after_fit(self, event: AfterFit) -> None:
        how_ended(event.outcome)


batches = [(torch.ones(2, 3), torch.zeros(2, 1)), (torch.ones(1, 3), torch.zeros(1, 1))]

for answer in ("", "replace", "skip", "batch", "epoch", "train"):
    loop = Loop[Tensor, Tensor, Tensor](
        [AllFields(), Raises(), BatchEvents(), LossEvents(), Matches(), AllAnswers(answer)]
    )
    model = torch.nn.Linear(3, 1)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    with loop.fit(2) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(batches):
                out = batch.pred(model(batch.xb))
                out.loss(F.mse_loss(out.pred, out.yb)).backward().step(opt)
            for held_out in epoch.validate(batches):
                seen = held_out.pred(model(held_out.xb))
                seen.loss(F.mse_loss(seen.pred, seen.yb))
    how_ended(fit.outcome)
